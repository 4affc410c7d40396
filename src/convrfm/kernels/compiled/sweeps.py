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
    absolute,
    arccos_factor,
    broadcast,
    exp2_of_minus,
    fma,
    full,
    kappa1_factor,
    lanes_of,
    load,
    repeated,
    room,
    slide,
    sqrt,
    store,
    sum_rows,
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
    inverse_row: np.ndarray  # their inverses, 0 where a norm is 0
    inverse_column: np.ndarray


@numba.njit
def _activate(s, tangent, norm, inverse, signed, collinear):
    """Give k, k + Theta, and kappa0, r and d = 1 - |r| at one position; d is 0 where it is at most `collinear`."""
    zero, one = collinear - collinear, full(collinear, 1.0)
    r = s * inverse
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
def _keep(kept, place, tangent, inverse, kappa0, r, d):
    """Store what the reverse needs: kappa0, sqrt(1 - r^2) / pi, T kappa0'(r) / sqrt(s_x s_z), and that times r."""
    lanes = lanes_of(kept)
    zero, one, inverse_pi = d - d, full(d, 1.0), full(d, 1 / np.pi)
    sine = sqrt(d * (one - d + one))
    slope = where_less(zero, d, tangent * inverse * inverse_pi / sine, zero)
    store(kept, place, kappa0)
    store(kept, place + lanes, sine * inverse_pi)
    store(kept, place + 2 * lanes, slope)
    store(kept, place + 3 * lanes, slope * where_less(r, zero, d - one, one - d))


@numba.njit
def _position(p, s, tangent, row, block, layers, signed, kept):
    """Give k and k + Theta at position p of all layers, from s and T; `kept` as in `_climb`."""
    place = p * lanes_of(layers.column)
    own, other = row * layers.positions + p, block * layers.positions * lanes_of(layers.column) + place
    norm = load(layers.column, other) * broadcast(layers.row, own)
    inverse = load(layers.inverse_column, other) * broadcast(layers.inverse_row, own)
    k, both, kappa0, r, d = _activate(s, tangent, norm, inverse, signed, full(norm, layers.collinear))
    if kept is not None:
        _keep(kept, 4 * place, tangent, inverse, kappa0, r, d)
    return k, both


@numba.njit
def _climb(s, start, row, block, operands, window, layers, tangent, rings, kept):
    """Run all layers for one row and one block; gives the sum over the last layer's positions.

    s is flat, from `fill`; this row begins at `start`. All other arrays are flat as well, in vectors: `rings` are two
    for depth q Q, the last q rows of each layer's k and k + Theta; `kept` is None, or has four for each position of all layers,
    see `_keep`. Columns of windows are summed once, and held for all windows that they belong to.
    """
    lanes, q = lanes_of(s), len(window)
    height, width = positions_of(operands, window)
    stride, total = width * lanes, full(s, 0.0)
    none = repeated(total, window[1:])
    for last in range(height):
        y, rows, columns, offset = last, height, width, 0
        for layer in range(layers.depth):
            if y < 0:
                break
            below, own = (layer - 1) * q * stride, (layer * q + y % q) * stride
            of_k, of_both = none, none
            if layer > 0:
                for x in range(q - 1):
                    _, of_k = slide(of_k, sum_rows(rings[0], below + x * lanes, stride, window))
                    _, of_both = slide(of_both, sum_rows(rings[1], below + x * lanes, stride, window))
            for x in range(columns):
                p = y * columns + x
                if layer == 0:
                    covariance = load(s, start + p * lanes)
                    k, both = _position(p, covariance, covariance, row, block, layers, True, kept)
                else:
                    newest = below + (x + q - 1) * lanes
                    covariance, of_k = slide(of_k, sum_rows(rings[0], newest, stride, window))
                    before, of_both = slide(of_both, sum_rows(rings[1], newest, stride, window))
                    k, both = _position(offset + p, covariance, before, row, block, layers, False, kept)
                if layer == layers.depth - 1:
                    total = total + (both if len(tangent) > 0 else k)
                else:
                    store(rings[0], own + x * lanes, k)
                    store(rings[1], own + x * lanes, both)
            offset += rows * columns
            rows -= q - 1
            columns -= q - 1
            y -= q - 1
    return total


@numba.njit
def _clear(maps, rows, columns, stride):
    """Set a rectangle of each map to 0, from the first of two rows and columns to the one before the second."""
    lanes = lanes_of(maps[0])
    for derivatives in maps:
        for y in range(rows[0], rows[1]):
            for x in range(columns[0], columns[1]):
                store(derivatives, y * stride + x * lanes, full(derivatives, 0.0))


