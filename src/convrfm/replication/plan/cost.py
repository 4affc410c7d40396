"""The expected cost of a whole preset, before anything is submitted: `snakemake cost`."""

import logging
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

from snakemake.api import SnakemakeApi
from snakemake.cli import parse_group_components
from snakemake.logging import logger
from snakemake.resources import GroupResources
from snakemake.settings.types import ConfigSettings, DAGSettings, GroupSettings, OutputSettings, ResourceSettings
from snakemake_executor_plugin_slurm.partitions import Partition

from convrfm.datasets.registry import REGISTRY
from convrfm.replication.cluster.site import SITE, Submission, excesses, largest_requests, read_partitions
from convrfm.replication.config.validation import read_yaml
from convrfm.replication.plan.fits import expected_minutes
from convrfm.replication.plan.plan import Plan
from convrfm.replication.plan.presets import load_settings
from convrfm.replication.record.session import Job

__all__ = ["Planned", "longest_chain", "print_cost", "table"]

PROFILE = Path("slurm/config.yaml")
"""The profile for SLURM, in the working folder of Snakemake, or else beside the Snakefile."""


@dataclass(frozen=True)
class Planned:
    """One job of a plan: its files, its expected minutes (0 for targets, which only name files), and what it requests."""

    rule: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    minutes: float
    threads: int
    gpus: int
    memory_mb: int


class _Listener(logging.Handler):
    """Keeps what Snakemake reports of the jobs that it would run: its records of jobs, and submissions to a scheduler."""

    def __init__(self) -> None:
        super().__init__()
        self.jobs: list[Any] = []
        self.submissions: list[Submission] = []

    def emit(self, record: Any) -> None:
        event = getattr(getattr(record, "event", None), "name", None)
        if event == "GROUP_INFO":
            first = next(iter(record.jobs))
            group = first.dag.get_job_group(first)
            # The resources that the group requests when it is submitted, and not run here.
            request = GroupResources.basic_layered(group.toposorted, group.global_resources, run_local=False)
            self.submissions.append(Submission(f"group {group.name}", request, request["_cores"], {}))
        elif event == "JOB_INFO":
            self.jobs.append(record)
            # Jobs of a group are indented below it.
            if _works(record) and not record.indent:
                self.submissions.append(Submission(record.rule_name, record.resources, record.threads, record.wildcards))


def print_cost(job: Job) -> None:
    """Print CPU and GPU hours by rule, the longest chain of jobs, what SLURM would get, and the size of the downloads.

    All jobs are counted, finished or not, as if all data were present.

    Raises:
        ConfigError: the site's file is wrong.
    """
    config = {**job.settings["config"], "assume_data": True}
    root = Path(job.settings["root"])
    settings = load_settings(config, root / "workflow" / "presets")
    profile: Mapping[str, Any] = next((read_yaml(path, str(path)) for path in (PROFILE, root / PROFILE) if path.is_file()), {})
    partitions = read_partitions(Path.cwd())
    found = _plan(config, root / "Snakefile", profile)
    plan = Plan(settings, lambda _: {"state": "present", "digest": ""})
    jobs = [_planned(record, plan) for record in found.jobs if record.rule_name != "fetch"]
    fetched = [record.wildcards["dataset"] for record in found.jobs if record.rule_name == "fetch"]
    title = f"preset {settings.config.preset}, protocol {settings.config.protocol}, seeds {settings.config.seeds}"
    submissions = _submission_lines(found.submissions, partitions, profile.get("jobs"))
    lines = [title, "", *table(jobs), "", *_chain_lines(jobs), "", *submissions]
    if fetched:
        size = sum(REGISTRY[name].megabytes for name in fetched) / 1000
        lines += ["", f"Data and weights: {len(fetched)} sets, {size:.1f} GB to fetch if none is present."]
    sys.stdout.write("\n".join(lines) + "\n")


