"""What the simulator cannot show: CUDA kernels compile, keep to their dtype, and leave registers for nothing slower.

NVIDIA's compiler makes code for a GPU without one being there.
"""

from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="numba-cuda is not installed")

from numba import cuda, float32, float64, int64
from numba.cuda import dispatcher

from convrfm.kernels.backends import ArcCosineSpec, LaplaceSpec
from convrfm.kernels.gpu.launch import COVARIANCES, PATCHES, PIXELS, reverse_plan, sweep_plan
from convrfm.kernels.gpu.sweeps import forward, reverse

CNTK, CNNGP, LAPLACE = ArcCosineSpec(2, 2, tangent=True), ArcCosineSpec(2, 1, tangent=False), LaplaceSpec(2, 10.0)
SHARED_MEMORY = 228 * 1024


def compiled(monkeypatch, plan, tensors: int, numbers: int) -> str:
    """The assembly of a kernel for a device of compute capability 9.0."""
    monkeypatch.setattr(dispatcher, "get_current_device", lambda: SimpleNamespace(compute_capability=(9, 0)))
    kernel = reverse(plan) if plan.keep else forward(plan)
    array = {np.dtype(np.float32): float32, np.dtype(np.float64): float64}[plan.dtype][::1]
    signature = (array,) * tensors + (int64,) * numbers
    found, _ = cuda.compile(kernel.py_func, signature, device=False, fastmath=True, cc=(9, 0), output="ptx", abi="numba")
    return found if isinstance(found, str) else found.decode()


@pytest.mark.parametrize(
    ("spec", "kind"), [(CNTK, PIXELS), (CNTK, COVARIANCES), (CNNGP, PATCHES), (LAPLACE, PIXELS), (LAPLACE, PATCHES)]
)
def test_kernels_in_single_precision(monkeypatch, spec, kind):
    dtype, shape = np.dtype(np.float32), (3, 32, 32)
    ahead = compiled(monkeypatch, sweep_plan(spec, shape, kind, 8, dtype, SHARED_MEMORY), 6, 4)
    back = compiled(monkeypatch, reverse_plan(spec, shape, kind, 8, dtype), 7, 3)
    for assembly in (ahead, back):
        assert ".f32" in assembly
        assert ".f64" not in assembly  # a constant in double precision would make the arithmetic double
        assert ".local" not in assembly  # an index that varies would move registers to memory
    if spec is CNTK:
        assert "ld.shared.f32" in ahead


def test_kernels_in_double_precision(monkeypatch):
    dtype, shape = np.dtype(np.float64), (1, 9, 8)
    ahead = compiled(monkeypatch, sweep_plan(CNTK, shape, PIXELS, 9, dtype, SHARED_MEMORY), 6, 4)
    back = compiled(monkeypatch, reverse_plan(CNTK, shape, PIXELS, 9, dtype), 7, 3)
    for assembly in (ahead, back):
        assert ".f64" in assembly
        assert ".f32" not in assembly


def test_the_size_of_the_paper_fits_into_shared_memory():
    spec = ArcCosineSpec(3, 3, tangent=True)
    plan = sweep_plan(spec, (3, 32, 32), PIXELS, 27, np.dtype(np.float32), SHARED_MEMORY)
    assert plan.shared
    assert plan.strips == 2
    assert plan.resident(SHARED_MEMORY) >= 7
