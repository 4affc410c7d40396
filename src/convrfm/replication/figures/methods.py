"""The look of methods, and of what they gain over each other with its interval, in figures and in tables of captions."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from convrfm.replication.claims.evidence import with_interval
from convrfm.replication.figures.accuracies import DRAWS, IN_WORDS, TEST_IMAGES, Estimate
from convrfm.replication.figures.style import palette

__all__ = ["METHODS", "draw_estimates", "estimate_cell", "interval_handles", "method_marks"]

METHODS = ("CNTK", "ConvRFM", "Deep ConvRFM", "CNN")
"""In the order of legends; "Deep ConvRFM" is its best stage from stage 1 on."""


def method_marks() -> dict[str, tuple[Any, str]]:
    """Colour and marker of each method, as in Figure 5."""
    colours = palette("colorblind", len(METHODS))
    return {method: (colour, marker) for method, colour, marker in zip(METHODS, colours, "osD^", strict=True)}


def estimate_cell(found: Estimate | None, *, gain: bool = True) -> str:
    """An estimate in a table, with its interval if it has one, and a dagger where that is over test images; a dash for none.

    Args:
        found: from `convrfm.replication.figures.accuracies`.
        gain: whether it is a difference, in points, or an accuracy, in per cent.
    """
    if found is None:
        return "-"
    value, low, high = (100 * number for number in (found.value, found.low, found.high))
    shown = with_interval(value, low, high, "+.1f" if gain else ".1f")
    return shown + ("" if gain else " %") + ("†" if found.over == TEST_IMAGES else "")


def draw_estimates(
    axes: Axes, places: Sequence[float], rows: pd.DataFrame, *, colour: Any, marker: str, label: str, horizontal: bool = False,
    line: str = "",
) -> None:  # fmt: skip
    """Draw estimates in per cent, or points, with their intervals: open marks where these are over test images.

    Args:
        axes: where.
        places: of the rows, on the axis of the tasks.
        rows: from `convrfm.replication.figures.accuracies.with_estimates`.
        colour: of all.
        marker: of all.
        label: in the legend.
        horizontal: whether places are heights.
        line: style of the line between the marks; none without.
    """
    if rows.empty:
        return
    values, low, high = (100 * rows[name].to_numpy() for name in ("value", "low", "high"))
    span = axes.hlines if horizontal else axes.vlines
    span(places, low, high, color=colour, linewidth=1, zorder=2)
    for kind, face in ((False, colour), (True, "white")):
        those = (rows["over"] == TEST_IMAGES).to_numpy() == kind
        at = [place for place, is_one in zip(places, those, strict=True) if is_one]
        ends = (values[those], at) if horizontal else (at, values[those])
        axes.plot(*ends, linestyle="none", marker=marker, color=colour, markerfacecolor=face, zorder=4)
    ends = (values, places) if horizontal else (places, values)
    style = line or "none"
    axes.plot(*ends, linestyle=style, color=colour, zorder=3)
    axes.plot([], [], linestyle=style, marker=marker, color=colour, label=label)


def interval_handles(over: pd.Series) -> list[Line2D]:
    """Handles of a legend that say what the intervals of a figure are over, of the kinds that it has."""
    faces = {DRAWS: "0.35", TEST_IMAGES: "white"}
    words = {kind: text.replace(" of the one draw", "\nof the one draw") for kind, text in IN_WORDS.items()}
    return [
        Line2D([], [], marker="o", color="0.35", markerfacecolor=face, linewidth=1, label=words[kind])
        for kind, face in faces.items()
        if (over == kind).any()
    ]
