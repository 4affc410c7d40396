"""What the CPU and CUDA backends share: batches of images, and entries of images that are equal or nearly so.

A batch is prepared once for a metric, before any pair of images is looked at: its norms, and the root of its metric.

Equal images, pixel by pixel: there r = 1 at every position, and after layer l the recursion of `convrfm.kernels.base`
has k = s_x and Theta = l s_x, hence K = (L + 1) mean_u s_x[u] (CNTK) or mean_u s_x[u] (CNNGP) with s_x of the last
layer. Computed through r, these entries would carry an error of the square root of the machine precision: in float32 up
to 2e-4 of the largest entry, all on the diagonal and of one sign, which acts like a negative ridge.

Nearly equal images: near r = 1, kappa0(r) turns an error e of r into one of sqrt(e). For two images that differ by little
noise, the recursion loses up to 9e-4 of the largest entry in float32, and 1e-8 in float64. Here it runs in double precision on
the distance d = 1 - r instead, which comes from differences alone. In the first layer, and from the norms of a window later,

    d = |x_u / |x_u| - z_u / |z_u||^2 / 2,      d = box(n - k) / N + |x_w / X - z_w / Z|^2 / 2

with the norms x, z = sqrt(k_x), sqrt(k_z), n = x z of the positions w of a window, X, Z of the whole, and N = X Z. The
second is N - box(k) over N, since by Cauchy and Schwarz box(n) falls short of N. Then arccos r = 2 arcsin sqrt(d/2).

Which pairs: by Cauchy and Schwarz an entry of the CNTK is at most (L + 1) mean_u(x_u z_u) of the last layer, and falls
short of it as the angles between patches grow. Pairs within `NEAR` of that bound are computed here. CNNGP entries
contain no kappa0 and lose nothing.
"""

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numba
import numpy as np

from convrfm.errors import InputError
from convrfm.kernels.backends import CLOSEST, UNEQUAL, ArcCosineSpec
from convrfm.kernels.compiled import compiled
from convrfm.numerics.patches import box_sum, patch_dimension, patch_places, unfold

__all__ = [
    "Batch", "chain", "check_size", "closest", "image_keys", "largest_side", "set_coincident", "set_nearly_coincident",
]  # fmt: skip

# The largest norm has to lie between this and its inverse, so that products of patches stay within the range of a dtype.
EXTREME = {np.dtype(np.float32): 1e-15, np.dtype(np.float64): 1e-150}

# Norms below which patches count as zero: products of two such norms would underflow.
NEGLIGIBLE = {np.dtype(np.float32): 1e-18, np.dtype(np.float64): 1e-153}

# Share of the images' energy under a metric that may lie in directions whose eigenvalues are within rounding of zero; and
# images that it is estimated from.
LOST, SAMPLE = 1e-4, 8

# How far below the bound, as a fraction of it, entries are computed in double precision: beyond, rounding costs less
# than 3e-6 of the largest entry in float32 and 1e-11 in float64.
NEAR = {np.dtype(np.float32): 5e-3, np.dtype(np.float64): 1e-5}

ROWS_AT_ONCE = 256  # rows of the kernel matrix that are compared with their bounds at a time
BYTES_AT_ONCE = 16 * 2**20  # patches of images on either side

# Positions of all layers and pairs in a call of compiled code: half a second, after which an interrupt is answered.
POSITIONS_AT_ONCE = 10**7


def check_size(name: str, largest: np.floating, dtype: np.dtype) -> None:
    """Check that products of numbers up to this size stay within the range of a dtype.

    Raises:
        InputError: they do not.
    """
    if largest > 0 and not EXTREME[dtype] < largest < 1 / EXTREME[dtype]:
        msg = f"The {name} reach {largest:.3g}, which leaves no room for products in {dtype}: rescale the images or the metric."
        raise InputError(msg)


