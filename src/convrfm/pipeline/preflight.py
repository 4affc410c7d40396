"""Checks before the first job: whether results can be written at all."""

import os
import shutil
from pathlib import Path

from convrfm.errors import StorageError

__all__ = ["LEAST_FREE_BYTES", "check_folder"]

LEAST_FREE_BYTES = 200 * 2**20
"""Free disk space under which no work is started."""


def check_folder(folder: Path) -> None:
    """Check that a folder, or the nearest one above it that exists, can be written to and has room.

    Raises:
        StorageError: it is read-only, not a folder, or its disk is nearly full.
    """
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not existing.is_dir():
        msg = f"{folder} cannot be written: {existing} is a file, not a folder."
        raise StorageError(msg)
    if not os.access(existing, os.W_OK | os.X_OK):
        msg = f"{folder} cannot be written: {existing} is read-only. Make it writable, or use `snakemake --directory`."
        raise StorageError(msg)
    free = shutil.disk_usage(existing).free
    if free < LEAST_FREE_BYTES:
        msg = (
            f"{folder} has {free / 2**20:.0f} MiB of free disk space, and at least {LEAST_FREE_BYTES / 2**20:.0f} MiB are "
            "needed: free some, or use `snakemake --directory`."
        )
        raise StorageError(msg)
