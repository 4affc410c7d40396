"""What the simulator cannot show: CUDA kernels compile, keep to their dtype, and leave registers for nothing slower.

NVIDIA's compiler makes code for a GPU without one being there.
"""

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="numba-cuda is not installed")

from convrfm.kernels.backends import ArcCosineSpec, LaplaceSpec
from convrfm.kernels.gpu.launch import COVARIANCES, PATCHES, PIXELS, reverse_plan, sweep_plan

CNTK, CNNGP, LAPLACE = ArcCosineSpec(2, 2, tangent=True), ArcCosineSpec(2, 1, tangent=False), LaplaceSpec(2, 10.0)
SHARED_MEMORY = 228 * 1024
HOPPER = (9, 0)


@pytest.fixture(scope="module")
def benchmark(load_benchmark):
    return load_benchmark("machine_code")


@pytest.mark.parametrize(
    ("spec", "kind"), [(CNTK, PIXELS), (CNTK, COVARIANCES), (CNNGP, PATCHES), (LAPLACE, PIXELS), (LAPLACE, PATCHES)]
)
def test_kernels_in_single_precision(benchmark, spec, kind):
    dtype, shape = np.dtype(np.float32), (3, 32, 32)
    ahead = benchmark.assembly(sweep_plan(spec, shape, kind, 8, dtype, SHARED_MEMORY), HOPPER)
    back = benchmark.assembly(reverse_plan(spec, shape, kind, 8, dtype), HOPPER)
    for assembly in (ahead, back):
        assert ".f32" in assembly
        assert ".f64" not in assembly  # a constant in double precision would make the arithmetic double
        assert ".local" not in assembly  # an index that varies would move registers to memory
    if spec is CNTK:
        assert "ld.shared.f32" in ahead


def test_kernels_in_double_precision(benchmark):
    dtype, shape = np.dtype(np.float64), (1, 9, 8)
    ahead = benchmark.assembly(sweep_plan(CNTK, shape, PIXELS, 9, dtype, SHARED_MEMORY), HOPPER)
    back = benchmark.assembly(reverse_plan(CNTK, shape, PIXELS, 9, dtype), HOPPER)
    for assembly in (ahead, back):
        assert ".f64" in assembly
        assert ".f32" not in assembly


def test_the_size_of_the_paper_fits_into_shared_memory():
    spec = ArcCosineSpec(3, 3, tangent=True)
    plan = sweep_plan(spec, (3, 32, 32), PIXELS, 27, np.dtype(np.float32), SHARED_MEMORY)
    assert plan.shared
    assert plan.strips == 2
    assert plan.resident(SHARED_MEMORY) >= 7


@pytest.mark.parametrize("number", [0, 1, 4])
def test_machine_code_spills_nothing_and_leaves_warps_to_hide_latency(benchmark, number):
    case = benchmark.CASES[number]
    for device in benchmark.DEVICES:
        for plan in benchmark.plans(case, device.shared_memory).values():
            code = benchmark.machine_code(benchmark.assembly(plan, device.capability), device.capability)
            assert code.spilled == 0
            assert benchmark.warps(code, plan, device)[0] >= 6


def test_spills_are_seen(benchmark):
    ptx = benchmark.assembly(sweep_plan(CNTK, (3, 32, 32), PIXELS, 8, np.dtype(np.float32), SHARED_MEMORY), HOPPER)
    # The same kernel, allowed fewer registers than it needs.
    head, brace, body = ptx.partition("\n{")
    assert benchmark.machine_code(f"{head}\n.maxnreg 24{brace}{body}", HOPPER).spilled > 0


def test_the_page_has_every_kernel_without_spills(benchmark):
    kernels = ("| CNTK", "| CNNGP", "| Laplace")
    lines = [line.split(" | ") for line in benchmark.PAGE.read_text().splitlines() if line.startswith(kernels)]
    assert len(lines) == 2 * len(benchmark.CASES) * len(benchmark.DEVICES)
    assert {line[4] for line in lines} == {"0"}
