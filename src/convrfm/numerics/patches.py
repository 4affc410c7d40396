"""The patch order of the whole project, sums over windows, and metrics on patches.

A patch vector is ordered (channel, row, column), as in `torch.nn.Conv2d.weight.flatten(1)`: entry
`(ch * q + row) * q + column`. No other module knows this order. Windows are those of a convolution with stride 1 and no
padding: an image of height P has P - q + 1 of them along that axis. A patch metric is a symmetric positive semi-definite
matrix `(d, d)` in this order.
"""

import math
import warnings

import numpy as np

from convrfm.errors import ConvRFMWarning, ImageSizeError, InputError, MetricError
from convrfm.numerics.inputs import check_finite, check_integer

__all__ = [
    "box_sum", "box_sum_adjoint", "check_fits", "check_metric", "keep_top_eigenvalues", "normalise",
    "patch_dimension", "patch_places", "power", "random_metrics", "unfold", "warn_if_rank_one", "windows",
]  # fmt: skip

SYMMETRY_TOLERANCE = 1e-5  # largest |M - M^T| allowed, as a fraction of the largest |M|
EIGENVALUE_TOLERANCE = 1e-6  # most negative eigenvalue allowed, as a fraction of the largest


def patch_dimension(channels: int, patch_size: int) -> int:
    """Length d = channels q q of a patch vector."""
    return channels * patch_size * patch_size


def check_fits(height: int, width: int, patch_size: int, depth: int) -> None:
    """Check that `depth` unpadded convolutions leave at least one position.

    Raises:
        InputError: depth or patch size below one.
        ImageSizeError: the image is too small.
    """
    if depth < 1 or patch_size < 1:
        msg = f"depth and patch_size must be at least 1, but they are {depth} and {patch_size}."
        raise InputError(msg)
    least = depth * (patch_size - 1) + 1
    if min(height, width) < least:
        msg = (
            f"Images of {height}x{width} pixels are too small for {depth} convolution(s) with {patch_size}x{patch_size} "
            f"patches and no padding: at least {least}x{least} pixels are needed. Use a smaller depth or patch size."
        )
        raise ImageSizeError(msg)


def unfold(images: np.ndarray, patch_size: int) -> np.ndarray:
    """Copy all patches of images `(n, channels, height, width)`: `(n, height - q + 1, width - q + 1, d)`."""
    windows = np.lib.stride_tricks.sliding_window_view(images, (patch_size, patch_size), axis=(2, 3))
    # (n, channel, P, Q, row, column) -> (n, P, Q, channel, row, column)
    ordered = np.array(windows.transpose(0, 2, 3, 1, 4, 5), order="C")
    return ordered.reshape(*ordered.shape[:3], -1)


def windows(vectors: np.ndarray, patch_size: int) -> np.ndarray:
    """Give patch vectors their shape again: `(..., d)` -> `(..., channels, q, q)`.

    Raises:
        InputError: d is no multiple of q q.
    """
    dimension = vectors.shape[-1]
    if dimension == 0 or dimension % patch_size**2 != 0:
        msg = f"Patch vectors must have channels x {patch_size} x {patch_size} entries, but these have {dimension}."
        raise InputError(msg)
    return vectors.reshape(*vectors.shape[:-1], -1, patch_size, patch_size)


def patch_places(channels: int, height: int, width: int, patch_size: int) -> np.ndarray:
    """Offsets `(d,)` of a patch's numbers in a flat image, from the patch's first pixel in channel 0."""
    channel, row, column = np.ix_(np.arange(channels), np.arange(patch_size), np.arange(patch_size))
    return ((channel * height + row) * width + column).reshape(-1)


def box_sum(maps: np.ndarray, patch_size: int) -> np.ndarray:
    """Sum over every q x q window of the last two axes: `(..., P, Q)` -> `(..., P - q + 1, Q - q + 1)`."""
    height, width = maps.shape[-2] - patch_size + 1, maps.shape[-1] - patch_size + 1
    rows = maps[..., :height, :].copy()
    for i in range(1, patch_size):
        rows += maps[..., i : i + height, :]
    sums = rows[..., :width].copy()
    for j in range(1, patch_size):
        sums += rows[..., j : j + width]
    return sums


def box_sum_adjoint(maps: np.ndarray, patch_size: int) -> np.ndarray:
    """Transpose of `box_sum`: spread each entry over its window, `(..., P, Q)` -> `(..., P + q - 1, Q + q - 1)`."""
    margin = patch_size - 1
    no_padding = [(0, 0)] * (maps.ndim - 2)
    return box_sum(np.pad(maps, [*no_padding, (margin, margin), (margin, margin)]), patch_size)


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
    kept = math.ceil(round(fraction * len(metric), 9))  # 0.28 of 25 is 7, and 7.000000000000001 in float64
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


def random_metrics(dimension: int, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Draw Wishart matrices A^T A / d `(draws, d, d)` with A Gaussian `(d, d)`: no eigenvector is preferred.

    Raises:
        InputError: no draws.
    """
    check_integer("draws", draws)
    factors = rng.standard_normal((draws, dimension, dimension))
    return factors.transpose(0, 2, 1) @ factors / dimension
