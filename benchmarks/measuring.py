"""What the benchmarks share: natural images, and a clock."""

import time
from collections.abc import Callable
from typing import TypeVar

import numpy as np
from sklearn.datasets import load_sample_images

__all__ = ["photographs", "seconds", "timed"]

T = TypeVar("T")


def photographs(n: int, side: int) -> np.ndarray:
    """Crops of scikit-learn's two photographs, `(n, 3, side, side)` float32 in [0, 1]."""
    pictures, rng = load_sample_images().images, np.random.default_rng(0)
    crops = []
    for index in range(n):
        picture = pictures[index % 2]
        row, column = (rng.integers(size - side) for size in picture.shape[:2])
        crops.append(picture[row : row + side, column : column + side].transpose(2, 0, 1))
    return np.stack(crops).astype(np.float32) / 255


def timed(work: Callable[[], T]) -> tuple[float, T]:
    """Wall time of one call in seconds, and what it gave."""
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def seconds(work: Callable[[], object], repetitions: int) -> list[float]:
    """Wall times of some repetitions, after one that compiles."""
    work()
    return [timed(work)[0] for _ in range(repetitions)]
