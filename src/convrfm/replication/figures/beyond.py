"""Beyond the paper: what more images in the AGOP, more training images, and each choice of the protocol are worth."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D

from convrfm.replication.figures.accuracies import accuracy_of, chosen, difference, draw_of, kernel_parts, paired
from convrfm.replication.figures.names import is_stand_in, short_title, stand_in_note
from convrfm.replication.figures.skipped import write_reason
from convrfm.replication.figures.style import figure_style, letter

__all__ = ["CORRECTED", "UNCHANGED", "agop_curve", "draw", "effects", "in_words", "size_curve", "tidy"]

UNCHANGED = "unchanged"
"""Name of the variant that follows its protocol in everything, as `convrfm.replication.config.sections.beyond` gives it."""

CORRECTED = "all of the protocol `corrected`"
"""The change of every choice at once, in words."""

FIRST_ROUND = "ConvRFM, round 1"
"""ConvRFM with its metric updated once."""

WORDS = {
    "selection-validation": "ridge and round chosen on a validation split",
    "agop_ridge-selected": "AGOP of the chosen ridge's predictor",
    "agop_draw-random": "AGOP at 20 random images, not the first",
    "agop_samples-all": "AGOP at all training images",
    "metric_power-2": "metric = AGOP squared",
    "metric_power-0.5": "metric = square root of the AGOP",
    "eigenvalue_fraction-0.25": "top quarter of the AGOP's eigenvalues",
    "solver_dtype-float32": "solver in float32",
    "nonlinearity-none": "linear features between stages",
    "plain_filters-torch": "PyTorch's filters where round 0 wins",
}
"""Changes to the protocol `published` in words, by the name of the variant."""

Run = tuple[Mapping[str, str], Mapping[str, Any], pd.DataFrame]
"""Keys of a run (`protocol`, `variant`, `task`, `sigma`, `n_train`, `seed`), its record, and its metrics."""


def in_words(variant: str) -> str:
    """What a variant changes."""
    return WORDS.get(variant, variant.replace("_", " ").replace("-", " = ", 1))


def tidy(runs: Sequence[Run]) -> pd.DataFrame:
    """Bring the runs into one table, a row for each fit and method.

    Returns:
        columns `task`, `stand_in`, `protocol`, `variant` (what the fit changes of its protocol), `sigma`, `n_train`,
        `n_test`, `agop_images` (in the AGOP), `selection` ("test" or "validation"), `seed`, `draw` (hash of
        its images), `method` (CNTK, ConvRFM by
        its best round or after the first one, or a stage of Deep ConvRFM by itself), `accuracy` and `last_accuracy`
        (fractions of the test images), `chosen` (round), `ridge`.
    """
    rows = []
    for keys, record, metrics in runs:
        settings, rfm = record["settings"], record["rfm"]
        fitted = record["images_fitted"]
        shared = {
            "task": keys["task"],
            "stand_in": is_stand_in(keys["task"]),
            "protocol": keys["protocol"],
            "variant": keys["variant"],
            "sigma": settings["sigma"],
            "n_train": settings["n_train"],
            "n_test": settings["n_test"],
            "agop_images": fitted if rfm["agop_samples"] == "all" else min(rfm["agop_samples"], fitted),
            "selection": rfm["selection"],
            "seed": settings["seed"],
            "draw": draw_of(record),
        }
        score = f"{rfm['selection']}_accuracy"
        rows += [{**shared, "method": method, **chosen(part, score)} for method, part in _parts(metrics).items()]
    return pd.DataFrame(rows)


def _parts(history: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """What each method may choose from, and beside them ConvRFM after a single update of its metric.

    Later rounds can bring different choices to the same metric; the first one tells them apart.
    """
    parts = kernel_parts(history)
    later = parts["ConvRFM"]
    return {"CNTK": parts.pop("CNTK"), FIRST_ROUND: later[later["round"] == 1], **parts}


def studied(table: pd.DataFrame, choices: Mapping[str, Any]) -> pd.DataFrame:
    """The rows of the task and the number of training images whose choices are looked at."""
    return table[(table["task"] == choices["task"]) & (table["n_train"] == choices["n_train"])]


def agop_curve(table: pd.DataFrame, choices: Mapping[str, Any], protocol: str) -> pd.DataFrame:
    """Rows of the fits of one protocol that differ in nothing but the number of images in the AGOP."""
    rows = studied(table, choices)
    alike = rows["variant"].str.fullmatch(rf"{UNCHANGED}|agop_samples-[^+]+")
    return _of_whole_curves(rows[(rows["protocol"] == protocol) & alike], "agop_images")


def size_curve(table: pd.DataFrame, task: str, protocol: str) -> pd.DataFrame:
    """Rows of the fits to one task that follow one protocol in everything."""
    rows = table[(table["task"] == task) & (table["protocol"] == protocol) & (table["variant"] == UNCHANGED)]
    return _of_whole_curves(rows, "n_train")


def _of_whole_curves(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    """Rows of the methods that were run for every number; single fits have more stages than others."""
    numbers = rows.groupby("method")[column].nunique()
    return rows[rows["method"].map(numbers) == rows[column].nunique()]


def effects(table: pd.DataFrame, choices: Mapping[str, Any]) -> pd.DataFrame:
    """What each change to `published` does to each method, in points of accuracy, paired by draw.

    Returns:
        columns `change` (in words), `variant`, `method`, `accuracy` (mean, per cent), `mean`, `low`, `high` (of the
        difference to `published`; 95 %), `draws`, `draws_changed` (in how many the accuracy is another). Methods that a
        change was not run for are left out; the CNTK as well where no draw changes it, as it knows no AGOP.
    """
    rows = studied(table, choices)
    published = rows[rows["protocol"] == "published"]
    whole = rows[(rows["protocol"] == "corrected") & (rows["variant"] == UNCHANGED)]
    changed = {name: published[published["variant"] == name] for name in choices["changes"]} | {CORRECTED: whole}
    base = published[published["variant"] == UNCHANGED]
    found = []
    for name, part in changed.items():
        for method in dict.fromkeys(part["method"]):
            both = pd.concat([frame[frame["method"] == method].assign(method=label) for label, frame in
                              (("changed", part), ("unchanged", base))])  # fmt: skip
            estimate = difference(both, "changed", "unchanged")
            changes = np.count_nonzero(paired(both, "changed", "unchanged"))
            if estimate is None or (method == "CNTK" and changes == 0):
                continue
            found.append(
                {
                    "change": name if name == CORRECTED else in_words(name),
                    "variant": name,
                    "method": method,
                    "accuracy": 100 * part.loc[part["method"] == method, "accuracy"].mean(),
                    "mean": 100 * estimate.value,
                    "low": 100 * estimate.low,
                    "high": 100 * estimate.high,
                    "draws": estimate.draws,
                    "draws_changed": changes,
                }
            )
    return pd.DataFrame(found)


def draw(table: pd.DataFrame, choices: Mapping[str, Any], protocol: str, skipped: Mapping[str, str]) -> Figure:
    """Draw the figure.

    Args:
        table: from `tidy`.
        choices: `task` and `n_train` whose choices are looked at, and `changes`, the names of the variants.
        protocol: of the curves; single choices are changes to `published` under each.
        skipped: tasks whose data are not there, with the reason; each leaves a panel that says so.
    """
    has_choices = choices["task"] in set(table["task"])
    methods = list(dict.fromkeys(table["method"]))
    colours = dict(zip(methods, sns.color_palette("colorblind", len(methods)), strict=True))
    letters = iter("ABCDEF")
    with figure_style():
        figure = Figure(figsize=(7.2, 6.0 if has_choices else 2.8), layout="constrained")
        heights = (1, 1.25) if has_choices else (1,)
        parts = figure.subfigures(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
        panels = parts[0].subplots(1, has_choices + table["task"].nunique() + len(skipped), squeeze=False)[0]
        rest = iter(panels)
        if has_choices:
            axes = next(rest)
            _draw_curves(axes, agop_curve(table, choices, protocol), "agop_images", colours)
            axes.set(xlabel="images in the AGOP", title=f"{short_title(choices['task'])}, n = {choices['n_train']}")
        for task in dict.fromkeys(table["task"]):
            axes, rows = next(rest), size_curve(table, task, protocol)
            _draw_curves(axes, rows, "n_train", colours)
            note = "\n" + textwrap.fill(f"({stand_in_note([task])})", 26) if is_stand_in(task) else ""
            axes.set(
                xlabel="training images", title=rf"{short_title(task)}, $\sigma$ = {rows['sigma'].iloc[0]:g}{note}"
            )
        for axes in panels[: len(panels) - len(skipped)]:
            letter(axes, next(letters))
        for axes, (task, reason) in zip(rest, skipped.items(), strict=True):
            write_reason(axes, short_title(task), reason, width=36)
        panels[0].set_ylabel("test accuracy (%)")
        _add_legend(parts[0], colours)
        for part in parts[1:]:
            axes = part.subplots()
            _draw_effects(axes, effects(table, choices), colours)
            letter(axes, next(letters), offset=-0.02)
    return figure


def _add_legend(part: SubFigure, colours: Mapping[str, Any]) -> None:
    """One legend for all panels: some of them lack methods that others have."""
    handles = [
        Line2D([], [], marker=_marker(method, colours), color=colour, label=method)
        for method, colour in colours.items()
    ]
    part.legend(handles=handles, loc="outside lower center", ncols=len(handles), title="mean, 95 % interval over draws")


def _draw_curves(axes: Axes, table: pd.DataFrame, column: str, colours: Mapping[str, Any]) -> None:
    """Mean and interval of each method against a number of images, on a logarithmic scale."""
    for method, rows in table.groupby("method", sort=False):
        by_number = {number: 100 * np.array(accuracy_of(part)[:3]) for number, part in rows.groupby(column)}
        summary = pd.DataFrame(by_number, index=["mean", "low", "high"]).T
        axes.plot(
            summary.index,
            summary["mean"],
            marker=_marker(method, colours),
            color=colours[method],
            label=method,
            zorder=3,
        )
        axes.fill_between(
            summary.index, summary["low"], summary["high"], color=colours[method], alpha=0.13, linewidth=0
        )
    numbers = sorted(table[column].unique())
    axes.set_xscale("log")
    axes.set_xticks(numbers, [f"{number:g}" for number in numbers])
    axes.minorticks_off()
    bottom, top = axes.get_ylim()
    axes.set_ylim(max(0, bottom), min(101, top))
    axes.grid(axis="y", linewidth=0.4, alpha=0.6)


def _marker(method: str, colours: Mapping[str, Any]) -> str:
    """The marker of a method, the same in all panels."""
    return "os^Dv"[list(colours).index(method)]


def _draw_effects(axes: Axes, found: pd.DataFrame, colours: Mapping[str, Any]) -> None:
    """A row for each change, a dot with its interval for each method."""
    changes = list(dict.fromkeys(found["change"]))
    methods = [method for method in colours if method in set(found["method"])]
    for index, method in enumerate(methods):
        rows = found[found["method"] == method]
        heights = rows["change"].map(changes.index) + 0.17 * (index - (len(methods) - 1) / 2)
        axes.hlines(heights, rows["low"], rows["high"], color=colours[method], linewidth=1.1)
        axes.plot(rows["mean"], heights, _marker(method, colours), color=colours[method], label=method, markersize=4)
    axes.axvline(0, color="0.4", linewidth=0.8, zorder=0)
    axes.set_yticks(range(len(changes)), [change.replace("`", "") for change in changes])
    axes.set_ylim(len(changes) - 0.4, -0.6)
    axes.grid(axis="y", linewidth=0.4, alpha=0.5)
    # A single wide interval would leave no room for the others.
    reach = 1.1 * max(found["mean"].abs().max() + 1, np.nanquantile(found[["mean", "low", "high"]].abs(), 0.9))
    axes.set_xlim(-reach, reach)
    axes.set_xlabel("points of test accuracy against the protocol published, mean and 95 % interval over draws")
