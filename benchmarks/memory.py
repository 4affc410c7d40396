"""What fits of ConvRFM and Deep ConvRFM take at their peak, and what is estimated; writes docs/benchmarks_memory.md.

    python benchmarks/memory.py            about ten minutes on two cores
    python benchmarks/memory.py --small    the smallest cases; prints and writes nothing
"""

import argparse
import multiprocessing
import os
import re
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from convrfm.deep_rfm import fit_stages
from convrfm.pipeline.fit_memory import fit_bytes
from convrfm.pipeline.fits import task_choices, task_data, task_kernel
from convrfm.pipeline.task_images import TaskImages

CLASSES = 10


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
    rounds: int = 3

    @property
    def settings(self) -> dict[str, Any]:
        """As a job of the workflow has them."""
        section = {
            "rounds": self.rounds, "stages": self.stages, "filters": self.filters,
            "ridges": [1e-5, 1e-4, 1e-3][: self.ridges],
        }  # fmt: skip
        fixed = {"depth": 3, "patch_size": 3, "backend": "cpu", "memory_mb": None, "changes": {}}
        return {**fixed, "protocol": self.protocol, "rfm": section}


DIGITS, COLOUR, BARS, FRAMED = (1, 28, 28), (3, 32, 32), (1, 16, 32), (1, 42, 42)


def images(n: int, shape: tuple[int, int, int]) -> np.ndarray:
    """Noise `(n, *shape)` float32."""
    return np.random.default_rng(0).standard_normal((n, *shape), np.float32)


def fit(case: Case, n_train: int, n_test: int) -> None:
    """Run a fit of this many images."""
    settings, deep = task_choices(case.settings)
    labels = [np.arange(n) % CLASSES for n in (n_train, n_test)]
    parts = TaskImages(images(n_train, case.shape), labels[0], images(n_test, case.shape), labels[1], CLASSES, "noise")
    rng = np.random.default_rng(0)
    fit_stages(task_kernel(case.settings), task_data(parts, settings.selection, 0), settings, deep, rng)


def status(name: str) -> int:
    """A size in bytes that the system keeps of this process."""
    found = re.search(rf"^{name}:\s*(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


def measure(case: Case) -> tuple[int, int]:
    """Bytes of the program once it is compiled, and those that a fit takes on top at its peak."""
    fit(case, 40, 20)
    program = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts from here
    fit(case, case.n_train, case.n_test)
    return program, status("VmHWM") - program


def alone(case: Case) -> tuple[int, int]:
    """The same in a process of its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measure, case).result()
