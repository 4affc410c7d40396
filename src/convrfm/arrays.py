"""Conversion at the border of the library: NumPy in, NumPy out; tensor in, tensor out on the same device."""

import sys
from typing import Any

import numpy as np

from convrfm.errors import InputError, NonFiniteError

__all__ = ["as_images", "as_numpy", "check_finite", "like"]


def _is_tensor(values: Any) -> bool:
    """Whether this is a torch tensor; where torch has not been imported, which takes seconds, there are none."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(values, torch.Tensor)


def as_numpy(values: Any, name: str) -> np.ndarray:
    """Give an array or tensor as a NumPy array of float32 or float64.

    Integers and half precision become float32; float32 and float64 stay as they are.

    Raises:
        InputError: the values are not numeric.
    """
    if hasattr(values, "toarray"):
        msg = f"{name} is a sparse {type(values).__name__}: pass a dense array."
        raise InputError(msg)
    if _is_tensor(values):
        values = values.detach()
        if values.itemsize < 4 and values.is_floating_point():
            values = values.float()
        values = values.cpu().numpy()
    try:
        array = np.asarray(values)
    except ValueError as error:
        msg = f"{name} cannot be made an array: {error}"
        raise InputError(msg) from error
    if array.dtype in (np.float32, np.float64):
        return array
    if array.dtype.kind in "iub" or array.dtype == np.float16:
        return array.astype(np.float32)
    if array.dtype.kind == "c":
        msg = f"Complex data not supported: {name} must be real numbers (float32 or float64), but its dtype is {array.dtype}."
        raise InputError(msg)
    msg = f"{name} must be real numbers (float32 or float64), but its dtype is {array.dtype}."
    raise InputError(msg)


def check_finite(array: np.ndarray, name: str) -> None:
    """Refuse NaN and infinities, naming the first one.

    Raises:
        NonFiniteError: the array holds NaN or an infinity.
    """
    # The sum of a finite array of moderate numbers is finite: one pass, no temporary of the array's size.
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(array.sum()):
            return
    bad = ~np.isfinite(array)
    if not bad.any():
        return
    first = tuple(int(i) for i in np.argwhere(bad)[0])
    msg = (
        f"{name} holds {int(bad.sum())} non-finite values, NaN or inf (the first is {array[first]} at index {first}). "
        "Remove or impute them first: nothing is replaced in silence."
    )
    raise NonFiniteError(msg)


def as_images(images: Any, name: str) -> np.ndarray:
    """Give a batch of images as a C-contiguous NumPy array `(n, channels, height, width)`.

    Raises:
        InputError: not four axes, or an axis of length zero.
        NonFiniteError: a pixel is NaN or infinite.
    """
    array = np.ascontiguousarray(as_numpy(images, name))
    if array.ndim != 4:
        msg = (
            f"{name} must have shape (n, channels, height, width), but its shape is {array.shape}. Reshape your data; "
            "a single image needs an axis of length 1 in front, and a single channel one after it."
        )
        raise InputError(msg)
    if 0 in array.shape:
        msg = f"{name} is empty: its shape is {array.shape}."
        raise InputError(msg)
    check_finite(array, name)
    return array


def like(array: np.ndarray, template: Any) -> Any:
    """Give a NumPy result in the kind (array or tensor) and on the device of the caller's input."""
    if _is_tensor(template):
        return sys.modules["torch"].from_numpy(array).to(template.device)
    return array
