"""Kernel entries of images that are equal pixel by pixel, in closed form.

There r = 1 at every position, and after layer l the recursion of `convrfm.kernels.base` stands at k = s_x and
Theta = l s_x, so that K = (L + 1) mean_u s_x[u] (CNTK) or mean_u s_x[u] (CNNGP) with s_x of the last layer. Computed
through r, these entries would carry an error of the square root of the machine precision: in float32 up to 2e-4 of the
largest entry, all on the diagonal and of one sign, which acts like a negative ridge.
"""

import numpy as np

from convrfm.kernels.compiled.caching import compiled
from convrfm.kernels.specs import ArcCosineSpec

__all__ = ["image_keys", "set_coincident"]


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
    """Give each image `(n, ...)` a key of 128 bits, equal for equal images, and for no others in practice.

    The key is a pair of random linear functions, modulo 2^64, of the bits of the pixels: two given images that differ
    share it with a probability below 2^-60.
    """
    flat = images.reshape(len(images), -1)
    # Adding zero makes one zero of the two.
    numbers = (flat + flat.dtype.type(0)).view(np.uint32)
    weights = np.random.default_rng(0).integers(2**64, size=(2, numbers.shape[1]), dtype=np.uint64)
    keys = np.empty((len(images), 2), np.uint64)
    _sums_of_products(numbers, weights, keys)
    return keys.view("V16")[:, 0]


def set_coincident(
    gram: np.ndarray, row_keys: np.ndarray, column_keys: np.ndarray, variance: np.ndarray, spec: ArcCosineSpec
) -> None:
    """Overwrite the entries of equal images in a kernel matrix `(n, m)`.

    Args:
        gram: changed in place.
        row_keys: from `image_keys`, n of them.
        column_keys: the same, m of them.
        variance: mean over positions of s_x of the last layer, for the images of the rows, `(n,)`.
        spec: the kernel.
    """
    columns: dict[bytes, list[int]] = {}
    for j, key in enumerate(column_keys.tolist()):
        columns.setdefault(key, []).append(j)
    factor = spec.depth + 1 if spec.tangent else 1
    for i, key in enumerate(row_keys.tolist()):
        if key in columns:
            gram[i, columns[key]] = factor * variance[i]
