"""Processors: how many threads numerical work takes, and whether the GPUs can be used."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from convrfm.errors import InputError
from convrfm.system.extras import how_to_install

__all__ = ["cuda_trouble", "gpu_by_default", "limited_threads", "why_no_gpu"]


@contextmanager
def limited_threads(n_jobs: Any) -> Iterator[None]:
    """Limit the threads of the kernels (Numba) and of linear algebra (BLAS), and restore the former limits.

    Args:
        n_jobs: None changes nothing: all cores, or what `NUMBA_NUM_THREADS` and its like say, such as the share
            that joblib gives to each of its processes. A positive integer is the largest number of threads; -1 is all
            that the CPU affinity and the CPU quota of a container allow (`joblib.cpu_count`), -2 all but one.

    Raises:
        InputError: neither None nor an integer other than 0.
    """
    if n_jobs is None:
        yield
        return
    # Imported here: they take a second, and work without limits may never need them.
    import joblib
    import numba
    import numpy as np
    from threadpoolctl import threadpool_limits

    if not isinstance(n_jobs, int | np.integer) or n_jobs == 0:
        msg = f"n_jobs must be None or an integer other than 0 (-1 for all cores), but it is {n_jobs!r}."
        raise InputError(msg)
    available, before = numba.config.NUMBA_NUM_THREADS, numba.get_num_threads()
    wanted = int(n_jobs) if n_jobs > 0 else min(available, joblib.cpu_count()) + 1 + int(n_jobs)
    threads = min(max(wanted, 1), available)
    numba.set_num_threads(threads)
    try:
        with threadpool_limits(threads, user_api="blas"):
            yield
    finally:
        numba.set_num_threads(before)


def cuda_trouble() -> str | None:
    """Say why PyTorch cannot compute on the visible GPUs, without a full stop; None where it can.

    The reason is the driver (none, or too old), the build (without CUDA, or not for GPUs of this generation), or that
    no GPU is visible.
    """
    import torch

    version = f"PyTorch {torch.__version__}"
    if not torch.cuda.is_available():
        try:
            torch.cuda.init()
        except (RuntimeError, AssertionError) as error:
            return f"{version} cannot use a GPU: {str(error).split('. ')[0].rstrip('.')}"
        return f"{version} sees no GPU"
    built = torch.cuda.get_arch_list()
    for index in range(torch.cuda.device_count()):
        capability = torch.cuda.get_device_capability(index)
        if not any(_serves(arch, capability) for arch in built):
            name, (major, minor) = torch.cuda.get_device_name(index), capability
            return f"{version} is built for {', '.join(built)}, but {name} has compute capability {major}.{minor}"
    return None


def _serves(arch: str, capability: tuple[int, int]) -> bool:
    """Whether code for an architecture runs: binary (sm) within its generation, intermediate (compute) after it."""
    found = re.match(r"(sm|compute)_(\d+)(\d)", arch)
    if found is None:
        return False
    own = (int(found[2]), int(found[3]))
    return own <= capability and (found[1] == "compute" or own[0] == capability[0])


def why_no_gpu() -> str | None:
    """Say what the backend cuda lacks, and what to do; None where it can be used (Numba's simulator included)."""
    if find_spec("numba_cuda") is None:
        return f"The backend cuda needs the package numba-cuda: {how_to_install('cuda')}."
    from numba import cuda
    from numba.core import config

    if config.ENABLE_CUDASIM:
        return None
    if not cuda.is_available():
        return (
            "The backend cuda needs an NVIDIA GPU with its driver, and finds none: check whether nvidia-smi lists one, "
            "and whether CUDA_VISIBLE_DEVICES hides it."
        )
    trouble = cuda_trouble()
    return None if trouble is None else f"The backend cuda needs a build of PyTorch for CUDA, but {trouble}."


def gpu_by_default() -> bool:
    """Whether the backend "auto" takes the GPU: never in Numba's simulator, which is slow."""
    if find_spec("numba_cuda") is None:
        return False
    from numba.core import config

    return not config.ENABLE_CUDASIM and why_no_gpu() is None
