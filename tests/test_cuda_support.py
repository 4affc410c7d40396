"""Why PyTorch cannot use a GPU, on made-up drivers, builds and devices."""

import pytest
import torch

from convrfm.system.machine import cuda_trouble


@pytest.fixture
def gpu(monkeypatch):
    """A driver that answers with an error, or a build for some architectures beside devices of some capability."""

    def pretend(*, error=None, built=(), capabilities=()):
        def init():
            if error is not None:
                raise error

        monkeypatch.setattr(torch.cuda, "init", init)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(capabilities))
        monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: list(built))
        monkeypatch.setattr(torch.cuda, "device_count", lambda: len(capabilities))
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: capabilities[index])
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: f"Tesla {index}")

    return pretend


TOO_OLD = RuntimeError(
    "The NVIDIA driver on your system is too old (found version 11040). Please update your GPU driver by downloading and ..."
)


@pytest.mark.parametrize(
    ("machine", "reason"),
    [
        ({"error": TOO_OLD}, "cannot use a GPU: The NVIDIA driver on your system is too old (found version 11040)"),
        (
            {"error": RuntimeError("Found no NVIDIA driver on your system. Please check that you have one.")},
            "cannot use a GPU: Found no NVIDIA driver on your system",
        ),
        (
            {"error": AssertionError("Torch not compiled with CUDA enabled")},
            "cannot use a GPU: Torch not compiled with CUDA enabled",
        ),
        ({}, "sees no GPU"),
        (
            {"built": ["sm_75", "sm_90", "compute_120"], "capabilities": [(9, 0), (7, 0)]},
            "is built for sm_75, sm_90, compute_120, but Tesla 1 has compute capability 7.0",
        ),
        ({"built": ["sm_75", "sm_90"], "capabilities": [(10, 0)]}, "Tesla 0 has compute capability 10.0"),
        # Code for another generation does not run, that of an earlier member of the same one does.
        ({"built": ["sm_80"], "capabilities": [(8, 6)]}, None),
        ({"built": ["sm_86"], "capabilities": [(8, 0)]}, "Tesla 0 has compute capability 8.0"),
        ({"built": ["sm_75", "compute_90"], "capabilities": [(12, 0)]}, None),
        ({"built": ["sm_75", "sm_90a"], "capabilities": [(9, 0)]}, None),
    ],
)
def test_the_reason_is_named(gpu, machine, reason):
    gpu(**machine)
    trouble = cuda_trouble()
    if reason is None:
        assert trouble is None
    else:
        assert trouble.startswith(f"PyTorch {torch.__version__} ")
        assert trouble.endswith(reason)
