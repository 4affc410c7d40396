"""The compiled CPU backend (Numba): pairs of images along the SIMD lanes, positions in cache, all cores.

A batch is prepared once for a metric M = R^T R: its patches become R x_u, held with the batch as the last axis, and its
norms are computed at every layer. Work is then cut into tiles of image pairs. For each tile the covariances of the
first layer come from BLAS, one matrix product for each position; a compiled sweep runs the recursion of
`convrfm.kernels.base` for `LANES` pairs at a time. Memory is the result, the images and `TILE_BYTES` for the
covariances of a tile; the patches of a batch are kept if they fit `PATCH_BYTES`, and otherwise made anew for each tile.

The arithmetic is in the dtype of the images; tiles do not change a result beyond rounding.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from convrfm.errors import InputError
from convrfm.kernels.base import KernelSpec
from convrfm.kernels.coincidence import image_keys, set_coincident
from convrfm.kernels.sweeps import LANES, forward, reverse
from convrfm.progress import track

__all__ = ["gram", "patch_agop", "prepare"]

TILE_BYTES = 64 * 2**20
"""Budget for the covariances of one tile."""

PATCH_BYTES = 2 * 2**30
"""Budget for the patches of one prepared batch."""

NEGLIGIBLE = {np.dtype(np.float32): 1e-15, np.dtype(np.float64): 1e-150}
"""Patches whose norm is a smaller fraction of the largest count as zero: products of their norms would underflow."""

SECONDS_BEFORE_PROGRESS = 5.0
"""Tiles are shown where they take longer than this, if the caller shows progress."""


@dataclass(frozen=True)
class Prepared:
    """A batch of n images under a metric M = R^T R; the last axis is padded with empty images to a multiple of `LANES`.

    Attributes:
        batch: `(channels, height, width, lanes)`.
        keys: what tells equal images, n of them; see `convrfm.kernels.coincidence`.
        root: R `(rank, d)`, or None for the identity.
        patches: R x_u `(P, Q, rank, lanes)`, or None where they are made on the fly.
        norms: sqrt(s_x) `(positions of all layers, lanes)`.
        inverse_norms: their inverses, 0 where they are 0.
        variance: mean over positions of s_x in the last layer, `(lanes,)`.
    """

    batch: np.ndarray
    keys: list[bytes]
    patch_size: int
    root: np.ndarray | None
    patches: np.ndarray | None
    norms: np.ndarray
    inverse_norms: np.ndarray
    variance: np.ndarray

    @property
    def count(self) -> int:
        """Number of images, n."""
        return len(self.keys)

    def take(self, indices: np.ndarray) -> "Prepared":
        """Give some images of the batch, prepared."""

        def chosen(array: np.ndarray) -> np.ndarray:
            return _padded(array[..., indices])

        patches = None if self.patches is None else chosen(self.patches)
        return replace(
            self,
            batch=chosen(self.batch),
            keys=[self.keys[i] for i in indices],
            patches=patches,
            norms=chosen(self.norms),
            inverse_norms=chosen(self.inverse_norms),
            variance=chosen(self.variance),
        )

    @property
    def positions(self) -> tuple[int, int]:
        """P and Q, the positions of the first layer."""
        _, height, width, _ = self.batch.shape
        return height - self.patch_size + 1, width - self.patch_size + 1

    def patches_at(self, y: int, x: int, images: slice, out: np.ndarray | None = None) -> np.ndarray:
        """R x_u at one position for some images: `(rank, images)`, written to `out` if they are made anew."""
        if self.patches is not None:
            return self.patches[y, x, :, images]
        q = self.patch_size
        raw = self.batch[:, y : y + q, x : x + q, images].reshape(-1, len(range(self.batch.shape[3])[images]))
        return raw if self.root is None else np.matmul(self.root, raw, out=out)


def _padded(array: np.ndarray) -> np.ndarray:
    """Pad the last axis with zeros to a multiple of `LANES`."""
    padding = -array.shape[-1] % LANES
    return np.ascontiguousarray(np.pad(array, [*[(0, 0)] * (array.ndim - 1), (0, padding)]))


def _root(metric: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """R `(rank, d)` with R^T R = M; eigenvalues within rounding of zero are left out."""
    eigenvalues, eigenvectors = np.linalg.eigh(metric)
    kept = eigenvalues > np.finfo(dtype).eps * eigenvalues[-1]
    return (np.sqrt(eigenvalues[kept]) * eigenvectors[:, kept]).T.astype(dtype)


def _every_position(shape: tuple[int, int]) -> Iterator[tuple[int, int]]:
    return ((y, x) for y in range(shape[0]) for x in range(shape[1]))


def prepare(images: np.ndarray, metric: np.ndarray | None, spec: KernelSpec) -> Prepared:
    """Bring images `(n, c, h, w)` under a metric into the form that the sweeps read."""
    dtype, q = images.dtype, spec.patch_size
    batch = _padded(images.transpose(1, 2, 3, 0))
    root = None if metric is None else _root(metric, dtype)
    empty = np.empty((0, 0), dtype)
    bare = Prepared(batch, image_keys(images), q, root, None, empty, empty, empty)
    patches = None
    if root is not None:
        shape = (*bare.positions, len(root), batch.shape[3])
        if np.prod(shape, dtype=float) * dtype.itemsize <= PATCH_BYTES:
            patches = np.empty(shape, dtype)
    variance = np.empty((*bare.positions, batch.shape[3]), dtype)
    for y, x in _every_position(bare.positions):
        transformed = bare.patches_at(y, x, slice(None), out=None if patches is None else patches[y, x])
        np.einsum("dn,dn->n", transformed, transformed, out=variance[y, x])
    variance /= batch.shape[0]
    layers = [variance]
    for _ in range(spec.depth - 1):
        layers.append(np.lib.stride_tricks.sliding_window_view(layers[-1], (q, q), axis=(0, 1)).sum(axis=(-2, -1)))
    norms = np.sqrt(np.concatenate([layer.reshape(-1, batch.shape[3]) for layer in layers]))
    largest, negligible = norms.max(), NEGLIGIBLE[dtype]
    for name, size in (("pixels", np.abs(batch).max()), ("norms of patches under the metric", largest)):
        if size > 0 and not negligible < size < 1 / negligible:
            msg = (
                f"The {name} reach {size:.3g}, which leaves no room for products in {dtype}: "
                "rescale the images or the metric."
            )
            raise InputError(msg)
    norms[norms < negligible * largest] = 0
    inverse = np.divide(1, norms, out=np.zeros_like(norms), where=norms > 0)
    return replace(
        bare, patches=patches, norms=norms, inverse_norms=inverse, variance=layers[-1].mean(axis=(0, 1))
    )  # fmt: skip


def _covariances(left: Prepared, rows: slice, right: Prepared, columns: slice, room: np.ndarray) -> np.ndarray:
    """First-layer covariances s `(P, Q, rows, columns)` of some images with others, in the given room (flat)."""
    shape = (*left.positions, rows.stop - rows.start, columns.stop - columns.start)
    s = room[: np.prod(shape)].reshape(shape)
    for y, x in _every_position(left.positions):
        scaled = left.patches_at(y, x, rows) / left.batch.shape[0]
        np.matmul(scaled.T, right.patches_at(y, x, columns), out=s[y, x])
    return s


def _row_tiles(left: Prepared, columns: int) -> list[slice]:
    """Rows in tiles whose covariances with `columns` images fill the budget; starts are multiples of `LANES`."""
    per_row = np.prod(left.positions) * columns * left.batch.itemsize
    step = max(LANES, int(TILE_BYTES // per_row) // LANES * LANES)
    return [slice(start, min(start + step, left.count)) for start in range(0, left.count, step)]


def _room(left: Prepared, tiles: list[slice], columns: int) -> np.ndarray:
    """Memory for the covariances of the largest tile, flat; taken once, since fresh memory costs time."""
    return np.empty(np.prod(left.positions) * (tiles[0].stop - tiles[0].start) * columns, left.batch.dtype)


def _norms(images: Prepared, chosen: slice) -> tuple[np.ndarray, np.ndarray]:
    return np.ascontiguousarray(images.norms[:, chosen]), np.ascontiguousarray(images.inverse_norms[:, chosen])


def gram(left: Prepared, right: Prepared | None, spec: KernelSpec) -> np.ndarray:
    """Kernel matrix `(n, m)` in the dtype of the images; one triangle is computed when right is None."""
    dtype = left.batch.dtype
    symmetric = right is None
    other = left if right is None else right
    lanes = other.batch.shape[3]
    result = np.empty((left.count, lanes), dtype)
    tiles = _row_tiles(left, lanes)
    room = _room(left, tiles, lanes)
    for rows in track(tiles, len(tiles), "tiles of the kernel matrix", delay=SECONDS_BEFORE_PROGRESS):
        columns = slice(rows.start if symmetric else 0, lanes)
        s = _covariances(left, rows, other, columns, room)
        tile = np.empty(s.shape[2:], dtype)
        forward(s, *_norms(left, rows), *_norms(other, columns), spec, tile)
        result[rows, columns] = tile
    result = np.ascontiguousarray(result[:, : other.count])
    if symmetric:
        upper = np.triu(result)
        result = upper + np.triu(upper, 1).T
    set_coincident(result, left.keys, other.keys, left.variance, spec)
    return result


def patch_agop(train: Prepared, points: Prepared, alpha: np.ndarray, spec: KernelSpec) -> np.ndarray:
    """Patch-AGOP `(d, d)`, float64; one reverse sweep for each pair serves all outputs."""
    dtype = train.batch.dtype
    lanes, channels = train.batch.shape[3], train.batch.shape[0]
    coefficients = np.pad(alpha, [(0, lanes - train.count), (0, 0)])
    everything = slice(0, lanes)
    rank = len(train.patches_at(0, 0, slice(0, 1)))
    total = np.zeros((rank, rank))  # float64: a sum of millions of terms
    tiles = _row_tiles(points, lanes)
    room = _room(points, tiles, lanes)
    for rows in track(tiles, len(tiles), "tiles of the patch-AGOP", delay=SECONDS_BEFORE_PROGRESS):
        s = _covariances(points, rows, train, everything, room)
        own = np.empty((*s.shape[:3], alpha.shape[1]), dtype)
        reverse(s, *_norms(points, rows), *_norms(train, everything), spec, coefficients, own)
        for y, x in _every_position(train.positions):
            of_train, of_points = train.patches_at(y, x, everything).T, points.patches_at(y, x, rows).T
            # dK/d(R z_u), up to 1/c, of all outputs; the chain rule to the raw patch is R^T, applied once at the end.
            weighted = s[y, x] * coefficients.T[:, None]  # (outputs, points, train)
            gradient = weighted.reshape(-1, lanes) @ of_train
            gradient += 2 * (own[y, x].T[..., None] * of_points).reshape(gradient.shape)
            total += gradient.T @ gradient
    total /= points.count * channels**2
    return total if train.root is None else _chain(train.root, total)


def _chain(root: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """R^T (inner) R in float64, symmetrised against rounding."""
    outer = root.T.astype(np.float64) @ inner @ root
    return (outer + outer.T) / 2
