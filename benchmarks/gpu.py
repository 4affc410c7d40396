"""Speed of the CUDA backend: the CNTK's kernel matrix on synthetic images of the shape of CIFAR10, n doubling.

    python benchmarks/gpu.py            up to n = 50 000 in float32, and the rival
    python benchmarks/gpu.py --small    some images, for a first look; Numba's simulator can do this one

The arithmetic of a pair is counted from the formulas (`Work`), a fused multiply-add as two; the share of the peak is that
count over the time and over what the multiprocessors can do at their clock. Loads and stores are counted too: whichever of
the two would take longer at full rate is named as what binds. Times include preparation, copies and the placing of tiles in
the result, and are the best of the repetitions after one small problem that compiles. The rival is the same recursion in
PyTorch under `torch.compile`, on tiles that fit into memory, with one triangle computed likewise.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from measuring import timed

from convrfm.errors import ConfigError
from convrfm.kernels import CNTK
from convrfm.kernels.compiled.simd import arccos_coefficients, kappa1_coefficients

PATCH_SIZE, CHANNELS = 3, 3
RIVAL_SIDE = 128
LANES = {(8, 0): 64}
"""Additions of float32 that a multiprocessor starts in each cycle, by compute capability; 128 elsewhere."""
LOADS = 32
"""Loads or stores that a multiprocessor starts in each cycle."""


@dataclass(frozen=True)
class Work:
    """What one pair of images costs.

    Attributes:
        flops: additions and multiplications; square roots and quotients count as one.
        loads: numbers loaded or stored, from whatever memory.
    """

    flops: int
    loads: int

    @classmethod
    def of_pair(cls, size: int, depth: int) -> "Work":
        """Count for images of size x size pixels."""
        q = PATCH_SIZE
        # Two polynomials by Horner's rule, and what leads from s and T to k and k + Theta.
        angle = 2 * (len(arccos_coefficients(32)) + len(kappa1_coefficients(32)) - 2) + 16
        flops, loads = 2 * CHANNELS * size**2, (2 * CHANNELS + q) * size**2
        for layer in range(depth):
            positions = (size - (layer + 1) * (q - 1)) ** 2
            sums, kept = (1 if layer == 0 else 2), (2 if layer < depth - 1 else 0)
            flops += positions * (angle + sums * 2 * (q - 1))
            loads += positions * (2 + kept + (2 * q if layer > 0 else 0))
        return cls(flops, loads)


def best_time(work: Callable[[], object], repetitions: int) -> float:
    """Seconds of the fastest repetition."""
    return min(timed(work)[0] for _ in range(repetitions))


def rates() -> tuple[float, float] | None:
    """Additions and multiplications, and loads and stores, per second at the most; None in the simulator."""
    from numba import cuda

    from convrfm.kernels.gpu.launch import SIMULATED

    if SIMULATED:
        return None
    device = cuda.get_current_device()
    cycles = device.MULTIPROCESSOR_COUNT * device.CLOCK_RATE * 1e3
    return 2 * LANES.get(tuple(device.compute_capability), 128) * cycles, LOADS * cycles


def box(maps: torch.Tensor) -> torch.Tensor:
    """Sums over q x q windows of the last two axes."""
    height, width = (length - PATCH_SIZE + 1 for length in maps.shape[-2:])
    rows = sum(maps[..., i : i + height, :] for i in range(PATCH_SIZE))
    return sum(rows[..., j : j + width] for j in range(PATCH_SIZE))


def rival_tile(x: torch.Tensor, z: torch.Tensor, depth: int) -> torch.Tensor:
    """The recursion of `convrfm.kernels.base` on a tile, `(n, m)`."""
    k, theta = torch.einsum("nchw,mchw->nmhw", x, z) / CHANNELS, None
    k_x, k_z = ((side * side).sum(1) / CHANNELS for side in (x, z))
    for _ in range(depth):
        k, k_x, k_z = box(k), box(k_x), box(k_z)
        tangent = k if theta is None else k + box(theta)
        norm = (k_x[:, None] * k_z[None]).sqrt()
        r = (k / norm).clamp(-1, 1)
        kappa0 = 1 - torch.arccos(r) / torch.pi
        k, theta = norm * (r * kappa0 + (1 - r * r).sqrt() / torch.pi), kappa0 * tangent
    return (k + theta).mean((2, 3))


def rival(images: np.ndarray, depth: int, *, compiled: bool) -> Callable[[], np.ndarray]:
    """The kernel matrix by `rival_tile`, one triangle of tiles."""
    device = "cuda" if compiled else "cpu"
    tile = torch.compile(rival_tile) if compiled else rival_tile
    x = torch.from_numpy(images).to(device)

    def gram() -> np.ndarray:
        out = torch.empty((len(x), len(x)), device=device)
        for i in range(0, len(x), RIVAL_SIDE):
            for j in range(i, len(x), RIVAL_SIDE):
                rows, columns = slice(i, i + RIVAL_SIDE), slice(j, j + RIVAL_SIDE)
                entries = tile(x[rows], x[columns], depth)
                out[rows, columns] = entries
                out[columns, rows] = entries.T
        return out.cpu().numpy()

    return gram


def report(n: int, seconds: float, work: Work, most: tuple[float, float] | None) -> str:
    """One row of the Markdown table."""
    pairs = n * (n + 1) / 2
    if most is None:
        return f"| {n} | {seconds:.2f} | {pairs / seconds:.3g} | - | - | - |"
    arithmetic, loads = (pairs * count / seconds / rate for count, rate in zip((work.flops, work.loads), most, strict=True))
    binds = "arithmetic" if arithmetic > loads else "loads and stores"
    return f"| {n} | {seconds:.2f} | {pairs / seconds:.3g} | {arithmetic:.0%} | {loads:.0%} | {binds} |"


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description="Speed of the CUDA backend.")
    parser.add_argument("--small", action="store_true", help="few images; and in the simulator, small ones")
    parser.add_argument("--most", type=int, default=50_000, help="the largest number of images")
    parser.add_argument("--repetitions", type=int, default=3)
    arguments = parser.parse_args()
    try:
        CNTK(backend="cuda")
    except ConfigError as error:
        print(error)
        return
    most = rates()
    size, depth, largest = (32, 3, 2000 if arguments.small else arguments.most) if most else (6, 2, 8)
    images = np.random.default_rng(0).random((largest, CHANNELS, size, size), dtype=np.float32)
    kernel, work = CNTK(depth=depth, patch_size=PATCH_SIZE, backend="cuda"), Work.of_pair(size, depth)
    print(
        f"{size}x{size}x{CHANNELS} images, depth {depth}, float32; a pair: {work.flops} flops, {work.loads} loads and stores\n"
    )
    print("| n | s | pairs/s | arithmetic, share of the peak | loads and stores | binds |\n|---|---|---|---|---|---|")
    kernel.gram(images[:8])
    for halvings in range(4 if largest >= 16 else 1, -1, -1):
        n = largest >> halvings
        print(report(n, best_time(lambda n=n: kernel.gram(images[:n]), arguments.repetitions), work, most), flush=True)
    n = min(largest, 2048)
    theirs = rival(images[:n], depth, compiled=most is not None)
    ours, other = kernel.gram(images[:n]), theirs()
    seconds = [best_time(gram, arguments.repetitions) for gram in (lambda: kernel.gram(images[:n]), theirs)]
    off_diagonal = ~np.eye(n, dtype=bool)
    error = np.abs(ours - other)[off_diagonal].max() / other.max()
    print(f"\ntorch.compile, n = {n}: {seconds[1]:.3f} s against {seconds[0]:.3f} s, {seconds[1] / seconds[0]:.1f} times")
    print(f"largest difference off the diagonal: {error:.1e} of the largest entry")


if __name__ == "__main__":
    main()
