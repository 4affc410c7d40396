"""Whether a kernel matrix is of use: the bandwidth of the Laplace kernel, and the accuracy of the entries.

A certificate compares a random sub-block of the matrix with the same entries in double precision. A difference near the
smallest eigenvalue, or a negative eigenvalue beyond a ridge, says that the matrix in use is not the positive definite
one of the theory.
"""

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from convrfm.errors import ConvRFMWarning, InputError
from convrfm.numerics.inputs import as_images
from convrfm.numerics.patches import box_sum, check_fits
from convrfm.numerics.sampling import generator

if TYPE_CHECKING:
    from convrfm.kernels.base import ConvolutionalKernel

__all__ = ["Certificate", "certify", "median_bandwidth", "warn_if_vanishing"]

PAIRS = 256  # pairs of images whose patches are compared
SAMPLE = 64  # rows, and columns, of a kernel matrix that are looked at

# Median entry of different images (equal ones have 1) that counts as vanishing: patches lie 14 bandwidths apart.
VANISHING = 1e-6

IMAGES = 16  # images in the sub-block of a certificate


def median_bandwidth(images: Any, patch_size: int) -> float:
    """Give the median distance of patches at equal positions in pairs of different images, on the scale of the pixels.

    Distances are Euclidean, as under the identity, the metric of round 0. At most 256 pairs are drawn, always the same.
    Equal patches, such as those of a black frame, are left out.

    Args:
        images: training images `(n, channels, height, width)`, array or tensor, at least two.
        patch_size: q.

    Raises:
        InputError: a single image, or images that are all equal.
        ImageSizeError, NonFiniteError: see `convrfm.errors`.
    """
    given = as_images(images, "The images")
    check_fits(given.shape[2], given.shape[3], patch_size, depth=1)
    if len(given) < 2:
        msg = "The median bandwidth needs at least two images: pass more images, or a number as bandwidth."
        raise InputError(msg)
    rng = generator(0, "bandwidth")
    first = rng.integers(len(given), size=PAIRS)
    second = (first + rng.integers(1, len(given), size=PAIRS)) % len(given)
    found = []
    for i, j in sorted({(min(pair), max(pair)) for pair in zip(first.tolist(), second.tolist(), strict=True)}):
        squares = ((given[i].astype(np.float64) - given[j]) ** 2).sum(axis=0)
        distances = np.sqrt(box_sum(squares, patch_size))
        found.append(distances[distances > 0])
    every = np.concatenate(found)
    if len(every) == 0:
        msg = "The median bandwidth is zero, since all drawn images are equal: pass others, or a number as bandwidth."
        raise InputError(msg)
    return float(np.median(every))


def warn_if_vanishing(gram: np.ndarray, *, symmetric: bool, bandwidth: float) -> None:
    """Warn where the Laplace kernel `(n, m)` of different images all but vanishes, which makes predictions noise.

    Args:
        gram: the kernel matrix.
        symmetric: whether its diagonal is of images with themselves.
        bandwidth: of the kernel.
    """
    rows, columns = (np.unique(np.linspace(0, size - 1, SAMPLE, dtype=int)) for size in gram.shape)
    entries = gram[np.ix_(rows, columns)]
    if symmetric:
        entries = entries[rows[:, None] != columns]
    if entries.size > 0 and np.median(entries) < VANISHING:
        warnings.warn(
            f"The Laplace kernel of different images all but vanishes (median {np.median(entries):.2g}; equal ones "
            f"have 1): the bandwidth {bandwidth:.3g} is far below the distances of patches, and predictions would be "
            "noise. Scale the images to [0, 1], or use median_bandwidth(images, patch_size), which is "
            'bandwidth="median" of the estimators (all stages use that of the first).',
            ConvRFMWarning,
            stacklevel=3,
        )


@dataclass(frozen=True)
class Certificate:
    """Accuracy of a kernel matrix; numbers are fractions of the largest entry of the sub-block.

    Attributes:
        images: size of the sub-block.
        spread: the largest difference between the entries in the dtype of the images and in float64.
        smallest_eigenvalue: of the sub-block in float64.
    """

    images: int
    spread: float
    smallest_eigenvalue: float


def certify(kernel: "ConvolutionalKernel", images: np.ndarray, metric: np.ndarray | None, *, seed: int = 0) -> Certificate:
    """Certify the kernel matrix of some images `(n, channels, height, width)`.

    Args:
        kernel: the kernel; its backend computes in both dtypes.
        images: float32 or float64.
        metric: see `convrfm.kernels.ConvolutionalKernel.prepare`.
        seed: draws the sub-block, apart from all other random numbers.

    Raises:
        InputError, MetricError, NonFiniteError: as `convrfm.kernels.ConvolutionalKernel.gram`.
    """
    rng = generator(seed, "certificate")
    chosen = images[np.sort(rng.choice(len(images), min(IMAGES, len(images)), replace=False))]
    exact = kernel.gram(chosen.astype(np.float64), None, metric)
    spread = np.abs(kernel.gram(chosen, None, metric) - exact).max()
    largest = exact.max()
    if not largest > 0:  # all images black: nothing to compare
        return Certificate(len(chosen), 0.0, 0.0)
    return Certificate(len(chosen), float(spread / largest), float(np.linalg.eigvalsh(exact)[0] / largest))
