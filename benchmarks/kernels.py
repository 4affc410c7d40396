"""Speed and memory of the CPU backend, as ratios measured in one sitting; writes docs/benchmarks.md and its picture.

    python benchmarks/kernels.py --machine "two cores of ..."     everything, about five minutes
    python benchmarks/kernels.py --small                          a first look at a tenth of the size; writes nothing

All in float32 on images of 32 x 32 pixels in 3 channels with a kernel of depth 3. The Gram matrix is compared with
`nt.batch` on plain images at its fastest batch size; the patch-AGOP with the authors' procedure re-expressed on Neural
Tangents: for each output and batch of points, all patches are transformed and laid out, and one reverse pass gives the
gradients; their fastest batch counts too. Each is run once to compile and then repeated; the tables give the median and
the range of the repetitions. Each has a process of its own.
"""

import argparse
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from measuring import photographs, seconds

from convrfm.kernels import CNTK
from convrfm.kernels.backends import ArcCosineSpec
from convrfm.kernels.neural_tangents import expand_patches, kernel_function
from convrfm.numerics.patches import power, unfold

DEPTH, PATCH_SIZE, CHANNELS, SIDE, OUTPUTS = 3, 3, 3, 32, 10
BATCH_SIZES = (10, 20, 40, 80)
POINTS_PER_BATCH = (1, 5, 20)
DOCS = Path(__file__).parents[1] / "docs"

# Additions and multiplications for each pair and position: the arc-cosine step and, from the second layer on, window
# sums of two maps; a fused multiply-add counts as two. See convrfm.kernels.compiled.sweeps.
STEP_FLOPS = 36
WINDOW_FLOPS = 2 * 2 * (PATCH_SIZE - 1)


def images_of(n: int, side: int = SIDE) -> np.ndarray:
    """Random images."""
    return np.random.default_rng(0).random((n, CHANNELS, side, side), dtype=np.float32)


def their_gram(n: int) -> list[float]:
    """`nt.batch` on plain images: the times of the fastest batch size."""
    import neural_tangents as nt
    from neural_tangents import stax

    layers = []
    for _ in range(DEPTH):
        layers += [stax.Conv(1, (PATCH_SIZE, PATCH_SIZE), W_std=float(PATCH_SIZE), b_std=None), stax.ABRelu(0.0, 2.0**0.5)]
    kernel = stax.serial(*layers, stax.Flatten(), stax.Dense(1, W_std=1.0, b_std=None))[2]
    batch = images_of(n).transpose(0, 2, 3, 1)
    measured = []
    for size in (size for size in BATCH_SIZES if n % size == 0):
        batched = nt.batch(kernel, batch_size=size, device_count=0)
        measured.append(seconds(lambda batched=batched: np.asarray(batched(batch, None, "ntk")), 2))
    return min(measured, key=statistics.median)


def their_agop(n: int, points: int, outputs: int) -> list[float]:
    """The authors' procedure under a metric: the times of the fastest batch size."""
    import jax

    images, alpha, root = photographs(n, SIDE), coefficients(n, outputs), power(metric(), 0.5).astype(np.float32)
    kernel = kernel_function(ArcCosineSpec(DEPTH, PATCH_SIZE, tangent=True))
    patches = unfold(images, PATCH_SIZE)

    def output(batch: "jax.Array", train: "jax.Array", weights: "jax.Array") -> "jax.Array":
        expanded = [expand_patches(part @ root, CHANNELS, PATCH_SIZE) for part in (batch, train)]
        return (kernel(*expanded) @ weights).sum()

    gradient = jax.jit(jax.grad(output))

    def work(size: int) -> None:
        total = np.zeros((patches.shape[-1],) * 2)
        for start in range(0, points, size):
            for weights in alpha.T:
                found = np.asarray(gradient(patches[start : start + size], patches, weights)).reshape(-1, len(total))
                total += found.T @ found

    measured = [seconds(lambda size=size: work(size), 1) for size in POINTS_PER_BATCH if points % size == 0]
    return min(measured, key=statistics.median)


def our_gram(n: int, repetitions: int) -> list[float]:
    """Times of a Gram matrix."""
    images, kernel = images_of(n), CNTK(depth=DEPTH, patch_size=PATCH_SIZE)
    return seconds(lambda: kernel.gram(images), repetitions)


def our_agop(n: int, points: int, repetitions: int, learned: bool) -> list[float]:
    """Times of a patch-AGOP on photographs, under a metric or the identity."""
    pictures, alpha, kernel = photographs(n, SIDE), coefficients(n, OUTPUTS), CNTK(depth=DEPTH, patch_size=PATCH_SIZE)
    under = metric() if learned else None
    return seconds(lambda: kernel.patch_agop(pictures, pictures[:points], alpha, under), repetitions)


def metric(channels: int = CHANNELS) -> np.ndarray:
    """A random metric."""
    factor = np.random.default_rng(2).standard_normal((channels * PATCH_SIZE**2,) * 2)
    return factor @ factor.T


def coefficients(n: int, outputs: int) -> np.ndarray:
    """Coefficients of a predictor."""
    return np.random.default_rng(1).standard_normal((n, outputs)).astype(np.float32)


