"""Kernel matrices larger than memory: a `.npy` file that is filled tile by tile and goes on where it was interrupted.

While it grows the file has another name, `<name>.partial`, and each entry that has not been computed is NaN. A second file,
`<name>.tiles.json`, says what the matrix is of and which tiles are on disk; a tile is entered there after its entries have
reached the disk. When all are, the matrix takes its name and the second file goes.

Parts that other processes have computed (`convrfm.kernels.gram_parts`) are placed first, and go when the matrix is complete.
"""

import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from convrfm.errors import StorageError
from convrfm.kernels.gram_parts import GramPart, check_suffix, identity_of, part_files, read_parts, warn_of_damage
from convrfm.kernels.prepared import PreparedImages
from convrfm.kernels.tiles import Backend, Tile, compute_tiles, gram_tiles, place_tile
from convrfm.numerics.inputs import check_finite
from convrfm.system.storage import write_json

__all__ = ["compute_gram_file"]

SECONDS_BETWEEN_SAVES = 20.0
"""What is lost at most when the process is killed, beside the current tile; an interrupt or an error loses nothing."""

ROWS_PER_FILL = 1024
"""Rows set to NaN at a time when the file is made."""


def compute_gram_file(
    path: Path, backend: Backend, left: PreparedImages, right: PreparedImages | None, memory: int
) -> np.ndarray:
    """Compute a kernel matrix `(n, m)` in a file, or go on with it; give it as a read-only array on disk.

    Args:
        path: ends in `.npy`. A complete matrix that is there already is replaced.
        backend: what computes.
        left: images of the rows.
        right: images of the columns, or None for those of the rows.
        memory: bytes for a tile.

    Raises:
        InputError: another suffix.
        StorageError: a matrix of other images, another metric or kernel has been begun under this name, or a part of one lies
            beside it; the tiles of parts differ in their side from each other, or from those that have been begun; or the disk
            is full.
        NonFiniteError: an entry is not finite.
    """
    check_suffix(path)
    partial, progress = path.with_name(f"{path.name}.partial"), path.with_name(f"{path.name}.tiles.json")
    shape = (len(left), len(left if right is None else right))
    identity = identity_of(left, right)
    state, files = _resumed(partial, progress, identity), part_files(path)
    parts = read_parts(files, identity)
    if state is None:
        entry = backend.gram_tile(left.form.take(slice(0, 1)), None, left.spec)
        _make_file(partial, shape, entry.dtype)
        side = parts[0].side if parts else backend.gram_side(left.form, left.spec, memory)
        state = _State(identity, side, [])
    elif parts and parts[0].side != state.side:
        msg = (
            f"{partial} has tiles of {state.side} images, and {parts[0].file} of {parts[0].side}: entries depend on that "
            f"within rounding. Delete {partial.name} and {progress.name}, to start over from the parts."
        )
        raise StorageError(msg)
    matrix = np.load(partial, mmap_mode="r+")
    tiles = gram_tiles(*shape, state.side, right is None)
    numbers = {(tile.rows.start, tile.columns.start): number for number, tile in enumerate(tiles)}
    for part in parts:
        _place_part(part, matrix, tiles, state, symmetric=right is None)
        _save(matrix, progress, state)
    done = set(state.done)
    waiting = [tile for number, tile in enumerate(tiles) if number not in done]
    results = compute_tiles(backend, left.form, None if right is None else right.form, left.spec, waiting)
    saved = time.monotonic()
    try:
        for pieces in results:
            for tile, entries in pieces:
                check_finite(entries, f"The tile of {path.name} that starts at {(tile.rows.start, tile.columns.start)}")
                place_tile(matrix, tile, entries, right is None)
            # Devices finish in any order, and a tile that was halved begins with its first piece.
            first = min((tile.rows.start, tile.columns.start) for tile, _ in pieces)
            state.done.append(numbers[first])
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


@dataclass(frozen=True)
class _State:
    """What the second file holds: a hash of all that the entries depend on, the tiles' side, and those that are done."""

    identity: str
    side: int
    done: list[int]


def _place_part(part: GramPart, matrix: np.memmap, tiles: list[Tile], state: _State, *, symmetric: bool) -> None:
    """Put the tiles of a part that are not there yet in their places."""
    for number in sorted(set(part.tiles) - set(state.done)):
        entries = part.entries(number, tiles[number]) if number < len(tiles) else None
        if entries is None or entries.dtype != matrix.dtype:
            warn_of_damage(part.file)
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
        msg = (
            f"{partial} is the beginning of another kernel matrix (other images, metric, kernel, dtype or backend). "
            f"Delete it and {progress.name}, or choose another file."
        )
        raise StorageError(msg)
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
