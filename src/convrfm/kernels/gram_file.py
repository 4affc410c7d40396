"""Kernel matrices larger than memory, in files that are filled tile by tile and continue after an interruption.

While the matrix `gram.npy` grows it is called `gram.npy.partial`, and entries not yet computed are NaN.
`gram.npy.tiles.json` says what the matrix is of and which tiles are on disk; a tile is entered there after its entries
have reached the disk. A complete matrix takes its name, and the second file is removed.

Tiles do not depend on each other, and several processes on several machines can share them. Part i of k is the file
`gram.part-<i>-of-<k>.npz` beside the matrix, as NumPy writes several arrays to a zip archive: `identity`, the hash of all that
the entries depend on; `side`, of the tiles; `tiles`, the numbers of those that belong to the part, in the order of
`convrfm.kernels.backends.gram_tiles`; and `tile-<number>`, the entries of each. Tiles of a symmetric matrix are those on and
below the diagonal. The checksums of the archive reveal damage. While a part grows its name ends in `.partial`, and each tile is
appended when it is done. The matrix takes over the parts beside it first, and removes them when it is complete.
"""

import hashlib
import io
import json
import os
import re
import struct
import time
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from convrfm.errors import ConvRFMWarning, InputError, StorageError
from convrfm.kernels.backends import Backend, PreparedImages, Tile, compute_tiles, gram_tiles, place_tile
from convrfm.numerics.inputs import check_finite
from convrfm.system.storage import explained_writes, write_json

__all__ = ["compute_gram_file", "compute_gram_part", "share_of_tiles"]

# Work that a killed process loses at most, beside the current tile; an interrupt or an error loses nothing.
SECONDS_BETWEEN_SAVES = 20.0

ROWS_PER_FILL = 1024  # rows set to NaN at a time when the file is made

# Exceptions of reading a damaged archive.
DAMAGE = (OSError, ValueError, KeyError, EOFError, RuntimeError, struct.error, zlib.error, zipfile.BadZipFile)

TILE = "tile-"  # prefix of the names of tiles in an archive


@dataclass(frozen=True)
class _State:
    """Content of the second file: a hash of all that the entries depend on, the side of the tiles, and those done."""

    identity: str
    side: int
    done: list[int]


@dataclass(frozen=True)
class _Part:
    """A part on disk; its entries are read tile by tile."""

    file: Path  # its archive
    identity: str  # of the matrix, see `_identity_of`
    side: int  # of the tiles
    tiles: tuple[int, ...]  # numbers of the tiles that belong to it
    done: frozenset[int]  # those whose entries are present; all of them once it is complete

    def entries(self, number: int, tile: Tile) -> np.ndarray | None:
        """Read a tile of the expected shape; None where it is damaged."""
        try:
            with zipfile.ZipFile(self.file) as archive:
                entries = _read(archive, f"{TILE}{number}")
        except DAMAGE:
            return None
        return entries if entries.shape == tile.shape else None

    def is_whole(self) -> bool:
        """Whether all entries can be read; warns if not."""
        try:
            with zipfile.ZipFile(self.file) as archive:
                whole = archive.testzip() is None and self.done == set(self.tiles)
        except DAMAGE:
            whole = False
        if not whole:
            _warn_of_damage(self.file)
        return whole


def compute_gram_file(
    path: Path, backend: Backend, left: PreparedImages, right: PreparedImages | None, memory: int
) -> np.ndarray:
    """Compute a kernel matrix `(n, m)` in a file, or continue it; give it as a read-only array on disk.

    The path ends in `.npy`; a complete matrix under this name is replaced. Right is None for the images of the rows, and
    `memory` is in bytes, for a tile.

    Raises:
        InputError: another suffix.
        StorageError: the path is a folder; a matrix of other images, another metric or kernel was begun under this name, or a
            part of one was written; parts whose tiles differ in their side; or a full disk.
        NonFiniteError: an entry is not finite.
    """
    _check_path(path)
    partial, progress = path.with_name(f"{path.name}.partial"), path.with_name(f"{path.name}.tiles.json")
    shape, symmetric = (len(left), len(left if right is None else right)), right is None
    identity = _identity_of(left, right)
    state, files = _resumed(partial, progress, identity), _part_files(path)
    parts = _read_parts(files, identity)
    if state is None:
        entry = backend.gram_tile(left.form.take(slice(0, 1)), None, left.spec)
        _make_file(partial, shape, entry.dtype)
        side = parts[0].side if parts else backend.gram_side(left.form, left.spec, memory)
        state = _State(identity, side, [])
    elif parts and parts[0].side != state.side:
        msg = (
            f"{partial} has tiles of {state.side} images, and {parts[0].file} of {parts[0].side}, which changes the "
            f"rounding of entries. Delete {partial.name} and {progress.name}, to start over from the parts."
        )
        raise StorageError(msg)
    matrix = np.load(partial, mmap_mode="r+")
    tiles = gram_tiles(*shape, state.side, symmetric)
    for part in parts:
        _place_part(part, matrix, tiles, state, symmetric=symmetric)
        _save(matrix, progress, state)
    done = set(state.done)
    waiting = {number: tile for number, tile in enumerate(tiles) if number not in done}
    saved = time.monotonic()
    try:
        for number, pieces in _computed(path, backend, left, right, waiting):
            for tile, entries in pieces:
                place_tile(matrix, tile, entries, symmetric)
            state.done.append(number)
            if time.monotonic() - saved > SECONDS_BETWEEN_SAVES:
                _save(matrix, progress, state)
                saved = time.monotonic()
    finally:
        _save(matrix, progress, state)
    partial.replace(path)
    progress.unlink()
    for file in files:
        file.unlink(missing_ok=True)
    return np.load(path, mmap_mode="r")


