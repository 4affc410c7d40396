"""The patch-AGOP of a kernel predictor, from the derivatives of its kernel entries.

At position u of point z, and for output o, the gradient is up to constants
sum_i alpha_io (a[z, i, u] R x_{i,u}) + (sum_i alpha_io b[z, i, u]) R z_u. The first sum is a matrix product whose left
factor alpha_io a[z, i, u] would be larger than all else; it is formed in registers: `OUTPUTS` outputs and two
vectors of the patch at a time. The outer products of the gradients are added up position by position, while these are
in the cache: in the arithmetic of the images within a position, in float64 over positions.
"""

import numba
import numpy as np

from convrfm.kernels.compiled import SOURCES, compiled
from convrfm.kernels.compiled.simd import VECTOR_BYTES, broadcast, copy, fma, full, load, room, store, total

__all__ = ["OUTPUTS", "contract", "patches_by_position"]

ROWS = 8  # rows of an outer product handled together

OUTPUTS = 5
"""Outputs handled together; alpha is padded to a multiple."""


def _make(stamp: str):
    @compiled(parallel=True)
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

    @compiled(parallel=True)
    def contract(d_s, d_row, all_positions, first, patches, own, alpha, alpha_by_output, row_weight, totals):
        """Add the outer products of the gradients with themselves, at some positions.

        Args:
            d_s: flat, `(points, blocks, all positions, lanes)`.
            d_row: the same.
            all_positions: of the first layer.
            first: the first of the positions to add.
            patches: R x_u `(positions, n, k)` from there on; n is padded to whole vectors, and k to pairs of them.
            own: R z_u `(positions, at least points, k)`.
            alpha: `(n, outputs)`, outputs padded to a multiple of `OUTPUTS`.
            alpha_by_output: `(outputs, n)`.
            row_weight: factor of the second sum.
            totals: `(threads, k, k)`, float64, to whose upper triangles each thread adds.
        """
        assert stamp
        lanes = VECTOR_BYTES // d_s.itemsize
        (positions, padded, k), (n, outputs), threads = own.shape, alpha.shape, len(totals)
        points = len(d_s) // (n * all_positions)
        x, z, weights, by_output = patches.reshape(-1), own.reshape(-1), alpha.reshape(-1), alpha_by_output.reshape(-1)
        sums = totals.reshape(-1)
        for thread in numba.prange(threads):
            derivative, gradients = room(points * n // lanes, d_s), room(points * outputs * k // lanes, d_s)
            of_row, corner = np.empty(points * outputs, d_s.dtype), room(2 * ROWS, d_s)
            for p in range(thread, positions, threads):
                for point in range(points):
                    for i in range(0, n, lanes):
                        place = ((point * n + i) * all_positions // lanes + first + p) * lanes
                        store(derivative, point * n + i, load(d_s, place))
                    for o in range(outputs):
                        weighted = full(d_s, 0.0)
                        for i in range(0, n, lanes):
                            place = ((point * n + i) * all_positions // lanes + first + p) * lanes
                            weighted = fma(load(d_row, place), load(by_output, o * n + i), weighted)
                        of_row[point * outputs + o] = total(weighted) * row_weight
                for start in range(0, k, 2 * lanes):
                    for point in range(points):
                        place = (p * padded + point) * k + start
                        of_point = (load(z, place), load(z, place + lanes))
                        for o in range(0, outputs, OUTPUTS):
                            _gradient(
                                derivative, point * n, n, x, p * n * k + start, k, weights, outputs, o, of_row,
                                point * outputs + o, of_point, gradients, (point * outputs + o) * k + start,
                            )  # fmt: skip
                _add_outer_products(gradients, points * outputs, k, corner, sums, thread * k * k)

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


@numba.njit
def _add_outer_products(gradients, count, k, corner, sums, place):
    """Add G^T G for gradients G `(count, k)` to sums[place:] `(k, k)`: `ROWS` rows and two vectors at a time.

    Blocks wholly below the diagonal are left out.
    """
    lanes = VECTOR_BYTES // gradients.itemsize
    zero = full(gradients, 0.0)
    for column in range(0, k, 2 * lanes):
        for row in range(0, min(column + 2 * lanes, k), ROWS):
            a, b, c, d, e, f, g, h = zero, zero, zero, zero, zero, zero, zero, zero
            i, j, r, m, n, o, p, q = zero, zero, zero, zero, zero, zero, zero, zero
            for start in range(0, count * k, k):
                left, right = load(gradients, start + column), load(gradients, start + column + lanes)
                factor = broadcast(gradients, start + row)
                a, i = fma(left, factor, a), fma(right, factor, i)
                factor = broadcast(gradients, start + row + 1)
                b, j = fma(left, factor, b), fma(right, factor, j)
                factor = broadcast(gradients, start + row + 2)
                c, r = fma(left, factor, c), fma(right, factor, r)
                factor = broadcast(gradients, start + row + 3)
                d, m = fma(left, factor, d), fma(right, factor, m)
                factor = broadcast(gradients, start + row + 4)
                e, n = fma(left, factor, e), fma(right, factor, n)
                factor = broadcast(gradients, start + row + 5)
                f, o = fma(left, factor, f), fma(right, factor, o)
                factor = broadcast(gradients, start + row + 6)
                g, p = fma(left, factor, g), fma(right, factor, p)
                factor = broadcast(gradients, start + row + 7)
                h, q = fma(left, factor, h), fma(right, factor, q)
            where = 0
            for found in ((a, i), (b, j), (c, r), (d, m), (e, n), (f, o), (g, p), (h, q)):
                store(corner, where, found[0])
                store(corner, where + lanes, found[1])
                where += 2 * lanes
            for y in range(ROWS):
                for x in range(2 * lanes):
                    sums[place + (row + y) * k + column + x] += corner[y * 2 * lanes + x]


patches_by_position, contract = _make(SOURCES)
