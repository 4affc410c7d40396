"""Whether the CUDA backend can be used here."""

from importlib.util import find_spec

from convrfm.system.cuda import cuda_trouble
from convrfm.system.extras import how_to_install

__all__ = ["gpu_by_default", "why_no_gpu"]


def why_no_gpu() -> str | None:
    """Say what the CUDA backend lacks, and what to do; None where it can be used (Numba's simulator included)."""
    if find_spec("numba_cuda") is None:
        return f"The backend cuda needs the package numba-cuda: {how_to_install('cuda')}."
    from numba import cuda
    from numba.core import config

    if config.ENABLE_CUDASIM:
        return None
    if not cuda.is_available():
        return (
            "The backend cuda needs an NVIDIA GPU with its driver, and finds none: see whether nvidia-smi lists one, and "
            "whether CUDA_VISIBLE_DEVICES hides it."
        )
    trouble = cuda_trouble()
    return None if trouble is None else f"The backend cuda needs a build of PyTorch for CUDA, but {trouble}."


def gpu_by_default() -> bool:
    """Whether the backend "auto" takes the GPU: never in Numba's simulator, which is slow."""
    if find_spec("numba_cuda") is None:
        return False
    from numba.core import config

    return not config.ENABLE_CUDASIM and why_no_gpu() is None