def compute_gram_part(
    path: Path, backend: Backend, left: PreparedImages, right: PreparedImages | None, memory: int, part: tuple[int, int]
) -> Path:
    """Compute part i of k, i from 0 to k - 1, of a kernel matrix, or continue it; give its file. A complete one stays as it is.

    Other arguments and errors are those of `compute_gram_file`; a part of another matrix under its name, or one that cannot be
    written, is a StorageError.
    """
    _check_path(path)
    target = path.with_name(f"{path.stem}.part-{part[0]}-of-{part[1]}.npz")
    partial = target.with_name(f"{target.name}.partial")
    identity, symmetric = _identity_of(left, right), right is None
    if target.exists() and (finished := _part_of(target, identity)) is not None and finished.is_whole():
        return target
    begun = _part_of(partial, identity) if partial.exists() else None
    side = backend.gram_side(left.form, left.spec, memory) if begun is None else begun.side
    tiles = gram_tiles(len(left), len(left if right is None else right), side, symmetric)
    own = share_of_tiles(tiles, part, symmetric=symmetric)
    with explained_writes(partial):
        if begun is None:
            partial.parent.mkdir(parents=True, exist_ok=True)
            partial.unlink(missing_ok=True)
            _append(partial, identity=np.array(identity), side=np.array(side), tiles=np.array(own, dtype=np.int64))
    waiting = {number: tiles[number] for number in own if begun is None or number not in begun.done}
    for number, pieces in _computed(path, backend, left, right, waiting):
        entries = _joined(pieces, tiles[number], symmetric=symmetric)
        with explained_writes(partial):
            _append(partial, **{f"{TILE}{number}": entries})
    with explained_writes(target):
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(target)
    return target


def share_of_tiles(tiles: list[Tile], part: tuple[int, int], *, symmetric: bool) -> list[int]:
    """Numbers of the tiles of part (i, k) of a matrix: neighbours, with about as much work as the other parts have.

    In a symmetric matrix, tiles on the diagonal are half the work.
    """
    halved = [symmetric and tile.rows == tile.columns for tile in tiles]
    work = np.array([tile.shape[0] * tile.shape[1] / (1 + half) for tile, half in zip(tiles, halved, strict=True)])
    middle = np.cumsum(work) - work / 2
    index, count = part
    return np.flatnonzero(np.floor(middle * count / work.sum()) == index).tolist()


def _computed(
    path: Path, backend: Backend, left: PreparedImages, right: PreparedImages | None, waiting: dict[int, Tile]
) -> Iterator[tuple[int, list[tuple[Tile, np.ndarray]]]]:
    """Compute numbered tiles; gives the number of each and its pieces, of which it has several where memory ran out.

    Raises:
        NonFiniteError: an entry is not finite.
    """
    # Devices finish in any order, and a halved tile begins with its first piece.
    numbers = {tile.start: number for number, tile in waiting.items()}
    other = None if right is None else right.form
    for pieces in compute_tiles(backend, left.form, other, left.spec, list(waiting.values())):
        for tile, entries in pieces:
            check_finite(entries, f"The tile of {path.name} that starts at {tile.start}")
        yield numbers[min(tile.start for tile, _ in pieces)], pieces


def _identity_of(left: PreparedImages, right: PreparedImages | None) -> str:
    """Hash (hex) of everything that the entries, except for rounding, and the numbers of the tiles depend on."""
    digest = hashlib.sha256(b"tiles on and below the diagonal")
    for images in (left, right):
        if images is not None:
            digest.update(repr((images.spec, images.backend, images.images.dtype, images.images.shape)).encode())
            digest.update(b"" if images.metric is None else images.metric.tobytes())
            digest.update(np.ascontiguousarray(images.images).data)
    return digest.hexdigest()


def _of_another(file: Path, remedy: str) -> StorageError:
    """The error about a file with another identity."""
    reasons = "other images, metric, kernel, dtype or backend, or begun by an earlier version"
    return StorageError(f"{file} belongs to another kernel matrix ({reasons}). {remedy}")


