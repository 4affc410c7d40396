"""Correlations with a matrix that is known in independent parts, and how sure they are."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit

from convrfm.errors import ProbeError
from convrfm.filter_forms import Entries, Matrix, inner, squared_norm

__all__ = ["Estimate", "correlation_of_blocks", "jackknife", "without_error"]

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


def correlation_of_blocks(
    fixed: Matrix, blocks: Sequence[Matrix], counts: np.ndarray, entries: Entries = "pearson", *, noisy: bool
) -> Estimate:
    """Correlate a fixed matrix with the mean of a matrix that is given as sums over the units of blocks.

    Noise in the second matrix raises its norm, and so lowers a correlation. Where blocks are independent estimates of
    one matrix, inner products of *different* blocks are unbiased for its squared norm; all pairs are used.

    Args:
        fixed: the first matrix.
        blocks: sums over the units of each block.
        counts: the units of each block; blocks without any are left out.
        entries: which correlation.
        noisy: whether the blocks are noisy estimates of one matrix, rather than parts of a population.

    Returns:
        the correlation, with its delete-one-block jackknife. It is not clipped: noise may take an estimate beyond 1.

    Raises:
        ProbeError: noisy blocks that are too few, or whose squared norm is not positive.
    """
    present = [index for index, count in enumerate(counts) if count > 0]
    parts, units = [blocks[index] for index in present], np.asarray(counts, np.float64)[present]
    with_fixed = np.array([inner(fixed, part, entries) for part in parts])
    products = np.array(
        [[inner(a, b, entries) if i <= j else 0.0 for j, b in enumerate(parts)] for i, a in enumerate(parts)]
    )
    products += np.triu(products, 1).T
    norm = squared_norm(fixed, entries)
    if noisy and len(parts) < 2:
        msg = "The noise of the probes can only be told from two blocks on: use more probes, or more blocks."
        raise ProbeError(msg)

    def correlation(chosen: np.ndarray) -> float:
        pairs = np.ix_(chosen, chosen)
        weights = np.outer(units[chosen], units[chosen])
        some = products[pairs]
        if noisy:
            apart = ~np.eye(len(chosen), dtype=bool)
            some, weights = some[apart], weights[apart]
        squared = some.sum() / weights.sum()
        if noisy and squared <= 0:
            msg = "The noise of the probes is larger than the AGOP, so that its norm cannot be told: use more probes."
            raise ProbeError(msg)
        scale = np.sqrt(norm * max(squared, 0.0))
        return float(with_fixed[chosen].sum() / units[chosen].sum() / scale) if scale > 0 else float("nan")

    everything = np.arange(len(parts))
    least = 3 if noisy else 2
    without = [np.delete(everything, i) for i in everything] if len(parts) >= least else []
    return jackknife(correlation(everything), [correlation(rest) for rest in without])
