"""The recursion of `convrfm.kernels.base` and its reverse, one pair of images in each thread.

As on the CPU (`convrfm.kernels.compiled.arccosine`) the layers run together, one row of positions at a time, and a layer
keeps k and k + Theta, because s = box(k) and T = box(k + Theta). Each layer is a function of its own, made for its place in
the network and calling the next one, so that all sizes and strides are constants. For the reverse, r and T of each position
are kept on the way up, and the rest is computed again from them: memory is slower than arithmetic here.
"""

import math
from functools import cache
from typing import Any

import numpy as np
from numba import cuda

from convrfm.kernels.gpu.first_layer import first_layer, pair_norms, pair_sides
from convrfm.kernels.gpu.functions import angles, device, divide, load, store, windows
from convrfm.kernels.gpu.plan import COLUMNS, ROWS, THREADS, Plan

__all__ = ["forward", "reverse"]


def _activate(plan: Plan, layer: int) -> Any:
    """From s and T to k and k + Theta at position p among those of all layers."""
    distance, kappas = angles(plan.dtype, signed=layer == 0)
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
    """Give the last layer's share of the kernel; elsewhere put k and k + Theta where the next layer looks for them."""
    tangent, zero = plan.tangent, plan.dtype.type(0)
    if layer == plan.spec.depth - 1:

        @device
        def give(room, start, y, i, k, both):  # noqa: ARG001
            return both if tangent else k

        return give
    (k_ring, both_ring), stride, q = plan.ring(layer), plan.width + plan.border(layer), plan.spec.patch_size

    @device
    def put(room, start, y, i, k, both):
        place = y % q * stride + i
        store(room, start + (k_ring + place) * THREADS, k)
        if tangent:
            store(room, start + (both_ring + place) * THREADS, both)
        return zero

    return put


def _layers_from(plan: Plan, layer: int) -> Any:
    """What follows when row y of the layer before is complete: a row of this layer, and of those after it."""
    zero, margin, q, tangent = plan.dtype.type(0), plan.margin, plan.spec.patch_size, plan.tangent
    if layer == plan.spec.depth:

        @device
        def nothing(y, norms, room, start, first, width):  # noqa: ARG001
            return zero

        return nothing
    activate, emit, after = _activate(plan, layer), _emit(plan, layer), _layers_from(plan, layer + 1)
    empty, shift, total = windows(q, plan.dtype)
    (k_ring, both_ring), stride = plan.ring(layer - 1), plan.width + plan.border(layer - 1)
    border, offset, all_columns = plan.border(layer), plan.offset(layer), plan.grid(layer)[1]

    @device
    def column_sum(room, place):
        value = load(room, place)
        for i in range(1, q):
            value += load(room, place + i * stride * THREADS)
        return value

    @device
    def run(y, norms, room, start, first, width):
        share = zero
        if y < margin:
            return share
        row = y - margin
        k_place, both_place = start + k_ring * THREADS, start + both_ring * THREADS
        k_window, both_window = empty, empty
        for i in range(margin):
            k_window = shift(k_window, column_sum(room, k_place + i * THREADS))
            if tangent:
                both_window = shift(both_window, column_sum(room, both_place + i * THREADS))
        p = offset + row * all_columns + first
        for i in range(width + border):
            new = column_sum(room, k_place + (i + margin) * THREADS)
            s, t = new + total(k_window), zero
            k_window = shift(k_window, new)
            if tangent:
                new = column_sum(room, both_place + (i + margin) * THREADS)
                t = new + total(both_window)
                both_window = shift(both_window, new)
            k, both = activate(s, t, norms, p + i, room, start)
            share += emit(room, start, row, i, k, both)
        return share + after(row, norms, room, start, first, width)

    return run


def _climb(plan: Plan) -> Any:
    """All layers of one strip: the sum over its positions in the last layer."""
    begin, enter, step = first_layer(plan)
    activate, emit, after = _activate(plan, 0), _emit(plan, 0), _layers_from(plan, 1)
    zero, border, (rows, all_columns) = plan.dtype.type(0), plan.border(0), plan.grid(0)

    @device
    def climb(sides, norms, room, start, first, width):
        columns = width + border
        begin(sides, room, start, first, columns)
        share = zero
        for y in range(rows):
            window = enter(sides, y, first)
            for i in range(columns):
                s, window = step(sides, room, start, y, first, i, window)
                k, both = activate(s, s, norms, y * all_columns + first + i, room, start)
                share += emit(room, start, y, i, k, both)
            share += after(y, norms, room, start, first, width)
        return share

    return climb


