"""From images to what the kernels read at each position of the first layer, for one vector of pairs at a time.

The images of the rows of a kernel matrix are read as scalars, those of its columns as vectors: `interleave` brings the columns
into blocks, in which each number stands beside the same number of the next images. A block is small enough for the cache, and
serves all rows. For each pair, s[u] = x_u^T M z_u / c or ||x_u - z_u||_M^2 then comes from the pixels if M is the identity (one
product for each pixel, then window sums), and from patches R x_u with M = R^T R otherwise.

The way back is the patch-AGOP of a predictor from the derivatives of its kernel entries. At position u of point z, and for
output o, the gradient is up to constants sum_i alpha_io (a[z, i, u] R x_{i,u}) + (sum_i alpha_io b[z, i, u]) R z_u. The first
sum is a matrix product whose left factor alpha_io a[z, i, u] would be larger than all else; it is formed in registers:
`OUTPUTS` outputs and two vectors of the patch at a time. The outer products of the gradients are added up position by position,
while these are in the cache: in the arithmetic of the images within a position, in float64 over positions.

With many outputs, their sum at a position is cheaper to compute from pairs of training images. With the patches of these as
the rows of X, those of the points as the rows of Z, and the entries a[z, i] and b[z, i] at the position,

    sum_o G_o^T G_o = X^T C X + W^T Z + Z^T W,   C[i, j] = sum_z a[z, i] a[z, j] sum_o alpha[i, o] alpha[j, o],
    W = D X + diag(sum_o B[z, o]^2) Z / 2,       D[z, i] = a[z, i] sum_o alpha[i, o] B[z, o],   B = b alpha.

This sum suffers from more cancellation than the gradients themselves, and is computed in float64.
"""

from typing import NamedTuple

import numba
import numpy as np

from convrfm.kernels.compiled import SOURCES, compiled
from convrfm.kernels.compiled.simd import (
    broadcast,
    copy,
    fma,
    full,
    lanes_of,
    load,
    repeated,
    room,
    slide,
    store,
    sum_rows,
    total,
)

__all__ = [
    "COVARIANCES", "GROUP", "OUTPUTS", "PATCHES", "PIXELS", "Operands", "contract", "contract_pairs", "covariances", "fill",
    "group_size", "groups_of", "interleave", "mirror", "patches_by_position", "positions_of", "room_size", "transform",
    "unfold",
]  # fmt: skip

PIXELS, PATCHES, COVARIANCES = 0, 1, 2
"""What the rows and columns hold: `(channels, height, width)`; `(positions, rank)`; or s itself, see `fill`."""

GROUP = 4
"""Rows whose pixels or patches are multiplied together, which reads the columns once for all."""

ROWS = 8  # rows of an outer product handled together
SMALL = 10**6  # multiplications in a product of matrices up to which OpenBLAS copies none of them

OUTPUTS = 5
"""Outputs handled together; alpha is padded to a multiple."""

PAIRED_ROWS = 128  # rows of C that are computed at a time


class Operands(NamedTuple):
    """The images of a tile and the patches to take from them; the arrays are flat."""

    kind: int  # `PIXELS`, `PATCHES` or `COVARIANCES`
    rows: np.ndarray  # images of the rows `(n, row_size)`; for COVARIANCES s itself, `(positions, n, row_size)`
    row_size: int  # numbers for each row
    columns: np.ndarray  # images of the columns `(blocks, column_size)`, from `interleave`; for COVARIANCES nothing
    column_size: int  # numbers for each block
    channels: int  # of the images
    height: int  # of the images
    width: int  # of the images


@numba.njit
def _products(x, starts, z, z_start, entries, of_position, of_entry, squared, first, last, out, place, size):
    """Products of vectors of four rows with those of a block of columns, or squared distances, at positions first ... last - 1.

    Entry k of the vector at position p lies `p of_position + k of_entry` after its image starts. The products at position 0
    would start at out[place] for the first row, and `size` further for each of the others.
    """
    lanes = lanes_of(z)
    for p in range(first, last):
        a, b, c, d = full(z, 0.0), full(z, 0.0), full(z, 0.0), full(z, 0.0)
        for k in range(p * of_position, p * of_position + entries * of_entry, of_entry):
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
def _pixel_maps(x, starts, z, z_start, shape, window, squared, room, out, size):
    """Compute s at all positions of four rows and a block of columns, from window sums over products of pixels."""
    channels, height, width = shape
    q, lanes = len(window), lanes_of(z)
    stride, columns = width * lanes, width - q + 1
    for newest in range(height):
        first, place = newest * width, (newest % q - newest) * stride
        _products(x, starts, z, z_start, channels, 1, height * width, squared, first, first + width, room, place, q * stride)
        if newest < q - 1:
            continue
        for row in range(GROUP):
            held = repeated(full(z, 0.0), window[1:])
            place = row * size + ((newest - q + 1) * columns - q + 1) * lanes
            for p in range(width):
                window_sum, held = slide(held, sum_rows(room, row * q * stride + p * lanes, stride, window))
                if p >= q - 1:
                    store(out, place + p * lanes, window_sum)


