"""Parts of a kernel matrix, computed by several processes on several machines, each in a file of its own.

Tiles do not depend on each other. Part i of k of the matrix `gram.npy` is the file `gram.part-<i>-of-<k>.npz` beside it, as
NumPy writes several arrays to a zip archive: `identity`, the hash of all that the entries depend on; `side`, of the tiles;
`tiles`, the numbers of those that belong to the part, in the order of `convrfm.kernels.tiles.gram_tiles`; and
`tile-<number>`, the entries of each. Tiles of a symmetric matrix are those on and above the diagonal. The checksums of the
archive tell damage.

While a part grows its name ends in `.partial`, and each tile is appended when it is done, so that an interrupted part goes on.
"""

import hashlib
import io
import os
import re
import struct
import warnings
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from convrfm.errors import ConvRFMWarning, InputError, StorageError
from convrfm.kernels.prepared import PreparedImages
from convrfm.kernels.tiles import Backend, Tile, compute_tiles, gram_tiles, place_tile
from convrfm.numerics.inputs import check_finite
from convrfm.system.storage import explained_writes

__all__ = [
    "GramPart", "check_suffix", "compute_gram_part", "identity_of", "part_files", "read_parts", "share_of_tiles",
    "warn_of_damage",
]  # fmt: skip

DAMAGE = (OSError, ValueError, KeyError, EOFError, RuntimeError, struct.error, zlib.error, zipfile.BadZipFile)
"""What reading an archive that is damaged may raise."""

TILE = "tile-"
"""How the names of tiles begin in the archive."""


@dataclass(frozen=True)
class GramPart:
    """A part on disk; its entries are read tile by tile.

    Attributes:
        file: its archive.
        identity: of the matrix, see `identity_of`.
        side: of the tiles.
        tiles: numbers of the tiles that belong to it.
        done: those whose entries are there; all of them once it is complete.
    """

    file: Path
    identity: str
    side: int
    tiles: tuple[int, ...]
    done: frozenset[int]

    def entries(self, number: int, tile: Tile) -> np.ndarray | None:
        """Read a tile, of the shape that it should have; None where it is damaged."""
        try:
            with zipfile.ZipFile(self.file) as archive:
                entries = _read(archive, f"{TILE}{number}")
        except DAMAGE:
            return None
        shape = (tile.rows.stop - tile.rows.start, tile.columns.stop - tile.columns.start)
        return entries if entries.shape == shape else None


def identity_of(left: PreparedImages, right: PreparedImages | None) -> str:
    """Hash (hex) of everything that the entries depend on, but for rounding."""
    digest = hashlib.sha256()
    for images in (left, right):
        if images is None:
            continue
        metric = b"" if images.metric is None else images.metric.tobytes()
        for part in (repr((images.spec, images.backend, images.images.dtype, images.images.shape)).encode(), metric):
            digest.update(part)
        digest.update(np.ascontiguousarray(images.images).data)
    return digest.hexdigest()


def share_of_tiles(tiles: list[Tile], part: tuple[int, int], *, symmetric: bool) -> list[int]:
    """Numbers of the tiles of part i of k: neighbours, with as much work as the other parts have, as far as tiles allow.

    Args:
        tiles: of the whole matrix.
        part: (i, k), from 0 to k - 1.
        symmetric: whether tiles on the diagonal are half the work.
    """
    work = np.array([_entries(tile, symmetric=symmetric) for tile in tiles], dtype=np.float64)
    middle = np.cumsum(work) - work / 2
    index, count = part
    return np.flatnonzero(np.floor(middle * count / work.sum()) == index).tolist()


def _entries(tile: Tile, *, symmetric: bool) -> float:
    entries = (tile.rows.stop - tile.rows.start) * (tile.columns.stop - tile.columns.start)
    return entries / 2 if symmetric and tile.rows == tile.columns else entries


def check_suffix(path: Path) -> None:
    """Refuse a file for a kernel matrix that does not end in `.npy`.

    Raises:
        InputError: it does not.
    """
    if path.suffix != ".npy":
        msg = f"A kernel matrix is written as .npy, but the file is {path}."
        raise InputError(msg)


