"""Pairs of classes as binary tasks, beside Figure 6: what each method gains over the plain kernel."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from convrfm.plots.accuracies import how_chosen
from convrfm.plots.methods import METHODS, Gain, gain_cell, method_marks
from convrfm.plots.names import star, starred_note, starred_reservation, title
from convrfm.plots.skipped import skipped_lines, write_reason
from convrfm.plots.style import figure_style, interval, letter

__all__ = ["caption", "draw", "gains", "summary"]

ONE_CLASS = "in every draw, the training images hold one class only"
"""Why nothing can be learned on a pair."""


def gains(table: pd.DataFrame) -> pd.DataFrame:
    """What each method gains over CNTK on each pair and seed.

    Pairs whose training images hold one class only are left out: first images of data that lie class by class do.

    Args:
        table: from `convrfm.plots.fig06.tidy`.

    Returns:
        columns `task`, `classes`, `seed`, and the points gained by each method of `METHODS` that is there but CNTK.
    """
    learnable = table[(table["train_classes"] == 2) & table["method"].isin(METHODS)]
    if learnable.empty:
        return learnable[["task", "classes", "seed"]]
    wide = learnable.pivot(index=["task", "classes", "seed"], columns="method", values="accuracy")
    found = [method for method in METHODS[1:] if method in wide]
    return wide[found].sub(wide["CNTK"], axis=0).mul(100).reset_index().rename_axis(columns=None)


def summary(found: pd.DataFrame) -> pd.DataFrame:
    """By task and method: `pairs`, in how many the mean over seeds is `above` and `below` zero, `mean`, `low`, `high`.

    Mean and 95 % interval are over seeds, of the mean over all pairs.

    Args:
        found: from `gains`.
    """
    rows = []
    for task, part in found.groupby("task", sort=False):
        for method in [name for name in METHODS if name in part]:
            by_pair = part.groupby("classes")[method].mean().dropna()
            mean, low, high = interval(part.groupby("seed")[method].mean().dropna().to_numpy())
            rows.append(
                {
                    "task": task, "method": method, "pairs": len(by_pair), "above": int((by_pair > 0).sum()),
                    "below": int((by_pair < 0).sum()), "mean": mean, "low": low, "high": high,
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def draw(table: pd.DataFrame, skipped: Mapping[str, str]) -> Figure:
    """Draw a panel for each data set, with the pairs in the order of what ConvRFM gains.

    Args:
        table: from `convrfm.plots.fig06.tidy`, one protocol.
        skipped: data sets that are not there, with the reason; each has a panel that says so.
    """
    tasks = list(dict.fromkeys(table["task"]))
    found = gains(table)
    with figure_style():
        count = len(tasks) + len(skipped)
        figure = Figure(figsize=(7.2, 2.3 * count + 0.5), layout="constrained")
        panels = figure.subplots(count, 1, squeeze=False)[:, 0]
        for axes, task in zip(panels, tasks, strict=False):
            own = found[found["task"] == task]
            if own.empty:
                write_reason(axes, title(task), ONE_CLASS, width=100)
            else:
                _draw_pairs(axes, own, table[table["task"] == task], task)
        for axes, (task, reason) in zip(panels[len(tasks) :], skipped.items(), strict=True):
            write_reason(axes, title(task), reason, width=100)
        for axes, name in zip(panels, "ABCDEFGHIJ", strict=False):
            letter(axes, name, offset=-0.07)
        note = starred_note(tasks)
        if note:
            figure.supxlabel(note, fontsize=7)
    return figure


def _draw_pairs(axes: Axes, found: pd.DataFrame, table: pd.DataFrame, task: str) -> None:
    """One data set."""
    methods = [method for method in METHODS if method in found]
    means = found.groupby("classes")[methods].mean().sort_values(["ConvRFM", *methods[1:]])
    marks = method_marks()
    axes.axhline(0, color="0.6", linewidth=0.8)
    # Side by side where there is room.
    few = len(means) < 30
    for place, method in enumerate(methods):
        colour, marker = marks[method]
        where = np.arange(len(means)) + (0.08 * (place - 1) if few else 0)
        axes.plot(where, means[method], marker, color=colour, markersize=4.5 if few else 2.2, label=method)
    if few:
        axes.set_xticks(range(len(means)), means.index)
        axes.set_xlim(-0.5, len(means) - 0.5)
        axes.set_xlabel("pair of classes")
    else:
        axes.set_xticks([])
        axes.set_xlabel(f"{len(means)} pairs of classes, in the order of ConvRFM's gain")
    axes.set_title(f"{title(task)}{star(task)}, n = {table['n_train'].iloc[0]}")
    axes.set_ylabel("points gained\nover CNTK")
    axes.grid(axis="y", linewidth=0.4, alpha=0.6)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))


def caption(table: pd.DataFrame, skipped: Mapping[str, str]) -> str:
    """Write the caption in Markdown; every number in it is computed from the table. Arguments as for `draw`."""
    protocol, found = table["protocol"].iloc[0], gains(table)
    opening = (
        f"**Figure 6, pairs of classes** (protocol: {protocol}). Each pair of classes is a binary task of its own, with one "
        "output that is 1 for the first class and 0 for the second, and decides at 1/2. Points of test accuracy gained over "
        "CNTK by ConvRFM, the best stage of Deep ConvRFM from stage 1 on, and the network, mean over draws. Ridge, round, "
        f"stage and epoch are chosen {how_chosen(protocol)}."
    )
    lines = [
        opening,
        *starred_reservation(table["task"]),
        "",
        "| data set | method | pairs | above CNTK | below | mean gain over pairs, 95 % interval over draws |",
        "|---|---|---|---|---|---|",
    ]
    for row in summary(found).itertuples():
        cell = gain_cell(Gain(row.mean, row.low, row.high))
        lines.append(f"| {title(row.task)} | {row.method} | {row.pairs} | {row.above} | {row.below} | {cell} |")
    for task in dict.fromkeys(table["task"]):
        every = table[table["task"] == task]["classes"].nunique()
        left_out = every - found[found["task"] == task]["classes"].nunique()
        if left_out:
            lines += ["", f"{title(task)}: {left_out} of {every} pairs are left out, as {ONE_CLASS}."]
    lines += skipped_lines(skipped, title)
    return "\n".join(lines) + "\n"
