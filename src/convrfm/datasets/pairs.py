"""Pairs of classes, for the authors' binary tasks."""

from itertools import combinations

__all__ = ["PAIRED_CLASSES", "class_pairs"]

PAIRED_CLASSES = 20
"""The authors' binary tasks are all pairs among the first 20 classes of a data set."""


def class_pairs(classes: int = PAIRED_CLASSES) -> list[tuple[int, int]]:
    """All pairs c1 < c2 of the first classes: 190 of 20."""
    return list(combinations(range(classes), 2))
