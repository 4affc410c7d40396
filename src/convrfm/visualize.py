"""How a patch metric transforms an image (section 2.2 of arXiv 2309.00570)."""

import numpy as np

from convrfm.errors import InputError
from convrfm.filter_forms import FilterForm
from convrfm.metric import power
from convrfm.patches import unfold

__all__ = ["patch_magnitude"]


def patch_magnitude(
    images: np.ndarray, metric: np.ndarray | FilterForm, patch_size: int, exponent: float = 0.5
) -> np.ndarray:
    """Replace every pixel by the norm of the transformed patch around it, |M^p x_ij|.

    The norm is taken over all entries of the patch. The authors' code takes it over the window of each channel and adds
    these norms up; its successor takes it over all entries, as here.

    Args:
        images: `(n, channels, height, width)`.
        metric: M, `(d, d)`; or the same matrix by way of the filters that it is made of, where d is large: for
            M = W^T D W, |M^{1/2} x| = |D^{1/2} W x|, which at most k filters give.
        patch_size: q; patches are centred (for even q, shifted up and left) and wrap around the border, as in the
            authors' code, so that the size is kept.
        exponent: p; 1/2 for the toy tasks and the finite networks, 1 for "the full matrix".

    Returns:
        `(n, height, width)`.

    Raises:
        InputError: a convolution with groups, each of which has a matrix of its own.
    """
    before, after = patch_size // 2, (patch_size - 1) // 2
    wrapped = np.pad(images, [(0, 0), (0, 0), (before, after), (before, after)], mode="wrap")
    if isinstance(metric, FilterForm):
        # |M^p x|^2 = x^T M^{2p} x, and M^{2p} is of the same form.
        factor = _of_one_group(metric if exponent == 0.5 else metric.power(2 * exponent)).T
    else:
        factor = power(metric, exponent)
    # The patches of one image at a time: those of many deep features would take gigabytes.
    return np.stack([np.linalg.norm(unfold(image, patch_size)[0] @ factor, axis=-1) for image in wrapped[:, None]])


def _of_one_group(form: FilterForm) -> np.ndarray:
    """A factor L `(r, d)` with L^T L = M."""
    groups = form.shape[0]
    if groups != 1:
        msg = f"The matrix must be that of a convolution without groups, but this one has {groups}."
        raise InputError(msg)
    return form.factor()[0]
