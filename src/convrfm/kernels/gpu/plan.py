"""What a kernel is compiled for, and where each thread keeps the numbers of its pair.

A block is one warp, `ROWS` x `COLUMNS` pairs. A thread goes through its pair's positions in strips of columns, so that what
it has to remember does not grow with the width of the images: of each layer but the last, the last q rows of k and of
k + Theta, and of products of pixels the window sums along the last q - 1 rows. Narrow strips let more threads keep all
that in shared memory, but compute the columns near their borders twice.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from convrfm.kernels.compiled.first_layer import COVARIANCES, PATCHES, PIXELS
from convrfm.kernels.specs import ROUNDING, SINGULARITY, LaplaceSpec, Spec

__all__ = [
    "COLUMNS", "COVARIANCES", "PATCHES", "PIXELS", "ROWS", "SHARED_BYTES", "THREADS", "Plan", "reverse_plan", "sweep_plan",
]  # fmt: skip

ROWS, COLUMNS = 4, 8
"""Images of the rows and of the columns of a kernel matrix in a block: with them side by side in memory, a load of either
is one sector, and each serves 8 or 4 threads."""

THREADS = ROWS * COLUMNS
"""Threads of a block: one warp."""

SHARED_BYTES = 48 * 1024
"""Shared memory that a block may take on any device; with one warp in a block, many blocks fill a multiprocessor."""

RESERVED_BYTES = 1024
"""Shared memory that the driver takes for each block."""

ENOUGH_WARPS = 6
"""Warps on a multiprocessor from which on more of them hide no more latency than they cost; an estimate."""


@dataclass(frozen=True)
class Plan:
    """What a kernel is compiled for.

    Attributes:
        spec: the kernel.
        shape: channels, height and width of the images.
        kind: `PIXELS`, `PATCHES` or `COVARIANCES`, see `convrfm.kernels.gpu.first_layer`.
        rank: numbers in a patch R x_u.
        dtype: float32 or float64.
        width: columns of the last layer's positions in a strip.
        shared: whether the numbers of a thread lie in shared memory.
        keep: whether all r and T are kept, for the reverse; then there is one strip.
    """

    spec: Spec
    shape: tuple[int, int, int]
    kind: int
    rank: int
    dtype: np.dtype
    width: int
    shared: bool
    keep: bool

    @property
    def margin(self) -> int:
        """Rows, and columns, by which a layer has fewer positions than the one before."""
        return self.spec.patch_size - 1

    @property
    def tangent(self) -> bool:
        """Whether Theta is needed."""
        return not isinstance(self.spec, LaplaceSpec) and self.spec.tangent

    @property
    def collinear(self) -> float:
        """The largest 1 - |r| that counts as zero; in the reverse 1 - r^2 is 2 (1 - |r|) there."""
        return SINGULARITY[self.dtype] / 2 if self.keep else ROUNDING[self.dtype]

    @property
    def image_numbers(self) -> int:
        """Numbers of an image in its block: pixels, or patches."""
        channels, height, width = self.shape
        return channels * height * width if self.kind == PIXELS else self.offset(1) * self.rank

    def grid(self, layer: int) -> tuple[int, int]:
        """Rows and columns of positions of a layer."""
        shrunk = (layer + 1) * self.margin
        return self.shape[1] - shrunk, self.shape[2] - shrunk

    @property
    def last(self) -> tuple[int, int]:
        """Rows and columns of positions of the last layer."""
        return self.grid(self.spec.depth - 1)

    def offset(self, layer: int) -> int:
        """Positions of all layers before this one."""
        return sum(rows * columns for rows, columns in map(self.grid, range(layer)))

    def border(self, layer: int) -> int:
        """Columns that a layer has in a strip beyond those of the last."""
        return (self.spec.depth - 1 - layer) * self.margin

    def stored(self, layer: int) -> int:
        """Columns of a layer in a strip."""
        return self.width + self.border(layer)

    def ring(self, layer: int) -> tuple[int, int]:
        """Where the rows of a layer's k start, and where those of its k + Theta; numbers of a thread."""
        before = sum(self._ring_size(earlier) for earlier in range(layer))
        start = self._pixel_sums + before
        return start, start + self._ring_size(layer) // 2

    def _ring_size(self, layer: int) -> int:
        return (2 if self.tangent else 1) * self.spec.patch_size * self.stored(layer)

    @property
    def _pixel_sums(self) -> int:
        return self.margin * self.stored(0) if self.kind == PIXELS else 0

    @cached_property
    def kept(self) -> int:
        """Where r starts, and after it T, at the positions of all layers."""
        return self._pixel_sums + sum(self._ring_size(layer) for layer in range(self.spec.depth - 1))

    @property
    def maps(self) -> int:
        """Where the three maps of derivatives start."""
        return self.kept + 2 * self.offset(self.spec.depth)

    @property
    def numbers(self) -> int:
        """Numbers that a thread keeps; at least one, since arrays need a size."""
        if not self.keep:
            return max(1, self.kept)
        return self.maps + (3 * self.offset(1) if self.spec.depth > 1 else 0)

    @property
    def block_bytes(self) -> int:
        """Bytes that the threads of a block keep."""
        return self.numbers * THREADS * self.dtype.itemsize

    @property
    def strips(self) -> int:
        """Strips of an image; the last one begins so early that it is as wide as the others."""
        return -(-self.last[1] // self.width)

    @property
    def work(self) -> int:
        """Positions that a thread goes through."""
        return self.strips * sum(self.grid(layer)[0] * self.stored(layer) for layer in range(self.spec.depth))

    def resident(self, shared_memory: int) -> int:
        """Blocks on a multiprocessor with so many bytes of shared memory."""
        return shared_memory // (self.block_bytes + RESERVED_BYTES)


def sweep_plan(
    spec: Spec, shape: tuple[int, int, int], kind: int, rank: int, dtype: np.dtype, shared_memory: int
) -> Plan:
    """Choose the strips of a kernel's forward sweep, for the arguments of `Plan`.

    Where a strip fits into shared memory, of which a multiprocessor has `shared_memory` bytes, the plan is the cheapest of
    those strips; else it is one strip in global memory.
    """

    def plan(width: int, shared: bool) -> Plan:
        return Plan(spec, shape, kind, rank, dtype, width, shared, keep=False)

    def cost(candidate: Plan) -> float:
        return candidate.work * max(1, ENOUGH_WARPS / candidate.resident(shared_memory))

    whole = plan(1, shared=False).last[1]
    widths = {-(-whole // strips) for strips in range(1, whole + 1)}
    candidates = [plan(width, shared=True) for width in sorted(widths, reverse=True)]
    fitting = [
        candidate
        for candidate in candidates
        if candidate.block_bytes <= SHARED_BYTES and candidate.resident(shared_memory) > 0
    ]
    return min(fitting, key=cost, default=plan(whole, shared=False))


def reverse_plan(spec: Spec, shape: tuple[int, int, int], kind: int, rank: int, dtype: np.dtype) -> Plan:
    """Plan the forward and reverse sweeps of a derivative: one strip, in global memory."""
    whole = Plan(spec, shape, kind, rank, dtype, 1, shared=False, keep=True).last[1]
    return Plan(spec, shape, kind, rank, dtype, whole, shared=False, keep=True)