def compute_gram_part(
    path: Path, backend: Backend, left: PreparedImages, right: PreparedImages | None, memory: int, part: tuple[int, int]
) -> Path:
    """Compute a part of a kernel matrix, or go on with it; give its file. One that is complete already is left as it is.

    Args:
        path: of the whole matrix, which ends in `.npy`.
        backend: what computes.
        left: images of the rows.
        right: images of the columns, or None for those of the rows.
        memory: bytes for a tile.
        part: (i, k), from 0 to k - 1.

    Raises:
        InputError: another suffix of the matrix.
        StorageError: a part of another matrix lies under its name; or it cannot be written.
        NonFiniteError: an entry is not finite.
    """
    check_suffix(path)
    target = _part_file(path, part)
    partial = target.with_name(f"{target.name}.partial")
    identity = identity_of(left, right)
    if target.exists() and (finished := _of_matrix(target, identity)) is not None and _is_whole(finished):
        return target
    begun = _of_matrix(partial, identity) if partial.exists() else None
    side = backend.gram_side(left.form, left.spec, memory) if begun is None else begun.side
    tiles = gram_tiles(len(left), len(left if right is None else right), side, right is None)
    own = share_of_tiles(tiles, part, symmetric=right is None)
    with explained_writes(partial):
        if begun is None:
            partial.parent.mkdir(parents=True, exist_ok=True)
            partial.unlink(missing_ok=True)
            _append(partial, identity=np.array(identity), side=np.array(side), tiles=np.array(own, dtype=np.int64))
    numbers = {(tiles[number].rows.start, tiles[number].columns.start): number for number in own}
    waiting = [tiles[number] for number in own if begun is None or number not in begun.done]
    results = compute_tiles(backend, left.form, None if right is None else right.form, left.spec, waiting)
    for pieces in results:
        # A tile that was halved begins with its first piece.
        first = min((tile.rows.start, tile.columns.start) for tile, _ in pieces)
        number = numbers[first]
        entries = _joined(pieces, tiles[number], symmetric=right is None)
        check_finite(entries, f"The tile of {path.name} that starts at {first}")
        with explained_writes(partial):
            _append(partial, **{f"{TILE}{number}": entries})
    with explained_writes(target):
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(target)
    return target


def part_files(path: Path) -> list[Path]:
    """The files of complete parts that lie beside a kernel matrix, whatever they hold."""
    name = re.compile(re.escape(path.stem) + r"\.part-\d+-of-\d+\.npz")
    return sorted(file for file in path.parent.glob("*.npz") if name.fullmatch(file.name))


def read_parts(files: list[Path], identity: str) -> list[GramPart]:
    """Read what parts of a kernel matrix say of themselves; damaged ones are left out, with a warning.

    Args:
        files: from `part_files`.
        identity: of the matrix, see `identity_of`.

    Raises:
        StorageError: a part is of another matrix; or the tiles of two parts differ in their side.
    """
    found = [part for file in files if (part := _of_matrix(file, identity)) is not None]
    for part in found[1:]:
        if part.side != found[0].side:
            msg = (
                f"{found[0].file} has tiles of {found[0].side} images, and {part.file} of {part.side}: entries depend on that "
                "within rounding. Delete one of them, and compute all parts with the same `memory`."
            )
            raise StorageError(msg)
    return found


def warn_of_damage(file: Path) -> None:
    """Say that a part, or what is missing of it, is computed again."""
    msg = f"{file} is damaged: what it should hold is computed again."
    warnings.warn(msg, ConvRFMWarning, stacklevel=4)


def _part_file(path: Path, part: tuple[int, int]) -> Path:
    return path.with_name(f"{path.stem}.part-{part[0]}-of-{part[1]}.npz")


def _of_matrix(file: Path, identity: str) -> GramPart | None:
    """Read what a part says of itself; None, with a warning, where it is damaged.

    Raises:
        StorageError: it is of another matrix.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist()]
            done = frozenset(int(name.removeprefix(TILE)) for name in names if name.startswith(TILE))
            identity_there, side, tiles = (_read(archive, name) for name in ("identity", "side", "tiles"))
            part = GramPart(file, str(identity_there), int(side), tuple(tiles.tolist()), done)
    except DAMAGE:
        warn_of_damage(file)
        return None
    if part.identity != identity:
        msg = (
            f"{file} is part of another kernel matrix (other images, metric, kernel, dtype or backend). "
            "Delete it, or choose another file."
        )
        raise StorageError(msg)
    return part


def _is_whole(part: GramPart) -> bool:
    """Whether all entries of a part can be read; with a warning if not."""
    try:
        with zipfile.ZipFile(part.file) as archive:
            whole = archive.testzip() is None and part.done == set(part.tiles)
    except DAMAGE:
        whole = False
    if not whole:
        warn_of_damage(part.file)
    return whole


def _append(file: Path, **arrays: np.ndarray) -> None:
    """Append arrays to an archive, which is made if it is not there; they can be read when this returns."""
    with zipfile.ZipFile(file, "a") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def _read(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    """Read an array, its bytes first: their checksum is right before anything in them is believed."""
    array: np.ndarray = np.lib.format.read_array(io.BytesIO(archive.read(f"{name}.npy")), allow_pickle=False)
    return array


def _joined(pieces: list[tuple[Tile, np.ndarray]], tile: Tile, *, symmetric: bool) -> np.ndarray:
    """The entries of a tile from those of its pieces, of which it has several where memory ran out."""
    if len(pieces) == 1:
        return pieces[0][1]
    row, column = tile.rows.start, tile.columns.start
    entries = np.empty((tile.rows.stop - row, tile.columns.stop - column), pieces[0][1].dtype)
    for piece, values in pieces:
        rows = slice(piece.rows.start - row, piece.rows.stop - row)
        columns = slice(piece.columns.start - column, piece.columns.stop - column)
        place_tile(entries, Tile(rows, columns), values, symmetric and tile.rows == tile.columns)
    return entries
