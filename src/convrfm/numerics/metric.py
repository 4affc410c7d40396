"""Patch metrics: symmetric positive semi-definite `(d, d)` in the patch order of `convrfm.numerics.patches`."""

import warnings

import numpy as np

from convrfm.errors import ConvRFMWarning, MetricError
from convrfm.numerics.inputs import check_finite

__all__ = ["check_metric", "keep_top_eigenvalues", "normalise", "power", "warn_if_rank_one"]

SYMMETRY_TOLERANCE = 1e-5  # largest |M - M^T| allowed, as a fraction of the largest |M|
EIGENVALUE_TOLERANCE = 1e-6  # most negative eigenvalue allowed, as a fraction of the largest


def check_metric(metric: np.ndarray, dimension: int) -> np.ndarray:
    """Check a metric `(d, d)` and give its symmetric part in float64.

    Raises:
        MetricError: not of size `dimension`, not symmetric, an eigenvalue below -1e-6 of the largest, or zero.
        NonFiniteError: NaN or infinity.
    """
    if metric.shape != (dimension, dimension):
        msg = (
            f"The metric must have shape ({dimension}, {dimension}) (channels x patch_size x patch_size), "
            f"but its shape is {metric.shape}."
        )
        raise MetricError(msg)
    check_finite(metric, "The metric")
    metric = metric.astype(np.float64)
    largest = np.abs(metric).max()
    asymmetry = np.abs(metric - metric.T).max()
    if asymmetry > SYMMETRY_TOLERANCE * largest:
        msg = (
            f"The metric is not symmetric: |M - M^T| reaches {asymmetry:.3g} where |M| reaches {largest:.3g}. "
            "Pass its symmetric part, (M + M.T) / 2, if that is what you mean."
        )
        raise MetricError(msg)
    metric = (metric + metric.T) / 2
    eigenvalues = np.linalg.eigvalsh(metric)
    if eigenvalues[-1] <= 0 or eigenvalues[0] < -EIGENVALUE_TOLERANCE * eigenvalues[-1]:
        msg = (
            f"The metric is not positive semi-definite and non-zero: its eigenvalues run from {eigenvalues[0]:.3g} "
            f"to {eigenvalues[-1]:.3g}. A patch metric must be a covariance-like matrix, such as an AGOP."
        )
        raise MetricError(msg)
    return metric


def normalise(metric: np.ndarray) -> np.ndarray:
    """Scale a metric to trace d, that of the identity.

    The scale has no effect on the arc-cosine kernels, which are homogeneous; it matters for the Laplace kernel.

    Raises:
        MetricError: the trace is not positive, as for a constant predictor.
    """
    trace = float(np.trace(metric))
    if not trace > 0:
        msg = f"The metric cannot be normalised: its trace is {trace:.3g} (a predictor with zero gradient?)."
        raise MetricError(msg)
    return metric * (len(metric) / trace)


def _spectrum(metric: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues, clipped at zero, and eigenvectors in columns."""
    eigenvalues, eigenvectors = np.linalg.eigh(metric)
    return np.clip(eigenvalues, 0, None), eigenvectors


def power(metric: np.ndarray, exponent: float) -> np.ndarray:
    """Give M^p through the eigendecomposition; eigenvalues that rounding made negative count as zero."""
    if exponent == 1:
        return metric
    eigenvalues, eigenvectors = _spectrum(metric)
    return (eigenvectors * eigenvalues**exponent) @ eigenvectors.T


def keep_top_eigenvalues(metric: np.ndarray, fraction: float) -> np.ndarray:
    """Keep the largest `ceil(fraction d)` eigenvalues and set the others to zero."""
    if fraction == 1:
        return metric
    eigenvalues, eigenvectors = _spectrum(metric)
    kept = int(np.ceil(fraction * len(metric)))
    eigenvalues[: len(metric) - kept] = 0
    return (eigenvectors * eigenvalues) @ eigenvectors.T


def warn_if_rank_one(metric: np.ndarray) -> None:
    """Warn about a metric of rank one, under which every pair of patches is collinear."""
    eigenvalues = np.linalg.eigvalsh(metric)
    if len(metric) > 1 and eigenvalues[-2] <= EIGENVALUE_TOLERANCE * eigenvalues[-1]:
        warnings.warn(
            "The metric has rank one: all patches are collinear under it, the kernel sees a single linear feature, "
            "and gradients with respect to the angle vanish.",
            ConvRFMWarning,
            stacklevel=4,
        )
