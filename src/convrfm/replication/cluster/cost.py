"""What the whole of a preset is expected to cost, before anything is submitted."""

import logging
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from snakemake.api import SnakemakeApi
from snakemake.cli import parse_group_components
from snakemake.logging import logger
from snakemake.resources import GroupResources
from snakemake.settings.types import ConfigSettings, DAGSettings, GroupSettings, OutputSettings, ResourceSettings
from snakemake_executor_plugin_slurm.partitions import Partition

from convrfm.datasets.registry import REGISTRY
from convrfm.replication.cluster.site import SITE
from convrfm.replication.cluster.submissions import Submission, excesses, largest_requests, read_partitions
from convrfm.replication.config.presets import load_settings
from convrfm.replication.plan.fits import expected_minutes
from convrfm.replication.plan.plan import Plan
from convrfm.replication.record.session import Job

__all__ = ["Planned", "Profile", "longest_chain", "print_cost", "read_profile", "submission_lines", "table"]

PROFILE = Path("slurm/config.yaml")
"""The profile for SLURM, in the folder that Snakemake works in, or else beside the Snakefile."""


@dataclass(frozen=True)
class Planned:
    """One job of a plan.

    Attributes:
        rule: its name.
        inputs: files that it reads.
        outputs: files that it writes.
        minutes: how long it is expected to take.
        threads: CPUs.
        gpus: how many it asks for.
        memory_mb: MiB that its first attempt asks for.
    """

    rule: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    minutes: float
    threads: int
    gpus: int
    memory_mb: int


@dataclass(frozen=True)
class Profile:
    """What the profile for SLURM says of submissions.

    Attributes:
        jobs: the most at a time; None without a profile.
        cores: the most CPUs of one job or group.
        components: so many components of a group make one job, by the group's name.
    """

    jobs: int | None = None
    cores: int = sys.maxsize
    components: Mapping[str, int] = field(default_factory=dict)


