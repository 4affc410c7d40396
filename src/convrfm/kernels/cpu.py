"""The compiled CPU backend (Numba): pairs of images along the SIMD lanes, positions in cache, all cores.

A batch is prepared once for a metric M = R^T R. A tile of a kernel matrix then brings its columns into blocks of one
SIMD vector of images, and compiled code (`convrfm.kernels.compiled`) goes through the blocks and the rows. What it
needs of the first layer is computed on the way: from pixels without a metric, from patches R x_u of up to `FUSED_RANK`
numbers, and by BLAS beyond: for a few rows of the tile at a time, their patches times M, and these times the patches of the
columns, which lie in the images. The arithmetic is in the dtype of the images.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np
from numba import get_num_threads
from threadpoolctl import ThreadpoolController

from convrfm.kernels.backends import ROUNDING, SINGULARITY, ArcCosineSpec, LaplaceSpec, Spec
from convrfm.kernels.batches import Batch, chain, check_size, closest, largest_side, set_coincident, set_nearly_coincident
from convrfm.kernels.compiled import sweeps
from convrfm.kernels.compiled.first_layer import (
    COVARIANCES,
    GROUP,
    OUTPUTS,
    PATCHES,
    PIXELS,
    Operands,
    contract,
    contract_pairs,
    covariances,
    interleave,
    mirror,
    patches_by_position,
    transform,
    unfold,
)
from convrfm.kernels.compiled.simd import aligned_empty, lanes
from convrfm.numerics.patches import patch_dimension

__all__ = ["OUT_OF_MEMORY", "agop_side", "agop_sum", "gram_side", "gram_tile", "prepare"]

OUT_OF_MEMORY = (MemoryError,)

FUSED_RANK = 96  # numbers in a patch up to which covariances are computed within the sweep; BLAS is faster beyond
ROWS_PER_TASK = 64  # rows of one block that a thread takes at a time, at most

# Operations, on 4 bytes each, of a thread in one call of compiled code: a quarter of a second, after which Python
# answers an interrupt.
OPERATIONS_PER_CALL = 10**10

# Operations of a pair at a position of a layer, about, beside products of patches; a reverse sweep takes three times as many.
OPERATIONS_PER_POSITION = {"arccosine": 50, "laplace": 20}

PATCH_SHARE = 0.5  # share of the memory in which the patches of a batch are kept; larger ones are made for each tile
ROWS_OF_PRODUCTS, COLUMNS_OF_PRODUCTS = 32, 128  # images whose patches are multiplied with each other at a time
PIECE = 96  # columns of the metric that patches are multiplied with at a time, at most
PATCHES_AT_ONCE = 4096  # patches in one product with a metric: enough for BLAS, few enough to stay in the last cache
STRIP_BYTES = 4 * 2**20  # patches that the AGOP holds at a time: few enough to stay in the last cache
LARGEST_SIDE = 2048  # images on a side of a tile, at most: a larger one gains nothing and delays progress


@dataclass(frozen=True)
class Prepared(Batch):
    """A batch with its patches."""

    patches: np.ndarray | None = None  # R x_u `(n, positions, rank)`, or None where they are made on the fly
    pieces: np.ndarray | None = None  # M / c for `transform`; None where its products are not needed
    products: np.ndarray | None = None  # M x_u / c `(positions, q, n, q c)`, or None where they are made on the fly

    def take(self, indices: np.ndarray | slice) -> "Prepared":
        """Give some images of the batch, prepared."""
        patches = None if self.patches is None else self.patches[indices]
        products = None if self.products is None else np.ascontiguousarray(self.products[:, :, indices])
        return replace(super().take(indices), patches=patches, products=products)

    @property
    def entries(self) -> int:
        """Numbers in a patch as the AGOP takes it: x_u where there are products, R x_u or x_u otherwise."""
        return self.rank if self.pieces is None else patch_dimension(self.shape[0], self.patch_size)

    def patches_of(self, first: int, last: int) -> np.ndarray:
        """R x_u for the rows first ... last - 1 of positions, `(n, rows, Q, rank)`."""
        rows, columns = self.positions
        if self.patches is not None:
            return self.patches.reshape(len(self), rows, columns, -1)[:, first:last]
        raw = self.raw_patches(first, last)
        patches = raw
        if self.root is not None:
            patches = np.empty((len(raw), self.rank), raw.dtype)
            for start in range(0, len(raw), PATCHES_AT_ONCE):  # large ones would delay the answer to an interrupt
                part = slice(start, start + PATCHES_AT_ONCE)
                np.matmul(raw[part], self.root.T, out=patches[part])
        return patches.reshape(len(self), last - first, columns, -1)

    def raw_patches(self, first: int, last: int) -> np.ndarray:
        """x_u for the same rows, flat `(n (last - first) Q, d)`: one large product with R, not one for each image."""
        columns = self.positions[1]
        raw = np.empty((len(self), (last - first) * columns, self.shape[0] * self.patch_size**2), self.images.dtype)
        unfold(self.images, self.places, columns, first, raw)
        return raw.reshape(-1, raw.shape[2])


@cache
def _thread_pools() -> ThreadpoolController:
    return ThreadpoolController()


def _one_blas_thread() -> AbstractContextManager[Any]:
    """Within compiled code the threads are ours; and after a product, those of BLAS go on spinning where ours are to run."""
    return _thread_pools().limit(limits=1, user_api="blas")


def prepare(images: np.ndarray, metric: np.ndarray | None, spec: Spec, memory: int) -> Prepared:
    """Bring images `(n, c, h, w)` under a metric into the form that tiles are computed from."""
    # A small product is better done by one thread.
    small = images.shape[1] * spec.patch_size**2 <= FUSED_RANK
    with _one_blas_thread() if small else nullcontext():
        batch = Prepared.bare(images, metric, spec.patch_size)
        if batch.root is not None and batch.rank > FUSED_RANK and isinstance(spec, ArcCosineSpec):
            with _one_blas_thread():
                return _with_products(batch, batch.root, spec, memory)
        if batch.root is not None:
            batch = _with_patches(batch, batch.root, memory)
        return batch if isinstance(spec, LaplaceSpec) else batch.with_norms(_variances(batch), spec.depth)


def _with_products(batch: Prepared, root: np.ndarray, spec: ArcCosineSpec, memory: int) -> Prepared:
    """Give a batch whose patches meet the metric by BLAS; the products stay with it if the memory allows it.

    Otherwise its norms and variances are NaN until the images first meet the metric, as rows of a tile: see `_covariances`.
    """
    channels, q = batch.shape[0], batch.patch_size
    order = np.arange(root.shape[1]).reshape(channels, q, q).transpose(1, 2, 0).reshape(-1)
    ordered = root[:, order].astype(np.float64)
    metric = (ordered.T @ ordered / channels).reshape(len(order), q, -1, _width_of_pieces(q * channels))
    batch = replace(batch, pieces=np.ascontiguousarray(metric.transpose(1, 2, 0, 3), dtype=batch.images.dtype))
    positions = sum(math.prod(side - layer * (q - 1) for side in batch.positions) for layer in range(spec.depth))
    norms, variance = np.full((len(batch), positions), np.nan, root.dtype), np.full(len(batch), np.nan, root.dtype)
    batch = replace(batch, norms=norms, variance=variance)
    if len(batch) * _product_bytes(batch) > memory * PATCH_SHARE:
        return batch
    products = _room_for_products(batch, len(batch))
    _products(batch, slice(0, len(batch)), products, spec.depth)
    return replace(batch, products=products)


def _width_of_pieces(size: int) -> int:
    """The largest divisor up to `PIECE`."""
    return max(width for width in range(1, PIECE + 1) if size % width == 0)


def _product_bytes(batch: Prepared) -> int:
    """Bytes of M x_u at all positions of an image."""
    return math.prod(batch.positions) * patch_dimension(batch.shape[0], batch.patch_size) * batch.images.itemsize


def _room_for_products(batch: Prepared, images: int) -> np.ndarray:
    """Memory for `_products` of so many images; that of a first use is slow."""
    size = batch.patch_size * batch.shape[0]
    return aligned_empty((math.prod(batch.positions), batch.patch_size, images, size), batch.images.dtype)


def _products(batch: Prepared, part: slice, out: np.ndarray, depth: int) -> None:
    """Write M x_u / c of some images to the first places of out, see `transform`, and to the batch the norms that it lacks."""
    images = np.ascontiguousarray(batch.images[part].transpose(0, 2, 3, 1))
    variance = np.empty((len(images), math.prod(batch.positions)), images.dtype)
    for some in _some_positions(batch, len(images)):
        transform(images, batch.pieces, *some, batch.positions[1], out, variance)
    if np.isnan(batch.variance[part]).any():
        measured = batch.take(part).with_norms(np.maximum(variance, 0).reshape(-1, *batch.positions), depth)
        batch.norms[part], batch.variance[part] = measured.norms, measured.variance


def _complete_norms(batch: Prepared, depth: int) -> None:
    """Compute the norms that a batch lacks."""
    for first in range(0, len(batch), ROWS_OF_PRODUCTS):
        part = slice(first, min(first + ROWS_OF_PRODUCTS, len(batch)))
        if np.isnan(batch.variance[part]).any():
            _products(batch, part, _room_for_products(batch, ROWS_OF_PRODUCTS), depth)


def _some_positions(batch: Prepared, products: int) -> Iterator[tuple[int, int]]:
    """First position and the one after the last, for one call after the other; each has so many products with d vectors."""
    positions, dimension = math.prod(batch.positions), patch_dimension(batch.shape[0], batch.patch_size)
    # Products take half of the time of other operations.
    step = max(1, 2 * OPERATIONS_PER_CALL // (2 * max(1, products) * dimension**2)) * get_num_threads()
    return ((first, min(first + step, positions)) for first in range(0, positions, step))


def _with_patches(batch: Prepared, root: np.ndarray, memory: int) -> Prepared:
    """Keep the patches with the batch if the memory allows it."""
    rows, columns = batch.positions
    shape = (len(batch), rows * columns, batch.rank)
    if math.prod(shape) * batch.images.itemsize > memory * PATCH_SHARE:
        return batch
    patches = np.empty(shape, batch.images.dtype)
    step = max(1, PATCHES_AT_ONCE // shape[1])
    for first in range(0, len(batch), step):
        part = slice(first, first + step)
        np.matmul(batch.take(part).raw_patches(0, rows), root.T, out=patches[part].reshape(-1, batch.rank))
    check_size("patches under the metric", max(patches.max(), -patches.min()), batch.images.dtype)
    return replace(batch, patches=patches)


def _variances(batch: Prepared) -> np.ndarray:
    """s_x of the first layer, `(n, P, Q)`."""
    channels = batch.shape[0]
    if batch.root is None:
        return batch.pixel_variance()
    rows, columns = batch.positions
    variance = np.empty((len(batch), rows, columns), batch.images.dtype)
    for y in range(rows):
        patches = batch.patches_of(y, y + 1)
        np.einsum("nyxk,nyxk->nyx", patches, patches, out=variance[:, y : y + 1])
    return variance / channels


def _interleaved(rows: np.ndarray) -> np.ndarray:
    """Bring `(n, k)` into blocks of one vector of images, flat `(blocks, k, lanes)`."""
    width = lanes(rows.dtype)
    blocks = aligned_empty((-(-len(rows) // width), rows.shape[1] * width), rows.dtype)
    interleave(np.ascontiguousarray(rows), blocks)
    return blocks.reshape(-1)


def _operands(left: Prepared, right: Prepared, spec: Spec) -> Operands:
    """Pixels or patches of a tile."""
    products = isinstance(spec, ArcCosineSpec)
    scale = left.images.dtype.type(left.shape[0] if products else 1)
    if left.root is None:
        kind = PIXELS
        rows, columns = (side.images.reshape(len(side), -1) for side in (left, right))
    else:
        kind = PATCHES
        rows, columns = (side.patches_of(0, side.positions[0]).reshape(len(side), -1) for side in (left, right))
    size = rows.shape[1]
    return Operands(
        kind, (rows / scale).reshape(-1), size, _interleaved(columns), size * lanes(rows.dtype), *left.shape
    )  # fmt: skip


def _in_windows(batch: Prepared) -> np.ndarray:
    """Pixels for `covariances`, `(blocks, height, width, channels, images)`, with zeros for the images of the last block."""
    blocks = -(-len(batch) // COLUMNS_OF_PRODUCTS)
    channels, height, width = batch.shape
    pixels = aligned_empty((blocks, height, width, channels, COLUMNS_OF_PRODUCTS), batch.images.dtype)
    for block, target in enumerate(pixels):
        images = batch.images[block * COLUMNS_OF_PRODUCTS : (block + 1) * COLUMNS_OF_PRODUCTS]
        target[..., : len(images)] = images.transpose(2, 3, 1, 0)
        target[..., len(images) :] = 0
    return pixels


def _covariances(
    left: Prepared, right: Prepared, together: int, depth: int, *, triangle: bool = False
) -> Iterator[tuple[slice, Operands]]:
    """Rows, so many together, with their covariances, which stay until the next are asked for.

    By then rows and columns have their norms: the columns of a triangle, the lower one, are rows that have passed. What
    lies beyond them in their last block, see `_in_windows`, is not to be used.
    """
    if not triangle:
        _complete_norms(right, depth)
    pixels = _in_windows(right)
    s = aligned_empty((math.prod(left.positions), together, len(pixels) * COLUMNS_OF_PRODUCTS), pixels.dtype)
    products = _room_for_products(left, together) if left.products is None else left.products
    for first in range(0, len(left), together):
        rows, begin = slice(first, min(first + together, len(left))), first
        count = rows.stop - first
        if left.products is None:
            begin = 0
            _products(left, rows, products, depth)
        blocks = -(-rows.stop // COLUMNS_OF_PRODUCTS) if triangle else len(pixels)
        for some in _some_positions(left, count * s.shape[2] // patch_dimension(left.shape[0], left.patch_size)):
            covariances(products, begin, count, pixels[:blocks], *some, left.positions[1], s)
        yield rows, Operands(COVARIANCES, s.reshape(-1), s.shape[2], np.empty(0, s.dtype), 0, *left.shape)


def _whole_vectors(batch: Prepared) -> int:
    """Number of images, padded to whole vectors."""
    width = lanes(batch.images.dtype)
    return -(-len(batch) // width) * width


def _calls(left: Prepared, right: Prepared, spec: Spec, *, rows_before: int | None = None, sweeps: int = 1) -> list[np.ndarray]:
    """Blocks of columns with rows for each, `(tasks, 3)`, for one call of compiled code after the other.

    With the number of rows before, only what meets the lower triangle; a pair costs so many forward `sweeps`.
    """
    width, threads = lanes(right.images.dtype), get_num_threads()
    per_row = width * sweeps * _operations(left, spec)
    # Groups of rows stay whole.
    rows = min(ROWS_PER_TASK, max(1, OPERATIONS_PER_CALL // per_row // GROUP) * GROUP)
    tasks = [
        (block, first, min(first + rows, len(left)))
        for block in range(_whole_vectors(right) // width)
        for first in range(0 if rows_before is None else max(0, block * width - rows_before), len(left), rows)
    ]
    together = max(1, OPERATIONS_PER_CALL // (per_row * rows)) * threads
    every = np.array(tasks, dtype=np.int64).reshape(-1, 3)
    return [every[first : first + together] for first in range(0, len(every), together)]


def _operations(batch: Prepared, spec: Spec) -> int:
    """Operations for a pair in a forward sweep, about; those on float64 count twice."""
    positions = math.prod(batch.positions)
    if isinstance(spec, ArcCosineSpec):
        work = OPERATIONS_PER_POSITION["arccosine"] * batch.norms.shape[1]
    else:
        work = OPERATIONS_PER_POSITION["laplace"] * positions
    # Patches come from memory, and take a subtraction more in the Laplace kernel.
    if batch.pieces is None:
        work += math.prod(batch.shape) if batch.root is None else 4 * positions * batch.rank
    return work * batch.images.itemsize // 4


def _layers(left: Prepared, right: Prepared, spec: ArcCosineSpec, collinear: float) -> sweeps.Layers:
    row, column = np.ascontiguousarray(left.norms).reshape(-1), _interleaved(right.norms)
    return sweeps.Layers(spec.depth, collinear, left.norms.shape[1], row, column, _inverses(row), _inverses(column))


def _inverses(norms: np.ndarray) -> np.ndarray:
    """1 / norms, and 0 where they are 0."""
    return np.divide(1, np.where(norms > 0, norms, np.inf), out=aligned_empty(norms.shape, norms.dtype))


def gram_tile(left: Prepared, right: Prepared | None, spec: Spec) -> np.ndarray:
    """Kernel matrix `(n, m)` in the dtype of the images; one triangle is computed when right is None."""
    other = left if right is None else right
    out = aligned_empty((len(left), _whole_vectors(other)), left.images.dtype)
    if left.pieces is None:
        _sweep(left, other, spec, _operands(left, other, spec), out, 0 if right is None else None)
    else:
        with _one_blas_thread():
            for rows, operands in _covariances(left, other, ROWS_OF_PRODUCTS, spec.depth, triangle=right is None):
                of_rows = replace(left, products=None).take(rows)
                _sweep(of_rows, other, spec, operands, out[rows], rows.start if right is None else None)
    entries = np.ascontiguousarray(out[:, : len(other)])
    if right is None:
        mirror(entries)
    if isinstance(spec, ArcCosineSpec):
        with _one_blas_thread():
            set_nearly_coincident(entries, left, right, spec)
        set_coincident(entries, left.keys, other.keys, left.variance, spec)
    return entries


def _sweep(left: Prepared, right: Prepared, spec: Spec, operands: Operands, out: np.ndarray, rows_before: int | None) -> None:
    """Fill the kernel matrix `(n, whole vectors)` of two batches; or its part of a lower triangle, see `_calls`."""
    calls = _calls(left, right, spec, rows_before=rows_before)
    window, flat, blocks = (0,) * spec.patch_size, out.reshape(-1), out.shape[1] // lanes(out.dtype)
    if isinstance(spec, LaplaceSpec):
        for tasks in calls:
            sweeps.laplace_forward(tasks, operands, window, spec.rate, flat, blocks, get_num_threads())
    else:
        layers = _layers(left, right, spec, ROUNDING[out.dtype])
        for tasks in calls:
            sweeps.arccosine_forward(tasks, operands, window, layers, (0,) * spec.tangent, flat, blocks, get_num_threads())


def gram_side(prepared: Prepared, spec: Spec, memory: int) -> int:
    """Images on a side of the tiles that fit into `memory` bytes, in whole vectors or blocks of columns where possible."""
    rows, columns = prepared.positions
    itemsize = prepared.images.itemsize
    kept = sum(array.nbytes for array in (prepared.patches, prepared.products) if array is not None)
    # For each image: what the row and the block of a column hold, then the norms of a column, and inverses of both.
    if prepared.pieces is not None:  # of rows, a few are held at a time
        per_image = math.prod(prepared.shape) + ROWS_OF_PRODUCTS * rows * columns
        kept += 0 if prepared.products is not None else ROWS_OF_PRODUCTS * _product_bytes(prepared)
    elif prepared.root is not None:
        per_image = (2 if prepared.patches is not None else 5) * rows * columns * prepared.rank
    else:
        per_image = 2 * math.prod(prepared.shape)
    per_image += 3 * prepared.norms.shape[1]
    side = min(LARGEST_SIDE, largest_side(per_image * itemsize, itemsize, max(0, memory - kept)))
    whole = lanes(prepared.images.dtype)
    if prepared.pieces is not None and side >= COLUMNS_OF_PRODUCTS:
        whole = COLUMNS_OF_PRODUCTS
    return max(1, side // whole) * whole


def agop_side(train: Prepared, outputs: int, spec: Spec, memory: int) -> int:
    """Points of evaluation whose derivatives for all training images take half of the memory; at least 1."""
    rows, columns = train.positions
    arrays = 1 if isinstance(spec, LaplaceSpec) else 2 if train.pieces is None else 3
    per_point = rows * columns * _whole_vectors(train) * train.images.itemsize * arrays
    per_point += 0 if train.pieces is None else _product_bytes(train)
    return max(1, min(LARGEST_SIDE, memory // 2 // per_point))


class _Derivatives(NamedTuple):
    """The gradient for R z_u is scale (sum_i alpha_i d_s R x_{i,u} + row_weight sum_i alpha_i d_row R z_u)."""

    d_s: np.ndarray  # flat (points, blocks, positions, lanes)
    d_row: np.ndarray  # the same
    row_weight: float
    scale: float


def _derivatives(points: Prepared, train: Prepared, spec: Spec) -> _Derivatives:
    """Derivatives of all kernel entries of points with training images, at all positions."""
    positions = math.prod(train.positions)
    blocks = _whole_vectors(train) // lanes(train.images.dtype)
    calls = _calls(points, train, spec, sweeps=3)
    if points.pieces is None:
        operands = _operands(points, train, spec)
    else:
        with _one_blas_thread():
            ((_, operands),) = _covariances(points, train, len(points), spec.depth)
    window = (0,) * spec.patch_size
    d_s = aligned_empty((len(points) * _whole_vectors(train) * positions,), train.images.dtype)
    if isinstance(spec, LaplaceSpec):
        weight, near = 1 / (positions * spec.bandwidth), closest(points, train)
        for tasks in calls:
            sweeps.laplace_reverse(tasks, operands, window, spec.rate, near, weight, d_s, blocks, get_num_threads())
        return _Derivatives(d_s, d_s, row_weight=-1.0, scale=1.0)
    d_row = aligned_empty(d_s.shape, d_s.dtype)
    layers = _layers(points, train, spec, SINGULARITY[d_s.dtype] / 2)  # 1 - r^2 is 2 (1 - |r|) there
    for tasks in calls:
        sweeps.arccosine_reverse(tasks, operands, window, layers, (0,) * spec.tangent, d_s, d_row, blocks, get_num_threads())
    return _Derivatives(d_s, d_row, row_weight=2.0, scale=1 / train.shape[0])


def agop_sum(train: Prepared, points: Prepared, alpha: np.ndarray, spec: Spec, memory: int) -> np.ndarray:
    """Sum over the points of the patch-AGOP `(d, d)`, float64; one reverse sweep for each pair serves all outputs."""
    rows, columns = train.positions
    dtype = train.images.dtype
    d_s, d_row, row_weight, scale = _derivatives(points, train, spec)
    outputs = -(-alpha.shape[1] // OUTPUTS) * OUTPUTS
    coefficients = np.zeros((_whole_vectors(train), outputs), dtype)
    coefficients[: len(train), : alpha.shape[1]] = alpha
    totals = np.zeros((get_num_threads(), *[_padded_rank(train)] * 2))  # float64: sums of millions of terms
    strips = _strips(train, len(points), memory // 4)
    room = [_by_position_room(batch, strips[0]) for batch in (train, points)]
    run, work = _contraction(coefficients, len(points), _padded_rank(train), row_weight, memory // 4)
    for strip in strips:
        of_train, of_points = (_by_position(batch, strip, out) for batch, out in zip((train, points), room, strict=True))
        for part in _positions_of_calls(len(of_train), work):
            place = strip.start * columns + part.start
            with _one_blas_thread():
                run(d_s, d_row, rows * columns, place, of_train[part], of_points[part], totals)
    upper = np.triu(totals.sum(axis=0)[: train.entries, : train.entries])
    total = upper + np.triu(upper, 1).T
    total *= scale**2
    if train.root is None:
        return total
    return chain(train.root if train.pieces is None else train.root.T @ train.root.astype(np.float64), total)


def _contraction(alpha: np.ndarray, points: int, rank: int, row_weight: float, memory: int) -> tuple[Callable[..., None], int]:
    """The cheaper way to contract the gradients, and roughly how many 4-byte operations it takes at a position."""
    n, outputs = alpha.shape
    by_output = points * outputs * rank * (2 * n + rank) * alpha.itemsize // 4
    # Products in float64, and a transposition.
    products = n**2 * (points + rank) + 2 * n * rank**2 + 2 * points * (rank * (n + rank) + 2 * n * outputs)
    by_pair = 5 * products // 2 + 800 * points * n
    if by_pair < by_output and 8 * n**2 <= memory:
        double = alpha.astype(np.float64)
        return partial(contract_pairs, row_weight, double, double @ double.T), by_pair
    return partial(contract, alpha.dtype.type(row_weight), alpha, np.ascontiguousarray(alpha.T)), by_output


def _positions_of_calls(positions: int, work: int) -> list[slice]:
    """Positions in parts for one call, each of whole rounds of the threads: a thread always adds the same terms."""
    together = max(1, OPERATIONS_PER_CALL // work) * get_num_threads()
    return [slice(first, min(first + together, positions)) for first in range(0, positions, together)]


def _strips(train: Prepared, points: int, memory: int) -> list[slice]:
    """Rows of positions in strips whose patches fit into the memory."""
    rows, columns = train.positions
    per_row = columns * train.entries * train.images.itemsize * (_whole_vectors(train) + points)
    step = max(1, min(memory, STRIP_BYTES) // per_row)
    return [slice(first, min(first + step, rows)) for first in range(0, rows, step)]


def _padded_rank(batch: Prepared) -> int:
    """Numbers in a patch, padded to pairs of whole vectors."""
    pair = 2 * lanes(batch.images.dtype)
    return -(-batch.entries // pair) * pair


def _by_position_room(batch: Prepared, strip: slice) -> np.ndarray:
    """Memory for `_by_position` on strips up to the size of this one."""
    positions = (strip.stop - strip.start) * batch.positions[1]
    return aligned_empty((positions, _whole_vectors(batch), _padded_rank(batch)), batch.images.dtype)


def _by_position(batch: Prepared, strip: slice, room: np.ndarray) -> np.ndarray:
    """Patches as the AGOP takes them, see `Prepared.entries`, for some rows of positions `(positions, n, k)`.

    n and k are padded with zeros to whole vectors, k to pairs.
    """
    positions = (strip.stop - strip.start) * batch.positions[1]
    out = room[:positions]
    if batch.root is None or batch.pieces is not None:
        patches_by_position(batch.images, batch.places, batch.positions[1], strip.start, out)
    else:
        patches = batch.patches_of(strip.start, strip.stop).reshape(len(batch), positions, -1)
        out[:, : len(batch), : batch.rank] = patches.transpose(1, 0, 2)
        out[:, len(batch) :] = 0
        out[:, :, batch.rank :] = 0
    return out
