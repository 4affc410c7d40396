"""Correlations with a matrix that is known in independent parts, and how sure they are."""

from collections.abc import Sequence
from itertools import combinations_with_replacement
from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit

from convrfm.ansatz.filter_forms import Entries, Matrix, inner, squared_norm
from convrfm.errors import ProbeError

__all__ = ["BlockCorrelation", "Estimate", "jackknife", "leave_one_out", "without_error"]

LEVEL = 0.95
"""Of the intervals."""


class Estimate(NamedTuple):
    """A number with its standard error and 95 % interval; NaN where there is no way to tell."""

    value: float
    standard_error: float
    low: float
    high: float


def without_error(value: float) -> Estimate:
    """Give a number of which nobody can tell how sure it is."""
    return Estimate(value, float("nan"), float("nan"), float("nan"))


def jackknife(value: float, without: Sequence[float]) -> Estimate:
    """Give the delete-one jackknife of a number, from its values without each of the blocks (Efron 1982).

    The interval is Student's, with as many degrees of freedom as blocks less one.
    """
    blocks = len(without)
    if blocks < 2:
        return without_error(value)
    spread = np.asarray(without) - np.mean(without)
    error = float(np.sqrt((blocks - 1) / blocks * (spread**2).sum()))
    half = float(stdtrit(blocks - 1, (1 + LEVEL) / 2)) * error
    return Estimate(value, error, value - half, value + half)


def leave_one_out(counts: np.ndarray, *, noisy: bool) -> list[np.ndarray]:
    """Give, for each block that holds units, the indices of the others that do.

    There are none where blocks are too few for a jackknife: less than two, or less than three that are noisy, of which
    two have to remain.
    """
    present = np.flatnonzero(counts)
    least = 3 if noisy else 2
    return [np.delete(present, i) for i in range(len(present))] if len(present) >= least else []


class BlockCorrelation:
    """The correlation of a fixed matrix with the mean of a matrix that is given as sums over the units of blocks.

    Noise in the second matrix raises its norm, and so lowers a correlation. Where blocks are independent estimates of
    one matrix, inner products of *different* blocks are unbiased for its squared norm; all pairs are used.

    Args:
        fixed: the first matrix.
        blocks: sums over the units of each block.
        counts: the units of each block; blocks without any are left out.
        entries: which correlation.
        noisy: whether the blocks are noisy estimates of one matrix, rather than parts of a population.

    Raises:
        ProbeError: noisy blocks that are too few.
    """

    def __init__(
        self,
        fixed: Matrix,
        blocks: Sequence[Matrix],
        counts: np.ndarray,
        entries: Entries = "pearson",
        *,
        noisy: bool,
    ) -> None:
        self.noisy = noisy
        self.units = np.asarray(counts, np.float64)
        self.present = np.flatnonzero(self.units)
        if noisy and len(self.present) < 2:
            msg = "The noise of the probes can only be told from two blocks on: use more probes, or more blocks."
            raise ProbeError(msg)
        self._norm = squared_norm(fixed, entries)
        self._with_fixed = np.zeros(len(blocks))
        self._products = np.zeros((len(blocks), len(blocks)))
        numbers = self.present.tolist()
        for i in numbers:
            self._with_fixed[i] = inner(fixed, blocks[i], entries)
        for i, j in combinations_with_replacement(numbers, 2):
            self._products[i, j] = self._products[j, i] = inner(blocks[i], blocks[j], entries)

    def value(self, chosen: np.ndarray | None = None) -> float:
        """The correlation from some of the blocks, by index; from all by default.

        It is not clipped: noise may take an estimate beyond 1. NaN where a matrix is constant, as one that vanishes.

        Raises:
            ProbeError: noisy blocks whose squared norm is not positive.
        """
        chosen = self.present if chosen is None else chosen
        pairs = np.ix_(chosen, chosen)
        units = self.units[chosen]
        some, weights = self._products[pairs], np.outer(units, units)
        if self.noisy:
            apart = ~np.eye(len(chosen), dtype=bool)
            some, weights = some[apart], weights[apart]
        squared = some.sum() / weights.sum()
        if self.noisy and squared <= 0 and self._products[pairs].any():
            msg = "The noise of the probes is larger than the AGOP, so that its norm cannot be told: use more probes."
            raise ProbeError(msg)
        scale = np.sqrt(self._norm * max(squared, 0.0))
        return float(self._with_fixed[chosen].sum() / units.sum() / scale) if scale > 0 else float("nan")

    def estimate(self) -> Estimate:
        """The correlation from all blocks, with its delete-one-block jackknife.

        Raises:
            ProbeError: see `value`.
        """
        return jackknife(self.value(), [self.value(rest) for rest in leave_one_out(self.units, noisy=self.noisy)])
