"""What methods gain over each other, and the look of those that Figure 6 and its pairs of classes compare."""

from typing import Any, NamedTuple

import pandas as pd
import seaborn as sns

from convrfm.plots.style import interval, paired_differences, with_interval

__all__ = ["METHODS", "Gain", "gain", "gain_cell", "method_marks"]

METHODS = ("CNTK", "ConvRFM", "Deep ConvRFM", "CNN")
"""In the order of legends; "Deep ConvRFM" is its best stage from stage 1 on."""


class Gain(NamedTuple):
    """Points that a method gains over another: mean and 95 % interval over draws; NaN where there is none."""

    mean: float
    low: float
    high: float


def gain(table: pd.DataFrame, method: str, against: str = "CNTK") -> Gain | None:
    """Points that a method gains on the one task of the table, paired by seed; None where no seed has both.

    Args:
        table: columns `method`, `seed`, `accuracy` (a fraction), and whatever else.
        method: that gains.
        against: that it is compared with.
    """
    found = 100 * paired_differences(table, method, against)
    return Gain(*interval(found)) if len(found) else None


def gain_cell(found: Gain | None) -> str:
    """A gain in a table, with its interval if it has one; a dash where there is none."""
    return "-" if found is None else with_interval(*found, "+.1f")


def method_marks() -> dict[str, tuple[Any, str]]:
    """Colour and marker of each method, as in Figure 5."""
    colours = sns.color_palette("colorblind", len(METHODS))
    return {method: (colour, marker) for method, colour, marker in zip(METHODS, colours, "osD^", strict=True)}
