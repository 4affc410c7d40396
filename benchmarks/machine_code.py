"""Machine code of the CUDA kernels, made without a GPU: registers, spills, occupancy; writes docs/benchmarks_machine_code.md.

    python benchmarks/machine_code.py     about a minute

Numba and NVVM compile a kernel to PTX, and NVIDIA's `ptxas`, within nvJitLink, to the code of a device. What fits on a
multiprocessor at one time follows from its registers and shared memory. From the operations of a pair as `gpu.py` counts them
follows the shortest time that a kernel matrix can take on a device: a prediction, written down before it is measured.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple
from unittest.mock import patch

import numpy as np
from cuda.bindings import nvjitlink
from gpu import LANES, LOADS, Work
from numba import cuda, float32, float64, int64
from numba.cuda import dispatcher

from convrfm.kernels.backends import ArcCosineSpec, LaplaceSpec, Spec
from convrfm.kernels.gpu.launch import COVARIANCES, PATCHES, PIXELS, RESERVED_BYTES, THREADS, Plan, reverse_plan, sweep_plan
from convrfm.kernels.gpu.sweeps import forward, reverse

PAGE = Path(__file__).parents[1] / "docs/benchmarks_machine_code.md"
KINDS = {PIXELS: "pixels", PATCHES: "patches", COVARIANCES: "covariances"}
IMAGES = 50_000


class Device(NamedTuple):
    """What NVIDIA publishes of a device."""

    name: str
    capability: tuple[int, int]
    shared_memory: int  # bytes of a multiprocessor
    processors: int
    gigahertz: float
    registers: int = 65_536
    blocks: int = 32  # of a multiprocessor, fewer than it could hold warps


DEVICES = (Device("A100", (8, 0), 164 * 1024, 108, 1.41), Device("H200", (9, 0), 228 * 1024, 132, 1.98))


class Case(NamedTuple):
    """A kernel on images: which, of what size, and from what its first layer is read."""

    name: str
    spec: Spec
    shape: tuple[int, int, int]
    kind: int
    rank: int


CASES = (
    Case("CNTK", ArcCosineSpec(3, 3, tangent=True), (3, 32, 32), PIXELS, 27),
    Case("CNTK", ArcCosineSpec(3, 3, tangent=True), (3, 32, 32), COVARIANCES, 27),
    Case("CNTK", ArcCosineSpec(2, 3, tangent=True), (64, 40, 40), COVARIANCES, 576),
    Case("CNNGP", ArcCosineSpec(3, 3, tangent=False), (3, 32, 32), PIXELS, 27),
    Case("Laplace", LaplaceSpec(7, 10.0), (3, 32, 32), PIXELS, 147),
    Case("Laplace", LaplaceSpec(7, 10.0), (3, 32, 32), PATCHES, 147),
)


class Code(NamedTuple):
    """What `ptxas` says of a kernel: registers of a thread, and bytes that it spills or keeps on a stack."""

    registers: int
    spilled: int


def plans(case: Case, shared_memory: int) -> dict[str, Plan]:
    """The plans of a kernel matrix and of its derivatives."""
    single = np.dtype(np.float32)
    return {
        "matrix": sweep_plan(case.spec, case.shape, case.kind, case.rank, single, shared_memory),
        "derivatives": reverse_plan(case.spec, case.shape, case.kind, case.rank, single),
    }


def assembly(plan: Plan, capability: tuple[int, int]) -> str:
    """The PTX of a kernel."""
    kernel, tensors, numbers = (reverse(plan), 7, 3) if plan.keep else (forward(plan), 6, 4)
    array = {np.dtype(np.float32): float32, np.dtype(np.float64): float64}[plan.dtype][::1]
    device = SimpleNamespace(compute_capability=capability)
    with patch.object(dispatcher, "get_current_device", lambda: device):
        found, _ = cuda.compile(
            kernel.py_func, (array,) * tensors + (int64,) * numbers, device=False, fastmath=True, cc=capability, output="ptx",
            abi="numba",
        )  # fmt: skip
    return found if isinstance(found, str) else found.decode()


def machine_code(ptx: str, capability: tuple[int, int]) -> Code:
    """Compile PTX for a device, and read what `ptxas` says."""
    content = ptx.encode()
    handle = nvjitlink.create(2, [f"-arch=sm_{capability[0]}{capability[1]}", "-Xptxas=-v"])
    try:
        nvjitlink.add_data(handle, nvjitlink.InputType.PTX, content, len(content), "kernel")
        nvjitlink.complete(handle)
        log = bytearray(nvjitlink.get_info_log_size(handle))
        nvjitlink.get_info_log(handle, log)
    finally:
        nvjitlink.destroy(handle)
    said = log.decode()
    registers = re.search(r"Used (\d+) registers", said)
    spilled = re.findall(r"(\d+) bytes (?:stack frame|spill stores|spill loads)", said)
    assert registers, said
    assert spilled, said
    return Code(int(registers[1]), sum(map(int, spilled)))


def warps(code: Code, plan: Plan, device: Device) -> tuple[int, str]:
    """Warps on a multiprocessor, one for each block, and what limits them."""
    # Registers are given to a warp in units of 256.
    limits = {"registers": device.registers // (-(-code.registers * THREADS // 256) * 256), "blocks": device.blocks}
    if plan.shared:
        limits["shared memory"] = device.shared_memory // (plan.block_bytes + RESERVED_BYTES)
    limit = min(limits, key=lambda name: limits[name])
    return limits[limit], limit


def rows() -> Iterator[str]:
    """Lines of the table of machine code."""
    for case in CASES:
        for device in DEVICES:
            for what, plan in plans(case, device.shared_memory).items():
                code = machine_code(assembly(plan, device.capability), device.capability)
                count, limit = warps(code, plan, device)
                layers = f", {case.spec.depth} layers" if isinstance(case.spec, ArcCosineSpec) else ""
                kernel = f"{case.name}{layers}, {'x'.join(map(str, case.shape))}, {KINDS[case.kind]}"
                shared = plan.block_bytes / 1024 if plan.shared else 0
                cells = (kernel, what, device.name, code.registers, code.spilled, f"{shared:.1f}", count, limit)
                yield f"| {' | '.join(map(str, cells))} |"


def predictions() -> Iterator[str]:
    """Lines of the table of shortest times."""
    for device in DEVICES:
        plan = plans(CASES[0], device.shared_memory)["matrix"]
        work, pairs = Work.of_pair(32, 3), IMAGES * (IMAGES + 1) / 2
        # Columns near the borders of strips are computed twice.
        again = plan.work / sum(plan.grid(layer)[0] * plan.grid(layer)[1] for layer in range(plan.spec.depth))
        cycles = 1e9 * device.gigahertz * device.processors
        arithmetic = again * pairs * work.flops / (2 * LANES.get(device.capability, 128) * cycles)
        loads = again * pairs * work.loads / (LOADS * cycles)
        yield f"| {device.name} | {arithmetic:.1f} | {loads:.1f} | {max(arithmetic, loads):.1f} |"


def page() -> str:
    """The page of the documentation."""
    return f"""# Machine code of the CUDA kernels
Every kernel compiled for two devices with no GPU at hand, in float32: registers of a thread, bytes that it spills to memory or
keeps on a stack, shared memory of a block in KiB, and the warps that a multiprocessor holds at one time, with what limits
them. A block is one warp. Written by `python benchmarks/machine_code.py`; a test compiles them again and refuses spills.

| kernel | of | device | registers | spilled, bytes | shared, KiB | warps | limited by |
|---|---|---|---|---|---|---|---|
{chr(10).join(rows())}

## Predicted times
The shortest time in seconds of the CNTK of {IMAGES} images (3x32x32, three layers, one triangle) at the full rate of
multiplications and additions, and of loads and stores, counted as in `benchmarks/gpu.py`, with what strips compute twice. The
larger of the two is the prediction. It was written down before any GPU had run these kernels.

| device | arithmetic | loads and stores | prediction |
|---|---|---|---|
{chr(10).join(predictions())}
"""


if __name__ == "__main__":
    PAGE.write_text(page())
    print(PAGE)
