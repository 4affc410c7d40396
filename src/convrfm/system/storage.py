"""Files: atomic writes, hashes, and careful reading of what somebody else may have made.

A written file is complete or absent, whatever happens. For reading, a pipe, a device or a link may lie where a file should be,
and a sparse file of any size costs its author nothing: a file is checked before it is opened, opened without waiting, and
checked again in case it was replaced in between.
"""

import errno
import hashlib
import json
import math
import os
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from safetensors import safe_open
from safetensors.numpy import load_file, save

from convrfm.errors import StorageError, refuse

__all__ = [
    "NotPlainError", "check_plain", "clear_leftovers", "digest_of", "entries_below", "explained_writes", "load_arrays",
    "open_plain", "read_arrays", "read_json", "sha256", "write_arrays", "write_atomically",
    "write_bytes", "write_json", "write_table",
]  # fmt: skip

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


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Have `write` fill a temporary file beside `path`, then move it there; a failure leaves nothing behind.

    Raises:
        StorageError: the folder is read-only or the disk is full.
    """
    temporary: Path | None = None
    try:
        with explained_writes(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            # Some writers choose the format by the suffix.
            descriptor, name = tempfile.mkstemp(prefix=".tmp-", suffix=f"-{path.name}", dir=path.parent)
            os.close(descriptor)
            temporary = Path(name)
            write(temporary)
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            umask = os.umask(0)
            os.umask(umask)
            temporary.chmod(0o666 & ~umask)
            temporary.replace(path)
    finally:
        if temporary is not None:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


@contextmanager
def explained_writes(path: Path) -> Iterator[None]:
    """Say in a sentence why a write to `path` has failed.

    Raises:
        StorageError: the folder is read-only or the disk is full.
    """
    try:
        yield
    except OSError as error:
        reason = {
            errno.ENOSPC: "the disk is full",
            errno.EDQUOT: "the disk quota is used up",
            errno.EROFS: "the file system is read-only",
            errno.EACCES: "the folder may not be written to",
            errno.EPERM: "the folder may not be written to",
        }.get(error.errno or 0, str(error))
        msg = f"{path} cannot be written: {reason}. No partial file is left; free space, or choose another folder."
        raise StorageError(msg) from error


def sha256(path: Path) -> str:
    """SHA-256 (hex) of a plain file, perhaps behind links.

    Raises:
        OSError: the file is missing, not plain, or unreadable.
    """
    with open_plain(path, math.inf) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def clear_leftovers(path: Path) -> None:
    """Remove temporary files that killed writers of `path` left."""
    for leftover in path.parent.glob(f".tmp-*-{path.name}"):
        leftover.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write bytes atomically; errors as `write_atomically`."""
    write_atomically(path, lambda temporary: temporary.write_bytes(content))


def write_json(path: Path, content: Any) -> None:
    """Write JSON with sorted keys atomically; NaN is refused, as JSON has none; errors as `write_atomically`."""
    text = json.dumps(content, indent=1, sort_keys=True, allow_nan=False)
    write_bytes(path, f"{text}\n".encode())


def write_arrays(path: Path, arrays: dict[str, np.ndarray], metadata: dict[str, str] | None = None) -> None:
    """Write named arrays as safetensors atomically, in the order of their names; errors as `write_atomically`."""
    ordered = {name: np.asarray(arrays[name], order="C") for name in sorted(arrays)}
    write_bytes(path, save(ordered, metadata))


def load_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read what `write_arrays` wrote; errors as `read_arrays`."""
    check_plain(path)
    arrays: dict[str, np.ndarray] = load_file(path)
    return arrays


def read_arrays(path: Path) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    """Header and arrays of a safetensors file.

    Raises:
        OSError, SafetensorError: the file is missing or unreadable.
    """
    check_plain(path)
    with safe_open(path, framework="numpy") as file:
        return file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)


def digest_of(content: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 (hex) of a description as JSON, and of the names, types, shapes and bytes of arrays."""
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode())
    for name in sorted(arrays):
        array = np.asarray(arrays[name], order="C")
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(array.data)
    return digest.hexdigest()


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a table atomically, as Parquet or CSV by the suffix of the path; errors as `write_atomically`."""
    write = table.to_parquet if path.suffix == ".parquet" else partial(table.to_csv, lineterminator="\n")
    write_atomically(path, partial(write, index=False))


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
            refuse(not stat.S_ISDIR(status.st_mode), f"It lies behind {name}, which is {_kind(status)}.", NotPlainError)
            refuse(name == "..", "It lies outside its folder.", NotPlainError)
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
    refuse(not stat.S_ISREG(status.st_mode), f"It is {_kind(status)}, not a plain file.", NotPlainError)
    too_large = f"It has {status.st_size} bytes; a file of this kind may have at most {limit:.0f}."
    refuse(status.st_size > limit, too_large, NotPlainError)


def read_json(path: Path, limit: float, root: Path | None = None) -> Any:
    """Read JSON of at most `DEEPEST_JSON` levels from a plain file; arguments and other errors as of `open_plain`.

    Raises:
        ValueError: not JSON, not UTF-8, or nested more deeply.
    """
    nested = f"it is nested more than {DEEPEST_JSON} levels deep"
    with open_plain(path, limit, root) as file:
        # A file that grows meanwhile is read no further.
        text = file.read(os.fstat(file.fileno()).st_size).decode("utf-8")
    try:
        content = json.loads(text)
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
