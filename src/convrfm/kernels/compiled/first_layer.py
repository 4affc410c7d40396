"""From images to what the kernels read at each position of the first layer, for one vector of pairs at a time.

The images of the rows of a kernel matrix are read as scalars, those of its columns as vectors: `interleave` brings the
columns into blocks, in which each number stands beside the same number of the next images. A block is small enough for
the cache, and serves all rows. For each pair, s[u] = x_u^T M z_u / c or ||x_u - z_u||_M^2 then comes from the pixels if
M is the identity (one product for each pixel, then window sums), and from patches R x_u with M = R^T R otherwise.
"""

from typing import NamedTuple

import numba
import numpy as np

from convrfm.kernels.compiled import SOURCES, compiled
from convrfm.kernels.compiled.simd import VECTOR_BYTES, broadcast, copy, fma, full, load, store

__all__ = [
    "COVARIANCES", "GROUP", "PATCHES", "PIXELS", "Operands", "fill", "group_size", "groups_of", "interleave", "mirror",
    "positions_of", "room_size", "unfold",
]  # fmt: skip

PIXELS, PATCHES, COVARIANCES = 0, 1, 2
"""What the rows and columns hold: `(channels, height, width)`; `(positions, rank)`; or s itself, see `fill`."""

GROUP = 8
"""Rows handled together where patches are multiplied, which reads the columns once for all."""

CHUNK = 32  # positions for which the patches of a block stay in the first caches, while the rows of a group pass


class Operands(NamedTuple):
    """The images of a tile and the patches to take from them; the arrays are flat.

    Attributes:
        kind: `PIXELS`, `PATCHES` or `COVARIANCES`.
        rows: images of the rows `(n, row_size)`; for COVARIANCES s itself, `(positions, n, row_size)`.
        row_size: numbers for each row.
        columns: images of the columns `(blocks, column_size)`, from `interleave`; for COVARIANCES nothing.
        column_size: numbers for each block.
        channels: of the images.
        height: of the images.
        width: of the images.
    """

    kind: int
    rows: np.ndarray
    row_size: int
    columns: np.ndarray
    column_size: int
    channels: int
    height: int
    width: int


