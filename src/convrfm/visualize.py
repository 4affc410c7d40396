"""How a patch metric transforms an image (section 2.2 of arXiv 2309.00570)."""

import numpy as np

from convrfm.metric import power
from convrfm.patches import unfold

__all__ = ["patch_magnitude"]


def patch_magnitude(images: np.ndarray, metric: np.ndarray, patch_size: int, exponent: float = 0.5) -> np.ndarray:
    """Replace every pixel by the norm of the transformed patch around it, |M^p x_ij|.

    Args:
        images: `(n, channels, height, width)`.
        metric: `(d, d)`.
        patch_size: q; patches are centred (for even q, shifted up and left) and wrap around the border, as in the
            authors' code, so that the size is kept.
        exponent: p; 1/2 for the toy tasks and the finite networks, 1 for "the full matrix".

    Returns:
        `(n, height, width)`.
    """
    before, after = patch_size // 2, (patch_size - 1) // 2
    wrapped = np.pad(images, [(0, 0), (0, 0), (before, after), (before, after)], mode="wrap")
    return np.linalg.norm(unfold(wrapped, patch_size) @ power(metric, exponent), axis=-1)