def _plan(config: Mapping[str, Any], snakefile: Path, profile: Mapping[str, Any]) -> _Listener:
    """What Snakemake reports of all jobs behind the target `all`."""
    listener = _Listener()
    with SnakemakeApi(OutputSettings(dryrun=True)) as api:
        workflow = api.workflow(
            resource_settings=ResourceSettings(cores=profile.get("cores", sys.maxsize)),
            config_settings=ConfigSettings(config=config),
            snakefile=snakefile,
        )
        dag = workflow.dag(DAGSettings(targets=["all"], forceall=True))
        # The plan itself is not printed.
        others, logger.handlers = logger.handlers, [listener]
        try:
            groups = GroupSettings(group_components=parse_group_components(profile.get("group-components")))
            dag.execute_workflow(executor="dryrun", group_settings=groups)
        finally:
            logger.handlers = others
    return listener


def _works(record: Any) -> bool:
    """Whether a job is more than a target or a download, which runs where Snakemake does."""
    return "runtime" in record.resources.keys()  # noqa: SIM118 (not a dict)


def _planned(record: Any, plan: Plan) -> Planned:
    works = _works(record)
    return Planned(
        record.rule_name,
        tuple(record.input),
        tuple(record.output),
        expected_minutes(plan, record.rule_name, record.wildcards, record.threads) if works else 0.0,
        record.threads,
        int(record.resources.get("gpu", 0)),
        int(record.resources.get("mem_mb", 0)) if works else 0,
    )


def table(jobs: Sequence[Planned]) -> Iterator[str]:
    """Lines of the table of all rules whose jobs take time, the longest in total first, and their total."""
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
    """The chain of jobs, in order, that takes longest: the least time on any number of machines."""
    makers = {path: job for job in jobs for path in job.outputs}
    needs = {job: [makers[path] for path in dict.fromkeys(job.inputs) if path in makers] for job in jobs}
    before: dict[Planned, Planned | None] = {}
    ends: dict[Planned | None, float] = {None: 0.0}
    for job in TopologicalSorter(needs).static_order():
        before[job] = max(needs[job], key=ends.__getitem__, default=None)
        ends[job] = job.minutes + ends[before[job]]
    chain: list[Planned] = []
    last = max(jobs, key=ends.__getitem__, default=None)
    while last is not None:
        chain.append(last)
        last = before[last]
    return [job for job in reversed(chain) if job.minutes > 0]


def _chain_lines(jobs: Sequence[Planned]) -> Iterator[str]:
    chain = longest_chain(jobs)
    yield f"Longest chain, {sum(job.minutes for job in chain) / 60:.2f} hours:"
    for job in chain:
        folder = Path(job.outputs[0]).parent.name if job.outputs else ""
        yield f"  {job.minutes:8.1f} min  {job.rule}  {folder}"


def _submission_lines(
    submissions: Sequence[Submission], partitions: Sequence[Partition], most_jobs: int | None
) -> Iterator[str]:
    """What SLURM would get, which of it exceeds the site's partitions, and which limits to look up."""
    at_a_time = "" if most_jobs is None else f", at most {most_jobs} at a time (`jobs` in {PROFILE})"
    yield f"Submissions to SLURM: {len(submissions)}{at_a_time}."
    yield f"Largest requests: {', '.join(largest_requests(submissions)) or 'none'}."
    yield (
        "Limits to look up: MaxSubmitJobs (sacctmgr show assoc user=$USER format=account,maxsubmit; "
        "sacctmgr show qos format=name,maxsubmitpu), MaxTime and MaxMemPerNode of partitions (scontrol show partition)."
    )
    too_large = list(excesses(submissions, partitions)) if partitions else []
    if not partitions:
        yield f"To see which jobs exceed them, add `partitions` to {SITE}."
    elif not too_large:
        yield f"Every job fits into a partition of {SITE}."
    else:
        yield f"No partition in {SITE} accepts these. Lower costs.most_minutes, or correct the section costs:"
        yield from (f"  {line}" for line in too_large)
