"""What the compiled backends know of a batch of images before any pair is looked at: its norms, its metric's root."""

import math
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from convrfm.errors import InputError
from convrfm.kernels.coincidence import image_keys
from convrfm.numerics.patches import box_sum, patch_dimension, patch_places

__all__ = ["NEGLIGIBLE", "Batch", "chain", "check_size", "largest_side"]

NEGLIGIBLE = {np.dtype(np.float32): 1e-15, np.dtype(np.float64): 1e-150}
"""Patches whose norm is a smaller fraction of the largest count as zero: products of their norms would underflow."""


def check_size(name: str, largest: np.floating, dtype: np.dtype) -> None:
    """Check that products of numbers up to this size stay within the range of a dtype.

    Raises:
        InputError: they do not.
    """
    if largest > 0 and not NEGLIGIBLE[dtype] < largest < 1 / NEGLIGIBLE[dtype]:
        msg = (
            f"The {name} reach {largest:.3g}, which leaves no room for products in {dtype}: "
            "rescale the images or the metric."
        )
        raise InputError(msg)


@dataclass(frozen=True)
class Batch:
    """A batch of n images under a metric M = R^T R.

    Attributes:
        images: `(n, channels, height, width)`.
        keys: what tells equal images, n of them; see `convrfm.kernels.coincidence`.
        patch_size: q.
        root: R `(rank, d)`, or None for the identity.
        norms: sqrt(s_x) `(n, positions of all layers)`; of the arc-cosine kernels only, and so is the next.
        variance: mean over positions of s_x in the last layer, `(n,)`.
    """

    images: np.ndarray
    keys: np.ndarray
    patch_size: int
    root: np.ndarray | None
    norms: np.ndarray
    variance: np.ndarray

    @classmethod
    def bare(cls, images: np.ndarray, metric: np.ndarray | None, patch_size: int) -> Self:
        """Make a batch without norms, which `with_norms` gives.

        Raises:
            InputError: pixels leave no room for products in their dtype.
        """
        check_size("pixels", np.abs(images).max(), images.dtype)
        empty = np.empty((len(images), 0), images.dtype)
        root = None if metric is None else _root(metric, images.dtype)
        return cls(np.ascontiguousarray(images), image_keys(images), patch_size, root, empty, empty)

    def pixel_variance(self) -> np.ndarray:
        """s_x of the first layer, `(n, P, Q)`, where the metric is the identity."""
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
        norms[norms < NEGLIGIBLE[self.images.dtype] * largest] = 0
        return replace(self, norms=norms, variance=layers[-1].mean(axis=(1, 2)))

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


def _root(metric: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """R `(rank, d)` with R^T R = M; eigenvalues within rounding of zero are left out."""
    eigenvalues, eigenvectors = np.linalg.eigh(metric)
    kept = eigenvalues > np.finfo(dtype).eps * eigenvalues[-1]
    return (np.sqrt(eigenvalues[kept]) * eigenvectors[:, kept]).T.astype(dtype)


def largest_side(linear: float, quadratic: float, memory: int) -> int:
    """The largest n with linear n + quadratic n^2 bytes within the memory; at least 1."""
    return max(1, int((math.sqrt(linear**2 + 4 * quadratic * memory) - linear) / (2 * quadratic)))


def chain(root: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """R^T (inner) R in float64, symmetrised against rounding."""
    outer = root.T.astype(np.float64) @ inner @ root
    return (outer + outer.T) / 2
