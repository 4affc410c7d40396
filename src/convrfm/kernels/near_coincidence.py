"""Kernel entries of images that nearly coincide, in double precision and without the loss of the arc cosine.

Near r = 1, kappa0(r) turns an error e of r into one of sqrt(e): for two images that differ by little noise, the recursion of
`convrfm.kernels.base` loses up to 9e-4 of the largest entry in float32, and 1e-8 in float64. Here it runs on the distance
d = 1 - r instead, which comes from differences alone. In the first layer, and from the norms of a window in each later one,

    d = |x_u / |x_u| - z_u / |z_u||^2 / 2,      d = box(n - k) / N + |x_w / X - z_w / Z|^2 / 2

with the norms x, z = sqrt(k_x), sqrt(k_z), n = x z of the positions w of a window, X, Z of the whole, and N = X Z. The
second is N - box(k) over N, since box(n) falls short of N by what Cauchy and Schwarz leave. Then arccos r = 2 arcsin sqrt(d/2).

Which pairs: by Cauchy and Schwarz an entry of the CNTK is at most (L + 1) mean_u(x_u z_u) of the last layer, and falls
short of it as the angles between patches grow. Pairs within `NEAR` of that bound are computed here. NNGP entries contain no
kappa0 and lose nothing.
"""

from dataclasses import replace

import numba
import numpy as np

from convrfm.kernels.batches import Batch
from convrfm.kernels.compiled.caching import compiled
from convrfm.kernels.specs import ArcCosineSpec
from convrfm.numerics.patches import unfold

__all__ = ["NEAR", "set_nearly_coincident"]

NEAR = {np.dtype(np.float32): 5e-3, np.dtype(np.float64): 1e-5}
"""How far below the bound an entry is computed here, as a fraction of it: beyond, rounding costs less than 3e-6 of the largest
entry in float32 and 1e-11 in float64."""

ROWS_AT_ONCE = 256
"""Rows of the kernel matrix that are compared with their bounds at a time."""

BYTES_AT_ONCE = 16 * 2**20
"""Of the patches of images on either side."""

POSITIONS_AT_ONCE = 10**7
"""Of all layers and pairs, in a call of compiled code: half a second, for an interrupt to be answered."""


@compiled(parallel=True)
def _entries(
    pairs: np.ndarray,
    x: np.ndarray,
    z: np.ndarray,
    x_norms: np.ndarray,
    z_norms: np.ndarray,
    columns: int,
    depth: int,
    q: int,
    out: np.ndarray,
) -> None:
    """Compute CNTK entries.

    Args:
        pairs: `(pairs, 2)`, which x and which z.
        x: patches `(n, positions, rank)`, float64, of norm one.
        z: the same of the other images.
        x_norms: sqrt(s_x) `(n, positions of all layers)`.
        z_norms: the same.
        columns: Q, of the first layer.
        depth: L.
        q: patch size.
        out: `(pairs,)`, filled.
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
                # What is written over is not read again: a layer has fewer columns than the one below.
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
    """Rows and columns `(pairs, 2)` of entries within `NEAR` of their bound; above the diagonal only, if asked to."""
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
    """Overwrite the entries of nearly equal images in a kernel matrix.

    Args:
        gram: `(n, m)`, changed in place.
        left: images of the rows, with norms.
        right: images of the columns, with norms; None stands for those of the rows, and a symmetric matrix.
        spec: the kernel.
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
            _entries(chosen, x, z, x_norms, z_norms, left.positions[1], spec.depth, spec.patch_size, found[part])
        gram[some[:, 0], some[:, 1]] = found
        if right is None:
            gram[some[:, 1], some[:, 0]] = found
