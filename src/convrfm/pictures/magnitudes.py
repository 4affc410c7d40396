"""How patch metrics and filters transform images, and how alike two pictures are (section 2.2 of arXiv 2309.00570)."""

from collections.abc import Iterator

import numpy as np

from convrfm.ansatz.filter_forms import FilterForm
from convrfm.errors import InputError
from convrfm.numerics.patches import unfold
from convrfm.rfm.metric import power

__all__ = ["filter_magnitude", "patch_magnitude", "pixel_pearson"]


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
    if isinstance(metric, FilterForm):
        # |M^p x|^2 = x^T M^{2p} x, and M^{2p} is of the same form.
        factor = _of_one_group(metric if exponent == 0.5 else metric.power(2 * exponent)).T
    else:
        factor = power(metric, exponent)
    return np.stack([np.linalg.norm(patches @ factor, axis=-1) for patches in _wrapped_patches(images, patch_size)])


def filter_magnitude(images: np.ndarray, filters: np.ndarray, patch_size: int) -> np.ndarray:
    """Replace every pixel by what a filter u of norm one finds around it, |u u^T x_ij| = |u^T x_ij|.

    Args:
        images: `(n, channels, height, width)`.
        filters: `(k, d)`, in patch order; scaled to norm one here.
        patch_size: q; patches lie as in `patch_magnitude`.

    Returns:
        `(k, n, height, width)`.

    Raises:
        InputError: a filter that is zero.
    """
    norms = np.linalg.norm(filters, axis=1, keepdims=True)
    if not (norms > 0).all():
        msg = "A filter of zeros finds nothing: leave it out."
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
    """The patches `(height, width, d)` around every pixel, of one image at a time: those of many would take gigabytes."""
    before, after = patch_size // 2, (patch_size - 1) // 2
    wrapped = np.pad(images, [(0, 0), (0, 0), (before, after), (before, after)], mode="wrap")
    for image in wrapped[:, None]:
        yield unfold(image, patch_size)[0]


def _of_one_group(form: FilterForm) -> np.ndarray:
    """A factor L `(r, d)` with L^T L = M."""
    groups = form.shape[0]
    if groups != 1:
        msg = f"The matrix must be that of a convolution without groups, but this one has {groups}."
        raise InputError(msg)
    return form.factor()[0]
