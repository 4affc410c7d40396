"""How patch metrics and filters transform images, how alike the pictures are, and which edges filters pick.

The transformation is that of section 2.2 of arXiv 2309.00570; Figures 3 and 10 put the matrix of ConvRFM beside the filter
covariance of a network. Section 3 says that the top eigenvectors resemble edge detectors, and that horizontal, vertical and
diagonal ones find edges of the same alignment.

Orientations are those of the edge itself, in degrees within [0, 180): 0 is horizontal, 90 vertical, and angles grow
anticlockwise in the displayed picture. Channels are combined by the sum of their structure tensors g g^T (Di Zenzo 1986); the
orientation is that of the smaller eigenvalue, its strength the coherence (l1 - l2) / (l1 + l2) (Bigun and Granlund 1987).
Images wrap around, as patches do.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import ndimage

from convrfm.ansatz.filter_forms import FilterForm
from convrfm.errors import InputError
from convrfm.numerics.inputs import check_integer
from convrfm.numerics.patches import power, random_metrics, unfold, windows

__all__ = [
    "CONSTANT", "Comparison", "Eigenfilters", "angle_between", "compare_operators", "compare_with_edges",
    "filter_magnitude", "filter_orientation", "patch_magnitude", "picked_edges", "picked_orientation", "pixel_pearson",
    "sobel_magnitude", "top_eigenfilters", "without_means",
]  # fmt: skip

CONSTANT = 0.5
"""An eigenvector counts as constant if more than this share of its squared norm is that of its mean in each channel."""

SCALE = 1 / 6  # standard deviation of the gradient that a filter's response is compared with, in window sizes
BINS = 18  # classes of orientation, of 10 degrees, in which the response of a filter to edges is measured


def patch_magnitude(images: np.ndarray, metric: np.ndarray | FilterForm, patch_size: int, exponent: float = 0.5) -> np.ndarray:
    """Replace every pixel by the norm of the transformed patch around it, |M^p x_ij|.

    The norm is over all entries of the patch, as in the successor of the authors' code; their code itself adds up the
    norms over the window of each channel.

    Args:
        images: `(n, channels, height, width)`.
        metric: M `(d, d)`; or, where d is large, its filters: for M = W^T D W, |M^{1/2} x| = |D^{1/2} W x|.
        patch_size: q; patches are centred (for even q, shifted up and left) and wrap around the border, which keeps the
            size, as in the authors' code.
        exponent: p; 1/2 for the toy tasks and the finite networks, 1 for "the full matrix".

    Returns:
        `(n, height, width)`.

    Raises:
        InputError: a grouped convolution, in which each group has a matrix of its own.
    """
    if isinstance(metric, FilterForm):
        groups = metric.shape[0]
        if groups != 1:
            msg = f"A grouped convolution, with {groups} groups, has no single matrix: pass one without groups."
            raise InputError(msg)
        # |M^p x|^2 = x^T M^{2p} x = |L x|^2, and M^{2p} has the form of M.
        factor = (metric if exponent == 0.5 else metric.power(2 * exponent)).factor()[0].T
    else:
        factor = power(metric, exponent)
    return np.stack([np.linalg.norm(patches @ factor, axis=-1) for patches in _wrapped_patches(images, patch_size)])


def filter_magnitude(images: np.ndarray, filters: np.ndarray, patch_size: int) -> np.ndarray:
    """Replace every pixel by the response of a filter u of norm one, |u u^T x_ij| = |u^T x_ij|.

    Args:
        images: `(n, channels, height, width)`.
        filters: `(k, d)`, in patch order; scaled to norm one here.
        patch_size: q; patches as in `patch_magnitude`.

    Returns:
        `(k, n, height, width)`.

    Raises:
        InputError: a filter that is zero.
    """
    norms = np.linalg.norm(filters, axis=1, keepdims=True)
    if not (norms > 0).all():
        msg = "A filter is zero: leave it out."
        raise InputError(msg)
    unit = (filters / norms).T
    return np.stack([np.abs(patches @ unit) for patches in _wrapped_patches(images, patch_size)]).transpose(3, 0, 1, 2)


def pixel_pearson(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Correlate pictures pixel by pixel: `(..., height, width)` twice -> `(...)`; NaN where one is constant."""
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    varied = (np.ptp(first, axis=(-2, -1)) > 0) & (np.ptp(second, axis=(-2, -1)) > 0)
    first, second = (a - a.mean(axis=(-2, -1), keepdims=True) for a in (first, second))
    norms = np.linalg.norm(first, axis=(-2, -1)) * np.linalg.norm(second, axis=(-2, -1))
    products = (first * second).sum(axis=(-2, -1))
    return np.asarray(np.divide(products, norms, out=np.full_like(products, np.nan), where=varied))


