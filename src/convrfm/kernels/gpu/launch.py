"""The devices, and how kernels are planned for and launched on them.

A block is one warp, `ROWS` x `COLUMNS` pairs. A thread goes through its pair's positions in strips of columns, which
bounds what it has to remember whatever the width of the images: of each layer but the last, the last q rows of k and of
k + Theta, and of products of pixels the window sums along the last q - 1 rows. Narrow strips let more threads keep all
that in shared memory, but compute the columns near their borders twice.

PyTorch owns all memory and does the matrix products; Numba's kernels read and write its tensors in the same stream. In
Numba's simulator (NUMBA_ENABLE_CUDASIM=1) there is one device, tensors are on the CPU and kernels see NumPy arrays.
"""

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numba import cuda
from numba.core import config

from convrfm.kernels.backends import ROUNDING, SINGULARITY, LaplaceSpec, Spec
from convrfm.kernels.compiled.first_layer import COVARIANCES, PATCHES, PIXELS
from convrfm.system.machine import free_bytes

__all__ = [
    "COLUMNS", "COVARIANCES", "OUT_OF_MEMORY", "PATCHES", "PIXELS", "RESERVED_BYTES", "ROWS", "SHARED_BYTES", "SIMULATED",
    "THREADS", "Hardware", "Plan", "allocate", "current", "devices", "free_on", "full_precision", "launch", "reverse_plan",
    "sweep_plan", "upload",
]  # fmt: skip

ROWS, COLUMNS = 4, 8
"""Images of the rows and of the columns of a kernel matrix in a block: with them side by side in memory, a load of
either is one sector, and each serves 8 or 4 threads."""

THREADS = ROWS * COLUMNS
"""Threads of a block: one warp."""

SHARED_BYTES = 48 * 1024
"""Shared memory that a block may take on any device; with one warp in a block, a multiprocessor holds many."""

RESERVED_BYTES = 1024
"""Shared memory that the driver takes for each block."""

# Warps on a multiprocessor from which on more of them hide no more latency than they cost; an estimate.
ENOUGH_WARPS = 6

SIMULATED = bool(config.ENABLE_CUDASIM)

OUT_OF_MEMORY = (MemoryError, torch.OutOfMemoryError)

SIMULATED_SHARED_MEMORY = 100 * 1024

_configuration = threading.Lock()


@dataclass(frozen=True)
class Hardware:
    """The device of the current thread."""

    name: str  # as PyTorch calls it
    processors: int  # multiprocessors
    shared_memory: int  # of each, in bytes
    free: int  # bytes of memory that can still be taken


def current() -> Hardware:
    """Describe the device of the current thread."""
    if SIMULATED:
        return Hardware("cpu", 2, SIMULATED_SHARED_MEMORY, free_bytes())
    index = torch.cuda.current_device()
    properties = torch.cuda.get_device_properties(index)
    shared_memory = properties.shared_memory_per_multiprocessor
    return Hardware(f"cuda:{index}", properties.multi_processor_count, shared_memory, free_on(index))


def free_on(index: int) -> int:
    """Bytes of a GPU's memory that can still be taken, with what PyTorch holds for its next tensors."""
    spare = torch.cuda.memory_reserved(index) - torch.cuda.memory_allocated(index)
    return torch.cuda.mem_get_info(index)[0] + spare


@contextmanager
def _on(index: int) -> Iterator[None]:
    if not SIMULATED:
        cuda.select_device(index)
        torch.cuda.set_device(index)
    yield


def devices() -> list[AbstractContextManager[None]]:
    """The devices that share the work, each to be entered by a thread of its own."""
    return [_on(index) for index in range(1 if SIMULATED else torch.cuda.device_count())]


def upload(array: np.ndarray) -> torch.Tensor:
    """Copy an array to the device of the current thread; in the simulator, share it."""
    contiguous = np.ascontiguousarray(array)
    # PyTorch knows no read-only memory.
    return torch.from_numpy(contiguous if contiguous.flags.writeable else contiguous.copy()).to(current().name)


def allocate(shape: tuple[int, ...], dtype: np.dtype) -> torch.Tensor:
    """Uninitialised memory on the device of the current thread."""
    return torch.empty(shape, dtype=getattr(torch, dtype.name), device=current().name)


