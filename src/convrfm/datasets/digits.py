"""Scikit-learn's embedded digits, as stand-ins: in the size of MNIST's, and in greys that say nothing of the class."""

import numpy as np
from scipy import ndimage

__all__ = ["LEAST_CONTRAST", "embedded_digits", "in_random_greys"]

LEAST_CONTRAST = 90
"""Smallest difference of the greys of a digit and its ground, of 255."""


def embedded_digits() -> tuple[np.ndarray, np.ndarray]:
    """Scikit-learn's 1797 digits (UCI optical recognition, 8x8), brought to 28x28 by linear interpolation.

    Returns:
        images `(1797, 28, 28)` float32 in [0, 1] and labels `(1797,)`.
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    scale = 28 / bunch.images.shape[1]
    images = ndimage.zoom(bunch.images / 16, (1, scale, scale), order=1, mode="nearest", grid_mode=True)
    return images.astype(np.float32), bunch.target


def in_random_greys(strokes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw digits in a random grey on another one: brightness says nothing of the class, edges do.

    Args:
        strokes: `(n, height, width)` in [0, 1], 0 the ground and 1 the digit.
        rng: draws both greys of each image.

    Returns:
        `(n, height, width)` float64, in [0, 255].
    """
    ground = rng.integers(0, 256, len(strokes))
    # Around the circle of greys, so that the way back is as long as that.
    grey = (ground + rng.integers(LEAST_CONTRAST, 257 - LEAST_CONTRAST, len(strokes))) % 256
    images: np.ndarray = ground[:, None, None] + (grey - ground)[:, None, None] * strokes
    return images
