"""What spot checks share: how a difference is judged."""

import numpy as np

from convrfm.audit.outcome import SpotCheck

__all__ = ["TABLE_TOLERANCE", "WRONG", "deviation_of", "judged", "largest"]

TABLE_TOLERANCE = 1e-9
"""Largest difference of a cell of a table from the same number computed from stored arrays."""

WRONG = float(np.finfo(np.float64).max)
"""The deviation of what is no number, or cannot be computed: JSON has no infinity."""


def deviation_of(found: np.ndarray, expected: np.ndarray) -> float:
    """Largest difference relative to the largest expected entry; `WRONG` where one is no number, or shapes differ."""
    if np.shape(found) != np.shape(expected):
        return WRONG
    scale = np.abs(expected).max()
    difference = np.abs(np.asarray(found, np.float64) - expected).max() / (scale if scale > 0 else 1.0)
    return float(difference) if np.isfinite(difference) else WRONG


def largest(*differences: float) -> float:
    """The largest of differences, 0 without any; `WRONG` where one is no number, which `max` may pass over."""
    found = np.max(np.abs([0.0, *differences]))
    return float(found) if np.isfinite(found) else WRONG


def judged(file: str, what: str, entries: int, deviation: float, tolerance: float) -> SpotCheck:
    """A spot check that holds where the deviation is a number and within the tolerance."""
    known = deviation if np.isfinite(deviation) else WRONG
    return SpotCheck(file, what, entries, known, tolerance, known <= tolerance)
