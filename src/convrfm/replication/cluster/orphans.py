"""Jobs of SLURM whose Snakemake has died: they would go on, and write what another Snakemake has in its hands."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

__all__ = ["ask_slurm", "cancel_orphans"]

SECONDS_FOR_AN_ANSWER = 60
COMMENTS = ("rule_", "group_")
"""What the comment of every job starts with that Snakemake submits."""


def cancel_orphans(folder: Path) -> list[str]:
    """Cancel all own jobs in SLURM's queue that Snakemake has submitted from a folder; gives their ids.

    Only a Snakemake that holds the lock on the folder may do so: all such jobs then belong to others that are dead.
    Without SLURM, or without an answer of its, nothing happens.
    """
    squeue, scancel = shutil.which("squeue"), shutil.which("scancel")
    if squeue is None or scancel is None:
        return []
    answer = ask_slurm([squeue, "--me", "--noheader", "--format=%A|%Z|%k"]) or ""
    orphans = []
    for line in answer.splitlines():
        job, _, rest = line.strip().partition("|")
        place, _, comment = rest.partition("|")
        if comment.startswith(COMMENTS) and Path(place).resolve() == folder.resolve():
            orphans.append(job)
    orphans = sorted(set(orphans))
    if orphans:
        ask_slurm([scancel, *orphans])
    return orphans


def ask_slurm(command: Sequence[str]) -> str | None:
    """What a command of SLURM prints; None where it fails, hangs or is not installed."""
    try:
        done = subprocess.run(
            command, capture_output=True, encoding="utf-8", check=False, timeout=SECONDS_FOR_AN_ANSWER
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
