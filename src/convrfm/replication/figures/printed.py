"""The authors' printed numbers beside ours: accuracy and squared error of ConvRFM, round by round."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from convrfm.replication.figures.accuracies import draw_of
from convrfm.replication.figures.names import short_title
from convrfm.replication.figures.printed_runs import PRINTED, RIDGE, PrintedRun
from convrfm.replication.figures.skipped import skipped_lines, write_reason
from convrfm.replication.figures.style import figure_style, interval, letter, with_interval

__all__ = ["QUANTITIES", "caption", "draw", "summary", "tidy"]

QUANTITIES = {"accuracy": "test accuracy (%)", "squared error": "squared error"}
"""What is printed, with the labels of the axes."""

Run = tuple[Mapping[str, str], Mapping[str, Any], pd.DataFrame]
"""Keys of a run (`dataset` or `task` and `sigma`, `seed`), its record, and its metrics."""


def tidy(runs: Sequence[Run]) -> pd.DataFrame:
    """Put each number of the runs beside the printed one.

    Returns:
        columns `run` (of `convrfm.replication.figures.printed_runs.PRINTED`), `task`, `n_train`, `n_test`, `round`, `quantity` ("accuracy" in per
        cent, or "squared error", summed over classes and averaged over images), `seed`, `draw` (hash of its
        images), `ours`, `printed`, `difference`
        (ours minus printed), `tolerance` (in points; NaN for errors).

    Raises:
        KeyError: a run that no printed one belongs to.
    """
    rows = []
    for keys, record, metrics in runs:
        name = _name_of(keys, record["settings"])
        run = PRINTED[name]
        history = metrics[(metrics["stage"] == 0) & np.isclose(metrics["ridge"], RIDGE)].set_index("round")
        ours = {"accuracy": 100 * history["test_accuracy"], "squared error": history["test_error"]}
        for quantity, printed in (("accuracy", run.accuracy), ("squared error", run.squared_error)):
            for number, value in enumerate(printed):
                rows.append(
                    {
                        "run": name,
                        "task": run.task,
                        "n_train": run.n_train,
                        "n_test": run.n_test,
                        "round": number,
                        "quantity": quantity,
                        "seed": int(keys["seed"]),
                        "draw": draw_of(record),
                        "ours": ours[quantity][number],
                        "printed": value,
                        "difference": ours[quantity][number] - value,
                        "tolerance": run.tolerance[number] if quantity == "accuracy" else np.nan,
                    }
                )
    return pd.DataFrame(rows)


def _name_of(keys: Mapping[str, str], settings: Mapping[str, Any]) -> str:
    """The printed run that one of ours repeats."""
    found = (keys.get("dataset") or keys["task"], settings["n_train"], settings["n_test"])
    names = {(run.task, run.n_train, run.n_test): name for name, run in PRINTED.items()}
    return names[found]


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Mean over draws of each number.

    Returns:
        columns `run`, `quantity`, `round`, `ours`, `low`, `high` (95 % Student interval; NaN for one draw), `draws`,
        `printed`, `difference`, `tolerance` (NaN for errors).
    """
    rows = []
    for (run, quantity, number), part in table.groupby(["run", "quantity", "round"], sort=False):
        draws = part.groupby("draw")["ours"].mean().to_numpy()
        mean, low, high = interval(draws)
        printed, tolerance = part["printed"].iloc[0], part["tolerance"].iloc[0]
        row = {"run": run, "quantity": quantity, "round": number, "ours": mean, "low": low, "high": high}
        row |= {"draws": len(draws), "printed": printed, "difference": mean - printed, "tolerance": tolerance}
        rows.append(row)
    return pd.DataFrame(rows)


def draw(table: pd.DataFrame, skipped: Mapping[str, str]) -> Figure:
    """Draw the figure, a column for each printed run.

    Args:
        table: from `tidy`.
        skipped: printed runs whose data are not there, with the reason; each leaves a panel that says so.
    """
    found = summary(table)
    runs = list(dict.fromkeys(table["run"]))
    with figure_style():
        columns = len(runs) + len(skipped)
        figure = Figure(figsize=(2.4 * max(columns, 2), 4.0), layout="constrained")
        cells = figure.subplots(len(QUANTITIES), columns, squeeze=False)
        letters = iter("ABCDEFGH")
        for row, (quantity, label) in enumerate(QUANTITIES.items()):
            for column, name in enumerate(runs):
                axes, part = cells[row, column], found[(found["run"] == name) & (found["quantity"] == quantity)]
                if part.empty:
                    axes.remove()
                    continue
                _draw_panel(axes, part)
                axes.set_ylabel(label)
                axes.set_title(_title(PRINTED[name]) if row == 0 else "")
                letter(axes, next(letters), offset=-0.3)
        for column, (name, reason) in enumerate(skipped.items(), len(runs)):
            write_reason(cells[0, column], _title(PRINTED[name]), reason, width=36)
            cells[1, column].remove()
        handles, labels = cells[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2)
    return figure


def _draw_panel(axes: Axes, part: pd.DataFrame) -> None:
    """One quantity of one run against the round."""
    axes.plot(
        part["round"], part["printed"], "s--", color="0.35", markerfacecolor="white", label="printed by the authors"
    )
    axes.plot(part["round"], part["ours"], "o-", color="C0", label="ours, mean and 95 % interval over draws")
    axes.vlines(part["round"], part["low"], part["high"], color="C0", linewidth=1.2)
    axes.set_xticks(part["round"])
    axes.set_xlabel("round")
    axes.grid(axis="y", linewidth=0.4, alpha=0.6)


def _title(run: PrintedRun) -> str:
    level = "" if run.sigma is None else f", sigma = {run.sigma:g}"
    return f"{short_title(run.task)}{level}\nn = {run.n_train}/{run.n_test}"


def caption(table: pd.DataFrame, skipped: Mapping[str, str]) -> str:
    """Write the caption in Markdown; every number in it is computed from the table. Arguments as for `draw`."""
    found = summary(table)
    opening = (
        "**The authors' printed numbers** (protocol: published). Accuracy and squared error (summed over classes, averaged "
        "over test images) of each round of ConvRFM: CNTK of three 3x3 convolutions, ridge 1e-5, AGOP of the first 20 "
        "images. The authors solve in float32, we in float64; noise is drawn anew."
    )
    lines = [opening]
    for name in dict.fromkeys(found["run"]):
        part = found[found["run"] == name]
        lines += [
            "",
            f"**{_title(PRINTED[name]).replace(chr(10), ', ')}**, {part['draws'].iloc[0]} draw(s):",
            "",
            "| round | quantity | ours | printed | difference | tolerance |",
            "|---|---|---|---|---|---|",
            *(_row(row) for row in part.itertuples()),
        ]
    lines += skipped_lines(skipped, lambda name: _title(PRINTED[name]).replace("\n", ", "))
    return "\n".join(lines) + "\n"


def _row(row: Any) -> str:
    form, unit = (".1f", " %") if row.quantity == "accuracy" else (".4f", "")
    ours = with_interval(row.ours, row.low, row.high, form)
    tolerance = "-" if np.isnan(row.tolerance) else f"{row.tolerance:.1f}"
    cells = (
        row.round,
        row.quantity,
        f"{ours}{unit}",
        f"{row.printed:{form}}{unit}",
        f"{row.difference:+{form}}",
        tolerance,
    )
    return "| " + " | ".join(str(cell) for cell in cells) + " |"
