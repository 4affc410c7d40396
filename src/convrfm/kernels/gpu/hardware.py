"""What the CUDA backend asks of the machine: its devices, their memory, and the way from tensors to kernels.

PyTorch owns all memory and does the matrix products; Numba's kernels read and write its tensors in the same stream. In
Numba's simulator (NUMBA_ENABLE_CUDASIM=1) there is one device, the tensors are on the CPU and the kernels see NumPy arrays.
"""

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numba import cuda
from numba.core import config

from convrfm.kernels.gpu.plan import THREADS
from convrfm.system.memory import free_bytes

__all__ = [
    "OUT_OF_MEMORY", "SIMULATED", "Hardware", "allocate", "current", "devices", "free_on", "full_precision", "launch",
    "upload",
]  # fmt: skip

SIMULATED = bool(config.ENABLE_CUDASIM)

OUT_OF_MEMORY = (MemoryError, torch.OutOfMemoryError)

SIMULATED_SHARED_MEMORY = 100 * 1024

_configuration = threading.Lock()


@dataclass(frozen=True)
class Hardware:
    """The device of the current thread.

    Attributes:
        name: as PyTorch calls it.
        processors: multiprocessors.
        shared_memory: of each, in bytes.
        free: bytes of memory that can still be taken.
    """

    name: str
    processors: int
    shared_memory: int
    free: int


def current() -> Hardware:
    """Describe the device of the current thread."""
    if SIMULATED:
        return Hardware("cpu", 2, SIMULATED_SHARED_MEMORY, free_bytes())
    index = torch.cuda.current_device()
    properties = torch.cuda.get_device_properties(index)
    shared_memory = properties.shared_memory_per_multiprocessor
    return Hardware(f"cuda:{index}", properties.multi_processor_count, shared_memory, free_on(index))


def free_on(index: int) -> int:
    """Bytes of a GPU's memory that can still be taken; what PyTorch holds and does not use is free for its next tensors."""
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
    """Memory on the device of the current thread, not set."""
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
    """A kernel with its grid; small problems have small grids, of which Numba would warn."""
    with _configuration:
        warned = config.CUDA_LOW_OCCUPANCY_WARNINGS
        config.CUDA_LOW_OCCUPANCY_WARNINGS = 0
        try:
            return kernel[blocks, THREADS, stream, shared_bytes]
        finally:
            config.CUDA_LOW_OCCUPANCY_WARNINGS = warned


class FullPrecision:
    """A context in which products of float32 matrices are not rounded to TF32, whatever the process has chosen elsewhere.

    The choice is one for all threads: the first to enter makes it, and the last to leave restores what was there.
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
