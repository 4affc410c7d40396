"""Unpacking of untrusted archives: nothing is written outside the given folder, nor more than expected."""

import errno
import gzip
import math
import os
import shutil
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import IO, cast

from convrfm.datasets.entries import Unpacking
from convrfm.datasets.places import LOCK, MANIFEST, STATE
from convrfm.errors import ConvRFMError, CorruptDataError, refuse
from convrfm.system.storage import explained_writes, open_plain

__all__ = ["UNPACKING", "clear_unpacking", "unpack"]

UNPACKING = ".tmp-unpack-"
"""How folders begin in which something is unpacked; what a killed process left in them is cleared."""

CHUNK = 2**20

LARGEST_HEADER = 2**24
"""Bytes of a header in a tar file, which is held in memory."""

BYTES_OF_A_NAME = 512
"""Counted for a member beside its content: empty files take room, too."""

OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)
"""Errors that are not the archive's."""

Member = tuple[str, IO[bytes]]


def unpack(archive: Path, root: Path, how: Unpacking, limit: float) -> list[Path]:
    """Unpack a zip file (stored or deflated), a tar file (plain or with gzip) or a gzip file.

    Everything is unpacked aside first, and moved once it is complete: a folder in one step, so that a process that is killed
    meanwhile leaves all of it or nothing. Files that are there already stay as they are, and so do those beside them.

    Args:
        archive: the file.
        root: folder of the data set, which exists.
        how: which members, and where to.
        limit: bytes that may come out of it, including members that are skipped.

    Returns:
        the files that were written.

    Raises:
        CorruptDataError: it is truncated, damaged, encrypted or compressed in another way, holds a link or a device, names a
            place outside the folder or a file that is written here, or unpacks to more than the limit.
        StorageError: the disk is full, or the folder read-only.
    """
    budget = _Budget(archive, limit)
    aside = Path(tempfile.mkdtemp(prefix=UNPACKING, dir=root))
    try:
        with explained_writes(root):
            source = aside / "outer"
            _unpack_members(archive, source, how.members, budget)
            if how.nested:
                outer, source = source, aside / "inner"
                for inner in _files(outer):
                    _unpack_members(inner, source, "*", budget)
            source.mkdir(exist_ok=True)
            if root / how.into == root:
                _check_names(archive, source)
            return _moved(source, root / how.into)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _files(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*")) if path.is_file()]


def clear_unpacking(root: Path) -> None:
    """Remove the rest of an unpacking that was killed."""
    for leftover in root.glob(f"{UNPACKING}*"):
        shutil.rmtree(leftover, ignore_errors=True)


class _Budget:
    """The bytes that may still come out of an archive, and of archives in it."""

    def __init__(self, archive: Path, limit: float) -> None:
        self.archive, self.limit, self.left = archive, limit, limit

    def take(self, count: int) -> None:
        self.left -= count
        most = f"{self.limit / 1e6:.3g} MB, twice the size of the data"
        refuse(self.left < 0, f"{self.archive} unpacks to more than {most}: it is refused.")


class _Counted:
    """A stream whose bytes are counted, including skipped ones, which are decompressed as well; it is read once."""

    def __init__(self, stream: IO[bytes], budget: _Budget) -> None:
        self.stream, self.budget, self.tell = stream, budget, stream.tell

    def read(self, count: int) -> bytes:
        refuse(not 0 <= count <= LARGEST_HEADER, f"{self.budget.archive} has a header of {count} bytes: it is refused.")
        content = self.stream.read(count)
        self.budget.take(len(content))
        return content

    def seek(self, place: int) -> None:
        refuse(place < self.tell(), f"{self.budget.archive} holds members that overlap: it is refused.")
        self.budget.take(place - self.tell())
        self.stream.seek(place)


def _unpack_members(archive: Path, folder: Path, pattern: str, budget: _Budget) -> None:
    with _explained(archive):
        for name, content in _members(archive, budget):
            budget.take(BYTES_OF_A_NAME)
            target = _inside(folder, name, archive)
            if fnmatch(name, pattern):
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("xb") as file:
                    shutil.copyfileobj(content, file, CHUNK)


def _members(archive: Path, budget: _Budget) -> Iterator[Member]:
    """Names and contents of the files in an archive; a file compressed by itself is its only member."""
    with open_plain(archive, math.inf) as file:
        if zipfile.is_zipfile(file):
            yield from _zip_members(archive, file, budget)
            return
        file.seek(0)
        compressed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        stream = cast("IO[bytes]", gzip.GzipFile(fileobj=file)) if compressed else file
        try:
            opened = tarfile.open(fileobj=cast("IO[bytes]", _Counted(stream, budget)), mode="r:")  # noqa: SIM115 (closed below)
        except tarfile.ReadError:
            if not (compressed and archive.suffix == ".gz"):
                msg = f"{archive} is neither a zip, a tar nor a gzip file: delete it and fetch it again."
                raise CorruptDataError(msg) from None
            stream.seek(0)
            yield archive.name.removesuffix(".gz"), cast("IO[bytes]", _Counted(stream, budget))
            return
        with opened:
            yield from _tar_members(archive, opened)


def _zip_members(archive: Path, file: IO[bytes], budget: _Budget) -> Iterator[Member]:
    with zipfile.ZipFile(file) as opened:
        for info in opened.infolist():
            found = f"{archive} holds {info.filename!r}, which is"
            kind = info.external_attr >> 28  # the file type of Unix, 0 where none is given
            refuse(kind not in (0, 0o4, 0o10), f"{found} a link or a device: it is refused.")
            # LZMA would make room for what a header of a few bytes promises.
            unknown = info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
            refuse(unknown, f"{found} compressed in an unknown way: it is refused.")
            if not info.is_dir():
                with opened.open(info) as content:
                    yield info.filename, cast("IO[bytes]", _Counted(content, budget))


def _tar_members(archive: Path, opened: tarfile.TarFile) -> Iterator[Member]:
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
    """The path of a member, which must lie in the folder; as links are never made, names alone decide."""
    parts = PurePosixPath(name.replace("\\", "/"))
    outside = parts.is_absolute() or ".." in parts.parts or not parts.parts
    refuse(outside, f"{archive} holds {name!r}, which would be written outside its folder: it is refused. Delete the archive.")
    return folder / parts


def _check_names(archive: Path, folder: Path) -> None:
    """Refuse an archive that brings what is written here of a data set, and would be believed."""
    for path in sorted(folder.iterdir()):
        taken = f"{archive} holds {path.name!r}, a name kept for records of what was fetched: delete the archive."
        refuse(path.name.lower() in (MANIFEST, STATE, LOCK), taken)


def _moved(source: Path, target: Path) -> list[Path]:
    """Move what is in a folder to where it belongs, except files that are there already, and give the files that were moved.

    Folders are moved whole, unless they hold something there.
    """
    target.mkdir(parents=True, exist_ok=True)
    moved = []
    for path in sorted(source.iterdir()):
        final = target / path.name
        if path.is_dir():
            # Folders that hold nothing, as an unpacking that failed leaves them, would be filled file by file.
            for parent, _, _ in os.walk(final, topdown=False):
                with suppress(OSError):
                    Path(parent).rmdir()
            if final.is_dir():
                moved += _moved(path, final)
            else:
                path.rename(final)
                moved += _files(final)
        elif not final.exists():
            path.replace(final)
            moved.append(final)
    return moved


@contextmanager
def _explained(archive: Path) -> Iterator[None]:
    """Explain errors as those of a damaged archive."""
    try:
        yield
    except ConvRFMError:
        raise
    except Exception as error:  # the libraries fail in all ways, out of memory among them
        if isinstance(error, OSError) and error.errno in OF_THE_DISK:
            raise
        msg = f"{archive} is damaged ({error or type(error).__name__}): delete it and fetch it again."
        raise CorruptDataError(msg) from error
