"""Where jobs run: checks before the first of them, orphans of a killed Snakemake, failed attempts, and the site of a SLURM.

The file of a site, `slurm/site.yaml`, is ignored by git.
"""

import os
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator
from snakemake.exceptions import WorkflowError
from snakemake_executor_plugin_slurm.partitions import (
    Partition,
    get_job_cpu_requirement,
    parse_gpu_requirements,
    read_partition_file,
)

from convrfm.errors import ConfigError, StorageError
from convrfm.replication.config.models import Model
from convrfm.replication.config.validation import read_yaml, validated

__all__ = [
    "SITE", "Shortage", "Site", "Submission", "ask_slurm", "cancel_orphans", "check_folder", "check_paths", "excesses",
    "growth", "largest_requests", "load_site", "note_failure", "read_partitions",
]  # fmt: skip

LEAST_FREE_BYTES = 200 * 2**20  # free disk space below which no work is started

ELSEWHERE = "copy config.yaml to another folder and call `snakemake --directory <folder>`."
"""How results are written somewhere else."""

READ_BY_SHELL = re.compile(r"""[\s"'`$\\;&|<>(){}*?:\[]""")
"""Characters in the path of Python that the shell, or Snakemake's formatting, interprets; found by trying."""

READ_IN_QUOTES = re.compile(r"""["`$\\{}\t\n]""")
"""The same in the paths of folders, which Snakemake quotes. `envs/setup.sh` has both lists, too."""

SECONDS_FOR_AN_ANSWER = 60

COMMENTS = ("rule_", "group_")  # how the comment of every job that Snakemake submits to SLURM begins


def check_paths(python: str, folders: Iterable[Path]) -> None:
    """Check that Snakemake can start jobs: it puts the paths of its interpreter and of its folders into shell commands.

    Raises:
        ConfigError: a path has a character that the shell interprets.
    """
    if found := READ_BY_SHELL.search(python):
        msg = (
            f"Jobs cannot be started with {python}: {found[0]!r} in its path is special to the shell. Create the environment "
            "in a folder without such characters (`sh envs/setup.sh /another/folder`) and activate it, or move the project."
        )
        raise ConfigError(msg)
    for folder in folders:
        if found := READ_IN_QUOTES.search(str(folder)):
            msg = f"Jobs cannot be started in {folder}: {found[0]!r} in its path is special to the shell. Move the folder."
            raise ConfigError(msg)


def check_folder(folder: Path) -> None:
    """Check that a folder, or its nearest parent that exists, is writable and has space.

    Raises:
        StorageError: it is read-only, not a folder, or its disk is nearly full.
    """
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if not existing.is_dir():
        msg = f"{folder} cannot be written: {existing} is a file, not a folder."
    elif not os.access(existing, os.W_OK | os.X_OK):
        msg = f"{folder} cannot be written: {existing} is read-only. Make it writable, or {ELSEWHERE}"
    elif free < LEAST_FREE_BYTES:
        msg = (
            f"{folder} has only {free / 2**20:.0f} MiB of free disk space, but at least {LEAST_FREE_BYTES / 2**20:.0f} MiB "
            f"are needed. Free some, or {ELSEWHERE}"
        )
    else:
        return
    raise StorageError(msg)


def cancel_orphans(folder: Path) -> list[str]:
    """Cancel the user's jobs in SLURM's queue that Snakemake submitted from a folder; returns their ids.

    Orphans would write files that the next Snakemake works on. Call this only with Snakemake's lock on the folder: the
    Snakemake that submitted them is then dead. Without SLURM, or when it does not answer, nothing happens.
    """
    orphans = set()
    for line in (ask_slurm(["squeue", "--me", "--noheader", "--format=%A|%Z|%k"]) or "").splitlines():
        job, _, rest = line.strip().partition("|")
        place, _, comment = rest.partition("|")
        if comment.startswith(COMMENTS) and Path(place).resolve() == folder.resolve():
            orphans.add(job)
    if orphans:
        ask_slurm(["scancel", *sorted(orphans)])
    return sorted(orphans)


def ask_slurm(command: Sequence[str]) -> str | None:
    """What a SLURM command prints; None if it fails, hangs or is not installed."""
    try:
        done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False, timeout=SECONDS_FOR_AN_ANSWER)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


Shortage = Literal["time", "memory"]

_Job = tuple[str, tuple[tuple[str, str], ...]]

_failures: dict[_Job, dict[int, Shortage | None]] = {}
"""What each failed attempt of a job ran out of, if anything; Snakemake itself does not tell its next attempt."""


def note_failure(rule: str, wildcards: Mapping[str, str], attempt: int, shortage: Shortage | None) -> None:
    """Note what an attempt (from 1) of a job ran out of, None if it failed for another reason; only its first note counts."""
    _failures.setdefault(_job(rule, wildcards), {}).setdefault(attempt, shortage)


def growth(rule: str, wildcards: Mapping[str, str], attempt: int, of: Shortage) -> int:
    """Factor, from 1, by which an attempt gets more time or memory than the first one.

    Only what ran out grows. Where nobody notes failures, as on schedulers other than SLURM, both grow with each attempt.
    """
    noted = _failures.get(_job(rule, wildcards))
    return attempt if noted is None else 1 + Counter(noted.values())[of]


def _job(rule: str, wildcards: Mapping[str, str]) -> _Job:
    return rule, tuple(sorted((name, str(value)) for name, value in wildcards.items()))


SITE = Path("slurm/site.yaml")  # the file, beside the profile

PLACEMENT = {"partition": "slurm_partition", "constraint": "constraint", "qos": "qos", "extra": "slurm_extra"}
"""Snakemake's names of what may differ for jobs with a GPU."""

SUBJECTS = ("task", "dataset", "network")  # wildcards that say what a job is about

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
        """Snakemake's resources of a job with so many GPUs on one node, as its SLURM plugin names them, if set."""
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
    of = partition.limits
    limits = (of.max_runtime, of.max_mem_mb, min(of.max_cpus_per_task, of.max_threads), of.max_gpu)
    too_much = [
        f"{amount} {unit}, but {partition.name} allows {limit:.0f}"
        for (unit, amount), limit in zip(job.amounts.items(), limits, strict=True)
        if amount > limit
    ]
    return ", and ".join(too_much) or f"another limit of {partition.name}"
