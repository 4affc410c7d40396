"""What fits of ConvRFM and Deep ConvRFM take at their peak, and what is estimated; writes docs/benchmarks_memory.md.

python benchmarks/memory.py --machine "two cores of ..."     about twenty minutes
python benchmarks/memory.py --small                          up to 1000 images; writes nothing
"""

import argparse
import multiprocessing
import os
import re
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from convrfm.replication.cluster.fits import fit_bytes
from convrfm.replication.config.costs import PROGRAM
from convrfm.replication.jobs.fits import task_choices, task_data, task_kernel
from convrfm.replication.jobs.task_images import TaskImages
from convrfm.replication.runs.fits import TaskFit
from convrfm.rfm.deep import fit_stages

CLASSES = 10

T = TypeVar("T")


@dataclass(frozen=True)
class Case:
    """One fit."""

    n_train: int
    n_test: int
    shape: tuple[int, int, int]
    stages: int = 1
    filters: int = 16
    ridges: int = 1
    protocol: str = "corrected"

    @property
    def settings(self) -> dict[str, Any]:
        """As a job of the workflow has them."""
        section = {
            "rounds": 3, "stages": self.stages, "filters": self.filters,
            "ridges": [1e-5, 1e-4, 1e-3][: self.ridges],
        }  # fmt: skip
        fixed = {"depth": 3, "patch_size": 3, "backend": "cpu", "memory_mb": None, "changes": {}}
        return {**fixed, "protocol": self.protocol, "rfm": section}


DIGITS, COLOUR, BARS, FRAMED = (1, 28, 28), (3, 32, 32), (1, 16, 32), (1, 42, 42)

CASES = (
    Case(500, 500, DIGITS),
    Case(500, 500, DIGITS, stages=2, filters=64, protocol="published"),
    Case(500, 500, BARS, stages=3, filters=64, ridges=3),
    Case(1000, 1000, DIGITS, protocol="published"),
    Case(1000, 1000, DIGITS, stages=2),
    Case(2000, 2000, COLOUR, ridges=3, protocol="published"),
    Case(4000, 1000, BARS, ridges=3, protocol="published"),
    Case(4000, 4000, FRAMED, protocol="published"),
)
"""The last one is noisy MNIST at the size of the authors' printed numbers."""

PAGE = Path(__file__).parents[1] / "docs/benchmarks_memory.md"


def images(n: int, shape: tuple[int, int, int]) -> np.ndarray:
    """Noise `(n, *shape)` float32."""
    return np.random.default_rng(0).standard_normal((n, *shape), np.float32)


def fit(case: Case, n_train: int, n_test: int) -> None:
    """Run a fit of this many images."""
    given = TaskFit(task="bars", sigma=1.0, seed=0, n_train=n_train, n_test=n_test, **case.settings)
    settings, deep = task_choices(given)
    labels = [np.arange(n) % CLASSES for n in (n_train, n_test)]
    parts = TaskImages(images(n_train, case.shape), labels[0], images(n_test, case.shape), labels[1], CLASSES, "noise")
    rng = np.random.default_rng(0)
    fit_stages(task_kernel(given), task_data(parts, settings.selection, 0), settings, deep, rng)


def status(name: str) -> int:
    """A size in bytes that the system keeps of this process."""
    found = re.search(rf"^{name}:\s*(\d+) kB", Path("/proc/self/status").read_text(encoding="utf-8"), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


def peak_of(work: Callable[[], T]) -> tuple[int, int, T]:
    """Bytes that this process holds, those that work takes on top at its peak, and what it gives."""
    held = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # the peak starts from here
    result = work()
    return held, status("VmHWM") - held, result


def measure(case: Case) -> tuple[int, int]:
    """Bytes of the program once it is compiled, and those that a fit takes on top at its peak."""
    fit(case, 40, 20)
    return peak_of(lambda: fit(case, case.n_train, case.n_test))[:2]


def alone(case: Case) -> tuple[int, int]:
    """The same in a process of its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measure, case).result()


def estimate(case: Case) -> int:
    """Bytes that the workflow expects a fit to take beside the program."""
    return fit_bytes(case.settings, case.n_train, case.n_test, case.shape)


def row(case: Case, peak: int) -> str:
    """One line of the table."""
    measured, expected = (round(size / 2**20) for size in (peak, estimate(case)))
    sizes = f"{case.n_train}, {case.n_test} | {'x'.join(map(str, case.shape))} | {case.stages} | {case.filters} | {case.ridges}"
    return f"| {sizes} | {case.protocol} | {measured} | {expected} | {expected / measured:.2f} |"


def page(rows: list[str], program: int, machine: str) -> str:
    """The page of the documentation."""
    return f"""# Memory of fits
Before a fit of the kernels starts, its job checks that enough memory is free. Its rule requests the same amount from a
scheduler, plus {PROGRAM} MiB for the program. Both use the same estimate (`convrfm.replication.cluster.fits`), which follows
the steps of a fit. The table compares it with the peak of real fits to noise, including the images. Each fit ran in a separate
process; not counted are the {program / 2**20:.0f} MiB of the process after loading its libraries and compiling its kernels.
CNTK of depth 3, patches of 3x3 pixels, float32, three rounds. Written by `python benchmarks/memory.py`, on {machine}.

| training, test images | image | stages | filters | ridges | protocol | peak, MiB | estimate, MiB | ratio |
|---|---|---|---|---|---|---|---|---|
{chr(10).join(rows)}

- `corrected` holds out a validation part and takes the AGOP over all fitted images; `published` does neither.
- The kernels use up to `memory_mb` in addition to their results, or 896 MiB if it is null. For small fits this is most of the
memory.
- The solver is counted as if the kernel matrix were not positive definite, which needs another copy of it. Most fits do not;
  with many images they stay below the estimate by a quarter.
- The estimate is for the backend `cpu`.

## Free memory
The smallest of:

- the free memory of the machine;
- the remainder of each control group of the process, up to the highest visible one, in version 1 and 2;
- the remainder of `ulimit -v` and `ulimit -d`.

File pages that the kernel would drop first count as free; swap does not. See `convrfm.system.machine`. If memory does not
suffice, the fit stops before it starts, and names the limit.
"""


def main() -> None:
    """Measure all cases, and write the page."""
    parser = argparse.ArgumentParser(description="Memory of fits, measured and estimated.")
    parser.add_argument("--small", action="store_true", help="cases of up to 1000 images; nothing is written")
    parser.add_argument("--machine", default=f"{os.cpu_count()} processors", help="the machine in words")
    arguments = parser.parse_args()
    rows, programs = [], []
    for case in CASES:
        if arguments.small and case.n_train > 1000:
            continue
        program, peak = alone(case)
        programs.append(program)
        rows.append(row(case, peak))
        print(rows[-1], flush=True)
    if not arguments.small:
        PAGE.write_text(page(rows, max(programs), arguments.machine))


if __name__ == "__main__":
    main()
