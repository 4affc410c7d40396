"""The compiled loops of the CPU backend (Numba), one SIMD vector of image pairs at a time.

`simd` makes LLVM's vectors a Numba type, with the arc cosine and the exponential on them, `first_layer` is what the kernels
read from images and the patch-AGOP, `sweeps` are the kernels and their derivatives.

Numba caches compiled code on disk and looks for changes in one file only. Every cached function therefore also carries
`SOURCES`, the hash of this package's sources: as a closure variable it becomes part of the cache key.
"""

import hashlib
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numba

from convrfm.errors import ConvRFMWarning

__all__ = ["SOURCES", "compiled"]

SOURCES = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))).hexdigest()


def compiled(*, parallel: bool = False) -> Callable[[Callable[..., Any]], Any]:
    """Decorate a function that Numba compiles, and caches on disk if it can.

    Numba keeps its cache beside the source, or else in the user's cache folder. Where neither can be written, as in a
    container without a home, a `ConvRFMWarning` says so once, and each process compiles.
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
        "Numba finds no writable folder for compiled code, and each process compiles for up to a minute: set "
        "NUMBA_CACHE_DIR to a writable folder.",
        ConvRFMWarning,
        stacklevel=2,
    )
