"""Kernel entries of images that are equal pixel by pixel, in closed form.

There r = 1 at every position, and after layer l the recursion of `convrfm.kernels.base` stands at k = s_x and
Theta = l s_x, so that K = (L + 1) mean_u s_x[u] (CNTK) or mean_u s_x[u] (CNNGP) with s_x of the last layer. Computed
through r, these entries would carry an error of the square root of the machine precision: in float32 up to 2e-4 of the
largest entry, all on the diagonal and of one sign, which acts like a negative ridge.
"""

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np

from convrfm.kernels.base import KernelSpec

__all__ = ["image_keys", "set_coincident"]


def image_keys(images: np.ndarray) -> list[bytes]:
    """Give each image `(n, ...)` a key that is equal for equal images, and for no others in practice."""
    # Adding zero makes one zero of the two.
    return [blake2b(np.ascontiguousarray(image + 0.0).data, digest_size=16).digest() for image in images]


def set_coincident(
    gram: np.ndarray, row_keys: Sequence[bytes], column_keys: Sequence[bytes], variance: np.ndarray, spec: KernelSpec
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
    for j, key in enumerate(column_keys):
        columns.setdefault(key, []).append(j)
    factor = spec.depth + 1 if spec.tangent else 1
    for i, key in enumerate(row_keys):
        gram[i, columns.get(key, [])] = factor * variance[i]