def _check_path(path: Path) -> None:
    if path.suffix != ".npy":
        msg = f"A kernel matrix is written as .npy, but the file is {path}."
        raise InputError(msg)
    if path.is_dir():
        msg = f"{path} is a folder: name a file for the kernel matrix."
        raise StorageError(msg)


def _place_part(part: _Part, matrix: np.memmap, tiles: list[Tile], state: _State, *, symmetric: bool) -> None:
    """Put the tiles of a part that are still missing in their places."""
    for number in sorted(set(part.tiles) - set(state.done)):
        entries = part.entries(number, tiles[number]) if number < len(tiles) else None
        if entries is None or entries.dtype != matrix.dtype:
            _warn_of_damage(part.file)
            return
        place_tile(matrix, tiles[number], entries, symmetric)
        state.done.append(number)


def _resumed(partial: Path, progress: Path, identity: str) -> _State | None:
    """Read what was begun, if anything was."""
    if not (progress.exists() and partial.exists()):
        return None
    try:
        state = _State(**json.loads(progress.read_text(encoding="utf-8")))
    except (TypeError, ValueError) as error:
        msg = f"{progress} is damaged ({error}): delete it and {partial.name}, to start over."
        raise StorageError(msg) from error
    if state.identity != identity:
        raise _of_another(partial, f"Delete it and {progress.name}, or choose another file.")
    return state


def _make_file(partial: Path, shape: tuple[int, int], dtype: np.dtype) -> None:
    """Make a file of NaN; its space is reserved first, because a full disk would kill the process later."""
    try:
        partial.parent.mkdir(parents=True, exist_ok=True)
        matrix = np.lib.format.open_memmap(partial, mode="w+", dtype=dtype, shape=shape)
        with partial.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, partial.stat().st_size)
    except OSError as error:
        partial.unlink(missing_ok=True)
        msg = f"{partial} cannot be made ({error.strerror}): it needs {shape[0] * shape[1] * dtype.itemsize} bytes."
        raise StorageError(msg) from error
    for first in range(0, shape[0], ROWS_PER_FILL):
        matrix[first : first + ROWS_PER_FILL] = np.nan
    matrix.flush()


def _save(matrix: np.memmap, progress: Path, state: _State) -> None:
    matrix.flush()
    write_json(progress, asdict(state))


def _part_files(path: Path) -> list[Path]:
    """The files of complete parts beside a kernel matrix, whatever they hold."""
    name = re.compile(re.escape(path.stem) + r"\.part-\d+-of-\d+\.npz")
    return sorted(file for file in path.parent.glob("*.npz") if name.fullmatch(file.name))


def _read_parts(files: list[Path], identity: str) -> list[_Part]:
    """Read the descriptions of parts; damaged ones are left out, with a warning.

    Raises:
        StorageError: a part is of another matrix; or the tiles of two parts differ in their side.
    """
    found = [part for file in files if (part := _part_of(file, identity)) is not None]
    for part in found[1:]:
        if part.side != found[0].side:
            msg = (
                f"{found[0].file} has tiles of {found[0].side} images, and {part.file} of {part.side}, which changes "
                "the rounding of entries. Delete one of them, and compute all parts with the same `memory`."
            )
            raise StorageError(msg)
    return found


def _warn_of_damage(file: Path) -> None:
    msg = f"{file} is damaged: its missing content is computed again."
    warnings.warn(msg, ConvRFMWarning, stacklevel=4)


def _part_of(file: Path, identity: str) -> _Part | None:
    """Read the description of a part; None, with a warning, where it is damaged.

    Raises:
        StorageError: it is of another matrix.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist()]
            done = frozenset(int(name.removeprefix(TILE)) for name in names if name.startswith(TILE))
            found, side, tiles = (_read(archive, name) for name in ("identity", "side", "tiles"))
            part = _Part(file, str(found), int(side), tuple(tiles.tolist()), done)
    except DAMAGE:
        _warn_of_damage(file)
        return None
    if part.identity != identity:
        raise _of_another(file, "Delete it, or choose another file.")
    return part


def _append(file: Path, **arrays: np.ndarray) -> None:
    """Append arrays to an archive, which is made if it is missing; they can be read when this returns."""
    with zipfile.ZipFile(file, "a") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def _read(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    """Read an array; its bytes come first, whose checksum is verified before anything in them is believed."""
    array: np.ndarray = np.lib.format.read_array(io.BytesIO(archive.read(f"{name}.npy")), allow_pickle=False)
    return array


def _joined(pieces: list[tuple[Tile, np.ndarray]], tile: Tile, *, symmetric: bool) -> np.ndarray:
    """The entries of a tile from those of its pieces."""
    if len(pieces) == 1:
        return pieces[0][1]
    row, column = tile.start
    entries = np.empty(tile.shape, pieces[0][1].dtype)
    for piece, values in pieces:
        rows = slice(piece.rows.start - row, piece.rows.stop - row)
        columns = slice(piece.columns.start - column, piece.columns.stop - column)
        place_tile(entries, Tile(rows, columns), values, symmetric and tile.rows == tile.columns)
    return entries
