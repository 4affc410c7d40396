"""Seeded stratified choices of samples."""

import numpy as np

from convrfm.errors import InputError

__all__ = ["stratified_draw"]


def stratified_draw(labels: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw `count` indices in which every class has its share of `labels`, up to rounding; in increasing order.

    Raises:
        InputError: more than there are.
    """
    n = len(labels)
    if not 0 <= count <= n:
        msg = f"{count} samples were asked for, but there are {n}."
        raise InputError(msg)
    # Place each class evenly over [0, 1) and take the first ones: shares come out right up to rounding.
    places = np.empty(n)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        ranks = rng.permutation(len(members))
        places[members] = (ranks + rng.random()) / len(members)
    return np.sort(np.argsort(places, kind="stable")[:count])
