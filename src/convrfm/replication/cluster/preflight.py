"""Checks before the first job: whether results can be written at all, and jobs be started."""

import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from convrfm.errors import ConfigError, StorageError

__all__ = ["LEAST_FREE_BYTES", "check_folder", "check_paths"]

LEAST_FREE_BYTES = 200 * 2**20
"""Free disk space under which no work is started."""


ELSEWHERE = "copy config.yaml to another folder and call `snakemake --directory <folder>`."
"""How results are written somewhere else."""

READ_BY_SHELL = re.compile(r"""[\s"'`$\\;&|<>(){}*?:\[]""")
"""What the shell, or Snakemake's formatting, takes for something else in the path of Python, found by trying."""

READ_IN_QUOTES = re.compile(r"""["`$\\{}\t\n]""")
"""The same in the paths of folders, which Snakemake quotes. `envs/setup.sh` has both lists, too."""


def check_paths(python: str, folders: Iterable[Path]) -> None:
    """Check that Snakemake can start jobs: it puts these paths into commands of the shell.

    Args:
        python: the interpreter that Snakemake runs on, which is that of its jobs.
        folders: where the workflow lies, and where it is called.

    Raises:
        ConfigError: it cannot.
    """
    if found := READ_BY_SHELL.search(python):
        msg = (
            f"Jobs cannot be started with {python}: {found[0]!r} in its path means something to the shell. Make the "
            "environment in a folder without such characters: `sh envs/setup.sh /another/folder`, and activate that; or move "
            "the project."
        )
        raise ConfigError(msg)
    for folder in folders:
        if found := READ_IN_QUOTES.search(str(folder)):
            msg = f"Jobs cannot be started in {folder}: {found[0]!r} in its path means something to the shell. Move it."
            raise ConfigError(msg)


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
        msg = f"{folder} cannot be written: {existing} is read-only. Make it writable, or {ELSEWHERE}"
        raise StorageError(msg)
    free = shutil.disk_usage(existing).free
    if free < LEAST_FREE_BYTES:
        msg = (
            f"{folder} has {free / 2**20:.0f} MiB of free disk space, and at least {LEAST_FREE_BYTES / 2**20:.0f} MiB are "
            f"needed: free some, or {ELSEWHERE}"
        )
        raise StorageError(msg)
