"""The gradient of a kernel predictor with respect to each patch of a point, from the derivatives of its kernel entries.

At position u of point z, and for output o, it is sum_i alpha_io (a[z, i, u] R x_{i,u}) + (sum_i alpha_io b[z, i, u]) R z_u up
to constants. The first sum is a matrix product whose left factor alpha_io a[z, i, u] would be larger than all else, so that
it is formed in registers: `OUTPUTS` outputs and two vectors of the patch at a time.
"""

import numba
import numpy as np

from convrfm.kernels.compiled import SOURCES
from convrfm.kernels.compiled.simd import VECTOR_BYTES, broadcast, copy, fma, full, load, room, store, total

__all__ = ["OUTPUTS", "contract", "patches_by_position"]

OUTPUTS = 5
"""Outputs handled together; alpha is padded to a multiple."""


def _make(stamp: str):
    @numba.njit(parallel=True, cache=True)
    def patches_by_position(images, places, columns, first, out):
        """Copy patches to out `(positions, at least n, at least d)`, with zeros in what is left over.

        Otherwise as `convrfm.kernels.compiled.first_layer.unfold`; the last two axes of out hold whole vectors.
        """
        assert stamp
        n, channels, height, width = images.shape
        _, padded, k = out.shape
        source, target = images.reshape(-1), out.reshape(-1)
        for p in numba.prange(len(out)):
            for place in range(p * padded * k, (p + 1) * padded * k, VECTOR_BYTES // out.itemsize):
                store(target, place, full(target, 0.0))
            for image in range(n):
                start = image * channels * height * width + (first + p // columns) * width + p % columns
                for i in range(len(places)):
                    copy(source, start + places[i], target, (p * padded + image) * k + i)

    @numba.njit(parallel=True, cache=True)
    def contract(d_s, d_row, all_positions, first, patches, own, alpha, alpha_by_output, row_weight, out):
        """Compute the gradients at some positions.

        Args:
            d_s: flat, `(points, blocks, all positions, lanes)`.
            d_row: the same.
            all_positions: of the first layer.
            first: the first of those positions that are asked for.
            patches: R x_u `(positions, n, k)` from there on; n is padded to whole vectors, and k to pairs of them.
            own: R z_u `(positions, points, k)`, points padded.
            alpha: `(n, outputs)`, outputs padded to a multiple of `OUTPUTS`.
            alpha_by_output: `(outputs, n)`.
            row_weight: factor of the second sum.
            out: `(positions, points, outputs, k)`, filled.
        """
        assert stamp
        lanes = VECTOR_BYTES // out.itemsize
        positions, points, outputs, k = out.shape
        n, padded = len(alpha), own.shape[1]
        x, z, weights, by_output = patches.reshape(-1), own.reshape(-1), alpha.reshape(-1), alpha_by_output.reshape(-1)
        gradients = out.reshape(-1)
        for p in numba.prange(positions):
            derivative = room(points * n // lanes, out)
            of_row = np.empty(points * outputs, out.dtype)
            for point in range(points):
                for i in range(0, n, lanes):
                    place = ((point * n + i) * all_positions // lanes + first + p) * lanes
                    store(derivative, point * n + i, load(d_s, place))
                for o in range(outputs):
                    sums = full(out, 0.0)
                    for i in range(0, n, lanes):
                        place = ((point * n + i) * all_positions // lanes + first + p) * lanes
                        sums = fma(load(d_row, place), load(by_output, o * n + i), sums)
                    of_row[point * outputs + o] = total(sums) * row_weight
            for start in range(0, k, 2 * lanes):
                for point in range(points):
                    place = (p * padded + point) * k + start
                    of_point = (load(z, place), load(z, place + lanes))
                    for o in range(0, outputs, OUTPUTS):
                        _gradient(
                            derivative, point * n, n, x, p * n * k + start, k, weights, outputs, o, of_row,
                            point * outputs + o, of_point, gradients, ((p * points + point) * outputs + o) * k + start,
                        )  # fmt: skip

    return patches_by_position, contract


@numba.njit
def _gradient(derivative, first, n, x, start, k, weights, outputs, o, of_row, row_place, z, out, place):
    """Two vectors of the gradients of outputs o ... o + `OUTPUTS` - 1 at one point and position."""
    lanes = VECTOR_BYTES // out.itemsize
    zero = full(out, 0.0)
    a, b, c, d, e = zero, zero, zero, zero, zero
    f, g, h, i, j = zero, zero, zero, zero, zero
    for image in range(n):
        scale = broadcast(derivative, first + image)
        left, right = load(x, image * k + start) * scale, load(x, image * k + start + lanes) * scale
        column = image * outputs + o
        weight = broadcast(weights, column)
        a, f = fma(left, weight, a), fma(right, weight, f)
        weight = broadcast(weights, column + 1)
        b, g = fma(left, weight, b), fma(right, weight, g)
        weight = broadcast(weights, column + 2)
        c, h = fma(left, weight, c), fma(right, weight, h)
        weight = broadcast(weights, column + 3)
        d, i = fma(left, weight, d), fma(right, weight, i)
        weight = broadcast(weights, column + 4)
        e, j = fma(left, weight, e), fma(right, weight, j)
    for found in ((a, f), (b, g), (c, h), (d, i), (e, j)):
        weight = broadcast(of_row, row_place)
        store(out, place, fma(z[0], weight, found[0]))
        store(out, place + lanes, fma(z[1], weight, found[1]))
        place += k
        row_place += 1


patches_by_position, contract = _make(SOURCES)
