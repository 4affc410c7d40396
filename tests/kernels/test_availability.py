"""Which backend is taken, and what is said where the CUDA backend cannot be used."""

import pytest
from numba import cuda

from convrfm.errors import ConfigError
from convrfm.kernels import CNTK, PatchLaplace
from convrfm.system import machine


@pytest.fixture
def gpu(monkeypatch):
    """A machine whose GPU and packages are as a test wants them."""

    def pretend(*, packages: bool, device: bool, torch_device: bool) -> None:
        import torch

        monkeypatch.setattr(machine, "find_spec", lambda name: object() if packages else None)
        monkeypatch.setattr(cuda, "is_available", lambda: device)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: torch_device)

    return pretend


@pytest.mark.parametrize(
    ("packages", "device", "torch_device", "sentence"),
    [
        (False, True, True, r'numba-cuda: pip install "numba-cuda\[cu13\]>=.*backend="cpu"'),
        (True, False, False, "needs an NVIDIA GPU.*nvidia-smi"),
        (True, True, False, "build of PyTorch for CUDA"),
    ],
)
def test_what_is_missing_is_named(gpu, packages, device, torch_device, sentence):
    gpu(packages=packages, device=device, torch_device=torch_device)
    with pytest.raises(ConfigError, match=sentence):
        CNTK(backend="cuda")
    assert CNTK().backend == PatchLaplace(backend="auto").backend == "cpu"


def test_a_gpu_is_the_default_where_there_is_one(gpu):
    gpu(packages=True, device=True, torch_device=True)
    assert CNTK().backend == "cuda"
    assert CNTK(backend="cpu").backend == "cpu"


def test_the_simulator_is_no_default(gpu, monkeypatch):
    from numba.core import config

    gpu(packages=True, device=True, torch_device=False)
    monkeypatch.setattr(config, "ENABLE_CUDASIM", 1)
    assert CNTK().backend == "cpu"
    assert CNTK(backend="cuda").backend == "cuda"