def _wrapped_patches(images: np.ndarray, patch_size: int) -> Iterator[np.ndarray]:
    """The patches `(height, width, d)` around every pixel, one image at a time: many would take gigabytes."""
    before, after = patch_size // 2, (patch_size - 1) // 2
    wrapped = np.pad(images, [(0, 0), (0, 0), (before, after), (before, after)], mode="wrap")
    for image in wrapped[:, None]:
        yield unfold(image, patch_size)[0]


@dataclass(frozen=True)
class Comparison:
    """A comparison of patch matrices.

    Attributes:
        rows: a row for each image (from 0) and quantity: `image`, `quantity`, `value`, `control`.
        pictures: by name, `(n, height, width)`: those of each matrix, "random" of the first random matrix, and "sobel".
    """

    rows: pd.DataFrame
    pictures: dict[str, np.ndarray]


def compare_operators(
    images: np.ndarray, matrices: dict[str, np.ndarray], patch_size: int, exponent: float,
    rng: np.random.Generator, draws: int,
) -> Comparison:  # fmt: skip
    """Compare the pictures |M^p x| of one or two matrices with each other and with the Sobel magnitude.

    Args:
        images: `(n, channels, height, width)`.
        matrices: one or two M by name `(d, d)`; random matrices are compared with the first.
        patch_size: q.
        exponent: p.
        rng: draws random matrices.
        draws: number of random matrices.

    Returns:
        quantities "alike", the Pearson correlation of the pixels of two pictures, whose control is that of the first
        with pictures of random matrices; "alike_without_means", the same for matrices that do not see the mean of a
        patch in each channel, that is brightness; and "sobel_<name>", that of a picture and the Sobel magnitude, whose
        control is that of random matrices' pictures and the Sobel magnitude.

    Raises:
        InputError: no draws.
    """
    pictures = {name: patch_magnitude(images, matrix, patch_size, exponent) for name, matrix in matrices.items()}
    (first, *_), edges = pictures.values(), sobel_magnitude(images)
    drawn = random_metrics(len(next(iter(matrices.values()))), draws, rng)
    random = [patch_magnitude(images, matrix, patch_size, exponent) for matrix in drawn]
    control_sobel = np.mean([pixel_pearson(picture, edges) for picture in random], axis=0)
    found = {f"sobel_{name}": (pixel_pearson(picture, edges), control_sobel) for name, picture in pictures.items()}
    if len(pictures) == 2:
        other = list(pictures.values())[1]
        control = np.mean([pixel_pearson(first, picture) for picture in random], axis=0)
        found |= {"alike": (pixel_pearson(first, other), control)}
        balanced = [
            patch_magnitude(images, without_means(matrix, patch_size), patch_size, exponent)
            for matrix in (*matrices.values(), *drawn)
        ]
        value, *controls = (pixel_pearson(balanced[0], picture) for picture in balanced[1:])
        found |= {"alike_without_means": (value, np.mean(controls, axis=0))}
    parts = [
        pd.DataFrame({"image": np.arange(len(images)), "quantity": quantity, "value": value, "control": control})
        for quantity, (value, control) in found.items()
    ]
    return Comparison(pd.concat(parts, ignore_index=True), {**pictures, "random": random[0], "sobel": edges})


def without_means(matrix: np.ndarray, patch_size: int) -> np.ndarray:
    """Leave the mean of each channel of a patch out of a matrix: P M P with the projection P onto patches of mean zero.

    Args:
        matrix: M `(d, d)`.
        patch_size: q.

    Returns:
        `(d, d)`.
    """
    for _ in range(2):
        shaped = windows(matrix, patch_size)
        matrix = (shaped - shaped.mean(axis=(-2, -1), keepdims=True)).reshape(matrix.shape).T
    return matrix


@dataclass(frozen=True)
class Eigenfilters:
    """The eigenvectors of largest eigenvalue.

    Attributes:
        vectors: `(k, d)`, of norm one, the largest entry positive; falling eigenvalues.
        patch_size: q.
        shares: eigenvalues over the trace `(k,)`.
        constant_shares: share of the squared norm that is the mean in each channel `(k,)`.
        orientations: of the edge that each resembles `(k,)`, see `convrfm.pictures.filtering`.
        coherences: strength of the orientation `(k,)`.
    """

    vectors: np.ndarray
    patch_size: int
    shares: np.ndarray
    constant_shares: np.ndarray
    orientations: np.ndarray
    coherences: np.ndarray


