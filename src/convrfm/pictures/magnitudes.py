"""How patch metrics and filters transform images, and how alike the resulting pictures are.

The transformation is that of section 2.2 of arXiv 2309.00570; Figures 3 and 10 put the matrix of ConvRFM beside the
filter covariance of a network.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from convrfm.ansatz.filter_forms import FilterForm
from convrfm.errors import InputError
from convrfm.numerics.metric import power
from convrfm.numerics.patches import unfold, windows
from convrfm.numerics.sampling import random_metrics
from convrfm.pictures.edges import sobel_magnitude

__all__ = ["Comparison", "compare_operators", "filter_magnitude", "patch_magnitude", "pixel_pearson"]


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
    # |M^p x|^2 = x^T M^{2p} x, and M^{2p} has the form of M.
    factor = _of_one_group(metric, exponent) if isinstance(metric, FilterForm) else power(metric, exponent)
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


def _of_one_group(form: FilterForm, exponent: float) -> np.ndarray:
    """A factor L `(d, r)` with L L^T = M^{2p}."""
    groups = form.shape[0]
    if groups != 1:
        msg = f"A grouped convolution, with {groups} groups, has no single matrix: pass one without groups."
        raise InputError(msg)
    return (form if exponent == 0.5 else form.power(2 * exponent)).factor()[0].T


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
            patch_magnitude(images, _without_means(matrix, patch_size), patch_size, exponent)
            for matrix in (*matrices.values(), *drawn)
        ]
        value, *controls = (pixel_pearson(balanced[0], picture) for picture in balanced[1:])
        found |= {"alike_without_means": (value, np.mean(controls, axis=0))}
    parts = [
        pd.DataFrame({"image": np.arange(len(images)), "quantity": quantity, "value": value, "control": control})
        for quantity, (value, control) in found.items()
    ]
    return Comparison(pd.concat(parts, ignore_index=True), {**pictures, "random": random[0], "sobel": edges})


def _without_means(matrix: np.ndarray, patch_size: int) -> np.ndarray:
    """P M P, P taking the mean out of each channel of a patch."""
    for _ in range(2):
        shaped = windows(matrix, patch_size)
        matrix = (shaped - shaped.mean(axis=(-2, -1), keepdims=True)).reshape(matrix.shape).T
    return matrix
