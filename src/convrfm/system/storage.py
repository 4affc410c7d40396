"""Atomic writes: a file is complete or absent, whatever happens. And hashes of files and arrays."""

import errno
import hashlib
import json
import math
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from safetensors import safe_open
from safetensors.numpy import load_file, save

from convrfm.errors import StorageError
from convrfm.system.plain_files import check_plain, open_plain

__all__ = [
    "clear_leftovers", "digest_of", "explained_writes", "load_arrays", "read_arrays", "sha256", "write_arrays",
    "write_atomically", "write_bytes", "write_json", "write_table",
]  # fmt: skip


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
    """Write bytes atomically.

    Raises:
        StorageError: see `write_atomically`.
    """
    write_atomically(path, lambda temporary: temporary.write_bytes(content))


def write_json(path: Path, content: Any) -> None:
    """Write JSON with sorted keys atomically; NaN is refused, as JSON has none.

    Raises:
        StorageError: see `write_atomically`.
    """
    text = json.dumps(content, indent=1, sort_keys=True, allow_nan=False)
    write_bytes(path, f"{text}\n".encode())


def write_arrays(path: Path, arrays: dict[str, np.ndarray], metadata: dict[str, str] | None = None) -> None:
    """Write named arrays as safetensors atomically, in the order of their names.

    Raises:
        StorageError: see `write_atomically`.
    """
    ordered = {name: np.asarray(arrays[name], order="C") for name in sorted(arrays)}
    write_bytes(path, save(ordered, metadata))


def load_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read what `write_arrays` wrote.

    Raises:
        OSError, SafetensorError: the file is missing or unreadable.
    """
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
    """Write a table atomically, as Parquet or CSV by the suffix of the path.

    Raises:
        StorageError: see `write_atomically`.
    """
    if path.suffix == ".parquet":
        write_atomically(path, lambda temporary: table.to_parquet(temporary, index=False))
    else:
        write_atomically(path, lambda temporary: table.to_csv(temporary, index=False, lineterminator="\n"))
