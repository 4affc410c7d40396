"""Speed of the kernel backends against Neural Tangents on the same inputs, as ratios measured in one sitting.

    python benchmarks/kernels.py            the sizes of the table below
    python benchmarks/kernels.py --small    a tenth of them, for a first look

The Gram matrix is compared with Neural Tangents at its own pace (one call on batches), the patch-AGOP with the authors'
procedure (patch-expanded images, one reverse pass for each output and point). Each is run once to compile, then repeated;
the table gives the median and the spread of the repetitions.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable

import numpy as np

from convrfm.kernels import CNTK
from convrfm.kernels.neural_tangents import PAIRS_PER_CALL


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


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description="Speed of the kernel backends against Neural Tangents.")
    parser.add_argument("--small", action="store_true", help="a tenth of the images")
    parser.add_argument("--repetitions", type=int, default=5, help="repetitions of our backend")
    arguments = parser.parse_args()
    n, points = (40, 2) if arguments.small else (400, 20)
    rng = np.random.default_rng(0)
    images = rng.random((n, 3, 32, 32), dtype=np.float32)
    alpha = rng.standard_normal((n, 10)).astype(np.float32)
    ours, theirs = CNTK(depth=3, patch_size=3), CNTK(depth=3, patch_size=3, backend="neural-tangents")
    print(f"{os.cpu_count()} CPUs, float32 against Neural Tangents in float64, batches of {PAIRS_PER_CALL} pairs\n")
    print("| work | ours, s | theirs, s | ratio |\n|---|---|---|---|")
    gram = seconds(lambda: ours.gram(images), arguments.repetitions), seconds(lambda: theirs.gram(images), 1)
    print(row(f"CNTK Gram, 32x32x3, L = 3, n = {n}", *gram))
    half = images[: n // 2]
    agop = (
        seconds(lambda: ours.patch_agop(half, half[:points], alpha[: n // 2]), arguments.repetitions),
        seconds(lambda: theirs.patch_agop(half, half[:points], alpha[: n // 2]), 1),
    )
    print(row(f"patch-AGOP, n = {n // 2}, {points} points, 10 outputs", *agop))


if __name__ == "__main__":
    main()