def alone(work: Callable[..., list[float]], *arguments: int) -> list[float]:
    """Run work in a process of its own, so that threads and memory of other work do not disturb it."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


def against_neural_tangents(n: int, points: int, repetitions: int) -> tuple[list[str], float]:
    """The two ratios, as rows of a table, and our time for the Gram matrix."""
    gram = alone(our_gram, n, repetitions)
    agop, first, everywhere = (
        alone(our_agop, n // 2, some, repetitions, learned)
        for some, learned in ((points, True), (points, False), (n // 2, True))
    )
    theirs = alone(their_agop, n // 2, points, OUTPUTS)
    rows = ["| work | ours, s | theirs, s | ratio |", "|---|---|---|---|"]
    for name, ours, other, note in (
        (f"Gram of {n} images", gram, alone(their_gram, n), ""),
        (f"patch-AGOP, {n // 2} photographs, {points} points, {OUTPUTS} outputs, a metric", agop, theirs, ""),
        ("the same in the first round, where the metric is the identity", first, theirs, ""),
        (
            f"patch-AGOP, {n // 2} photographs, all of them as points",
            everywhere,
            [t * (n // 2) / points for t in theirs],
            " (extrapolated)",
        ),
    ):
        mine, other_time = statistics.median(ours), statistics.median(other)
        spread = f"{min(ours):.3f}-{max(ours):.3f}"
        rows.append(f"| {name} | {mine:.3f} ({spread}) | {other_time:.2f}{note} | {other_time / mine:.0f} |")
    return rows, statistics.median(gram)


def outputs_rows(small: bool) -> list[str]:
    """Times of a patch-AGOP by the number of outputs, as a table; on features of 64 channels, as of a second layer."""
    counts, n = (10, 26, 43, 100), 40 if small else 400
    features, kernel = np.random.default_rng(3).random((n, 64, 26, 26), dtype=np.float32), CNTK(depth=2, patch_size=PATCH_SIZE)
    images = kernel.prepare(features, metric(64))
    points = images.take(slice(n // 5))
    measured = [seconds(lambda o=outputs: kernel.patch_agop(images, points, coefficients(n, o)), 3) for outputs in counts]
    medians = [f"{statistics.median(each):.2f} ({min(each):.2f}-{max(each):.2f})" for each in measured]
    return [f"| outputs | {' | '.join(map(str, counts))} |", "|---" * (len(counts) + 1) + "|", f"| s | {' | '.join(medians)} |"]


def flops(n: int) -> float:
    """Additions and multiplications of a Gram matrix of n images, one triangle."""
    pairs, margin = n * (n + 1) / 2, PATCH_SIZE - 1
    sides = [SIDE - (layer + 1) * margin for layer in range(DEPTH)]
    first = SIDE**2 * 2 * CHANNELS + sides[0] ** 2 * 2 * margin
    return pairs * (first + sum(side**2 * STEP_FLOPS for side in sides) + sum(side**2 for side in sides[1:]) * WINDOW_FLOPS)


def peak_flops() -> float:
    """Rate of a large matrix product in float32, which is near the machine's peak."""
    a = np.random.default_rng(0).random((3000, 3000), dtype=np.float32)
    return 2 * len(a) ** 3 / min(seconds(lambda: a @ a, 5))


def growth(small: bool) -> tuple[dict[int, float], dict[int, float]]:
    """Times of a Gram matrix by the number of images, and by their side."""
    kernel = CNTK(depth=DEPTH, patch_size=PATCH_SIZE)
    sizes, sides = ((50, 100, 200), (16, 32)) if small else ((200, 400, 800, 1600, 3200), (16, 24, 32, 48, 64))

    def measure(images: np.ndarray) -> float:
        return min(seconds(lambda: kernel.gram(images), 3))

    return {n: measure(images_of(n)) for n in sizes}, {side: measure(images_of(sizes[0], side)) for side in sides}


