"""Opening files that somebody else may have made: only plain ones, of a limited size, without waiting.

A pipe, a device or a link may lie where a file should be, and a sparse file of any size costs its author nothing. A
file is checked before it is opened, opened without waiting, and checked again in case it was replaced in between.
"""

import json
import math
import os
import stat
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import Any

__all__ = ["NotPlainError", "check_plain", "entries_below", "open_plain", "read_json", "read_plain"]

OPEN = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
KINDS = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
DEEPEST_JSON = 32  # levels of nesting; records have six


class NotPlainError(OSError):
    """Not a plain file, or one that is too large; the message is a sentence that begins with "It"."""


def open_plain(path: Path, limit: float, root: Path | None = None) -> BufferedReader:
    """Open a plain file for reading.

    Args:
        path: of the file.
        limit: largest size in bytes.
        root: a folder, itself perhaps behind links, below which the file must lie, with no link on the way. None, for
            paths that users give, follows links.

    Raises:
        NotPlainError: a folder, pipe, socket, device or link, a file outside the root, or a larger one.
        OSError: the file is missing or unreadable.
    """
    if root is None:
        return _opened(path, None, limit)
    parts = path.relative_to(root).parts
    folder = os.open(root, FOLDER)
    try:
        for name in parts[:-1]:
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if not stat.S_ISDIR(status.st_mode):
                msg = f"It lies behind {name}, which is {_kind(status)}."
                raise NotPlainError(msg)
            if name == "..":
                msg = "It lies outside its folder."
                raise NotPlainError(msg)
            inner = os.open(name, FOLDER | os.O_NOFOLLOW, dir_fd=folder)
            os.close(folder)
            folder = inner
        return _opened(Path(parts[-1]), folder, limit)
    finally:
        os.close(folder)


def check_plain(path: Path) -> None:
    """Check that a file is plain, before a library that would wait for a pipe opens it; errors as `open_plain`."""
    open_plain(path, math.inf).close()


def _opened(path: Path, folder: int | None, limit: float) -> BufferedReader:
    links = folder is None
    # Before it is opened, as to open a device may have effects.
    _check(os.stat(path, dir_fd=folder, follow_symlinks=links), limit)
    descriptor = os.open(path, OPEN | (0 if links else os.O_NOFOLLOW), dir_fd=folder)
    try:
        _check(os.fstat(descriptor), limit)
    except BaseException:
        os.close(descriptor)
        raise
    return os.fdopen(descriptor, "rb")


def _kind(status: os.stat_result) -> str:
    return KINDS.get(stat.S_IFMT(status.st_mode), "a file")


def _check(status: os.stat_result, limit: float) -> None:
    if not stat.S_ISREG(status.st_mode):
        msg = f"It is {_kind(status)}, not a plain file."
        raise NotPlainError(msg)
    if status.st_size > limit:
        msg = f"It has {status.st_size} bytes; a file of this kind may have at most {limit:.0f}."
        raise NotPlainError(msg)


def read_plain(path: Path, limit: float, root: Path | None = None) -> bytes:
    """Read a plain file; see `open_plain`.

    Raises:
        OSError: see `open_plain`.
    """
    with open_plain(path, limit, root) as file:
        # A file that grows meanwhile is read no further.
        return file.read(os.fstat(file.fileno()).st_size)


def read_json(path: Path, limit: float, root: Path | None = None) -> Any:
    """Read JSON of at most `DEEPEST_JSON` levels from a plain file; see `open_plain`.

    Raises:
        OSError: see `open_plain`.
        ValueError: not JSON, not UTF-8, or nested more deeply.
    """
    nested = f"it is nested more than {DEEPEST_JSON} levels deep"
    try:
        content = json.loads(read_plain(path, limit, root).decode("utf-8"))
    except RecursionError:
        raise ValueError(nested) from None
    level = [content]
    for _ in range(DEEPEST_JSON + 1):
        level = [
            inner
            for value in level
            if isinstance(value, dict | list)
            for inner in (value.values() if isinstance(value, dict) else value)
        ]
    if level:
        raise ValueError(nested)
    return content


def entries_below(folder: Path, levels: int) -> Iterator[Path]:
    """Give everything in and below a folder except folders, in the order of names; links are not followed.

    A folder more than `levels` below, or an unreadable one, is given itself, and so is `folder` if it is no folder. A
    missing `folder` gives nothing.
    """
    try:
        status = folder.lstat()
    except FileNotFoundError:
        return
    if levels < 0 or not stat.S_ISDIR(status.st_mode):
        yield folder
        return
    try:
        names = sorted(os.listdir(folder))  # noqa: PTH208 (names alone)
    except OSError:
        yield folder
        return
    for name in names:
        yield from entries_below(folder / name, levels - 1)
