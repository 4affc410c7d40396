"""The kernels of `convrfm.kernels.base` and their derivatives, one pair of images in each thread.

The layers of the arc-cosine kernels run together, as on the CPU (`convrfm.kernels.compiled.sweeps`), one row of positions at a
time, and a layer keeps k and k + Theta, because s = box(k) and T = box(k + Theta). Each layer is a function of its own, made
for its place in the network and calling the next one, which makes all sizes and strides constants. For the reverse, r and T of
each position are kept on the way up, and the rest is computed again from them: memory is slower than arithmetic here.
"""

import math
from functools import cache
from typing import Any, cast

import numpy as np
from numba import cuda

from convrfm.kernels.backends import CLOSEST, LaplaceSpec
from convrfm.kernels.gpu.device_functions import (
    along,
    angles,
    device,
    divide,
    first_layer,
    load,
    pair_norms,
    pair_sides,
    store,
    windows,
)
from convrfm.kernels.gpu.launch import COLUMNS, ROWS, THREADS, Plan

__all__ = ["forward", "reverse"]


@cache
def forward(plan: Plan) -> Any:
    """Compile the kernel that fills a kernel matrix.

    Its arguments are flat arrays of the plan's dtype, and numbers:
        rows, columns: images in blocks, see `convrfm.kernels.gpu.device_functions`.
        row_norms, column_norms: sqrt(s_x) and sqrt(s_z) at the positions of all layers, in the same blocks; anything for the
            Laplace kernel, which reads none.
        scratch: `(blocks of the launch, numbers of a thread, THREADS)`; not used if the plan is in shared memory.
        out: `(n, padded)`.
        n, m, padded: rows, columns, and columns rounded up to whole blocks.
        triangle: 1 for entries on and above the diagonal only, else 0.
    """
    sum_strip = (_laplace_strip if isinstance(plan.spec, LaplaceSpec) else _climb)(plan)
    sides, norms_of = pair_sides(plan), pair_norms(plan)
    dtype, shared, width, (_, whole), numbers = plan.dtype, plan.shared, plan.width, plan.last, plan.numbers
    zero, weight, strips = dtype.type(0), dtype.type(1 / (plan.last[0] * plan.last[1])), plan.strips

    @cuda.jit(fastmath=True)
    def kernel(rows, columns, row_norms, column_norms, scratch, out, n, m, padded, triangle):
        thread = cuda.threadIdx.x
        if shared:
            room, start = cuda.shared.array(0, dtype), thread
        else:
            room, start = scratch, cuda.blockIdx.x * numbers * THREADS + thread
        groups = (n + ROWS - 1) // ROWS
        for block in range(cuda.blockIdx.x, groups * (padded // COLUMNS), cuda.gridDim.x):
            row = block % groups * ROWS + thread // COLUMNS
            column = block // groups * COLUMNS + thread % COLUMNS
            if row < n and column < m and (triangle == 0 or row <= column):
                pair = sides(rows, columns, row, column, n, padded)
                norms = norms_of(row_norms, column_norms, row, column)
                share = zero
                for strip in range(strips):
                    first = min(strip * width, whole - width)
                    share += sum_strip(pair, norms, room, start, first, strip * width - first)
                store(out, row * padded + column, share * weight)

    return kernel


@cache
def reverse(plan: Plan) -> Any:
    """Compile the kernel of derivatives at all positions of the first layer.

    Its arguments are those of `forward`, without a triangle, and with results `(positions, n, padded)` in place of `out`: the
    derivatives d_s and d_row with respect to s and the rows' s_x. The Laplace kernel fills d_s alone, with K_u / (bandwidth P Q
    ||x_u - z_u||), and zero where patches are closer than `CLOSEST`.
    """
    differentiate = (_laplace_derivatives if isinstance(plan.spec, LaplaceSpec) else _derivatives)(plan)
    sides, norms_of, numbers = pair_sides(plan), pair_norms(plan), plan.numbers

    @cuda.jit(fastmath=True)
    def kernel(rows, columns, row_norms, column_norms, scratch, d_s, d_row, n, m, padded):
        thread = cuda.threadIdx.x
        start = cuda.blockIdx.x * numbers * THREADS + thread
        groups = (n + ROWS - 1) // ROWS
        for block in range(cuda.blockIdx.x, groups * (padded // COLUMNS), cuda.gridDim.x):
            row = block % groups * ROWS + thread // COLUMNS
            column = block // groups * COLUMNS + thread % COLUMNS
            if row < n and column < m:
                pair = sides(rows, columns, row, column, n, padded)
                norms = norms_of(row_norms, column_norms, row, column)
                differentiate(pair, norms, scratch, start, (d_s, d_row, row * padded + column, n * padded))

    return kernel


def _activate(plan: Plan, layer: int) -> Any:
    """From s and T to k and k + Theta at position p among those of all layers."""
    distance, kappas = angles(plan.dtype, layer == 0, plan.collinear)
    quotient, keep, kept, all_positions = divide(plan.dtype), plan.keep, plan.kept, plan.offset(plan.spec.depth)

    @device
    def activate(s, tangent, norms, p, room, start):
        rows, row, columns, column = norms
        norm = load(rows, row + p * ROWS) * load(columns, column + p * COLUMNS)
        r = quotient(s, norm)
        if keep:
            store(room, start + (kept + p) * THREADS, r)
            store(room, start + (kept + all_positions + p) * THREADS, tangent)
        kappa0, kappa1 = kappas(r, distance(r))
        k = norm * kappa1
        return k, k + kappa0 * tangent

    return activate


def _emit(plan: Plan, layer: int) -> Any:
    """Add column i to the last layer's share of the kernel; elsewhere put it where the next layer looks for it."""
    tangent, zero, overlap = plan.tangent, plan.dtype.type(0), plan.last[1] % plan.width > 0
    if layer == plan.spec.depth - 1:

        @device
        def add(share, k, both, i, room, write, skip):
            entry = both if tangent else k
            if overlap:
                entry = entry if i >= skip else zero
            return share + entry

        return add
    k_ring, both_ring = plan.ring(layer)

    @device
    def put(share, k, both, i, room, write, skip):
        store(room, write + (k_ring + i) * THREADS, k)
        if tangent:
            store(room, write + (both_ring + i) * THREADS, both)
        return share

    return put


def _layers_from(plan: Plan, layer: int) -> Any:
    """What follows when row y of the layer before is complete: a row of this layer, and of those after it."""
    if layer == plan.spec.depth:

        @device
        def nothing(share, y, norms, room, start, first, skip):
            return share

        return nothing
    q, margin, stride, after = plan.spec.patch_size, plan.margin, plan.stored(layer), _layers_from(plan, layer + 1)
    (k_ring, both_ring), tangent = plan.ring(layer - 1), plan.tangent
    (empty, shift, _), column_sum = windows(q, plan.dtype), _column_sum(plan, layer - 1)
    offset, all_columns = plan.offset(layer), plan.grid(layer)[1]
    sweep = along(_column(plan, layer, column_sum), stride)

    @device
    def run(share, y, norms, room, start, first, skip):
        if y < margin:
            return share
        row = y - margin
        k_place, both_place = start + k_ring * THREADS, start + both_ring * THREADS
        k_window, both_window = empty, empty
        for i in range(margin):
            k_window = shift(k_window, column_sum(room, k_place + i * THREADS))
            if tangent:
                both_window = shift(both_window, column_sum(room, both_place + i * THREADS))
        write = start + row % q * stride * THREADS
        here = (norms, room, start, offset + row * all_columns + first, k_place, both_place, write, skip)
        share, _, _ = sweep((share, k_window, both_window), here)
        return after(share, row, norms, room, start, first, skip)

    return run


def _column_sum(plan: Plan, layer: int) -> Any:
    """Sum of one column over the rows that a layer keeps."""
    q, stride = plan.spec.patch_size, plan.stored(layer)

    @device
    def column_sum(room, place):
        value = load(room, place)
        for i in range(1, q):
            value += load(room, place + i * stride * THREADS)
        return value

    return column_sum


def _column(plan: Plan, layer: int, column_sum: Any) -> Any:
    """One position of a layer after the first, from the window sums over the layer before."""
    margin, tangent, zero = plan.margin, plan.tangent, plan.dtype.type(0)
    activate, emit = _activate(plan, layer), _emit(plan, layer)
    _, shift, total = windows(plan.spec.patch_size, plan.dtype)

    @device
    def column(i, state, here):
        share, k_window, both_window = state
        norms, room, start, p, k_place, both_place, write, skip = here
        new = column_sum(room, k_place + (i + margin) * THREADS)
        s, t = new + total(k_window), zero
        k_window = shift(k_window, new)
        if tangent:
            new = column_sum(room, both_place + (i + margin) * THREADS)
            t = new + total(both_window)
            both_window = shift(both_window, new)
        k, both = activate(s, t, norms, p + i, room, start)
        return emit(share, k, both, i, room, write, skip), k_window, both_window

    return column


def _climb(plan: Plan) -> Any:
    """All layers of one strip: the sum over its positions in the last layer, but for the first `skip` columns."""
    begin, enter, step = first_layer(plan)
    activate, emit, after = _activate(plan, 0), _emit(plan, 0), _layers_from(plan, 1)
    zero, q, stride, (rows, all_columns) = plan.dtype.type(0), plan.spec.patch_size, plan.stored(0), plan.grid(0)

    @device
    def column(i, state, here):
        share, window = state
        sides, norms, room, start, y, first, p, write, skip = here
        s, window = step(sides, room, start, y, first, i, window)
        k, both = activate(s, s, norms, p + i, room, start)
        return emit(share, k, both, i, room, write, skip), window

    sweep = along(column, stride)

    @device
    def climb(sides, norms, room, start, first, skip):
        begin(sides, room, start, first)
        share = zero
        for y in range(rows):
            write = start + y % q * stride * THREADS
            here = (sides, norms, room, start, y, first, y * all_columns + first, write, skip)
            share, _ = sweep((share, enter(sides, y, first)), here)
            share = after(share, y, norms, room, start, first, skip)
        return share

    return climb


def _differentiate(plan: Plan, layer: int) -> Any:
    """From derivatives with respect to k, Theta and s_row at position p to those with respect to s, T and s_row."""
    distance, kappas = angles(plan.dtype, layer == 0, plan.collinear)
    quotient, kept, all_positions = divide(plan.dtype), plan.kept, plan.offset(plan.spec.depth)
    zero, half, one, inverse_pi = (plan.dtype.type(value) for value in (0, 0.5, 1, 1 / np.pi))

    @device
    def differentiate(to_k, to_theta, to_row, norms, p, room, start):
        rows, row, columns, column = norms
        of_row, of_column = load(rows, row + p * ROWS), load(columns, column + p * COLUMNS)
        r, t = load(room, start + (kept + p) * THREADS), load(room, start + (kept + all_positions + p) * THREADS)
        d = distance(r)
        kappa0, _ = kappas(r, d)
        sine = math.sqrt(d * (one - d + one))
        slope = quotient(t, of_row * of_column) * inverse_pi / (sine if d > zero else one) if d > zero else zero
        size = d - one if r < zero else one - d
        to_tangent = to_theta * kappa0
        to_s = to_k * kappa0 + to_theta * slope + to_tangent
        share = to_k * sine * inverse_pi - to_theta * slope * size
        return to_s, to_tangent, to_row + half * quotient(of_column, of_row) * share

    return differentiate


def _spread(plan: Plan, layer: int) -> Any:
    """Sums of a column of the three maps of the layer after this one, over its rows whose windows hold row y."""
    zero, q, margin, stride = plan.dtype.type(0), plan.spec.patch_size, plan.margin, plan.grid(0)[1]
    rows, size = plan.grid(layer)[0] - margin, plan.offset(1)

    @device
    def spread(room, place, y, column):
        k, theta, variance = zero, zero, zero
        if column >= 0:
            for above in range(q):
                row = y - above
                if row >= 0 and row < rows:
                    read = place + (row * stride + column) * THREADS
                    k += load(room, read)
                    theta += load(room, read + size * THREADS)
                    variance += load(room, read + 2 * size * THREADS)
        return k, theta, variance

    return spread


def _gather(plan: Plan, layer: int) -> Any:
    """Derivatives with respect to k, Theta and s_row at row y and column x, and the next windows."""
    if layer == plan.spec.depth - 1:
        rows, columns = plan.last
        zero, share = plan.dtype.type(0), plan.dtype.type(1 / (rows * columns))
        to_theta = share if plan.tangent else zero

        @device
        def last(sums, room, place, y, x):
            return (share, to_theta, zero), sums

        return last
    margin, spread, (_, shift, total) = plan.margin, _spread(plan, layer), windows(plan.spec.patch_size, plan.dtype)

    @device
    def gather(sums, room, place, y, x):
        k, theta, variance = spread(room, place, y, x - margin)
        found = (k + total(sums[0]), theta + total(sums[1]), variance + total(sums[2]))
        return found, (shift(sums[0], k), shift(sums[1], theta), shift(sums[2], variance))

    return gather


def _put_back(plan: Plan, layer: int) -> Any:
    """Store derivatives for the layer below; those of the first layer are the result."""
    stride, size, first = plan.grid(0)[1], plan.offset(1), layer == 0

    @device
    def put(room, place, y, x, results, to_s, to_tangent, to_row):
        d_s, d_row, pair, pairs = results
        if first:
            store(d_s, pair + (y * stride + x) * pairs, to_s)
            store(d_row, pair + (y * stride + x) * pairs, to_row)
        else:
            write = place + (y * stride + x) * THREADS
            store(room, write, to_s)
            store(room, write + size * THREADS, to_tangent)
            store(room, write + 2 * size * THREADS, to_row)

    return put


def _descent_from(plan: Plan, layer: int) -> Any:
    """Go down from this layer to the first, where the derivatives with respect to s and s_row are stored.

    Each map of derivatives is overwritten in place: from its last row up and from its last column on, an entry needs only
    entries of the layer above that are still there.
    """
    differentiate, gather, put = _differentiate(plan, layer), _gather(plan, layer), _put_back(plan, layer)
    (rows, columns), offset, maps = plan.grid(layer), plan.offset(layer), plan.maps
    empty = windows(plan.spec.patch_size, plan.dtype).empty
    below = _descent_from(plan, layer - 1) if layer > 0 else _end

    @device
    def column(i, sums, here):
        norms, room, start, place, y, results = here
        x = columns - 1 - i
        (to_k, to_theta, to_row), sums = gather(sums, room, place, y, x)
        p = offset + y * columns + x
        to_s, to_tangent, to_row = differentiate(to_k, to_theta, to_row, norms, p, room, start)
        put(room, place, y, x, results, to_s, to_tangent, to_row)
        return sums

    sweep = along(column, columns)

    @device
    def descend(norms, room, start, results):
        for above in range(rows):
            sweep((empty, empty, empty), (norms, room, start, start + maps * THREADS, rows - 1 - above, results))
        below(norms, room, start, results)

    return descend


@device
def _end(norms, room, start, results):
    return


def _derivatives(plan: Plan) -> Any:
    """From one pair to its derivatives, stored in the results."""
    climb, descend = _climb(plan), _descent_from(plan, plan.spec.depth - 1)

    @device
    def derivatives(sides, norms, room, start, results):
        climb(sides, norms, room, start, 0, 0)
        descend(norms, room, start, results)

    return derivatives


def _laplace_strip(plan: Plan) -> Any:
    """The Laplace kernel in the place of `_climb`."""
    (begin, enter, step), (lines, _) = first_layer(plan), plan.last
    zero, rate = plan.dtype.type(0), plan.dtype.type(1 / cast("LaplaceSpec", plan.spec).bandwidth)

    @device
    def column(i, state, here):
        share, window = state
        sides, room, start, y, first, skip = here
        square, window = step(sides, room, start, y, first, i, window)
        entry = math.exp(-math.sqrt(square) * rate)
        return share + (entry if i >= skip else zero), window

    sweep = along(column, plan.width)

    @device
    def sum_strip(sides, norms, room, start, first, skip):
        begin(sides, room, start, first)
        share = zero
        for y in range(lines):
            share, _ = sweep((share, enter(sides, y, first)), (sides, room, start, y, first, skip))
        return share

    return sum_strip


def _laplace_derivatives(plan: Plan) -> Any:
    """The derivatives of the Laplace kernel in the place of `_derivatives`."""
    (begin, enter, step), (lines, whole), real = first_layer(plan), plan.last, plan.dtype.type
    bandwidth = cast("LaplaceSpec", plan.spec).bandwidth
    zero, closest, rate, weight = real(0), real(CLOSEST), real(1 / bandwidth), real(1 / (lines * whole * bandwidth))

    @device
    def derivatives(sides, norms, room, start, results):
        d_s, _, place, pairs = results
        begin(sides, room, start, 0)
        for y in range(lines):
            window = enter(sides, y, 0)
            for x in range(whole):
                square, window = step(sides, room, start, y, 0, x, window)
                distance = math.sqrt(square)
                near = distance < closest
                value = math.exp(-distance * rate) * weight / (closest if near else distance)
                store(d_s, place + (y * whole + x) * pairs, zero if near else value)

    return derivatives