class _Listener(logging.Handler):
    """Keeps what Snakemake tells of each job that it would run, and what a scheduler would get of them."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[Any] = []
        self.submissions: list[Submission] = []

    def emit(self, record: Any) -> None:
        event = getattr(record, "event", None)
        if event is None:
            return
        if event.name == "GROUP_INFO":
            first = next(iter(record.jobs))
            group = first.dag.get_job_group(first)
            # As the group itself has it where it is submitted, and not run here.
            asked = GroupResources.basic_layered(group.toposorted, group.global_resources, run_local=False)
            self.submissions.append(Submission(f"group {group.name}", asked, asked["_cores"], {}))
        elif event.name == "JOB_INFO":
            self.told.append(record)
            # Those of a group stand indented below it.
            if _works(record) and not record.indent:
                self.submissions.append(
                    Submission(record.rule_name, record.resources, record.threads, record.wildcards)
                )


def print_cost(job: Job) -> None:
    """Print hours of CPUs and GPUs by rule, the longest chain of jobs, what SLURM would get, and how much there is to fetch.

    Everything is counted, finished or not, as if all data were there.

    Raises:
        ConfigError: the site's file is wrong.
    """
    config = {**job.settings["config"], "assume_data": True}
    root = Path(job.settings["root"])
    settings = load_settings(config, root / "workflow" / "presets")
    profile = read_profile(next((path for path in (PROFILE, root / PROFILE) if path.is_file()), None))
    partitions = read_partitions(Path.cwd())
    told, submissions = _plan(config, root / "Snakefile", profile)
    plan = Plan(settings, lambda _: {"state": "present", "digest": ""})
    jobs = [_planned(record, plan) for record in told if record.rule_name != "fetch"]
    fetched = sorted(record.wildcards["dataset"] for record in told if record.rule_name == "fetch")
    what = f"preset {settings.config.preset}, protocol {settings.config.protocol}, seeds {settings.config.seeds}"
    lines = [what, "", *table(jobs), "", *_chain_lines(jobs), "", *submission_lines(submissions, partitions, profile)]
    if fetched:
        size = sum(REGISTRY[name].megabytes for name in fetched) / 1000
        lines += ["", f"Data and weights: {len(fetched)} sets, {size:.1f} GB to fetch if none is there."]
    sys.stdout.write("\n".join(lines) + "\n")


def read_profile(path: Path | None) -> Profile:
    """Read the profile for SLURM; without a file nothing is limited, and no group makes one job with another."""
    if path is None:
        return Profile()
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    components = parse_group_components(content.get("group-components"))
    return Profile(content.get("jobs"), content.get("cores", sys.maxsize), components)


def _plan(config: Mapping[str, Any], snakefile: Path, profile: Profile) -> tuple[list[Any], list[Submission]]:
    """What Snakemake tells of each job behind the target `all`, and what a scheduler would get."""
    listener = _Listener()
    with SnakemakeApi(OutputSettings(dryrun=True)) as api:
        workflow = api.workflow(
            resource_settings=ResourceSettings(cores=profile.cores),
            config_settings=ConfigSettings(config=config),
            snakefile=snakefile,
        )
        dag = workflow.dag(DAGSettings(targets=["all"], forceall=True))
        # The plan itself is not printed.
        others = list(logger.handlers)
        for handler in others:
            logger.removeHandler(handler)
        logger.addHandler(listener)
        try:
            groups = GroupSettings(group_components=profile.components)
            dag.execute_workflow(executor="dryrun", group_settings=groups)
        finally:
            logger.removeHandler(listener)
            for handler in others:
                logger.addHandler(handler)
    return listener.told, listener.submissions


def _works(record: Any) -> bool:
    """Whether a job is more than a target, which only names files, and than a download, which runs where Snakemake does."""
    return "runtime" in record.resources.keys()  # noqa: SIM118 (not a dict)


def _planned(record: Any, plan: Plan) -> Planned:
    """A job as Snakemake tells of it; targets, which only name files, cost nothing."""
    resources, works = record.resources, _works(record)
    return Planned(
        record.rule_name,
        tuple(record.input),
        tuple(record.output),
        expected_minutes(plan, record.rule_name, record.wildcards, record.threads) if works else 0.0,
        record.threads,
        int(resources.get("gpu", 0)),
        int(resources.get("mem_mb", 0)) if works else 0,
    )


def table(jobs: Sequence[Planned]) -> Iterator[str]:
    """Lines of the table of all rules whose jobs take time, the longest together first, and the total."""
    by_rule: dict[str, list[Planned]] = defaultdict(list)
    for job in jobs:
        if job.minutes > 0:
            by_rule[job.rule].append(job)
    row = "{:24} {:>6} {:>10} {:>10} {:>12} {:>14}"
    yield row.format("rule", "jobs", "CPU hours", "GPU hours", "memory, GiB", "longest, min")
    sorted_rules = sorted(by_rule, key=lambda rule: -sum(job.minutes for job in by_rule[rule]))
    by_rule["total"] = [job for rule in sorted_rules for job in by_rule[rule]]
    for name in [*sorted_rules, "total"]:
        part = by_rule[name]
        cpu = sum(job.minutes * job.threads for job in part) / 60
        gpu = sum(job.minutes * job.gpus for job in part) / 60
        memory = max((job.memory_mb for job in part), default=0) / 1024
        longest = max((job.minutes for job in part), default=0.0)
        yield row.format(name, len(part), f"{cpu:.2f}", f"{gpu:.2f}", f"{memory:.1f}", f"{longest:.1f}")


def longest_chain(jobs: Sequence[Planned]) -> list[Planned]:
    """The jobs, in order, that take the longest one after the other: the least time on any number of machines."""
    makers = {path: job for job in jobs for path in job.outputs}
    ends: dict[Planned, float] = {}
    before: dict[Planned, Planned | None] = {}

    def waiting_for(job: Planned) -> list[Planned]:
        return list({makers[path]: None for path in job.inputs if path in makers})

    for target in jobs:
        waiting = [target]
        while waiting:
            job = waiting[-1]
            missing = [earlier for earlier in waiting_for(job) if earlier not in ends]
            if missing:
                waiting += missing
                continue
            waiting.pop()
            latest = max(waiting_for(job), key=ends.__getitem__, default=None)
            before[job] = latest
            ends[job] = job.minutes + (0.0 if latest is None else ends[latest])
    chain: list[Planned] = []
    last = max(jobs, key=ends.__getitem__, default=None)
    while last is not None:
        chain.append(last)
        last = before[last]
    return [job for job in reversed(chain) if job.minutes > 0]


def submission_lines(
    submissions: Sequence[Submission], partitions: Sequence[Partition], profile: Profile
) -> Iterator[str]:
    """What SLURM would get, which of it exceeds the partitions of the site's file, and which limits are to be looked up.

    Args:
        submissions: jobs as a scheduler would get them.
        partitions: of the site's file; none where it names none.
        profile: that for SLURM.
    """
    at_a_time = "" if profile.jobs is None else f", at most {profile.jobs} at a time (`jobs` in {PROFILE})"
    yield f"Submissions to SLURM: {len(submissions)}{at_a_time}."
    yield f"Largest requests: {', '.join(largest_requests(submissions)) or 'none'}."
    yield (
        "Limits to look up: MaxSubmitJobs (sacctmgr show assoc user=$USER format=account,maxsubmit; "
        "sacctmgr show qos format=name,maxsubmitpu), MaxTime and MaxMemPerNode of partitions (scontrol show partition)."
    )
    if not partitions:
        yield f"What exceeds them is said here once {SITE} names them under `partitions`."
        return
    too_large = list(excesses(submissions, partitions))
    if not too_large:
        yield f"Every job fits into a partition of {SITE}."
        return
    yield f"No partition in {SITE} accepts these: lower costs.most_minutes, or correct the section costs:"
    yield from (f"  {line}" for line in too_large)


def _chain_lines(jobs: Sequence[Planned]) -> Iterator[str]:
    chain = longest_chain(jobs)
    yield f"Longest chain, {sum(job.minutes for job in chain) / 60:.2f} hours:"
    for job in chain:
        folder = Path(job.outputs[0]).parent.name if job.outputs else ""
        yield f"  {job.minutes:8.1f} min  {job.rule}  {folder}"
