"""Numba's cache on disk, and work without it where no folder for it can be written."""

import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import numba

from convrfm.errors import ConvRFMWarning

__all__ = ["compiled"]


def compiled(*, parallel: bool = False) -> Callable[[Callable[..., Any]], Any]:
    """Decorate a function that Numba compiles, and caches on disk if it can.

    Numba keeps its cache beside the source, or else in the user's cache folder. Where neither can be written, as in a container
    without a home, a `ConvRFMWarning` says so once, and each process compiles.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        try:
            return numba.njit(function, parallel=parallel, cache=True)
        except RuntimeError as error:  # "cannot cache function ...: no locator available"
            if "cannot cache" not in str(error):
                raise
            _warn_once()
            return numba.njit(function, parallel=parallel)

    return decorate


@cache
def _warn_once() -> None:
    warnings.warn(
        "Numba finds no folder to keep compiled code in, so each process compiles the kernels, which takes up to a minute: "
        "set NUMBA_CACHE_DIR to a folder that can be written.",
        ConvRFMWarning,
        stacklevel=2,
    )
