"""What Snakemake needs to start: checks before the first job, jobs that a killed Snakemake left, and why attempts failed."""

import os
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from convrfm.errors import ConfigError, StorageError

__all__ = ["Shortage", "ask_slurm", "cancel_orphans", "check_folder", "check_paths", "growth", "note_failure"]

LEAST_FREE_BYTES = 200 * 2**20
"""Free disk space below which no work is started."""

ELSEWHERE = "copy config.yaml to another folder and call `snakemake --directory <folder>`."
"""How results are written somewhere else."""

READ_BY_SHELL = re.compile(r"""[\s"'`$\\;&|<>(){}*?:\[]""")
"""Characters in the path of Python that the shell, or Snakemake's formatting, interprets; found by trying."""

READ_IN_QUOTES = re.compile(r"""["`$\\{}\t\n]""")
"""The same in the paths of folders, which Snakemake quotes. `envs/setup.sh` has both lists, too."""

SECONDS_FOR_AN_ANSWER = 60

COMMENTS = ("rule_", "group_")
"""How the comment of every job that Snakemake submits to SLURM begins."""


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
    squeue, scancel = shutil.which("squeue"), shutil.which("scancel")
    if squeue is None or scancel is None:
        return []
    orphans = set()
    for line in (ask_slurm([squeue, "--me", "--noheader", "--format=%A|%Z|%k"]) or "").splitlines():
        job, _, rest = line.strip().partition("|")
        place, _, comment = rest.partition("|")
        if comment.startswith(COMMENTS) and Path(place).resolve() == folder.resolve():
            orphans.add(job)
    if orphans:
        ask_slurm([scancel, *sorted(orphans)])
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
