"""The judges: one function for each claim that reads its numbers from tables. No threshold stands here."""

from collections.abc import Mapping

from convrfm.audit.judges import accuracy, ansatz, cost, features, printed, theorem
from convrfm.audit.judges.registry import JUDGES, Judge

__all__ = ["all_judges"]

FAMILIES = (ansatz, theorem, features, accuracy, cost, printed)
"""Modules that register their judges when they are imported."""


def all_judges() -> Mapping[str, Judge]:
    """The judge of each claim, by id."""
    return JUDGES