@numba.njit
def group_size(operands):
    """Rows to pass to `fill` together."""
    return 1 if operands.kind == COVARIANCES else GROUP


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
    return GROUP * len(window) * operands.width


@numba.njit
def positions_of(operands, window):
    """P and Q, the positions of the first layer."""
    margin = len(window) - 1
    return operands.height - margin, operands.width - margin


@numba.njit
def fill(operands, window, first, last, block, squared, products, out):
    """Compute s, or squared distances, at all positions for a few rows and one block of columns; arrays are flat.

    The rows are first ... last - 1, at most `group_size`. `window` is a tuple of q entries, whose length is known to the
    compiler. `products` has room for `room_size` vectors, and out is filled with `(rows, positions, lanes)`.
    """
    lanes = lanes_of(out)
    rows, row_size = operands.rows, operands.row_size
    shape = (operands.channels, operands.height, operands.width)
    of_block = block * operands.column_size
    height, width = positions_of(operands, window)
    positions = height * width
    size = positions * lanes
    if operands.kind == COVARIANCES:
        n = len(rows) // (positions * row_size)
        for p in range(positions):
            store(out, p * lanes, load(rows, (p * n + first) * row_size + block * lanes))
        return
    begin, end = first * row_size, (last - 1) * row_size
    starts = (begin, min(begin + row_size, end), min(begin + 2 * row_size, end), end)
    if operands.kind == PIXELS:
        _pixel_maps(rows, starts, operands.columns, of_block, shape, window, squared, products, out, size)
    else:
        rank = row_size // positions
        _products(rows, starts, operands.columns, of_block, rank, rank, 1, squared, 0, positions, out, 0, size)


@numba.njit
def _gradient(derivative, first, n, x, start, k, weights, outputs, o, of_row, row_place, z, out, place):
    """Two vectors of the gradients of outputs o ... o + `OUTPUTS` - 1 at one point and position."""
    lanes = lanes_of(out)
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
    lanes = lanes_of(gradients)
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