@numba.njit
def _descend(row, block, operands, window, layers, tangent, kept, maps, d_s, d_row, place):
    """Go down all layers after `_climb`, to dK/ds and dK/ds_row of the first.

    Arrays are flat, in vectors: `kept` from `_climb`; `maps`, three for (P + q - 1) Q, of which the first q - 1 rows are 0,
    derivatives with respect to k, Theta and s_row of the current layer; d_s and d_row, filled for the positions of the first
    layer from `place` on.
    """
    lanes, depth = lanes_of(d_s), layers.depth
    height, width = positions_of(operands, window)
    margin = len(window) - 1
    own, other = row * layers.positions, block * layers.positions * lanes
    stride = width * lanes
    rows, columns = height - (depth - 1) * margin, width - (depth - 1) * margin
    offset = layers.positions - rows * columns
    weight = full(d_s, 1 / (rows * columns))
    zero, half = full(d_s, 0.0), full(d_s, 0.5)
    none = repeated(zero, window[1:])
    for layer in range(depth - 1, -1, -1):
        # From the last row up, each row of derivatives needs the rows above it of those it replaces.
        for y in range(rows - 1, -1, -1):
            of_k, of_theta, of_row = none, none, none
            for x in range(columns):
                p = offset + y * columns + x
                if layer == depth - 1:
                    to_k, to_theta, to_row = weight, weight if len(tangent) > 0 else zero, zero
                else:
                    newest = y * stride + x * lanes
                    to_k, of_k = slide(of_k, sum_rows(maps[0], newest, stride, window))
                    to_theta, of_theta = slide(of_theta, sum_rows(maps[1], newest, stride, window))
                    to_row, of_row = slide(of_row, sum_rows(maps[2], newest, stride, window))
                found = 4 * p * lanes
                kappa0, sine = load(kept, found), load(kept, found + lanes)
                slope, slope_r = load(kept, found + 2 * lanes), load(kept, found + 3 * lanes)
                to_tangent = to_theta * kappa0
                to_s = fma(to_k, kappa0, fma(to_theta, slope, to_tangent))
                scale = load(layers.column, other + p * lanes) * broadcast(layers.inverse_row, own + p) * half
                to_row = fma(scale, to_k * sine - to_theta * slope_r, to_row)
                if layer == 0:
                    store(d_s, place + p * lanes, to_s)
                    store(d_row, place + p * lanes, to_row)
                else:
                    write = (y + margin) * stride + x * lanes
                    store(maps[0], write, to_s)
                    store(maps[1], write, to_tangent)
                    store(maps[2], write, to_row)
        if layer > 0:
            _clear(maps, (margin, rows + margin), (columns, columns + margin), stride)
            _clear(maps, (rows + margin, rows + 2 * margin), (0, columns + margin), stride)
        rows += margin
        columns += margin
        offset -= rows * columns


def _make_arccosine(stamp: str):
    @compiled(parallel=True)
    def arccosine_forward(tasks, operands, window, layers, tangent, out, blocks, threads):
        """Fill the kernel entries of the tasks in out, flat `(n, blocks, lanes)`, with `blocks` of columns."""
        assert stamp
        lanes, margin = lanes_of(out), len(window) - 1
        height, width = positions_of(operands, window)
        size = height * width * lanes
        together = group_size(operands)
        last = (height - (layers.depth - 1) * margin) * (width - (layers.depth - 1) * margin)
        for thread in numba.prange(threads):
            s, products = room(together * height * width, out), room(room_size(operands, window), out)
            ring = layers.depth * len(window) * width
            rings = (room(ring, out), room(ring, out))
            for block, group, end in groups_of(tasks, thread, threads, operands):
                fill(operands, window, group, end, block, False, products, s)
                for row in range(group, end):
                    start = (row - group) * size
                    total = _climb(s, start, row, block, operands, window, layers, tangent, rings, None)
                    store(out, (row * blocks + block) * lanes, total * full(out, 1 / last))

    @compiled(parallel=True)
    def arccosine_reverse(tasks, operands, window, layers, tangent, d_s, d_row, blocks, threads):
        """Differentiate kernel entries with respect to the covariances s and the rows' variances of the first layer.

        d_s and d_row are flat, `(n, blocks, positions, lanes)` with `blocks` of columns; those of the tasks are filled.
        """
        assert stamp
        lanes = lanes_of(d_s)
        height, width = positions_of(operands, window)
        positions = height * width
        size = positions * lanes
        together = group_size(operands)
        for thread in numba.prange(threads):
            s, products = room(together * positions, d_s), room(room_size(operands, window), d_s)
            ring = layers.depth * len(window) * width
            rings = (room(ring, d_s), room(ring, d_s))
            padded = (height + len(window) - 1) * width
            maps = (room(padded, d_s), room(padded, d_s), room(padded, d_s))
            _clear(maps, (0, len(window) - 1), (0, width), width * lanes)
            kept = room(4 * layers.positions, d_s)
            for block, group, end in groups_of(tasks, thread, threads, operands):
                fill(operands, window, group, end, block, False, products, s)
                for row in range(group, end):
                    start = (row - group) * size
                    _climb(s, start, row, block, operands, window, layers, tangent, rings, kept)
                    place = (row * blocks + block) * size
                    _descend(row, block, operands, window, layers, tangent, kept, maps, d_s, d_row, place)

    return arccosine_forward, arccosine_reverse


arccosine_forward, arccosine_reverse = _make_arccosine(SOURCES)


def _make_laplace(stamp: str):
    @compiled(parallel=True)
    def laplace_forward(tasks, operands, window, rate, out, blocks, threads):
        """Fill the kernel entries of the tasks in out, flat `(n, blocks, lanes)`, with `blocks` of columns."""
        assert stamp
        lanes, together = lanes_of(out), group_size(operands)
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
        lanes, together = lanes_of(d_s), group_size(operands)
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
