"""The eigenvectors of a patch metric as filters: what they look like, and which edges of images they pick.

Section 3 of arXiv 2309.00570 says that the top eigenvectors resemble edge detectors, and that horizontal, vertical and
diagonal ones find edges of the same alignment.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from convrfm.numerics.patches import windows
from convrfm.numerics.sampling import check_draws
from convrfm.pictures.edges import angle_between, filter_orientation, picked_orientation, sobel_magnitude
from convrfm.pictures.magnitudes import filter_magnitude, pixel_pearson

__all__ = ["CONSTANT", "Eigenfilters", "compare_with_edges", "picked_edges", "top_eigenfilters"]

CONSTANT = 0.5
"""An eigenvector counts as constant if more than this share of its squared norm is that of its mean in each channel."""

SCALE = 1 / 6  # standard deviation of the gradient that a filter's response is compared with, in window sizes


@dataclass(frozen=True)
class Eigenfilters:
    """The eigenvectors of largest eigenvalue.

    Attributes:
        vectors: `(k, d)`, of norm one, the largest entry positive; falling eigenvalues.
        patch_size: q.
        shares: eigenvalues over the trace `(k,)`.
        constant_shares: share of the squared norm that is the mean in each channel `(k,)`.
        orientations: of the edge that each resembles `(k,)`, see `convrfm.pictures.edges`.
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
        `control`: the Pearson correlation of the pixels, and the mean of those of random filters, which are Gaussian
        for "sobel", and Gaussian without their mean for "sobel_zero_mean". And the filtered images
        `(k, n, height, width)`.

    Raises:
        InputError: no draws.
    """
    check_draws(draws)
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
    eigenvectors = np.arange(count) + 1
    parts = [
        {"eigenvector": eigenvectors, "quantity": name, "value": values, "control": to_others if name == "gap" else np.nan}
        for name, values in measured.items()
    ]
    return pd.concat([pd.DataFrame(part) for part in parts], ignore_index=True)