def _make(stamp: str):
    @compiled(parallel=True)
    def interleave(rows, out):
        """Copy (n, k) into blocks `(blocks, k lanes)`; the images that the last block lacks become zero."""
        assert stamp
        n, size = rows.shape
        lanes = VECTOR_BYTES // out.itemsize
        source, target = rows.reshape(-1), out.reshape(-1)
        for block in numba.prange(len(out)):
            first = block * lanes
            present = min(lanes, n - first)
            for k in range(size):
                place = (block * size + k) * lanes
                store(target, place, full(target, 0.0))
                for lane in range(present):
                    copy(source, (first + lane) * size + k, target, place + lane)

    @compiled(parallel=True)
    def unfold(images, places, columns, first, out):
        """Copy patches to out `(n, positions, d)`, from row `first` of positions on; `columns` of them lie in a row.

        `places` are those of `convrfm.numerics.patches.patch_places`.
        """
        assert stamp
        n, channels, height, width = images.shape
        _, positions, dimension = out.shape
        source, target = images.reshape(-1), out.reshape(-1)
        for image in numba.prange(n):
            for p in range(positions):
                start = image * channels * height * width + (first + p // columns) * width + p % columns
                for k in range(dimension):
                    copy(source, start + places[k], target, (image * positions + p) * dimension + k)

    @compiled()
    def mirror(square):
        """Copy the upper triangle of a matrix to the lower one."""
        assert stamp
        for i in range(len(square)):
            for j in range(i):
                square[i, j] = square[j, i]

    return interleave, unfold, mirror


interleave, unfold, mirror = _make(SOURCES)


@numba.njit
def _pixel_row(x, x_start, z, z_start, width, channels, pixels, squared, out, place):
    """Products of one row of pixels with those of a block of columns, or squared differences, summed over channels."""
    lanes = VECTOR_BYTES // z.itemsize
    for p in range(width):
        total = full(z, 0.0)
        for k in range(p, p + channels * pixels, pixels):
            other, own = load(z, z_start + k * lanes), broadcast(x, x_start + k)
            if squared:
                difference = other - own
                total = fma(difference, difference, total)
            else:
                total = fma(other, own, total)
        store(out, place + p * lanes, total)


@numba.njit
def _pixel_maps(x, x_start, z, z_start, shape, window, squared, room, out):
    """Compute s at all positions of one row and a block of columns, from window sums over products of pixels."""
    channels, height, width = shape
    q, lanes = len(window), VECTOR_BYTES // z.itemsize
    stride, columns = width * lanes, width - q + 1
    row_sums = q * stride  # after the last q rows of products
    for newest in range(height):
        _pixel_row(
            x, x_start + newest * width, z, z_start + newest * stride, width, channels, height * width, squared,
            room, newest % q * stride,
        )  # fmt: skip
        if newest < q - 1:
            continue
        for place in range(0, stride, lanes):
            total = load(room, place)
            for i in range(1, q):
                total = total + load(room, place + i * stride)
            store(room, row_sums + place, total)
        first = (newest - q + 1) * columns * lanes
        for place in range(0, columns * lanes, lanes):
            total = load(room, row_sums + place)
            for j in range(1, q):
                total = total + load(room, row_sums + place + j * lanes)
            store(out, first + place, total)


@numba.njit
def _patch_maps(x, starts, z, z_start, first, last, rank, squared, out, place, size):
    """Products of patches first ... last - 1 of four rows with a block of columns, or squared distances.

    The maps of the four rows start at out[place] and lie `size` apart.
    """
    lanes = VECTOR_BYTES // z.itemsize
    for p in range(first, last):
        a, b, c, d = full(z, 0.0), full(z, 0.0), full(z, 0.0), full(z, 0.0)
        for k in range(p * rank, (p + 1) * rank):
            other = load(z, z_start + k * lanes)
            e, f = broadcast(x, starts[0] + k), broadcast(x, starts[1] + k)
            g, h = broadcast(x, starts[2] + k), broadcast(x, starts[3] + k)
            if squared:
                e, f, g, h = other - e, other - f, other - g, other - h
                a, b, c, d = fma(e, e, a), fma(f, f, b), fma(g, g, c), fma(h, h, d)
            else:
                a, b, c, d = fma(other, e, a), fma(other, f, b), fma(other, g, c), fma(other, h, d)
        store(out, place + p * lanes, a)
        store(out, place + size + p * lanes, b)
        store(out, place + 2 * size + p * lanes, c)
        store(out, place + 3 * size + p * lanes, d)


@numba.njit
def group_size(operands):
    """Rows to pass to `fill` together."""
    return GROUP if operands.kind == PATCHES else 1


@numba.njit
def groups_of(tasks, thread, threads, operands):
    """Give (block of columns, first row, row after the last) of each group of rows in the tasks of one thread.

    `tasks` is `(tasks, 3)` int64: a block of columns, the first row, and the row after the last.
    """
    together = group_size(operands)
    for task in range(thread, len(tasks), threads):
        for first in range(tasks[task, 1], tasks[task, 2], together):
            yield tasks[task, 0], first, min(first + together, tasks[task, 2])


@numba.njit
def room_size(operands, window):
    """Vectors of room that `fill` needs."""
    return (len(window) + 1) * operands.width


@numba.njit
def positions_of(operands, window):
    """P and Q, the positions of the first layer."""
    margin = len(window) - 1
    return operands.height - margin, operands.width - margin


@numba.njit
def fill(operands, window, first, last, block, squared, products, out):
    """Compute s, or squared distances, at all positions for a few rows and one block of columns; arrays are flat.

    Args:
        operands: see `Operands`.
        window: a tuple of q entries, whose length is known to the compiler.
        first: the first row.
        last: the row after the last, at most `group_size` further.
        block: the columns.
        squared: squared distances.
        products: room for `room_size` vectors.
        out: filled with `(rows, positions, lanes)`.
    """
    lanes = VECTOR_BYTES // out.itemsize
    rows, row_size = operands.rows, operands.row_size
    shape = (operands.channels, operands.height, operands.width)
    of_block = block * operands.column_size
    height, width = positions_of(operands, window)
    positions = height * width
    size = positions * lanes
    if operands.kind == PIXELS:
        _pixel_maps(rows, first * row_size, operands.columns, of_block, shape, window, squared, products, out)
    elif operands.kind == PATCHES:
        rank, end = row_size // positions, last - 1
        for chunk in range(0, positions, CHUNK):
            for row in range(first, last, 4):
                starts = (
                    row * row_size, min(row + 1, end) * row_size, min(row + 2, end) * row_size,
                    min(row + 3, end) * row_size,
                )  # fmt: skip
                _patch_maps(
                    rows, starts, operands.columns, of_block, chunk, min(chunk + CHUNK, positions), rank, squared,
                    out, (row - first) * size, size,
                )  # fmt: skip
    else:
        n = len(rows) // (positions * row_size)
        for p in range(positions):
            store(out, p * lanes, load(rows, (p * n + first) * row_size + block * lanes))
