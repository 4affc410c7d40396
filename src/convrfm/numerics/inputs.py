"""What callers pass, converted and checked: arrays, labels, settings, and seeds.

NumPy in, NumPy out; tensor in, tensor out on the same device. Settings are checked by plain functions and not by
scikit-learn's, whose import takes a second in every job.
"""

import sys
from collections.abc import Mapping
from typing import Any
from zlib import crc32

import numpy as np

from convrfm.errors import InputError, NonFiniteError

__all__ = [
    "as_array", "as_images", "as_numpy", "check_finite", "check_integer", "generator", "is_count", "is_positive", "like",
    "one_hot", "one_of", "refuse_first", "stratified_draw", "targets_of",
]  # fmt: skip


def _is_tensor(values: Any) -> bool:
    """Whether this is a torch tensor; where torch has not been imported, which takes seconds, there are none."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(values, torch.Tensor)


def as_array(values: Any, name: str) -> np.ndarray:
    """Convert to a NumPy array of any dtype but complex; memory may be shared.

    Tensors are detached and moved to the CPU; half precision becomes float32 on the way.

    Raises:
        InputError: sparse, complex or masked values, or something that cannot become an array.
    """
    if _is_tensor(values):
        values = _tensor_as_numpy(values, name)
    if hasattr(values, "toarray"):
        msg = f"{name} is a sparse {type(values).__name__}: pass a dense array."
        raise InputError(msg)
    # NumPy drops masks silently, also those of list items.
    masked = _masked(values)
    if masked > 0:
        msg = f"{name} has {masked} masked entries: fill them, or remove the samples they belong to."
        raise InputError(msg)
    try:
        array = np.asarray(values)
    except (ValueError, TypeError, RuntimeError) as error:
        msg = f"{name} cannot be converted to an array: {error}"
        raise InputError(msg) from error
    if array.dtype.kind == "c":
        msg = f"Complex data not supported: {name} must be float32 or float64, but its dtype is {array.dtype}."
        raise InputError(msg)
    return array


def _masked(values: Any) -> int:
    """Masked entries of an array, or of all arrays in nested lists."""
    if isinstance(values, np.ma.MaskedArray):
        return int(np.ma.getmaskarray(values).sum())
    if isinstance(values, list | tuple) and values and isinstance(values[0], list | tuple | np.ndarray):
        return sum(map(_masked, values))
    return 0


def _tensor_as_numpy(tensor: Any, name: str) -> Any:
    torch = sys.modules["torch"]
    if tensor.layout is not torch.strided or tensor.is_quantized or tensor.device.type == "meta":
        msg = f"{name} is a sparse, quantized or meta tensor: pass a dense one with values."
        raise InputError(msg)
    tensor = tensor.detach()
    if tensor.itemsize < 4 and tensor.is_floating_point():
        tensor = tensor.float()
    return tensor.cpu().resolve_conj().resolve_neg().numpy()


def as_numpy(values: Any, name: str, *, copy: bool = False, integers: type[np.floating] = np.float32) -> np.ndarray:
    """Convert to a C-contiguous array of float32 or float64 in native byte order.

    float32 and float64 are kept, half precision becomes float32, and extended precision float64.

    Args:
        values: array, list or tensor.
        name: of the values in messages.
        copy: whether the result must share no memory with the values.
        integers: dtype for integers and booleans.

    Raises:
        InputError: values that are not real numbers, sparse, masked, or beyond the range of float64.
    """
    array = as_array(values, name)
    if array.dtype.kind in "iub":
        dtype: type[np.floating] = integers
    elif np.can_cast(array.dtype, np.float32):  # also bfloat16 and its like, which other packages register
        dtype = np.float32
    elif array.dtype.kind == "f":
        dtype = np.float64
    else:
        msg = (
            f"{name} must be real numbers (float32 or float64), but its dtype is {array.dtype}. If these are numbers, "
            "convert them first, by astype(numpy.float64)."
        )
        raise InputError(msg)
    try:
        with np.errstate(over="raise"):
            return array.astype(dtype, order="C", copy=copy, subok=False)
    except FloatingPointError as error:
        msg = f"{name} holds numbers of {array.dtype} beyond the largest of {np.dtype(dtype)}: rescale them."
        raise InputError(msg) from error


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
        "Remove or impute them first."
    )
    raise NonFiniteError(msg)


def as_images(images: Any, name: str, *, copy: bool = False) -> np.ndarray:
    """Convert to a C-contiguous batch of images `(n, channels, height, width)` of float32 or float64.

    Args:
        images: array, list or tensor; dtypes as in `as_numpy`.
        name: of the images in messages.
        copy: whether the result must share no memory with them.

    Raises:
        InputError: not four axes, an axis of length zero, or as in `as_numpy`.
        NonFiniteError: a pixel is NaN or infinite.
    """
    array = as_numpy(images, name, copy=copy)
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
    return sys.modules["torch"].from_numpy(array).to(template.device) if _is_tensor(template) else array


def is_count(value: Any, least: int = 1) -> bool:
    """Whether this is an integer of at least `least`, of Python or NumPy; True is not."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and bool(value >= least)


