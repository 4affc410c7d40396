"""The recursion of `convrfm.kernels.base` and its reverse, for one SIMD vector of pairs at a time.

The layers run together, one row of positions at a time: as soon as a layer has q rows, the next one takes a row of
window sums from them. All but the last q rows of a layer are forgotten, and the rest stays in the first cache. A layer
keeps k and k + Theta, because s = box(k) and T = box(k + Theta). For the reverse, four numbers of each position are
kept on the way up; it goes down layer by layer.

Throughout, `window` is a tuple of q entries, whose length is known to the compiler, and `tangent` a tuple, empty for
the CNNGP and of one entry for the CNTK, whose type chooses what is compiled. `forward` and `reverse` take `tasks`, see
`groups_of`, and share them among `threads`, each with memory of its own.
"""

from typing import NamedTuple

import numba
import numpy as np

from convrfm.kernels.compiled import SOURCES, compiled
from convrfm.kernels.compiled.first_layer import fill, group_size, groups_of, positions_of, room_size
from convrfm.kernels.compiled.simd import (
    VECTOR_BYTES,
    absolute,
    arccos_factor,
    broadcast,
    exp2_of_minus,
    fma,
    full,
    kappa1_factor,
    load,
    room,
    sqrt,
    store,
    where_less,
)

__all__ = ["Layers", "arccosine_forward", "arccosine_reverse", "laplace_forward", "laplace_reverse"]


class Layers(NamedTuple):
    """The kernel, and the norms sqrt(s_x), sqrt(s_z) at the positions of all layers; the arrays are flat."""

    depth: int  # L
    collinear: float  # the largest 1 - |r| that counts as zero
    positions: int  # of all layers together
    row: np.ndarray  # norms of the rows' images `(n, positions)`
    column: np.ndarray  # norms of the columns' images `(blocks, positions, lanes)`, from `interleave`


@numba.njit
def _sum_rows(maps, start, rows, width, stride, out, out_start):
    """Sum rows of `width` vectors that start at flat[start] and lie `stride` apart."""
    lanes = VECTOR_BYTES // maps.itemsize
    for x in range(width):
        place = start + x * lanes
        total = load(maps, place)
        for i in range(1, rows):
            total = total + load(maps, place + i * stride)
        store(out, out_start + x * lanes, total)


@numba.njit
def _quotient(x, norm):
    """Divide; 0 where the norm is 0."""
    zero = norm - norm
    return where_less(zero, norm, x / norm, zero)


@numba.njit
def _activate(s, tangent, norm, signed, collinear):
    """Give k, k + Theta, and kappa0, r and d = 1 - |r| at one position; d is 0 where it is at most `collinear`."""
    zero, one = collinear - collinear, full(collinear, 1.0)
    r = _quotient(s, norm)
    distance = one - absolute(r) if signed else one - r
    d = where_less(collinear, distance, distance, zero)
    root = sqrt(d)
    angle, rest = root * arccos_factor(d), root * d * kappa1_factor(d)
    kappa0, size = one - angle, one - d
    if signed:
        kappa0 = where_less(r, zero, angle, kappa0)
        size = where_less(r, zero, zero, size)
    k = norm * (size + rest)
    return k, fma(kappa0, tangent, k), kappa0, r, d


@numba.njit
def _keep(kept, place, tangent, norm, kappa0, r, d):
    """Store what the reverse needs: kappa0, sqrt(1 - r^2) / pi, T kappa0'(r) / sqrt(s_x s_z), and that times r."""
    zero, one, inverse_pi = d - d, full(d, 1.0), full(d, 1 / np.pi)
    sine = sqrt(d * (one - d + one))
    slope = where_less(zero, d, _quotient(tangent, norm) * inverse_pi / sine, zero)
    store(kept[0], place, kappa0)
    store(kept[1], place, sine * inverse_pi)
    store(kept[2], place, slope)
    store(kept[3], place, slope * where_less(r, zero, d - one, one - d))


@numba.njit(inline="always")
def _window_sum(sums, x, window):
    """The sum of entries x ... x + q - 1."""
    lanes = VECTOR_BYTES // sums.itemsize
    total = load(sums, x * lanes)
    for j in range(1, len(window)):
        total = total + load(sums, (x + j) * lanes)
    return total


