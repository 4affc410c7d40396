"""Ridge regression on many images: time, memory and accuracy of the three solvers; writes docs/benchmarks_large_n.md.

python benchmarks/large_n.py --data data --machine "two cores of ..."     noisy MNIST, about an hour
python benchmarks/large_n.py --small                                      noisy bars, a minute; writes nothing

Seconds are those of the CPU, of all cores together: on a shared machine, those on the clock say little.
"""

import argparse
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from memory import peak_of
from torchvision.datasets import MNIST

from convrfm.datasets.local_signal import TASKS, noisy_bars, noisy_digits
from convrfm.kernels import CNTK
from convrfm.numerics.inputs import one_hot
from convrfm.rfm.nystroem import KernelPart, solve_nystroem, solve_pcg
from convrfm.rfm.ridge import RidgeSolution, accuracy, solve_ridge
from convrfm.rfm.rounds import RFMSettings, StageData, fit_rounds

SIZES, LANDMARKS, TESTED = (2500, 5000, 10_000, 20_000), 2000, 2000
RIDGE, SIGMA = 1e-5, 1.0
PAGE = Path(__file__).parents[1] / "docs/benchmarks_large_n.md"

T = TypeVar("T")


@dataclass(frozen=True)
class Cost:
    """What some work takes: seconds of the CPU, and MiB on top of what the process held before, at the peak."""

    seconds: float
    peak: float


def measured(work: Callable[[], T]) -> tuple[Cost, T]:
    """What work takes, and what it gives."""
    before = time.process_time()
    _, on_top, result = peak_of(work)
    return Cost(time.process_time() - before, on_top / 2**20), result


def task(folder: Path | None, n: int) -> StageData:
    """A task of n training images: noisy MNIST, or noisy bars without a folder of data."""
    if folder is None:
        draw, std, classes = noisy_bars(n, TESTED, seed=0), TASKS["bars"](SIGMA), 2
    else:
        sets = (MNIST(str(folder / "mnist"), train=train) for train in (True, False))
        train, test = ((split.data.numpy().astype(np.float32) / 255, split.targets.numpy()) for split in sets)
        chosen = np.random.default_rng(0).permutation(len(train[0]))[:n]
        draw = noisy_digits((train[0][chosen], train[1][chosen]), (test[0][:TESTED], test[1][:TESTED]), seed=0)
        std, classes = TASKS["noisy-mnist"](SIGMA), 10
    train_part, test_part = draw.train, draw.test
    return StageData(
        train_part.images(std), train_part.labels, classes, np.arange(n), test_part.images(std), test_part.labels
    )  # fmt: skip


def compare(data: StageData) -> list[str]:
    """Lines of the table, one for each solver."""
    kernel, n, m = CNTK(depth=3), len(data.train), min(LANDMARKS, len(data.train))
    targets = one_hot(data.labels, data.classes)
    landmarks = data.with_landmarks(RFMSettings(solver="nystroem", landmarks=m), np.random.default_rng(0)).landmarks
    all_entries, gram = measured(lambda: kernel.gram(data.train))
    some_entries, columns = measured(lambda: kernel.gram(data.train, data.train[landmarks]))
    of_test = kernel.gram(data.test, data.train)
    scale = float(gram.max())
    of_test /= scale
    part = KernelPart(gram, np.arange(n), np.arange(n), scale)
    solvers: dict[str, tuple[Cost, Callable[[], RidgeSolution], np.ndarray]] = {
        "cholesky": (all_entries, lambda: solve_ridge(gram / scale, targets, RIDGE), of_test),
        "pcg": (all_entries, lambda: solve_pcg(part, targets, RIDGE), of_test),
        "nystroem": (
            some_entries, lambda: solve_nystroem(columns / scale, columns[landmarks] / scale, targets, RIDGE),
            of_test[:, landmarks],
        ),
    }  # fmt: skip
    rows, exact = [], None
    for name, (entries, solve, matrix) in solvers.items():
        cost, solution = measured(solve)
        outputs = matrix @ solution.alpha
        exact = outputs if exact is None else exact
        rows.append(
            f"| {n} | {name} | {entries.seconds:.0f} | {cost.seconds:.1f} | {cost.peak:.0f} | {solution.residual:.0e} | "
            f"{np.abs(outputs - exact).max():.0e} | {100 * accuracy(outputs, data.test_labels):.1f} |"
        )
        print(rows[-1], flush=True)
    return rows


def whole_fit(data: StageData) -> str:
    """A line on a fit of four rounds with landmarks."""
    settings = RFMSettings(
        rounds=4, ridges=(RIDGE,), selection="test", agop_samples=20, agop_draw="first", solver="nystroem", landmarks=LANDMARKS
    )
    cost, result = measured(lambda: fit_rounds(CNTK(depth=3), data, settings, np.random.default_rng(0), show=True))
    accuracies = ", ".join(f"{100 * value:.1f}" for value in result.history["test_accuracy"])
    return (
        f"ConvRFM with {LANDMARKS} landmarks on {len(data.train)} images, four rounds: {cost.seconds:.0f} s,\n"
        f"{cost.peak:.0f} MiB with the images prepared; test accuracy round by round {accuracies} %."
    )


def page(rows: list[str], fit: str, machine: str) -> str:
    """The page of the documentation."""
    return f"""# Many images
The three solvers of [many images](estimators.md#many-images) on noisy MNIST, sigma {SIGMA:g} (images of 42x42 pixels), round 0:
CNTK of depth 3, float32, ridge {RIDGE:g}, {LANDMARKS} landmarks, {TESTED} test images. "Entries" are those of the kernel that a
solver needs. Seconds are of the CPU, all cores together; memory is on top of the entries. The difference is the largest of the
outputs on test images from those of `cholesky`, which for `pcg` is the rounding of a kernel matrix divided in float32.
Written by `python benchmarks/large_n.py`, on {machine}.

| images | solver | entries, s | solution, s | its peak, MiB | residual | difference | accuracy, % |
|---|---|---|---|---|---|---|---|
{chr(10).join(rows)}

{fit}
"""


def main() -> None:
    """Measure, and write the page."""
    parser = argparse.ArgumentParser(description="Ridge regression on many images, measured.")
    parser.add_argument("--data", type=Path, help="the data_dir that has MNIST")
    parser.add_argument("--small", action="store_true", help="noisy bars; nothing is written")
    parser.add_argument("--machine", default=f"{os.cpu_count()} processors", help="the machine in words")
    arguments = parser.parse_args()
    if arguments.small == (arguments.data is not None):
        parser.error("either --data or --small")
    CNTK(depth=3).gram(task(None, 40).train)  # compiles
    sizes = (500, 1000) if arguments.small else SIZES
    rows = [row for n in sizes for row in compare(task(arguments.data, n))]
    fit = whole_fit(task(arguments.data, sizes[-1]))
    print(fit)
    if not arguments.small:
        PAGE.write_text(page(rows, fit, arguments.machine), encoding="utf-8")


if __name__ == "__main__":
    main()