@cache
def forward(plan: Plan) -> Any:
    """Compile the kernel that fills a kernel matrix.

    Its arguments are flat arrays of the plan's dtype, and numbers:
        rows, columns: images in blocks, see `convrfm.kernels.gpu.first_layer`.
        row_norms, column_norms: sqrt(s_x) and sqrt(s_z) at the positions of all layers, in the same blocks.
        scratch: `(blocks of the launch, numbers of a thread, THREADS)`; not used if the plan is in shared memory.
        out: `(n, padded)`.
        n, m, padded: rows, columns, and columns rounded up to whole blocks.
        triangle: 1 for entries on and above the diagonal only, else 0.
    """
    climb, sides, norms_of = _climb(plan), pair_sides(plan), pair_norms(plan)
    dtype, shared, width, (_, whole), numbers = plan.dtype, plan.shared, plan.width, plan.last, plan.numbers
    zero, weight = dtype.type(0), dtype.type(1 / (plan.last[0] * plan.last[1]))

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
                for first in range(0, whole, width):
                    share += climb(pair, norms, room, start, first, min(width, whole - first))
                store(out, row * padded + column, share * weight)

    return kernel


def _differentiate(plan: Plan, layer: int) -> Any:
    """From derivatives with respect to k, Theta and s_row at position p to those with respect to s, T and s_row."""
    distance, kappas = angles(plan.dtype, signed=layer == 0)
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
    """Sum over the rows of a map of the layer after this one, in one of its columns, whose windows hold row y."""
    zero, margin, stride = plan.dtype.type(0), plan.margin, plan.grid(0)[1]
    last = plan.grid(layer)[0] - margin - 1

    @device
    def spread(room, place, y, column):
        value = zero
        if column >= 0:
            for row in range(max(0, y - margin), min(y, last) + 1):
                value += load(room, place + (row * stride + column) * THREADS)
        return value

    return spread


def _descent_from(plan: Plan, layer: int) -> Any:
    """Go down from this layer to the first, where the derivatives with respect to s and s_row are stored.

    Each map of derivatives is overwritten in place: from its last row up and from its last column on, an entry needs
    only entries of the layer above that are still there.
    """
    differentiate, stride, size = _differentiate(plan, layer), plan.grid(0)[1], plan.offset(1)
    (rows, columns), offset, maps, margin = plan.grid(layer), plan.offset(layer), plan.maps, plan.margin
    empty, shift, total = windows(plan.spec.patch_size, plan.dtype)
    zero, last, spread = plan.dtype.type(0), layer == plan.spec.depth - 1, _spread(plan, layer)
    to_last = plan.dtype.type(1 / (rows * columns))
    to_last_theta = to_last if plan.tangent else zero
    below = _descent_from(plan, layer - 1) if layer > 0 else _nothing

    @device
    def descend(norms, room, start, d_s, d_row, pair, pairs):
        place = start + maps * THREADS
        for above in range(rows):
            y = rows - 1 - above
            k_window, theta_window, row_window = empty, empty, empty
            for before in range(columns):
                x = columns - 1 - before
                to_k, to_theta, to_row = to_last, to_last_theta, zero
                if not last:
                    new_k = spread(room, place, y, x - margin)
                    new_theta = spread(room, place + size * THREADS, y, x - margin)
                    new_row = spread(room, place + 2 * size * THREADS, y, x - margin)
                    to_k, to_theta = new_k + total(k_window), new_theta + total(theta_window)
                    to_row = new_row + total(row_window)
                    k_window, theta_window = shift(k_window, new_k), shift(theta_window, new_theta)
                    row_window = shift(row_window, new_row)
                p = offset + y * columns + x
                to_s, to_tangent, to_row = differentiate(to_k, to_theta, to_row, norms, p, room, start)
                if layer == 0:
                    store(d_s, pair + p * pairs, to_s)
                    store(d_row, pair + p * pairs, to_row)
                else:
                    write = place + (y * stride + x) * THREADS
                    store(room, write, to_s)
                    store(room, write + size * THREADS, to_tangent)
                    store(room, write + 2 * size * THREADS, to_row)
        below(norms, room, start, d_s, d_row, pair, pairs)

    return descend


@device
def _nothing(norms, room, start, d_s, d_row, pair, pairs):  # noqa: ARG001
    return


@cache
def reverse(plan: Plan) -> Any:
    """Compile the kernel that differentiates with respect to s and the rows' s_x of the first layer.

    Its arguments are those of `forward`, but for the results d_s and d_row in place of `out`, both
    `(positions, n, padded)`, and without a triangle.
    """
    climb, descend = _climb(plan), _descent_from(plan, plan.spec.depth - 1)
    sides, norms_of, numbers, (_, whole) = pair_sides(plan), pair_norms(plan), plan.numbers, plan.last

    @cuda.jit(fastmath=True)
    def kernel(rows, columns, row_norms, column_norms, scratch, d_s, d_row, n, m, padded):
        thread = cuda.threadIdx.x
        start = cuda.blockIdx.x * numbers * THREADS + thread
        groups = (n + ROWS - 1) // ROWS
        for block in range(cuda.blockIdx.x, groups * (padded // COLUMNS), cuda.gridDim.x):
            row = block % groups * ROWS + thread // COLUMNS
            column = block // groups * COLUMNS + thread % COLUMNS
            if row < n and column < m:
                norms = norms_of(row_norms, column_norms, row, column)
                climb(sides(rows, columns, row, column, n, padded), norms, scratch, start, 0, whole)
                descend(norms, scratch, start, d_s, d_row, row * padded + column, n * padded)

    return kernel