def launch(kernel: Any, blocks: int, shared_bytes: int, *arguments: torch.Tensor | int) -> None:
    """Run a kernel on flat tensors and numbers.

    Raises:
        MemoryError: the driver ran out of memory.
    """
    pointer = 0 if SIMULATED else torch.cuda.current_stream().cuda_stream
    stream = cuda.external_stream(pointer) if pointer else 0
    given = [_flat(argument) if isinstance(argument, torch.Tensor) else argument for argument in arguments]
    try:
        _configured(kernel, blocks, stream, shared_bytes)(*given)
    except Exception as error:  # the driver's errors have several types
        if "OUT_OF_MEMORY" not in str(error):
            raise
        msg = f"The device ran out of memory at the start of a kernel: {error}"
        raise MemoryError(msg) from error


def _flat(tensor: torch.Tensor) -> Any:
    """What Numba takes for a tensor: the same memory."""
    flat = tensor.view(-1)
    return flat.numpy() if SIMULATED else cuda.as_cuda_array(flat, sync=False)


def _configured(kernel: Any, blocks: int, stream: Any, shared_bytes: int) -> Any:
    """A kernel with its grid; without Numba's warning of a small grid, which a small problem has."""
    with _configuration:
        warned = config.CUDA_LOW_OCCUPANCY_WARNINGS
        config.CUDA_LOW_OCCUPANCY_WARNINGS = 0
        try:
            return kernel[blocks, THREADS, stream, shared_bytes]
        finally:
            config.CUDA_LOW_OCCUPANCY_WARNINGS = warned


class FullPrecision:
    """A context in which products of float32 matrices are not rounded to TF32, whatever the process chose elsewhere.

    The setting is shared by all threads: the first to enter changes it, and the last to leave restores it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._before = ""

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._before = torch.backends.cuda.matmul.fp32_precision
                torch.backends.cuda.matmul.fp32_precision = "ieee"
            self._inside += 1

    def __exit__(self, *exception: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                torch.backends.cuda.matmul.fp32_precision = self._before


full_precision = FullPrecision()


@dataclass(frozen=True)
class Plan:
    """What a kernel is compiled for."""

    spec: Spec  # the kernel
    shape: tuple[int, int, int]  # channels, height and width of the images
    kind: int  # `PIXELS`, `PATCHES` or `COVARIANCES`, see `convrfm.kernels.gpu.device_functions`
    rank: int  # numbers in a patch R x_u
    dtype: np.dtype  # float32 or float64
    width: int  # columns of the last layer's positions in a strip
    shared: bool  # whether the numbers of a thread lie in shared memory
    keep: bool  # whether all r and T are kept, for the reverse; then there is one strip

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


def sweep_plan(spec: Spec, shape: tuple[int, int, int], kind: int, rank: int, dtype: np.dtype, shared_memory: int) -> Plan:
    """Choose the strips of a kernel's forward sweep; arguments as of `Plan`.

    The plan is the cheapest strip that fits into shared memory, of which a multiprocessor has `shared_memory` bytes;
    one strip in global memory where none fits.
    """

    def plan(width: int, shared: bool) -> Plan:
        return Plan(spec, shape, kind, rank, dtype, width, shared, keep=False)

    def cost(candidate: Plan) -> float:
        return candidate.work * max(1, ENOUGH_WARPS / candidate.resident(shared_memory))

    whole = plan(1, shared=False).last[1]
    widths = {-(-whole // strips) for strips in range(1, whole + 1)}
    candidates = [plan(width, shared=True) for width in sorted(widths, reverse=True)]
    fitting = [
        candidate for candidate in candidates if candidate.block_bytes <= SHARED_BYTES and candidate.resident(shared_memory) > 0
    ]
    return min(fitting, key=cost, default=plan(whole, shared=False))


def reverse_plan(spec: Spec, shape: tuple[int, int, int], kind: int, rank: int, dtype: np.dtype) -> Plan:
    """Plan the forward and reverse sweeps of a derivative: one strip, in global memory."""
    whole = Plan(spec, shape, kind, rank, dtype, 1, shared=False, keep=True).last[1]
    return Plan(spec, shape, kind, rank, dtype, whole, shared=False, keep=True)
