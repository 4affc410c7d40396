"""How alike the pictures are that two patch matrices make of the same images, and how much they show edges.

Figures 3 and 10 of arXiv 2309.00570 put the matrix of ConvRFM beside the filter covariance of a network.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from convrfm.numerics.patches import windows
from convrfm.numerics.random_matrices import random_metrics
from convrfm.pictures.edges import sobel_magnitude
from convrfm.pictures.magnitudes import patch_magnitude, pixel_pearson

__all__ = ["Comparison", "compare_operators"]


@dataclass(frozen=True)
class Comparison:
    """What came of a comparison.

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
        matrices: M by name `(d, d)`, one or two; it is the first that random matrices are compared with.
        patch_size: q.
        exponent: p.
        rng: draws random matrices.
        draws: how many.

    Returns:
        quantities "alike", the Pearson correlation of the pixels of both pictures, where there are two, with that of the
        first picture and random matrices' as the control; "alike_without_means", the same for matrices that do not see the
        mean of a patch in each channel, that is brightness; and "sobel_<name>", that of a picture and the Sobel magnitude,
        with that of random matrices' and the Sobel magnitude as the control.

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