@numba.njit
def _together(n, multiplications):
    """How many of n rows are multiplied at a time, each with so many multiplications: a product stays `SMALL`."""
    return max(1, min(n, SMALL // multiplications))


def _make(stamp: str):
    @compiled(parallel=True)
    def interleave(rows, out):
        """Copy (n, k) into blocks `(blocks, k lanes)`; the images that the last block lacks become zero."""
        assert stamp
        n, size = rows.shape
        lanes = lanes_of(out)
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
        """Copy the lower triangle of a matrix to the upper one."""
        assert stamp
        for i in range(len(square)):
            for j in range(i):
                square[j, i] = square[i, j]

    @compiled(parallel=True)
    def patches_by_position(images, places, columns, first, out):
        """Copy patches to out `(positions, at least n, at least d)`, with zeros in what is left over.

        Otherwise as `unfold`; the last two axes of out hold whole vectors.
        """
        assert stamp
        n, channels, height, width = images.shape
        _, padded, k = out.shape
        source, target = images.reshape(-1), out.reshape(-1)
        # All positions of one image after the other: its rows are read from memory once.
        for image in numba.prange(padded):
            copied = len(places) if image < n else 0
            for p in range(len(out)):
                start = image * channels * height * width + (first + p // columns) * width + p % columns
                place = (p * padded + image) * k
                for i in range(copied):
                    copy(source, start + places[i], target, place + i)
                for i in range(place + copied, place + k):
                    target[i] = 0

    @compiled(parallel=True)
    def transform(images, pieces, first, last, columns, out, variance):
        """Multiply patches by a metric.

        M x_u goes to out `(positions, q, n or more, q c)`, and x_u^T M x_u to variance `(n, positions)`, at the positions first
        ... last - 1, of which `columns` lie in a row. Patches go row by row, column by column and channel by channel, as in
        images `(n, height, width, c)`; `pieces` `(q, k, d, q c / k)` are columns of the metric in this order.
        """
        assert stamp
        n, (q, _, _, width) = len(images), pieces.shape
        size = q * images.shape[3]
        together = _together(n, q * size * width)
        for p in numba.prange(first, last):
            y, x = p // columns, p % columns
            raw, found = np.empty((together, q * size), images.dtype), np.empty((together, width), images.dtype)
            for start in range(0, n, together):
                count = min(together, n - start)
                for image in range(count):
                    for i in range(q):
                        raw[image, i * size : (i + 1) * size] = images[start + image, y + i, x : x + q].reshape(size)
                    variance[start + image, p] = 0
                for i in range(q):
                    for k in range(len(pieces[i])):
                        np.dot(raw[:count], pieces[i, k], found[:count])
                        for image in range(count):
                            out[p, i, start + image, k * width : (k + 1) * width] = found[image]
                    for image in range(count):
                        own = raw[image, i * size : (i + 1) * size]
                        variance[start + image, p] += np.dot(own, out[p, i, start + image])

    @compiled(parallel=True)
    def covariances(products, begin, n, pixels, first, last, columns, out):
        """Multiply M x_u by patches of other images, to out `(positions, n or more, m or more)`.

        `products` are from `transform`; those of n images from `begin` on are taken. `pixels` are of the other images,
        `(blocks, height, width, c, images)`. The rest is as there.
        """
        assert stamp
        (_, q, _, size), width = products.shape, pixels.shape[4]
        together = _together(n, size * width)
        for p in numba.prange(first, last):
            y, x = p // columns, p % columns
            found = np.empty((together, width), out.dtype)
            for block in range(len(pixels)):
                for row in range(0, n, together):
                    count = min(together, n - row)
                    for i in range(q):
                        window = pixels[block, y + i, x : x + q].reshape(size, width)
                        np.dot(products[p, i, begin + row : begin + row + count], window, found[:count])
                        for image in range(count):
                            target, source = out[p, row + image, block * width : (block + 1) * width], found[image]
                            if i == 0:
                                target[:] = source
                            else:
                                for k in range(width):
                                    target[k] += source[k]

    @compiled(parallel=True)
    def contract(row_weight, alpha, alpha_by_output, d_s, d_row, all_positions, first, patches, own, totals):
        """Add the outer products of the gradients with themselves, at the positions from `first` on, to totals.

        d_s and d_row are flat, `(points, blocks, all positions, lanes)`. `patches` are R x_u `(positions, n, k)`, n padded to
        whole vectors and k to pairs of them; `own` are R z_u `(positions, at least points, k)`. alpha is `(n, outputs)`,
        outputs padded to a multiple of `OUTPUTS`, and once more `(outputs, n)`; `row_weight` is the factor of the second sum.
        Each thread adds to its upper triangle of totals `(threads, k, k)`, float64.
        """
        assert stamp
        lanes = lanes_of(d_s)
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

    @compiled(parallel=True)
    def contract_pairs(row_weight, alpha, products, d_s, d_row, all_positions, first, patches, own, totals):
        """The same as `contract`, from pairs of training images; alpha is in float64, and `products` is alpha alpha^T.

        Both triangles of totals are added to.
        """
        assert stamp
        lanes = lanes_of(d_s)
        positions, (n, _), threads = len(own), alpha.shape, len(totals)
        points = len(d_s) // (n * all_positions)
        for thread in numba.prange(threads):
            a, b = np.empty((n, points)), np.empty((n, points))
            for p in range(thread, positions, threads):
                for i in range(0, n, lanes):
                    for point in range(points):
                        place = ((point * n + i) * all_positions // lanes + first + p) * lanes
                        for lane in range(lanes):
                            a[i + lane, point], b[i + lane, point] = d_s[place + lane], d_row[place + lane]
                x, z = patches[p].astype(np.float64), own[p, :points].astype(np.float64)
                v = np.empty(x.shape)
                of_row = row_weight * np.dot(b.T, alpha)
                w = np.dot((a * np.dot(alpha, of_row.T)).T, x)
                for point in range(points):
                    w[point] += np.sum(of_row[point] ** 2) / 2 * z[point]
                # X^T C X is the sum of two transposed halves as well: the lower triangle of C, half of its diagonal.
                for row in range(0, n, PAIRED_ROWS):
                    end = min(row + PAIRED_ROWS, n)
                    c = np.dot(a[row:end], a[:end].T)
                    for i in range(row, end):
                        for j in range(i):
                            c[i - row, j] *= products[i, j]
                        c[i - row, i] *= products[i, i] / 2
                        c[i - row, i + 1 :] = 0
                    np.dot(c, x[:end], v[row:end])
                half = np.dot(z.T, w) + np.dot(x.T, v)
                totals[thread] += half + half.T

    return interleave, unfold, mirror, patches_by_position, transform, covariances, contract, contract_pairs


interleave, unfold, mirror, patches_by_position, transform, covariances, contract, contract_pairs = _make(SOURCES)
