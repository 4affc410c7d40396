"""Edges of images, their orientation, and which of them a filter picks.

Orientations are those of the edge itself, in degrees within [0, 180): 0 is horizontal, 90 vertical, and angles grow
anticlockwise in the displayed picture. Channels are combined by the sum of their structure tensors g g^T (Di Zenzo
1986); the orientation is that of the smaller eigenvalue, its strength the coherence (l1 - l2) / (l1 + l2) (Bigun and
Granlund 1987). Images wrap around, as the patches of `convrfm.pictures.magnitudes` do.
"""

import numpy as np
from scipy import ndimage

from convrfm.errors import InputError

__all__ = ["angle_between", "filter_orientation", "picked_orientation", "sobel_magnitude"]

BINS = 18  # classes of orientation, of 10 degrees, in which the response of a filter to edges is measured


def sobel_magnitude(images: np.ndarray) -> np.ndarray:
    """Length of the Sobel gradient, over both directions and all channels: `(n, c, h, w)` -> `(n, h, w)`."""
    doubled = images.astype(np.float64)
    squared = np.zeros((len(images), *images.shape[2:]))
    for along, across in ((-2, -1), (-1, -2)):
        # Not `ndimage.sobel`, which smooths along all other axes: over images and channels as well.
        smoothed = ndimage.correlate1d(doubled, [1.0, 2.0, 1.0], axis=across, mode="wrap")
        squared += (ndimage.correlate1d(smoothed, [-1.0, 0.0, 1.0], axis=along, mode="wrap") ** 2).sum(axis=1)
    return np.sqrt(squared)


def filter_orientation(filters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Orientations `(k,)` and coherences `(k,)` in [0, 1] of filters `(k, channels, q, q)`, by their structure tensors.

    A constant filter has coherence 0.

    Raises:
        InputError: q = 1: a single pixel has no orientation.
    """
    if min(filters.shape[-2:]) < 2:
        msg = "The orientation of a filter needs windows of at least 2x2 pixels."
        raise InputError(msg)
    down, right = (np.asarray(np.gradient(filters.astype(np.float64), axis=axis)) for axis in (-2, -1))
    vector, energy = _doubled(down, right, axis=(1, 2, 3))
    return _orientation(vector), _ratio(np.abs(vector), energy)


def picked_orientation(response: np.ndarray, images: np.ndarray, scale: float) -> tuple[float, float]:
    """Orientation of the edges to which a filter responds.

    Images do not have equally many edges of all orientations. The squared response is therefore compared with the
    squared gradient among pixels of about one orientation, by least squares through zero, which strong edges dominate;
    the orientation is that of the mean of these gains around the circle.

    Args:
        response: of the filter `(n, h, w)`, such as from `convrfm.pictures.magnitudes.filter_magnitude`.
        images: `(n, c, h, w)`.
        scale: standard deviation in pixels of the Gaussian whose derivatives give the gradient.

    Returns:
        the orientation, and the selectivity in [0, 1], which is 0 where all orientations are picked alike.
    """
    doubled = images.astype(np.float64)
    down, right = (
        ndimage.gaussian_filter(doubled, (0, 0, scale, scale), order=order, mode="wrap")
        for order in ((0, 0, 1, 0), (0, 0, 0, 1))
    )
    vector, energy = _doubled(down, right, axis=(1,))
    bins = (_orientation(vector) // (180 / BINS)).astype(int).ravel()
    fitted = np.bincount(bins, (response**2 * energy).ravel(), BINS)
    gains = _ratio(fitted, np.bincount(bins, (energy**2).ravel(), BINS))
    centres = np.deg2rad((np.arange(BINS) + 0.5) * 180 / BINS)
    # In the convention of `_doubled`, where the angle is the gradient's, downwards.
    resultant = (gains * -np.exp(-2j * centres)).sum()
    return float(_orientation(resultant)), float(_ratio(np.abs(resultant), gains.sum()))


def angle_between(first: np.ndarray | float, second: np.ndarray | float) -> np.ndarray:
    """Smallest angle between two orientations, in degrees within [0, 90]."""
    difference = np.abs(np.asarray(first) - np.asarray(second)) % 180
    return np.minimum(difference, 180 - difference)


def _doubled(down: np.ndarray, right: np.ndarray, axis: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The structure tensor summed over axes: (l1 - l2) e^{2 i phi}, phi the gradient's angle downwards, and trace."""
    vector = ((right + 1j * down) ** 2).sum(axis=axis)
    return vector, (right**2 + down**2).sum(axis=axis)


def _orientation(vector: np.ndarray) -> np.ndarray:
    """From the gradient's angle to the edge's, which is perpendicular and counted the other way round."""
    # Rounding can make 180 of what is just below 0.
    return (90 - np.rad2deg(np.angle(vector)) / 2) % 180 % 180


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Quotient; 0 where the denominator is 0."""
    numerator, denominator = np.asarray(numerator, np.float64), np.asarray(denominator, np.float64)
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0)
