"""A SLURM site: its file `slurm/site.yaml`, which git ignores, and which jobs of a plan its partitions do not accept."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, field_validator
from snakemake.exceptions import WorkflowError
from snakemake_executor_plugin_slurm.partitions import (
    Partition,
    get_job_cpu_requirement,
    parse_gpu_requirements,
    read_partition_file,
)

from convrfm.errors import ConfigError
from convrfm.replication.config.models import Model
from convrfm.replication.config.validation import read_yaml, validated

__all__ = ["SITE", "Site", "Submission", "excesses", "largest_requests", "load_site", "read_partitions"]

SITE = Path("slurm/site.yaml")
"""The file, beside the profile."""

PLACEMENT = {"partition": "slurm_partition", "constraint": "constraint", "qos": "qos", "extra": "slurm_extra"}
"""Snakemake's names of what may differ for jobs with a GPU."""

SUBJECTS = ("task", "dataset", "network")
"""Wildcards that say what a job is about."""

# Accounts are numbers at some sites.
Text = Annotated[str, BeforeValidator(lambda value: str(value) if type(value) is int else value), Field(min_length=1)]


class _Placement(Model):
    """Where jobs go."""

    partition: Text | None = Field(None, description="as for `sbatch -p`")
    constraint: Text | None = Field(None, description="features of nodes, as for `sbatch -C`")
    qos: Text | None = Field(None, description="as for `sbatch --qos`")
    extra: Text | None = Field(None, description="further options of `sbatch`, such as --reservation=mine")


class _GPUs(_Placement):
    """What differs for jobs with a GPU: keys that are left out are as for the others, and null removes them."""

    model: Text | None = Field(None, pattern=r"^[A-Za-z0-9_.]+$", description="the type, as in `sbatch --gpus=h100:1`")
    gres: Text | None = Field(
        None,
        pattern=r"^gpu(:[A-Za-z_.][A-Za-z0-9_.]*)?$",
        description="the name, as in `sbatch --gres=gpu:h100:1`, for sites without --gpus; without the number",
    )


class Site(_Placement):
    """The file; a key that is left out adds nothing to `sbatch`."""

    account: Text | None = Field(None, description="as for `sbatch -A`")
    gpu: _GPUs = Field(default_factory=_GPUs, description="what differs for jobs with a GPU")
    partitions: dict[str, dict[str, Any]] | None = Field(
        None,
        description="limits of partitions; each job gets the one that fits best, unless `partition` names one. The keys are "
        "those of Snakemake's SLURM plugin: max_runtime (minutes), max_mem_mb, max_cpus_per_task, max_gpu, ...",
    )

    @field_validator("gpu", mode="before")
    @classmethod
    def _all_keys_may_be_left_out(cls, given: Any) -> Any:
        return {} if given is None else given

    def resources(self, gpus: int) -> dict[str, str | int]:
        """Snakemake's resources of a job with so many GPUs on one node, as its SLURM plugin names them, if the file sets them."""
        of_gpus = self.gpu if gpus else _GPUs()
        found: dict[str, str | int | None] = {"slurm_account": self.account}
        for key, name in PLACEMENT.items():
            found[name] = getattr(of_gpus if key in of_gpus.model_fields_set else self, key)
        if gpus:
            by_gres = {"gres": f"{of_gpus.gres}:{gpus}"}
            found |= {"nodes": 1} | ({"gpu": gpus, "gpu_model": of_gpus.model} if of_gpus.gres is None else by_gres)
        return {name: value for name, value in found.items() if value is not None}


def load_site(folder: Path) -> Site:
    """Read the site's file in the folder in which Snakemake was called; without a file the site has no wishes.

    Raises:
        ConfigError: it cannot be read, is not YAML, or has wrong keys or values.
    """
    try:
        values = read_yaml(folder / SITE, str(SITE))
    except FileNotFoundError:
        return Site()
    return validated(Site, {} if values is None else values, str(SITE))


def read_partitions(folder: Path) -> list[Partition]:
    """The partitions of the site's file, if any; arguments and errors as of `load_site`."""
    if load_site(folder).partitions is None:
        return []
    try:
        found: list[Partition] = read_partition_file(folder / SITE)
    except (WorkflowError, TypeError, ValueError, KeyError, AttributeError) as error:
        msg = f"{SITE}: partitions: {error}."
        raise ConfigError(msg) from None
    return found


@dataclass(frozen=True)
class Submission:
    """A job as a scheduler would get it: one of the workflow, or a group of them, without wildcards.

    `resources` (`runtime` in minutes, `mem_mb`, `gpu`, ...) and `threads` have the names that the SLURM plugin reads.
    """

    name: str
    resources: Mapping[str, Any]
    threads: int
    wildcards: Mapping[str, str]

    @property
    def subject(self) -> str:
        """The rule, and what it is about."""
        about = next((self.wildcards[key] for key in SUBJECTS if key in self.wildcards), "")
        return f"{self.name} {about}".rstrip()

    @property
    def amounts(self) -> dict[str, int]:
        """Minutes, memory on one node, CPUs of its task and GPUs that it requests, by unit."""
        return {
            "min": int(self.resources.get("runtime", 0)),
            "MB": int(self.resources.get("mem_mb", 0)),
            "CPU": int(get_job_cpu_requirement(self)[0]),
            "GPU": int(parse_gpu_requirements(self)[0]),
        }


def largest_requests(submissions: Sequence[Submission]) -> Iterator[str]:
    """The largest request of each kind, and the job that makes it."""
    requests = [(unit, amount, job.subject) for job in submissions for unit, amount in job.amounts.items()]
    for unit in ("min", "MB", "CPU", "GPU"):
        largest = max((each for each in requests if each[0] == unit), key=lambda each: each[1], default=None)
        if largest is not None and largest[1] > 0:
            yield f"{largest[1]} {unit} ({largest[2]})"


def excesses(submissions: Sequence[Submission], partitions: Sequence[Partition]) -> Iterator[str]:
    """Which jobs no partition of the site accepts, or not the one that they name, and why; a line for each rule and subject."""
    found = Counter[str]()
    for job in submissions:
        named = job.resources.get("slurm_partition")
        candidates = [partition for partition in partitions if named in (None, partition.name)]
        if named is not None and not candidates:
            found[f"{job.subject}: partition {named} is missing in {SITE}"] += 1
        elif all(partition.score_job_fit(job) is None for partition in candidates):
            # Where a GPU is needed, only partitions that have some are of interest.
            with_gpus = [partition for partition in candidates if partition.limits.max_gpu >= job.amounts["GPU"]]
            reasons = "; ".join(_reason(job, partition) for partition in with_gpus or candidates)
            found[f"{job.subject}: {reasons}"] += 1
    for sentence, number in found.items():
        yield sentence if number == 1 else f"{sentence} ({number} jobs)"


def _reason(job: Submission, partition: Partition) -> str:
    """Which limits of a partition a job exceeds."""
    of = partition.limits
    limits = (of.max_runtime, of.max_mem_mb, min(of.max_cpus_per_task, of.max_threads), of.max_gpu)
    too_much = [
        f"{amount} {unit}, but {partition.name} allows {limit:.0f}"
        for (unit, amount), limit in zip(job.amounts.items(), limits, strict=True)
        if amount > limit
    ]
    return ", and ".join(too_much) or f"another limit of {partition.name}"
