"""Reading of pickles that others have made: CIFAR's and ImageNet32's batches.

A pickle is a program. Here it may build arrays, strings, numbers and containers of these, and nothing else: NumPy's own
constructors are replaced by plain ones, which check what they are given, so that not even NumPy's code for unpickling
runs on foreign data.
"""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from convrfm.errors import CorruptDataError

__all__ = ["load_pickle"]


class _Type:
    """Stands for a NumPy dtype while a pickle is read: only booleans and plain numbers are known."""

    def __init__(self, name: object, *_: object) -> None:
        self.name = _text(name)
        self.order = "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        # (version, byte order, ...): the rest describes structured types, which are refused by their name.
        self.order = _text(state[1]).replace("|", "=")

    def dtype(self) -> np.dtype[Any]:
        if self.name[:1] not in "biufc" or not self.name[1:].isdigit() or self.order not in "<>=":
            msg = f"arrays of type {self.name!r} are not allowed"
            raise pickle.UnpicklingError(msg)
        return np.dtype(self.name).newbyteorder(self.order)  # type: ignore[arg-type]


class _Array:
    """Stands for a NumPy array while a pickle is read."""

    value: np.ndarray

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, by_column, content = state
        if not isinstance(kind, _Type) or not isinstance(content, str | bytes):
            msg = "an array whose content is not plain bytes is not allowed"
            raise pickle.UnpicklingError(msg)
        raw = content.encode("latin1") if isinstance(content, str) else content
        flat = np.frombuffer(raw, kind.dtype())
        self.value = flat.reshape(shape, order="F" if by_column else "C")


def _new_array(*_: object) -> _Array:
    return _Array()


def _new_scalar(kind: _Type, content: str | bytes) -> Any:
    raw = content.encode("latin1") if isinstance(content, str) else content
    return np.frombuffer(raw, kind.dtype())[0].item()


def _to_bytes(text: str, encoding: str = "latin1") -> bytes:
    """What `_codecs.encode` does in pickles of bytes, for their one encoding."""
    if encoding not in ("latin1", "latin-1"):
        msg = f"the encoding {encoding!r} is not allowed"
        raise pickle.UnpicklingError(msg)
    return text.encode("latin1")


_ALLOWED: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Type,
    ("_codecs", "encode"): _to_bytes,
    # Old protocols have no codes of their own for these.
    **{(home, kind.__name__): kind for home in ("builtins", "__builtin__") for kind in (set, frozenset, complex)},
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _new_array for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _new_scalar for core in ("core", "_core")},
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        constructor = _ALLOWED.get((module, name))
        if constructor is None:
            msg = f"it asks for {module}.{name}"
            raise pickle.UnpicklingError(msg)
        # A throw-away function: a pickle can set attributes of what it is given, and these must not outlive it.
        return lambda *arguments: constructor(*arguments)


def load_pickle(path: Path) -> Any:
    """Read a pickle of arrays, strings, numbers and containers, written by Python 2 or 3.

    Returns:
        the object, with text and bytes of Python 2 as text in Latin-1.

    Raises:
        CorruptDataError: it holds anything else, or is damaged; nothing of it has been executed.
    """
    try:
        with path.open("rb") as file:
            return _plain(_Unpickler(file, encoding="latin1").load())
    except (
        pickle.UnpicklingError, AttributeError, EOFError, LookupError, OverflowError, RecursionError, TypeError, ValueError,
    ) as error:  # fmt: skip
        msg = f"{path} is refused ({error}): only arrays, strings, numbers and containers may be in it. Fetch it again."
        raise CorruptDataError(msg) from error


def _plain(value: Any) -> Any:
    """Put the arrays in the place of what stood for them, through all containers."""
    if isinstance(value, _Array):
        return value.value
    if isinstance(value, dict):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return type(value)(_plain(item) for item in value)
    return value


def _text(value: object) -> str:
    return value.decode("latin1") if isinstance(value, bytes) else str(value)