def peak_memory(n: int) -> int:
    """Bytes that a process takes at its peak for a Gram matrix of n images, beyond what it took before."""
    code = (
        "import numpy as np; from pathlib import Path; from convrfm.kernels import CNTK\n"
        "def memory(name):\n"
        "    lines = Path('/proc/self/status').read_text().splitlines()\n"
        "    return 1024 * int(next(line.split()[1] for line in lines if line.startswith(name)))\n"
        f"x = np.random.default_rng(0).random(({n}, {CHANNELS}, {SIDE}, {SIDE}), dtype=np.float32)\n"
        f"kernel = CNTK(depth={DEPTH}, patch_size={PATCH_SIZE}); kernel.gram(x[:20])\n"
        "Path('/proc/self/clear_refs').write_text('5')  # the peak starts again from here\n"
        "before = memory('VmRSS'); kernel.gram(x); print(memory('VmHWM') - before)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return int(done.stdout)


def memory_rows(counts: tuple[int, ...]) -> list[str]:
    """Peak memory by the number of images, with that of the matrix and of the patch-expanded images of the paper's route."""
    rows = ["| images | K, MiB | beyond K, MiB | patch-expanded images, MiB |", "|---|---|---|---|"]
    positions = (SIDE - PATCH_SIZE + 1) ** 2
    for n in counts:
        matrix, patches = 4 * n * n, 4 * n * positions * CHANNELS * PATCH_SIZE**2
        mib = [size / 2**20 for size in (matrix, peak_memory(n) - matrix, patches)]
        rows.append(f"| {n} | {mib[0]:.0f} | {mib[1]:.0f} | {mib[2]:.0f} |")
    return rows


def growth_rows(by_count: dict[int, float], by_side: dict[int, float]) -> list[str]:
    """Times as a table; each count is twice the one before."""
    rows = ["| images | s | times the one before | | side, pixels | s | µs a pair |", "|---|---|---|---|---|---|---|"]
    counts, sides = list(by_count), list(by_side)
    pairs = counts[0] * (counts[0] + 1) / 2
    for i in range(max(len(counts), len(sides))):
        left = right = ["", "", ""]
        if i < len(counts):
            factor = f"{by_count[counts[i]] / by_count[counts[i - 1]]:.2f}" if i > 0 else ""
            left = [str(counts[i]), f"{by_count[counts[i]]:.3f}", factor]
        if i < len(sides):
            time_taken = by_side[sides[i]]
            right = [str(sides[i]), f"{time_taken:.3f}", f"{time_taken / pairs * 1e6:.2f}"]
        rows.append(f"| {' | '.join([*left, '', *right])} |")
    return rows


def draw(by_count: dict[int, float], by_side: dict[int, float], path: Path) -> None:
    """Draw the two growths."""
    import matplotlib.pyplot as plt

    from convrfm.replication.figures.style import figure_style

    with figure_style():
        figure, axes = plt.subplots(1, 2, figsize=(7, 2.8), layout="constrained")
        for axis, times, label, power in (
            (axes[0], by_count, "images", 2),
            (axes[1], by_side, "side of the images, pixels", 2),
        ):
            sizes, values = np.array(list(times)), np.array(list(times.values()))
            axis.loglog(sizes, values, "o-", label="measured")
            axis.loglog(sizes, values[-1] * (sizes / sizes[-1]) ** power, "k:", label="slope 2")
            axis.set(xlabel=label, ylabel="Gram matrix, s", xticks=sizes, xticklabels=[str(size) for size in sizes])
            axis.minorticks_off()
            axis.legend(frameon=False)
        figure.savefig(path, dpi=150)


PAGE = """# Speed and memory of the kernels

Measured on {machine} by `python benchmarks/kernels.py`: images of 32 x 32 pixels in 3 channels, a CNTK of depth 3 with
3 x 3 patches, float32, after compilation. "Theirs" is Neural Tangents: `nt.batch` at its fastest batch size, and for the AGOP
the authors' procedure, a reverse pass for each output and point on patch-expanded images.

{ratios}

The Gram matrix runs at {rate:.0f} GFLOP/s, {share:.0%} of the {peak:.0f} GFLOP/s of a large matrix product, with
{pair:.0f} kFLOP for a pair (a square root counts as one). The computation is bound by arithmetic: the maps of a pair stay in
the first two caches, and only half of the operations are fused multiply-adds, which the peak assumes. A third of the time of
the AGOP is the product over images and outputs, which runs near the machine's peak.

A patch-AGOP of 400 images of 64 channels and 26 x 26 pixels at 80 points, under a metric, by the number of outputs (classes).
With many outputs it is computed from pairs of images, and no longer takes longer with more of them:

{outputs}

Growth, for one triangle of the matrix:

{growth}

![Growth](images/benchmarks.png)

Peak memory of a process, without the images:

{memory}
"""


def main() -> None:
    """Measure, print, and write the page."""
    parser = argparse.ArgumentParser(description="Speed and memory of the CPU backend.")
    parser.add_argument("--small", action="store_true", help="a tenth of the sizes; nothing is written")
    parser.add_argument("--machine", help="the machine in words; the page is written if it is given")
    parser.add_argument("--repetitions", type=int, default=15, help="repetitions of our backend")
    arguments = parser.parse_args()
    n, points = (40, 2) if arguments.small else (400, 20)
    ratios, ours = against_neural_tangents(n, points, arguments.repetitions)
    rate, peak = flops(n) / ours, peak_flops()
    by_count, by_side = growth(arguments.small)
    memory = memory_rows((200, 400) if arguments.small else (1000, 4000, 8000))
    text = PAGE.format(
        machine=arguments.machine or f"{os.cpu_count()} processors",
        ratios="\n".join(ratios),
        rate=rate / 1e9,
        share=rate / peak,
        peak=peak / 1e9,
        pair=flops(n) / (n * (n + 1) / 2) / 1e3,
        outputs="\n".join(outputs_rows(arguments.small)),
        growth="\n".join(growth_rows(by_count, by_side)),
        memory="\n".join(memory),
    )
    print(text)
    if arguments.machine and not arguments.small:
        (DOCS / "benchmarks.md").write_text(text)
        draw(by_count, by_side, DOCS / "images" / "benchmarks.png")


if __name__ == "__main__":
    main()