def top_eigenfilters(metric: np.ndarray, patch_size: int, count: int) -> Eigenfilters:
    """Give the top eigenvectors of a metric `(d, d)`, `count` of them or all d.

    Raises:
        InputError: d is no multiple of q q, or q is 1.
    """
    eigenvalues, eigenvectors = np.linalg.eigh(metric)
    vectors = eigenvectors.T[::-1][:count]
    largest = np.abs(vectors).argmax(axis=1)
    vectors = vectors * np.sign(vectors[np.arange(len(vectors)), largest])[:, None]
    filters = windows(vectors, patch_size)
    means = filters.mean(axis=(-2, -1))
    orientations, coherences = filter_orientation(filters)
    return Eigenfilters(
        vectors=vectors,
        patch_size=patch_size,
        shares=eigenvalues[::-1][:count] / eigenvalues.sum(),
        constant_shares=(means**2).sum(axis=1) * patch_size**2,
        orientations=orientations,
        coherences=coherences,
    )


def compare_with_edges(
    filters: Eigenfilters, images: np.ndarray, rng: np.random.Generator, draws: int
) -> tuple[pd.DataFrame, np.ndarray]:
    """Measure how images filtered by each eigenvector resemble their Sobel magnitude.

    Args:
        filters: the eigenvectors.
        images: `(n, channels, height, width)`.
        rng: draws the filters to compare with.
        draws: how many.

    Returns:
        two rows for each eigenvector (from 1) and image (from 0), columns `eigenvector`, `image`, `quantity`, `value`,
        `control`: the Pearson correlation of the pixels, and the mean of those of random filters, which are Gaussian for
        "sobel", and Gaussian without their mean for "sobel_zero_mean". And the filtered images `(k, n, height, width)`.

    Raises:
        InputError: no draws.
    """
    check_integer("draws", draws)
    edges = sobel_magnitude(images)
    pictures = filter_magnitude(images, filters.vectors, filters.patch_size)
    drawn = rng.standard_normal((draws, filters.vectors.shape[1]))
    shaped = windows(drawn, filters.patch_size)
    balanced = (shaped - shaped.mean(axis=(-2, -1), keepdims=True)).reshape(drawn.shape)
    found = pixel_pearson(pictures, edges)
    rows: list[dict[str, Any]] = []
    for quantity, others in (("sobel", drawn), ("sobel_zero_mean", balanced)):
        controls = pixel_pearson(filter_magnitude(images, others, filters.patch_size), edges).mean(axis=0)
        rows += [
            {"eigenvector": i + 1, "image": j, "quantity": quantity, "value": found[i, j], "control": controls[j]}
            for i, j in np.ndindex(*found.shape)
        ]
    return pd.DataFrame(rows), pictures


def picked_edges(filters: Eigenfilters, pictures: np.ndarray, images: np.ndarray) -> pd.DataFrame:
    """Compare the orientation of each eigenvector with that of the edges it picks.

    Args:
        filters: the eigenvectors.
        pictures: what they find `(k, n, height, width)`.
        images: in these `(n, channels, height, width)`.

    Returns:
        a row for each eigenvector (from 1) and quantity, columns `eigenvector`, `quantity`, `value`, `control`:
        "share", "constant_share", "orientation", "coherence", "picked" and "selectivity" (see `picked_orientation`),
        and "gap", between orientation and picked, in degrees; its control is the mean gap to the edges that the other
        eigenvectors pick, which would be 45 by chance. Other controls are NaN.
    """
    found = [picked_orientation(picture, images, SCALE * filters.patch_size) for picture in pictures]
    picked, selectivity = np.array(found).T
    gaps = angle_between(filters.orientations[:, None], picked[None, :])
    count = len(gaps)
    to_others = (gaps.sum(axis=1) - np.diag(gaps)) / (count - 1) if count > 1 else np.full(count, np.nan)
    measured = {
        "share": filters.shares,
        "constant_share": filters.constant_shares,
        "orientation": filters.orientations,
        "coherence": filters.coherences,
        "picked": picked,
        "selectivity": selectivity,
        "gap": np.diag(gaps),
    }
    table = pd.DataFrame({"eigenvector": np.arange(count) + 1, **measured}).melt("eigenvector", var_name="quantity")
    return table.assign(control=np.where(table["quantity"] == "gap", np.tile(to_others, len(measured)), np.nan))


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
        response: of the filter `(n, h, w)`, such as from `convrfm.pictures.filtering.filter_magnitude`.
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