@numba.njit
def _climb(s, start, row, block, operands, window, layers, tangent, rings, sums, kept):
    """Run all layers for one row and one block; gives the sum over the last layer's positions.

    s is flat, from `fill`; this row begins at `start`. All other arrays are flat as well, in vectors: `rings` are two
    for depth q Q, the last q rows of each layer's k and k + Theta; `sums` two for Q, the current window sums over rows;
    `kept` is None, or four for the positions of all layers, see `_keep`.
    """
    lanes, q = VECTOR_BYTES // s.itemsize, len(window)
    height, width = positions_of(operands, window)
    of_row, of_block = row * layers.positions, block * layers.positions * lanes
    stride = width * lanes
    total, collinear = full(s, 0.0), full(s, layers.collinear)
    for newest in range(height):
        y, rows, columns, offset = newest, height, width, 0
        for layer in range(layers.depth):
            if y < 0:
                break
            if layer > 0:
                before = (layer - 1) * q * stride
                _sum_rows(rings[0], before, q, columns + q - 1, stride, sums[0], 0)
                _sum_rows(rings[1], before, q, columns + q - 1, stride, sums[1], 0)
            write = (layer * q + y % q) * stride
            first = offset + y * columns
            for x in range(columns):
                p = first + x
                norm = load(layers.column, of_block + p * lanes) * broadcast(layers.row, of_row + p)
                if layer == 0:
                    covariance = load(s, start + p * lanes)
                    before_tangent = covariance
                    k, both, kappa0, r, d = _activate(covariance, covariance, norm, True, collinear)
                else:
                    covariance, before_tangent = _window_sum(sums[0], x, window), _window_sum(sums[1], x, window)
                    k, both, kappa0, r, d = _activate(covariance, before_tangent, norm, False, collinear)
                if kept is not None:
                    _keep(kept, p * lanes, before_tangent, norm, kappa0, r, d)
                if layer == layers.depth - 1:
                    total = total + (both if len(tangent) > 0 else k)
                else:
                    store(rings[0], write + x * lanes, k)
                    store(rings[1], write + x * lanes, both)
            offset += rows * columns
            rows -= q - 1
            columns -= q - 1
            y -= q - 1
    return total


@numba.njit
def _spread_rows(maps, y, rows, columns, stride, margin, out):
    """Sum the rows y - margin ... y that exist of maps `(rows, columns)`, to out, between margins that stay zero."""
    lanes = VECTOR_BYTES // maps.itemsize
    first, last = max(0, y - margin), min(y, rows - 1)
    _sum_rows(maps, first * stride, last - first + 1, columns, stride, out, margin * lanes)
    zero = full(maps, 0.0)
    for x in range(margin):
        store(out, x * lanes, zero)
        store(out, (margin + columns + x) * lanes, zero)


@numba.njit
def _descend(row, block, operands, window, layers, tangent, kept, maps, sums, d_s, d_row, place):
    """Go down all layers after `_climb`, to dK/ds and dK/ds_row of the first.

    Arrays are flat, in vectors: `kept` from `_climb`; `maps`, three for P Q, derivatives with respect to k, Theta and s_row of
    the current layer; `sums`, three for Q + 2 q; d_s and d_row, filled for the positions of the first layer from `place` on.
    """
    lanes, depth = VECTOR_BYTES // d_s.itemsize, layers.depth
    height, width = positions_of(operands, window)
    margin = len(window) - 1
    of_row, of_block = row * layers.positions, block * layers.positions * lanes
    stride = width * lanes
    rows, columns = height - (depth - 1) * margin, width - (depth - 1) * margin
    offset = layers.positions - rows * columns
    weight = full(d_s, 1 / (rows * columns))
    zero, half = full(d_s, 0.0), full(d_s, 0.5)
    for layer in range(depth - 1, -1, -1):
        # From the last row up, each row of derivatives needs the rows above it of those it replaces.
        for y in range(rows - 1, -1, -1):
            if layer < depth - 1:
                for i in range(3):
                    _spread_rows(maps[i], y, rows - margin, columns - margin, stride, margin, sums[i])
            for x in range(columns):
                p = offset + y * columns + x
                if layer == depth - 1:
                    to_k, to_theta, to_row = weight, weight if len(tangent) > 0 else zero, zero
                else:
                    to_k = _window_sum(sums[0], x, window)
                    to_theta = _window_sum(sums[1], x, window)
                    to_row = _window_sum(sums[2], x, window)
                kappa0, sine = load(kept[0], p * lanes), load(kept[1], p * lanes)
                slope, slope_r = load(kept[2], p * lanes), load(kept[3], p * lanes)
                to_tangent = to_theta * kappa0
                to_s = fma(to_k, kappa0, fma(to_theta, slope, to_tangent))
                scale = _quotient(load(layers.column, of_block + p * lanes), broadcast(layers.row, of_row + p)) * half
                to_row = fma(scale, to_k * sine - to_theta * slope_r, to_row)
                if layer == 0:
                    store(d_s, place + p * lanes, to_s)
                    store(d_row, place + p * lanes, to_row)
                else:
                    write = y * stride + x * lanes
                    store(maps[0], write, to_s)
                    store(maps[1], write, to_tangent)
                    store(maps[2], write, to_row)
        rows += margin
        columns += margin
        offset -= rows * columns


