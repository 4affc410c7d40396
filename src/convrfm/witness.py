"""A few entries of what a fit computes on its way, kept so that others can compute them anew without repeating the fit.

Kernel matrices and sums over all training images are too large to keep, and too long to repeat. What is kept of them is drawn
apart from all other random numbers: a fit is the same with and without it.
"""

from dataclasses import dataclass

import numpy as np

from convrfm.kernels.base import ConvolutionalKernel
from convrfm.kernels.prepared import PreparedImages
from convrfm.seeding import generator

__all__ = ["AgopWitness", "GramWitness", "witness_agop", "witness_gram"]

IMAGES = 12
"""Rows, and columns, of the block of a kernel matrix."""

POINTS = 1
"""Points of the AGOP that is kept: with all training images they are pairs that take long to repeat."""

ENTRIES = 16
"""Rows and columns of that AGOP, drawn at random."""


@dataclass(frozen=True)
class GramWitness:
    """A block of a kernel matrix.

    Attributes:
        rows: indices of test images, or of training images where there is no test image, `(r,)` int64.
        columns: indices of training images `(c,)` int64.
        entries: of the kernel matrix, before it is divided by anything, `(r, c)` in the dtype of the computation.
    """

    rows: np.ndarray
    columns: np.ndarray
    entries: np.ndarray


@dataclass(frozen=True)
class AgopWitness:
    """A block of the patch-AGOP of the predictor that gives the next metric, at some of its points.

    Attributes:
        alpha: coefficients of the predictor `(fitted images, outputs)`, in the dtype in which they were used.
        points: indices into the fitted images `(p,)` int64.
        entries: rows, and columns, of the block `(e,)` int64.
        block: of the patch-AGOP, the mean over these points `(e, e)` float64.
    """

    alpha: np.ndarray
    points: np.ndarray
    entries: np.ndarray
    block: np.ndarray


def witness_gram(gram: np.ndarray, test_gram: np.ndarray | None) -> GramWitness:
    """Keep a block of the kernel matrix of test and training images, or of training images alone.

    Args:
        gram: of the training images `(n, n)`.
        test_gram: of test and training images `(m, n)`, or None.
    """
    rng = generator(0, "witness of a kernel matrix")
    of = gram if test_gram is None or len(test_gram) == 0 else test_gram
    rows, columns = (np.sort(rng.choice(n, min(IMAGES, n), replace=False)) for n in of.shape)
    return GramWitness(rows, columns, np.asarray(of[np.ix_(rows, columns)]))


def witness_agop(kernel: ConvolutionalKernel, fitted: PreparedImages, alpha: np.ndarray) -> AgopWitness:
    """Compute a block of the patch-AGOP of a predictor at a few of the images that it was fitted to.

    Args:
        kernel: the kernel.
        fitted: the images, under the metric of the round.
        alpha: coefficients `(n, outputs)`.

    Raises:
        NonFiniteError: as `convrfm.kernels.ConvolutionalKernel.patch_agop`.
    """
    rng = generator(0, "witness of a patch-AGOP")
    used = np.asarray(alpha, fitted.images.dtype)
    points = np.sort(rng.choice(len(fitted), min(POINTS, len(fitted)), replace=False))
    agop = kernel.patch_agop(fitted, fitted.take(points), used)
    entries = np.sort(rng.choice(len(agop), min(ENTRIES, len(agop)), replace=False))
    return AgopWitness(used, points, entries, np.asarray(agop[np.ix_(entries, entries)]))
