"""Speed of the compiled backend against Neural Tangents on the same inputs, as ratios measured in one sitting.

    python benchmarks/kernels.py            the sizes of the table below
    python benchmarks/kernels.py --small    a tenth of them, for a first look

Both in float32. The Gram matrix is compared with `nt.batch` on plain images at the fastest batch
size; the patch-AGOP with the authors' procedure (patch-expanded images, one reverse pass for each output and point).
Each is run once to compile, then repeated; the table gives the median and the spread of the repetitions.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable

import numpy as np

from convrfm.kernels import CNTK
from convrfm.kernels.base import KernelSpec
from convrfm.kernels.neural_tangents import expand_patches, kernel_function
from convrfm.patches import unfold

DEPTH, PATCH_SIZE, OUTPUTS = 3, 3, 10
TILES = (10, 20, 40)


def seconds(work: Callable[[], object], repetitions: int) -> list[float]:
    """Wall times of some repetitions, after one that compiles."""
    work()
    times = []
    for _ in range(repetitions):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return times


def row(name: str, ours: list[float], theirs: list[float]) -> str:
    """One row of the Markdown table."""
    mine, other = statistics.median(ours), statistics.median(theirs)
    spread = f"{min(ours):.3f}-{max(ours):.3f}"
    return f"| {name} | {mine:.3f} ({spread}) | {other:.2f} | {other / mine:.0f}x |"


def their_gram(images: np.ndarray) -> list[float]:
    """`nt.batch` on plain images: the times of the fastest batch size."""
    import neural_tangents as nt
    from neural_tangents import stax

    layers = []
    for _ in range(DEPTH):
        layers += [
            stax.Conv(1, (PATCH_SIZE, PATCH_SIZE), W_std=float(PATCH_SIZE), b_std=None),
            stax.ABRelu(0.0, 2.0**0.5),
        ]
    kernel = stax.serial(*layers, stax.Flatten(), stax.Dense(1, W_std=1.0, b_std=None))[2]
    batch = images.transpose(0, 2, 3, 1)
    measured = []
    for tile in TILES:
        batched = nt.batch(kernel, batch_size=tile, device_count=0)
        measured.append(seconds(lambda batched=batched: np.asarray(batched(batch, None, "ntk")), 2))
    return min(measured, key=statistics.median)


def their_agop(images: np.ndarray, points: int, alpha: np.ndarray) -> list[float]:
    """The authors' procedure: expand images to patches, and differentiate each output at each point."""
    import jax

    kernel = kernel_function(KernelSpec(DEPTH, PATCH_SIZE, tangent=True))
    patches = unfold(images, PATCH_SIZE)
    train = jax.numpy.asarray(expand_patches(patches, images.shape[1], PATCH_SIZE))

    def output(point: "jax.Array", weights: "jax.Array") -> "jax.Array":
        return kernel(expand_patches(point[None], images.shape[1], PATCH_SIZE), train)[0] @ weights

    gradient = jax.jit(jax.grad(output))

    def work() -> None:
        total = np.zeros((patches.shape[-1],) * 2)
        for point in patches[:points]:
            for weights in alpha.T:
                found = np.asarray(gradient(point, weights)).reshape(-1, len(total))
                total += found.T @ found

    return seconds(work, 1)


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description="Speed of the compiled backend against Neural Tangents.")
    parser.add_argument("--small", action="store_true", help="a tenth of the images")
    parser.add_argument("--repetitions", type=int, default=5, help="repetitions of our backend")
    arguments = parser.parse_args()
    n, points = (40, 2) if arguments.small else (400, 20)
    rng = np.random.default_rng(0)
    images = rng.random((n, 3, 32, 32), dtype=np.float32)
    half, alpha = images[: n // 2], rng.standard_normal((n // 2, OUTPUTS)).astype(np.float32)
    kernel = CNTK(depth=DEPTH, patch_size=PATCH_SIZE)
    print(f"{os.cpu_count()} CPUs, 32x32x3 images, depth {DEPTH}, float32\n")
    print("| work | ours, s | theirs, s | ratio |\n|---|---|---|---|")
    ours = seconds(lambda: kernel.gram(images), arguments.repetitions)
    print(row(f"CNTK Gram, n = {n}", ours, their_gram(images)))
    ours = seconds(lambda: kernel.patch_agop(half, half[:points], alpha), arguments.repetitions)
    print(row(f"patch-AGOP, n = {n // 2}, {points} points, {OUTPUTS} outputs", ours, their_agop(half, points, alpha)))


if __name__ == "__main__":
    main()
