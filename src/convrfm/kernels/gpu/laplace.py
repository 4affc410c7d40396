"""The patch Laplace kernel of `convrfm.kernels.base` and its derivative, one pair of images in each thread."""

import math
from functools import cache
from typing import Any, cast

from numba import cuda

from convrfm.kernels.backends import CLOSEST, LaplaceSpec
from convrfm.kernels.gpu.device_functions import along, device, first_layer, pair_sides, store
from convrfm.kernels.gpu.launch import COLUMNS, ROWS, THREADS, Plan

__all__ = ["forward", "reverse"]


@cache
def forward(plan: Plan) -> Any:
    """Compile the kernel that fills a kernel matrix.

    Its arguments are those of `convrfm.kernels.gpu.arccosine.forward`, without norms.
    """
    (begin, enter, step), sides = first_layer(plan), pair_sides(plan)
    dtype, shared, width, (lines, whole), numbers = plan.dtype, plan.shared, plan.width, plan.last, plan.numbers
    zero, weight, strips = dtype.type(0), dtype.type(1 / (lines * whole)), plan.strips
    rate = dtype.type(1 / cast("LaplaceSpec", plan.spec).bandwidth)

    @device
    def column(i, state, here):
        share, window = state
        pair, room, start, y, first, skip = here
        square, window = step(pair, room, start, y, first, i, window)
        entry = math.exp(-math.sqrt(square) * rate)
        return share + (entry if i >= skip else zero), window

    sweep = along(column, width)

    @device
    def sum_strip(pair, room, start, first, skip):
        begin(pair, room, start, first)
        share = zero
        for y in range(lines):
            share, _ = sweep((share, enter(pair, y, first)), (pair, room, start, y, first, skip))
        return share

    @cuda.jit(fastmath=True)
    def kernel(rows, columns, scratch, out, n, m, padded, triangle):
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
                share = zero
                for strip in range(strips):
                    first = min(strip * width, whole - width)
                    share += sum_strip(pair, room, start, first, strip * width - first)
                store(out, row * padded + column, share * weight)

    return kernel


@cache
def reverse(plan: Plan) -> Any:
    """Compile the kernel of K_u / (bandwidth P Q ||x_u - z_u||), zero where patches are closer than `CLOSEST`.

    Its arguments are those of `convrfm.kernels.gpu.arccosine.reverse`, without norms and d_row.
    """
    (begin, enter, step), sides = first_layer(plan), pair_sides(plan)
    (lines, whole), numbers, dtype = plan.last, plan.numbers, plan.dtype
    bandwidth = cast("LaplaceSpec", plan.spec).bandwidth
    zero, closest, rate = dtype.type(0), dtype.type(CLOSEST), dtype.type(1 / bandwidth)
    weight = dtype.type(1 / (lines * whole * bandwidth))

    @cuda.jit(fastmath=True)
    def kernel(rows, columns, scratch, d_s, n, m, padded):
        thread = cuda.threadIdx.x
        start = cuda.blockIdx.x * numbers * THREADS + thread
        groups = (n + ROWS - 1) // ROWS
        for block in range(cuda.blockIdx.x, groups * (padded // COLUMNS), cuda.gridDim.x):
            row = block % groups * ROWS + thread // COLUMNS
            column = block // groups * COLUMNS + thread % COLUMNS
            if row < n and column < m:
                pair = sides(rows, columns, row, column, n, padded)
                begin(pair, scratch, start, 0)
                for y in range(lines):
                    window = enter(pair, y, 0)
                    for x in range(whole):
                        square, window = step(pair, scratch, start, y, 0, x, window)
                        distance = math.sqrt(square)
                        near = distance < closest
                        value = math.exp(-distance * rate) * weight / (closest if near else distance)
                        store(d_s, (y * whole + x) * n * padded + row * padded + column, zero if near else value)

    return kernel
