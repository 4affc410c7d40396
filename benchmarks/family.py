"""What padding, strides, other activations and pooling cost; writes docs/benchmarks_family.md.

python benchmarks/family.py --machine "two cores of ..."     about three minutes
python benchmarks/family.py --small                          a few pairs; writes nothing

On one core, in seconds of the CPU: on a shared machine, those on the clock say little.
"""

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from convrfm.kernels import CNTK

SIDE, OUTPUTS, REPETITIONS = 16, 10, 3

CASES: dict[str, tuple[int, dict[str, Any]]] = {
    "the paper's network, backend cpu": (SIDE, {"backend": "cpu"}),
    "the same, backend torch": (SIDE, {"backend": "torch"}),
    "the same, backend neural-tangents": (SIDE, {"backend": "neural-tangents"}),
    '`padding="zeros"`': (SIDE, {"padding": "zeros"}),
    '`padding="circular"`': (SIDE, {"padding": "circular"}),
    '`stride=(1, 2, 2)`, `padding="zeros"`': (SIDE, {"stride": (1, 2, 2), "padding": "zeros"}),
    '`activation="erf"`': (SIDE, {"activation": "erf"}),
    '`activation="gelu"`': (SIDE, {"activation": "gelu"}),
    '`pooling=2`, 8x8 pixels, `padding="zeros"`': (8, {"pooling": 2, "padding": "zeros"}),
    '`pooling="global"`, 8x8 pixels, `padding="zeros"`': (8, {"pooling": "global", "padding": "zeros"}),
}
"""Side of the images, and options of the kernel."""

PAGE = Path(__file__).parents[1] / "docs/benchmarks_family.md"


def microseconds(side: int, options: dict[str, Any], n: int) -> tuple[float, float]:
    """CPU time of a pair of images in a kernel matrix, and in the patch-AGOP of all outputs."""
    kernel, rng = CNTK(depth=3, **options), np.random.default_rng(0)
    images, alpha = rng.standard_normal((n, 3, side, side)), rng.standard_normal((n, OUTPUTS))
    few = images[: n // 4]
    kernel.gram(few, images)  # compiles
    kernel.patch_agop(images, few[:1], alpha)

    def best(work: Callable[[], object]) -> float:
        times = []
        for _ in range(REPETITIONS):
            start = time.process_time()
            work()
            times.append(time.process_time() - start)
        return 1e6 * min(times) / (len(few) * n)

    return best(lambda: kernel.gram(few, images)), best(lambda: kernel.patch_agop(images, few, alpha))


def page(rows: list[str], machine: str) -> str:
    """The page of the documentation."""
    return f"""# Other networks of the family
CPU time of one core for a pair of images: in a kernel matrix, and in a patch-AGOP of {OUTPUTS} outputs. CNTK of depth 3,
patches of 3x3 pixels, images of {SIDE}x{SIDE} pixels in 3 channels unless said otherwise, float64. All are exact: they agree
with Neural Tangents to the tolerances of the tests. Written by `python benchmarks/family.py`, on {machine}.

| kernel | matrix, µs | AGOP, µs |
|---|---|---|
{chr(10).join(rows)}

Only the paper's network has compiled code. The backend `torch` holds arrays over all pairs of images and positions; average
pooling needs all pairs of positions, 4096 of them for 8x8 pixels. On a GPU, `torch` computes there.
"""


def main() -> None:
    """Measure all cases, and write the page."""
    parser = argparse.ArgumentParser(description="Kernels of other networks, measured.")
    parser.add_argument("--small", action="store_true", help="a few pairs; nothing is written")
    parser.add_argument("--machine", default=f"{os.cpu_count()} processors", help="the machine in words")
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    rows = []
    for name, (side, options) in CASES.items():
        gram, agop = microseconds(side, options, 8 if arguments.small else 32)
        rows.append(f"| {name} | {gram:.3g} | {agop:.3g} |")
        print(rows[-1], flush=True)
    if not arguments.small:
        PAGE.write_text(page(rows, arguments.machine), encoding="utf-8")


if __name__ == "__main__":
    main()
