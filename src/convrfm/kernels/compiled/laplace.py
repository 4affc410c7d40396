"""The patch Laplace kernel of `convrfm.kernels.base` and its derivative, for one SIMD vector of pairs at a time."""

import numba

from convrfm.kernels.compiled import SOURCES
from convrfm.kernels.compiled.first_layer import fill, group_size, room_size
from convrfm.kernels.compiled.functions import exp2_of_minus
from convrfm.kernels.compiled.simd import VECTOR_BYTES, full, load, room, sqrt, store, where_less

__all__ = ["forward", "reverse"]


def _make(stamp: str):
    @numba.njit(parallel=True, cache=True)
    def forward(tasks, kind, rows, row_size, columns, column_size, shape, window, rate, out, blocks):
        """Compute kernel entries. All arrays but the tasks are flat.

        Args:
            tasks, kind, rows, row_size, columns, column_size, shape, window, blocks: as in `convrfm.kernels.compiled.arccosine.forward`.
            rate: log2(e) / bandwidth.
            out: `(n, blocks, lanes)`; the entries of the tasks are filled.
        """
        assert stamp
        q, lanes = len(window), VECTOR_BYTES // out.itemsize
        positions = (shape[1] - q + 1) * (shape[2] - q + 1)
        for task in numba.prange(len(tasks)):
            block, together = tasks[task, 0], group_size(kind)
            squares = room(together * positions, out)
            differences = room(room_size(shape, window), out)
            for group in range(tasks[task, 1], tasks[task, 2], together):
                end = min(group + together, tasks[task, 2])
                fill(kind, rows, row_size, group, end, columns, column_size, block, shape, window, True, differences, squares)
                for row in range(group, end):
                    total = full(out, 0.0)
                    for p in range(positions):
                        square = load(squares, ((row - group) * positions + p) * lanes)
                        total = total + exp2_of_minus(sqrt(square) * full(out, rate))
                    store(out, (row * blocks + block) * lanes, total * full(out, 1 / positions))

    @numba.njit(parallel=True, cache=True)
    def reverse(tasks, kind, rows, row_size, columns, column_size, shape, window, rate, closest, weight, d_s, blocks):
        """Compute weight K_u / ||x_u - z_u||, and zero where the patches are closer than `closest`.

        Args:
            tasks, kind, rows, row_size, columns, column_size, shape, window, rate, blocks: as in `forward`.
            closest: a distance.
            weight: a factor.
            d_s: `(n, blocks, positions, lanes)`; the entries of the tasks are filled.
        """
        assert stamp
        q, lanes = len(window), VECTOR_BYTES // d_s.itemsize
        positions = (shape[1] - q + 1) * (shape[2] - q + 1)
        for task in numba.prange(len(tasks)):
            block, together = tasks[task, 0], group_size(kind)
            squares = room(together * positions, d_s)
            differences = room(room_size(shape, window), d_s)
            for group in range(tasks[task, 1], tasks[task, 2], together):
                end = min(group + together, tasks[task, 2])
                fill(kind, rows, row_size, group, end, columns, column_size, block, shape, window, True, differences, squares)
                for row in range(group, end):
                    for p in range(positions):
                        distance = sqrt(load(squares, ((row - group) * positions + p) * lanes))
                        value = exp2_of_minus(distance * full(d_s, rate)) * full(d_s, weight) / distance
                        store(d_s, ((row * blocks + block) * positions + p) * lanes, where_less(full(d_s, closest), distance, value, full(d_s, 0.0)))

    return forward, reverse


forward, reverse = _make(SOURCES)
