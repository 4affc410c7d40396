"""Whether PyTorch can use the GPUs of this machine, and why not."""

import re

__all__ = ["cuda_trouble"]


def cuda_trouble() -> str | None:
    """Say why PyTorch cannot compute on the visible GPUs, without a full stop; None where it can.

    The reason is the driver (none, or too old), the build (without CUDA, or not for GPUs of this generation), or that no GPU is
    visible.
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
    """Whether code for an architecture runs: binary code (sm) within its generation, intermediate code (compute) after it."""
    found = re.match(r"(sm|compute)_(\d+)(\d)", arch)
    if found is None:
        return False
    own = (int(found[2]), int(found[3]))
    return own <= capability and (found[1] == "compute" or own[0] == capability[0])
