"""Scikit-learn's embedded digits in the size of MNIST's, for which they stand in."""

import numpy as np
from scipy import ndimage

__all__ = ["embedded_digits"]


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
