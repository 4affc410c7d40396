"""The compiled loops of the CPU backend (Numba), one SIMD vector of image pairs at a time.

`simd` makes LLVM's vectors a Numba type, `functions` the arc cosine and the exponential on them, `first_layer` what the
kernels read from images, `arccosine` and `laplace` the kernels and their derivatives. Numba caches compiled code on
disk and looks for changes in one file only, so that every cached function also carries `SOURCES`, see there.
"""

import hashlib
from pathlib import Path

__all__ = ["SOURCES"]

SOURCES = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))).hexdigest()
"""Hash of this package's sources; as a closure variable of a cached function it becomes part of Numba's cache key."""
