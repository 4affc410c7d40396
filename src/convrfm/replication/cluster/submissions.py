"""What a scheduler would get of a plan: how many jobs, how large they are, and which of them no partition takes."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from snakemake.exceptions import WorkflowError
from snakemake_executor_plugin_slurm.partitions import (
    Partition,
    get_job_cpu_requirement,
    parse_gpu_requirements,
    read_partition_file,
)

from convrfm.errors import ConfigError
from convrfm.replication.cluster.site import SITE, load_site

__all__ = ["Submission", "excesses", "largest_requests", "read_partitions"]

ABOUT = ("task", "dataset", "network")
"""Wildcards that say what a job is about."""

UNITS = ("min", "MB", "CPU", "GPU")
"""Of what jobs ask for."""


@dataclass(frozen=True)
class Submission:
    """A job as a scheduler would get it: one of the workflow, or a group of them.

    What Snakemake's plugin for SLURM reads of its jobs has the plugin's names.

    Attributes:
        name: of the rule, or of the group with its rules.
        resources: what it asks for, by Snakemake's names: `runtime` in minutes, `mem_mb`, `gpu`, ...
        threads: CPUs.
        wildcards: of its rule; none of a group.
    """

    name: str
    resources: Mapping[str, Any]
    threads: int
    wildcards: Mapping[str, str]

    @property
    def subject(self) -> str:
        """The rule, and what it is about."""
        about = next((self.wildcards[key] for key in ABOUT if key in self.wildcards), "")
        return f"{self.name} {about}".rstrip()

    @property
    def minutes(self) -> int:
        """After which SLURM may end it."""
        return int(self.resources.get("runtime", 0))

    @property
    def memory_mb(self) -> int:
        """MiB on a node."""
        return int(self.resources.get("mem_mb", 0))

    @property
    def cpus(self) -> int:
        """CPUs of its task."""
        return int(get_job_cpu_requirement(self)[0])

    @property
    def gpus(self) -> int:
        """However they are asked for."""
        return int(parse_gpu_requirements(self)[0])


def largest_requests(submissions: Sequence[Submission]) -> Iterator[str]:
    """Say the most that any of the jobs asks for, of each kind, and which job it is."""
    asked = [(job, *amount) for job in submissions for amount in _amounts(job).items()]
    for unit in UNITS:
        job, _, amount = max(
            (each for each in asked if each[1] == unit), key=lambda each: each[2], default=(None, unit, 0)
        )
        if job is not None and amount > 0:
            yield f"{amount} {unit} ({job.subject})"


def _amounts(job: Submission) -> dict[str, int]:
    return dict(zip(UNITS, (job.minutes, job.memory_mb, job.cpus, job.gpus), strict=True))


def read_partitions(folder: Path) -> list[Partition]:
    """The partitions of the site's file; none where it names none.

    Args:
        folder: where Snakemake was called.

    Raises:
        ConfigError: the file is wrong.
    """
    if load_site(folder).partitions is None:
        return []
    try:
        found: list[Partition] = read_partition_file(folder / SITE)
    except (WorkflowError, TypeError, ValueError, KeyError, AttributeError) as error:
        msg = f"{SITE}: partitions: {error}."
        raise ConfigError(msg) from None
    return found


def excesses(submissions: Sequence[Submission], partitions: Sequence[Partition]) -> Iterator[str]:
    """Say which jobs no partition takes, or not the one that they name, and why; those of one rule and subject together.

    Args:
        submissions: all jobs.
        partitions: all that there are.
    """
    found = Counter[str]()
    for job in submissions:
        named = job.resources.get("slurm_partition")
        open_to_it = [partition for partition in partitions if named in (None, partition.name)]
        if named is not None and not open_to_it:
            found[f"{job.subject}: partition {named}, which {SITE} does not describe"] += 1
        elif all(partition.score_job_fit(job) is None for partition in open_to_it):
            found[f"{job.subject}: {_reasons(job, open_to_it)}"] += 1
    for sentence, number in found.items():
        yield sentence if number == 1 else f"{sentence} ({number} jobs)"


def _reasons(job: Submission, partitions: Sequence[Partition]) -> str:
    """What is too much, for the partitions that are nearest: where a GPU is needed, those that have any."""
    with_gpus = [partition for partition in partitions if partition.limits.max_gpu >= job.gpus]
    return "; ".join(_reason(job, partition) for partition in with_gpus or partitions)


def _reason(job: Submission, partition: Partition) -> str:
    of = partition.limits
    limits = (of.max_runtime, of.max_mem_mb, min(of.max_cpus_per_task, of.max_threads), of.max_gpu)
    too_much = [
        f"{asked} {unit}, but {partition.name} allows {limit:.0f}"
        for (unit, asked), limit in zip(_amounts(job).items(), limits, strict=True)
        if asked > limit
    ]
    return ", and ".join(too_much) or f"another limit of {partition.name}"