def _make_arccosine(stamp: str):
    @compiled(parallel=True)
    def arccosine_forward(tasks, operands, window, layers, tangent, out, blocks, threads):
        """Fill the kernel entries of the tasks in out, flat `(n, blocks, lanes)`, with `blocks` of columns."""
        assert stamp
        lanes, margin = VECTOR_BYTES // out.itemsize, len(window) - 1
        height, width = positions_of(operands, window)
        size = height * width * lanes
        together = group_size(operands)
        last = (height - (layers.depth - 1) * margin) * (width - (layers.depth - 1) * margin)
        for thread in numba.prange(threads):
            s, products = room(together * height * width, out), room(room_size(operands, window), out)
            ring = layers.depth * len(window) * width
            rings = (room(ring, out), room(ring, out))
            sums = (room(operands.width, out), room(operands.width, out))
            for block, group, end in groups_of(tasks, thread, threads, operands):
                fill(operands, window, group, end, block, False, products, s)
                for row in range(group, end):
                    start = (row - group) * size
                    total = _climb(s, start, row, block, operands, window, layers, tangent, rings, sums, None)
                    store(out, (row * blocks + block) * lanes, total * full(out, 1 / last))

    @compiled(parallel=True)
    def arccosine_reverse(tasks, operands, window, layers, tangent, d_s, d_row, blocks, threads):
        """Differentiate kernel entries with respect to the covariances s and the rows' variances of the first layer.

        d_s and d_row are flat, `(n, blocks, positions, lanes)` with `blocks` of columns; those of the tasks are filled.
        """
        assert stamp
        lanes = VECTOR_BYTES // d_s.itemsize
        height, width = positions_of(operands, window)
        positions = height * width
        size = positions * lanes
        together = group_size(operands)
        for thread in numba.prange(threads):
            s, products = room(together * positions, d_s), room(room_size(operands, window), d_s)
            ring = layers.depth * len(window) * width
            rings = (room(ring, d_s), room(ring, d_s))
            padded = operands.width + 2 * len(window)
            sums = (room(padded, d_s), room(padded, d_s), room(padded, d_s))
            maps = (room(positions, d_s), room(positions, d_s), room(positions, d_s))
            everywhere = layers.positions
            kept = (room(everywhere, d_s), room(everywhere, d_s), room(everywhere, d_s), room(everywhere, d_s))
            for block, group, end in groups_of(tasks, thread, threads, operands):
                fill(operands, window, group, end, block, False, products, s)
                for row in range(group, end):
                    start = (row - group) * size
                    _climb(s, start, row, block, operands, window, layers, tangent, rings, sums[:2], kept)
                    place = (row * blocks + block) * size
                    _descend(row, block, operands, window, layers, tangent, kept, maps, sums, d_s, d_row, place)

    return arccosine_forward, arccosine_reverse


arccosine_forward, arccosine_reverse = _make_arccosine(SOURCES)


def _make_laplace(stamp: str):
    @compiled(parallel=True)
    def laplace_forward(tasks, operands, window, rate, out, blocks, threads):
        """Fill the kernel entries of the tasks in out, flat `(n, blocks, lanes)`, with `blocks` of columns."""
        assert stamp
        lanes, together = VECTOR_BYTES // out.itemsize, group_size(operands)
        height, width = positions_of(operands, window)
        positions = height * width
        for thread in numba.prange(threads):
            squares, differences = room(together * positions, out), room(room_size(operands, window), out)
            for block, group, end in groups_of(tasks, thread, threads, operands):
                fill(operands, window, group, end, block, True, differences, squares)
                for row in range(group, end):
                    total = full(out, 0.0)
                    for p in range(positions):
                        square = load(squares, ((row - group) * positions + p) * lanes)
                        total = total + exp2_of_minus(sqrt(square) * full(out, rate))
                    store(out, (row * blocks + block) * lanes, total * full(out, 1 / positions))

    @compiled(parallel=True)
    def laplace_reverse(tasks, operands, window, rate, closest, weight, d_s, blocks, threads):
        """Compute weight K_u / ||x_u - z_u||, and zero where the patches are closer than `closest`.

        d_s is flat, `(n, blocks, positions, lanes)` with `blocks` of columns; that of the tasks is filled.
        """
        assert stamp
        lanes, together = VECTOR_BYTES // d_s.itemsize, group_size(operands)
        height, width = positions_of(operands, window)
        positions = height * width
        for thread in numba.prange(threads):
            squares, differences = room(together * positions, d_s), room(room_size(operands, window), d_s)
            for block, group, end in groups_of(tasks, thread, threads, operands):
                fill(operands, window, group, end, block, True, differences, squares)
                for row in range(group, end):
                    place = (row * blocks + block) * positions * lanes
                    for p in range(positions):
                        distance = sqrt(load(squares, ((row - group) * positions + p) * lanes))
                        value = exp2_of_minus(distance * full(d_s, rate)) * full(d_s, weight) / distance
                        value = where_less(full(d_s, closest), distance, value, full(d_s, 0.0))
                        store(d_s, place + p * lanes, value)

    return laplace_forward, laplace_reverse


laplace_forward, laplace_reverse = _make_laplace(SOURCES)