def check_integer(name: str, value: Any, least: int = 1) -> None:
    """Check a setting.

    Raises:
        InputError: not an integer, or below `least`.
    """
    if not is_count(value, least):
        msg = f"{name} must be an integer of at least {least}, but it is {value!r}."
        raise InputError(msg)


def is_positive(value: Any) -> bool:
    """Whether this is a finite positive number, of Python or NumPy; True is not."""
    real = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    return real and bool(0 < value < np.inf)


def one_of(settings: Any, options: Mapping[str, tuple[str, ...]]) -> dict[str, bool]:
    """Checks for `refuse_first` of settings that have one of several texts."""
    values = {name: getattr(settings, name) for name in options}
    return {
        f"{name} must be {', '.join(map(repr, texts[:-1]))} or {texts[-1]!r}": isinstance(values[name], str)
        and values[name] in texts
        for name, texts in options.items()
    }


def refuse_first(settings: Any, checks: dict[str, bool]) -> None:
    """Refuse settings by the first check that fails.

    Args:
        settings: the object whose attributes are checked.
        checks: by the sentence of what must hold, which begins with the name of the setting.

    Raises:
        InputError: a check fails.
    """
    for sentence, holds in checks.items():
        if not holds:
            msg = f"{sentence}, but it is {getattr(settings, sentence.split()[0])!r}."
            raise InputError(msg)


def one_hot(labels: np.ndarray, classes: int) -> np.ndarray:
    """Targets `(n, classes)` in {0, 1}, float64, from integer labels `(n,)`.

    Raises:
        InputError: a label outside 0 ... classes - 1.
    """
    if len(labels) > 0 and not (labels.min() >= 0 and labels.max() < classes):
        msg = f"Labels must lie in 0 ... {classes - 1}, but they run from {labels.min()} to {labels.max()}."
        raise InputError(msg)
    return np.eye(classes)[labels]


def targets_of(labels: np.ndarray, outputs: int) -> np.ndarray:
    """Targets `(n, outputs)` in {0, 1}, float64: one-hot; for a single output the labels themselves, 0 and 1.

    Raises:
        InputError: a label out of range.
    """
    return one_hot(labels, 2)[:, 1:] if outputs == 1 else one_hot(labels, outputs)


def generator(seed: int, purpose: str, *indices: int) -> np.random.Generator:
    """Give the generator for a purpose, such as "bars, test", and indices within it, such as an epoch.

    Streams of different purposes never coincide.
    """
    return np.random.default_rng([seed, crc32(purpose.encode()), *indices])


def stratified_draw(labels: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw `count` increasing indices in which every class has its share of `labels`, up to rounding.

    Raises:
        InputError: `count` is negative or exceeds the number of labels.
    """
    n = len(labels)
    if not 0 <= count <= n:
        msg = f"Cannot draw {count} of {n} samples."
        raise InputError(msg)
    # Spread each class evenly over [0, 1) and take the first ones.
    places = np.empty(n)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        ranks = rng.permutation(len(members))
        places[members] = (ranks + rng.random()) / len(members)
    return np.sort(np.argsort(places, kind="stable")[:count])
