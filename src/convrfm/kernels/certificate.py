"""How far the numbers of a kernel matrix can be trusted: the same entries in the arithmetic in use and in double precision.

A certificate rests on a random sub-block of the images. It holds the largest difference of the two, and the smallest
eigenvalue in double precision: a difference near that eigenvalue, or a negative eigenvalue beyond a ridge, would say
that the matrix in use is not the positive definite one that the theory speaks of.
"""

from dataclasses import dataclass

import numpy as np

from convrfm.kernels.base import ConvolutionalKernel
from convrfm.numerics.sampling import generator

__all__ = ["Certificate", "certify"]

IMAGES = 16
"""Images in the sub-block."""


@dataclass(frozen=True)
class Certificate:
    """What was found; numbers are fractions of the largest entry of the sub-block.

    Attributes:
        images: size of the sub-block.
        spread: the largest difference between the entries in the dtype of the images and in float64.
        smallest_eigenvalue: of the sub-block in float64.
    """

    images: int
    spread: float
    smallest_eigenvalue: float


def certify(
    kernel: ConvolutionalKernel, images: np.ndarray, metric: np.ndarray | None, *, seed: int = 0
) -> Certificate:
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
