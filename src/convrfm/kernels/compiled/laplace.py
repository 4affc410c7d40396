"""The patch Laplace kernel of `convrfm.kernels.base` and its derivative, for one SIMD vector of pairs at a time.

Arguments are those of `convrfm.kernels.compiled.arccosine`; `rate` is log2(e) / bandwidth.
"""

import numba

from convrfm.kernels.compiled import SOURCES, compiled
from convrfm.kernels.compiled.first_layer import fill, group_size, groups_of, positions_of, room_size
from convrfm.kernels.compiled.simd import VECTOR_BYTES, exp2_of_minus, full, load, room, sqrt, store, where_less

__all__ = ["forward", "reverse"]


def _make(stamp: str):
    @compiled(parallel=True)
    def forward(tasks, operands, window, rate, out, blocks, threads):
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
    def reverse(tasks, operands, window, rate, closest, weight, d_s, blocks, threads):
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

    return forward, reverse


forward, reverse = _make(SOURCES)
