"""Unpacking of archives that nobody vouches for: nothing is ever written outside the folder that was named."""

import gzip
import lzma
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import IO, cast

from convrfm.datasets.entries import Unpacking
from convrfm.errors import CorruptDataError
from convrfm.storage import explained_writes

__all__ = ["clear_unpacking", "unpack"]

_PREFIX = ".tmp-unpack-"

Member = tuple[str, IO[bytes]]


def unpack(archive: Path, root: Path, how: Unpacking) -> list[Path]:
    """Unpack a zip, tar (compressed or not) or gzip file.

    Everything is unpacked aside first, and moved when all of it has come out whole.

    Args:
        archive: the file.
        root: folder of the data set, which exists.
        how: which members, and where to.

    Returns:
        the files that were written.

    Raises:
        CorruptDataError: it is truncated or damaged, holds a link or a device, or names a place outside the folder.
        StorageError: the disk is full, or the folder read-only.
    """
    aside = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=root))
    try:
        with explained_writes(root):
            source = aside / "outer"
            _unpack_members(archive, source, how.members)
            if how.nested:
                outer, source = source, aside / "inner"
                for inner in _files(outer):
                    _unpack_members(inner, source, "*")
            return [_moved(path, source, root / how.into) for path in _files(source)]
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _files(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*")) if path.is_file()]


def clear_unpacking(root: Path) -> None:
    """Remove what an unpacking that was killed has left."""
    for leftover in root.glob(f"{_PREFIX}*"):
        shutil.rmtree(leftover, ignore_errors=True)


def _unpack_members(archive: Path, folder: Path, pattern: str) -> None:
    with _explained(archive):
        for name, content in _members(archive):
            target = _inside(folder, name, archive)
            if fnmatch(name, pattern):
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("xb") as file:
                    shutil.copyfileobj(content, file)


def _members(archive: Path) -> Iterator[Member]:
    """Names and contents of the files in an archive; a file compressed by itself is its only member."""
    if zipfile.is_zipfile(archive):
        yield from _zip_members(archive)
    elif tarfile.is_tarfile(archive):
        yield from _tar_members(archive)
    elif archive.suffix == ".gz":
        with gzip.open(archive) as content:
            yield archive.name.removesuffix(".gz"), cast("IO[bytes]", content)
    else:
        msg = f"{archive} is neither a zip, a tar nor a gzip file: delete it and fetch it again."
        raise CorruptDataError(msg)


def _zip_members(archive: Path) -> Iterator[Member]:
    with zipfile.ZipFile(archive) as opened:
        for info in opened.infolist():
            kind = info.external_attr >> 28  # the file type of Unix, 0 where none is given
            if kind not in (0, 0o4, 0o10):
                msg = f"{archive} holds {info.filename!r}, which is a link or a device: it is refused."
                raise CorruptDataError(msg)
            if not info.is_dir():
                with opened.open(info) as content:
                    yield info.filename, content


def _tar_members(archive: Path) -> Iterator[Member]:
    with tarfile.open(archive) as opened:
        for info in opened:
            if info.isdir():
                continue
            content = opened.extractfile(info) if info.isreg() else None
            if content is None:
                msg = f"{archive} holds {info.name!r}, which is a link or a device: it is refused."
                raise CorruptDataError(msg)
            with content:
                yield info.name, content


def _inside(folder: Path, name: str, archive: Path) -> Path:
    """The path of a member, which must lie in the folder; links are never made, so that names alone decide."""
    parts = PurePosixPath(name.replace("\\", "/"))
    if parts.is_absolute() or ".." in parts.parts or not parts.parts:
        msg = f"{archive} holds {name!r}, which would be written outside its folder: it is refused. Delete the archive."
        raise CorruptDataError(msg)
    return folder / parts


def _moved(path: Path, source: Path, target: Path) -> Path:
    final = target / path.relative_to(source)
    final.parent.mkdir(parents=True, exist_ok=True)
    path.replace(final)
    return final


@contextmanager
def _explained(archive: Path) -> Iterator[None]:
    """Say of a damaged archive that it is one."""
    try:
        yield
    except (
        EOFError, FileExistsError, IsADirectoryError, NotADirectoryError, gzip.BadGzipFile, lzma.LZMAError, tarfile.TarError,
        zipfile.BadZipFile, zlib.error,
    ) as error:  # fmt: skip
        msg = f"{archive} is damaged ({error}): delete it and fetch it again."
        raise CorruptDataError(msg) from error
