"""Seeded random draws: generators by purpose, stratified samples, random positive semi-definite matrices."""

from zlib import crc32

import numpy as np

from convrfm.errors import InputError

__all__ = ["check_draws", "generator", "random_metrics", "stratified_draw"]


def generator(seed: int, purpose: str, *indices: int) -> np.random.Generator:
    """Give the generator for a purpose, such as "bars, test", and indices within it, such as an epoch.

    Streams of different purposes never coincide.
    """
    return np.random.default_rng([seed, crc32(purpose.encode()), *indices])


def stratified_draw(labels: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw `count` increasing indices in which every class has its share of `labels`, up to rounding.

    Raises:
        InputError: `count` is negative or exceeds the number of labels.
    """
    n = len(labels)
    if not 0 <= count <= n:
        msg = f"Cannot draw {count} of {n} samples."
        raise InputError(msg)
    # Spread each class evenly over [0, 1) and take the first ones.
    places = np.empty(n)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        ranks = rng.permutation(len(members))
        places[members] = (ranks + rng.random()) / len(members)
    return np.sort(np.argsort(places, kind="stable")[:count])


def check_draws(draws: int) -> None:
    """Check the number of random draws that a measured value is compared with.

    Raises:
        InputError: no draws.
    """
    if draws < 1:
        msg = f"draws must be at least 1, but it is {draws}."
        raise InputError(msg)


def random_metrics(dimension: int, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Draw Wishart matrices A^T A / d `(draws, d, d)` with A Gaussian `(d, d)`: no eigenvector is preferred.

    Raises:
        InputError: no draws.
    """
    check_draws(draws)
    factors = rng.standard_normal((draws, dimension, dimension))
    return factors.transpose(0, 2, 1) @ factors / dimension