@dataclass(frozen=True)
class Batch:
    """A batch of n images under a metric M = R^T R."""

    images: np.ndarray  # `(n, channels, height, width)`
    keys: np.ndarray  # equal for equal images, n of them; see `image_keys`
    patch_size: int  # q
    root: np.ndarray | None  # R `(rank, d)`, or None for the identity
    norms: np.ndarray  # sqrt(s_x) `(n, positions of all layers)`; like `variance`, for the arc-cosine kernels only
    variance: np.ndarray  # mean over positions of s_x in the last layer, `(n,)`

    @classmethod
    def bare(cls, images: np.ndarray, metric: np.ndarray | None, patch_size: int) -> Self:
        """Make a batch without norms, which `with_norms` gives.

        Raises:
            InputError: pixels leave no room for products in their dtype, or the metric spans more than it resolves.
        """
        check_size("pixels", np.abs(images).max(), images.dtype)
        empty = np.empty((len(images), 0), images.dtype)
        root = None if metric is None else _root(metric, images, patch_size)
        return cls(np.ascontiguousarray(images), image_keys(images), patch_size, root, empty, empty)

    def pixel_variance(self) -> np.ndarray:
        """s_x of the first layer under the identity, `(n, P, Q)`."""
        squares = np.einsum("nchw,nchw->nhw", self.images, self.images)
        return box_sum(squares, self.patch_size) / self.images.dtype.type(self.shape[0])

    def with_norms(self, variance: np.ndarray, depth: int) -> Self:
        """Give the batch with the norms of all layers, from s_x of the first `(n, P, Q)`.

        Raises:
            InputError: norms leave no room for products in the dtype of the images.
        """
        layers = [variance]
        for _ in range(depth - 1):
            layers.append(box_sum(layers[-1], self.patch_size))
        norms = np.sqrt(np.concatenate([layer.reshape(len(self), -1) for layer in layers], axis=1))
        largest = norms.max()
        check_size("norms of patches under the metric", largest, self.images.dtype)
        norms[norms < NEGLIGIBLE[self.images.dtype]] = 0
        return replace(self, norms=norms, variance=layers[-1].mean(axis=(1, 2)))

    @cached_property
    def reach(self) -> float:
        """A bound on the norms of patches R x_u, from those of x_u and the largest eigenvalue."""
        largest = float(self.pixel_variance().max()) * self.shape[0]
        return math.sqrt(largest) * (1.0 if self.root is None else float(np.linalg.norm(self.root, axis=1).max()))

    def __len__(self) -> int:
        return len(self.images)

    def take(self, indices: np.ndarray | slice) -> Self:
        """Give some images of the batch, prepared."""
        kept: dict[str, Any] = {name: getattr(self, name)[indices] for name in ("images", "keys", "norms", "variance")}
        return replace(self, **kept)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width."""
        return self.images.shape[1:]

    @property
    def positions(self) -> tuple[int, int]:
        """P and Q, the positions of the first layer."""
        return self.shape[1] - self.patch_size + 1, self.shape[2] - self.patch_size + 1

    @property
    def places(self) -> np.ndarray:
        """See `convrfm.numerics.patches.patch_places`."""
        return patch_places(*self.shape, self.patch_size)

    @property
    def rank(self) -> int:
        """Numbers in a patch R x_u."""
        return patch_dimension(self.shape[0], self.patch_size) if self.root is None else len(self.root)


def _root(metric: np.ndarray, images: np.ndarray, patch_size: int) -> np.ndarray:
    """R `(rank, d)` with R^T R = M; eigenvalues within rounding of zero are left out.

    Raises:
        InputError: the images have more than `LOST` of their energy under the metric in the directions of these.
    """
    eigenvalues, eigenvectors = np.linalg.eigh(metric)
    eigenvalues = eigenvalues.clip(min=0)
    kept = eigenvalues > np.finfo(images.dtype).eps * eigenvalues[-1]
    if eigenvalues[~kept].any():
        some = images[np.unique(np.linspace(0, len(images) - 1, SAMPLE).astype(int))]
        projections = unfold(some, patch_size).reshape(-1, len(metric)).astype(np.float64) @ eigenvectors
        energy = np.einsum("nk,nk->k", projections, projections) * eigenvalues
        if energy[~kept].sum() > LOST * energy.sum():
            share = f"{energy[~kept].sum() / energy.sum():.1%}"
            msg = (
                f"{images.dtype} cannot resolve this metric: {share} of the images' energy under it lies along its smallest "
                "eigenvalues. Pass float64 images, or another metric."
            )
            raise InputError(msg)
    return (np.sqrt(eigenvalues[kept]) * eigenvectors[:, kept]).T.astype(images.dtype)


def closest(left: Batch, right: Batch) -> float:
    """Distance of patches of two batches below which the gradient of the Laplace kernel is zero: they count as equal."""
    return max(CLOSEST, UNEQUAL[left.images.dtype] * max(left.reach, right.reach))


def largest_side(linear: float, quadratic: float, memory: int) -> int:
    """The largest n with linear n + quadratic n^2 bytes within the memory; at least 1."""
    return max(1, int((math.sqrt(linear**2 + 4 * quadratic * memory) - linear) / (2 * quadratic)))


def chain(root: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """R^T (inner) R in float64, symmetrised against rounding."""
    outer = root.T.astype(np.float64) @ inner @ root
    return (outer + outer.T) / 2


@compiled()
def _sums_of_products(numbers: np.ndarray, weights: np.ndarray, out: np.ndarray) -> None:
    """Sums of products modulo 2^64 of each row of numbers with each row of weights."""
    for i in range(len(numbers)):
        for j in range(len(weights)):
            total = np.uint64(0)
            for k in range(numbers.shape[1]):
                total += np.uint64(numbers[i, k]) * weights[j, k]
            out[i, j] = total


def image_keys(images: np.ndarray) -> np.ndarray:
    """Give each image `(n, ...)` a key of 128 bits, a pair of random linear functions of its bits modulo 2^64.

    Equal images have equal keys; two different images share one with a probability below 2^-60.
    """
    flat = images.reshape(len(images), -1)
    # Adding zero turns -0 into 0.
    numbers = (flat + flat.dtype.type(0)).view(np.uint32)
    weights = np.random.default_rng(0).integers(2**64, size=(2, numbers.shape[1]), dtype=np.uint64)
    keys = np.empty((len(images), 2), np.uint64)
    _sums_of_products(numbers, weights, keys)
    return keys.view("V16")[:, 0]


def set_coincident(
    gram: np.ndarray, row_keys: np.ndarray, column_keys: np.ndarray, variance: np.ndarray, spec: ArcCosineSpec
) -> None:
    """Overwrite the entries of equal images in a kernel matrix `(n, m)`, in place.

    Keys, n and m of them, are from `image_keys`; `variance` `(n,)` is that of the `Batch` of the rows.
    """
    columns: dict[bytes, list[int]] = {}
    for j, key in enumerate(column_keys.tolist()):
        columns.setdefault(key, []).append(j)
    factor = spec.depth + 1 if spec.tangent else 1
    for i, key in enumerate(row_keys.tolist()):
        if key in columns:
            gram[i, columns[key]] = factor * variance[i]


@compiled(parallel=True)
def _near_entries(
    pairs: np.ndarray, x: np.ndarray, z: np.ndarray, x_norms: np.ndarray, z_norms: np.ndarray,
    columns: int, depth: int, q: int, out: np.ndarray,
) -> None:  # fmt: skip
    """Compute CNTK entries for `pairs` `(pairs, 2)`, which x and which z, into out `(pairs,)`.

    x and z are patches `(n, positions, rank)`, float64, of norm one, with norms sqrt(s_x) `(n, positions of all layers)`;
    `columns` is Q of the first layer.
    """
    positions = x.shape[1]
    for pair in numba.prange(len(pairs)):
        i, j = pairs[pair]
        missing, both = np.empty(positions), np.empty(positions)  # n - k, and k + Theta
        width, height, before = columns, positions // columns, 0
        below = 0, 0  # where the norms of the layer below start, and its width
        for layer in range(depth):
            for p in range(height * width):
                a, b = x_norms[i, before + p], z_norms[j, before + p]
                norm, distance, tangent = a * b, 0.0, 0.0
                # Overwritten numbers are not read again: a layer has fewer columns than the one below.
                if norm == 0:
                    missing[p] = both[p] = 0.0
                    continue
                if layer == 0:
                    for k in range(x.shape[2]):
                        distance += (x[i, p, k] - z[j, p, k]) ** 2
                    distance /= 2
                    tangent = norm * (1 - distance)
                else:
                    own, other, share = 1 / a, 1 / b, 1 / norm
                    for y in range(q):
                        first = (p // width + y) * below[1] + p % width
                        for w in range(first, first + q):
                            difference = x_norms[i, below[0] + w] * own - z_norms[j, below[0] + w] * other
                            distance += missing[w] * share + difference**2 / 2
                            tangent += both[w]
                angle = 2 * np.arcsin(np.sqrt(min(distance / 2, 1.0)))
                cosine = 1 - distance
                excess = (np.sqrt(max(distance * (2 - distance), 0.0)) - angle * cosine) / np.pi  # kappa1 - r
                missing[p] = norm * (distance - excess)
                both[p] = norm * (cosine + excess) + (1 - angle / np.pi) * tangent
            below = before, width
            before += height * width
            if layer < depth - 1:
                height, width = height - q + 1, width - q + 1
        total = 0.0
        for p in range(height * width):
            total += both[p]
        out[pair] = total / (height * width)


def _near_pairs(gram: np.ndarray, left: Batch, right: Batch, spec: ArcCosineSpec, *, triangle: bool) -> np.ndarray:
    """Rows and columns `(pairs, 2)` of entries within `NEAR` of their bound; of a triangle above the diagonal only."""
    margin = (spec.depth - 1) * (spec.patch_size - 1)
    last = (left.positions[0] - margin) * (left.positions[1] - margin)
    share = gram.dtype.type((1 - NEAR[gram.dtype]) * (spec.depth + 1) / last)
    rows, columns = left.norms[:, -last:] * share, right.norms[:, -last:].T
    found = []
    for first in range(0, len(rows), ROWS_AT_ONCE):
        start = first if triangle else 0
        bounds = rows[first : first + ROWS_AT_ONCE] @ columns[:, start:]
        found.append(np.argwhere(gram[first : first + ROWS_AT_ONCE, start:] > bounds) + np.array([first, start]))
    pairs = np.concatenate(found)
    # Equal images have a closed form.
    pairs = pairs[left.keys[pairs[:, 0]] != right.keys[pairs[:, 1]]]
    return pairs[pairs[:, 0] < pairs[:, 1]] if triangle else pairs


def _in_double(batch: Batch, chosen: np.ndarray, spec: ArcCosineSpec) -> tuple[np.ndarray, np.ndarray]:
    """Patches of norm one `(n, positions, rank)`, and norms, of some images in float64."""
    some = batch.take(chosen)
    some = replace(some, images=some.images.astype(np.float64))
    patches = unfold(some.images, spec.patch_size) / np.sqrt(some.shape[0])
    if batch.root is not None:
        patches = patches @ batch.root.T.astype(np.float64)
    some = some.with_norms(np.einsum("npqk,npqk->npq", patches, patches), spec.depth)
    patches = patches.reshape(len(some), -1, batch.rank)
    norms = some.norms[:, : patches.shape[1], None]
    return np.divide(patches, norms, out=patches, where=norms > 0), some.norms


def set_nearly_coincident(gram: np.ndarray, left: Batch, right: Batch | None, spec: ArcCosineSpec) -> None:
    """Overwrite the entries of nearly equal images in a kernel matrix `(n, m)`, in place.

    Rows and columns are batches with norms; right is None for the images of the rows, and a symmetric matrix.
    """
    if not spec.tangent:
        return
    other = left if right is None else right
    pairs = _near_pairs(gram, left, other, spec, triangle=right is None)
    side = max(1, BYTES_AT_ONCE // (8 * left.positions[0] * left.positions[1] * left.rank))
    together = max(1, POSITIONS_AT_ONCE // left.norms.shape[1])
    blocks = pairs // side
    numbers = blocks[:, 0] * (1 + len(gram) // side + gram.shape[1] // side) + blocks[:, 1]
    for number in np.unique(numbers):
        some = pairs[numbers == number]
        (of_rows, i), (of_columns, j) = (np.unique(column, return_inverse=True) for column in some.T)
        x, x_norms = _in_double(left, of_rows, spec)
        z, z_norms = _in_double(other, of_columns, spec)
        found = np.empty(len(some))
        for first in range(0, len(some), together):
            part = slice(first, first + together)
            chosen = np.stack([i[part], j[part]], axis=1)
            _near_entries(chosen, x, z, x_norms, z_norms, left.positions[1], spec.depth, spec.patch_size, found[part])
        gram[some[:, 0], some[:, 1]] = found
        if right is None:
            gram[some[:, 1], some[:, 0]] = found
