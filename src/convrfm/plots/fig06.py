"""Figure 6: the methods over many data sets, and accuracy against the number of layers that learn features."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from convrfm.plots.accuracies import chosen, deep_stage, how_chosen, kernel_parts, network_row, selection_score
from convrfm.plots.methods import METHODS, gain, gain_cell, method_marks
from convrfm.plots.names import is_stand_in, short_title, star, starred_note, starred_reservation, title
from convrfm.plots.skipped import skipped_lines
from convrfm.plots.style import figure_style, interval, letter

__all__ = ["caption", "draw", "layer_means", "tidy"]

Run = tuple[Mapping[str, str], Mapping[str, Any], pd.DataFrame]
"""Keys of a run (`experiment`, `protocol`, `dataset` and `classes` or `task` and `sigma`, `seed`), settings, metrics."""


def tidy(runs: list[Run], counts: list[Run]) -> pd.DataFrame:
    """Bring the runs into one table, a row for each task, method and seed.

    Args:
        runs: fits of the kernels and trainings of the networks; of the latter one for each task and seed.
        counts: preparations of the images, whose metrics are the sizes of their classes. Local-signal tasks have none.

    Returns:
        columns `task`, `classes` ("all", or a pair such as "0-1"), `stand_in`, `protocol`, `method` (one of `METHODS`, or
        a stage of Deep ConvRFM by itself), `layers` that have learned features (0: CNTK, 1: ConvRFM, m: stage m - 1; NaN
        for the others), `stage` (NaN for networks), `seed`, `accuracy` and `last_accuracy` (fractions), `chosen` (round or
        epoch), `ridge`, `sigma` (NaN where there is none), `n_train`, `n_test`, `train_classes` and `unseen_classes`: how
        many classes the training images hold, and how many of those tested they lack.
    """
    seen = {_identity(keys): _classes(sizes) for keys, _, sizes in counts}
    rows: list[dict[str, Any]] = []
    for keys, settings, metrics in runs:
        task, classes, seed = _identity(keys)
        shared = {
            "task": task,
            "classes": classes,
            "stand_in": is_stand_in(task),
            "protocol": keys["protocol"],
            "seed": seed,
            "sigma": float(keys.get("sigma", "nan")),
            "n_train": settings["n_train"],
            "n_test": settings["n_test"],
            **seen.get((task, classes, seed), {"train_classes": np.nan, "unseen_classes": np.nan}),
        }
        if keys["experiment"].endswith("cnn"):
            rows.append({**shared, "method": "CNN", "layers": np.nan, "stage": np.nan, **network_row(metrics)})
        else:
            rows += [{**shared, **row} for row in _kernel_rows(metrics, keys["protocol"])]
    table = pd.DataFrame(rows)
    tasks = list(dict.fromkeys(table["task"]))
    order = {name: index for index, name in enumerate(METHODS)}
    place = table["method"].map(order).fillna(2.5)
    places = table[["classes", "stage", "seed"]].assign(task=table["task"].map(tasks.index), method=place)
    columns = ["task", "classes", "stand_in", "protocol", "method", "layers", "stage", "seed", "accuracy", "last_accuracy",
               "chosen", "ridge", "sigma", "n_train", "n_test", "train_classes", "unseen_classes"]  # fmt: skip
    ordered = places.sort_values(["task", "classes", "method", "stage", "seed"]).index
    return table.loc[ordered, columns].reset_index(drop=True)


def _identity(keys: Mapping[str, str]) -> tuple[str, str, int]:
    """Task, classes and seed of a run."""
    return keys.get("dataset") or keys["task"], keys.get("classes", "all"), int(keys["seed"])


def _classes(sizes: pd.DataFrame) -> dict[str, float]:
    parts = {name: set(part["label"]) for name, part in sizes.groupby("split")}
    train = parts.get("train", set())
    return {"train_classes": len(train), "unseen_classes": len(parts.get("test", set()) - train)}


def _kernel_rows(history: pd.DataFrame, protocol: str) -> list[dict[str, Any]]:
    """CNTK, ConvRFM, every later stage by itself, and the best one of them."""
    parts, score = kernel_parts(history), selection_score(protocol)
    rows = [
        {"method": method, "layers": float(layers), "stage": float(max(layers - 1, 0)), **chosen(part, score)}
        for layers, (method, part) in enumerate(parts.items())
    ]
    later = history[history["stage"] > 0]
    if len(later):
        stage = int(later.loc[later[score].idxmax(), "stage"])
        best = chosen(parts[deep_stage(stage)], score)
        rows.append({"method": "Deep ConvRFM", "layers": np.nan, "stage": float(stage), **best})
    return rows


def layer_means(table: pd.DataFrame) -> pd.Series:
    """Mean accuracy of one task by the number of layers that have learned features."""
    return table.dropna(subset="layers").groupby("layers")["accuracy"].mean()


def draw(table: pd.DataFrame, layers: Iterable[str], skipped: Mapping[str, str]) -> Figure:
    """Draw the figure.

    Args:
        table: from `tidy`, one protocol.
        layers: the tasks of panel B, those that are there.
        skipped: tasks whose data are not there, with the reason; each has a row that says so.
    """
    tasks = list(dict.fromkeys(table["task"]))
    with figure_style():
        figure = Figure(figsize=(7.2, max(3.3, 0.33 * (len(tasks) + len(skipped)) + 1.7)), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=(1.25, 1))
        _draw_tasks(left, table, tasks, skipped)
        letter(left, "A", offset=-0.3)
        shown = [task for task in dict.fromkeys(layers) if task in tasks]
        _draw_layers(right, table[table["task"].isin(shown)], shown)
        letter(right, "B", offset=-0.16)
        note = starred_note(tasks)
        if note:
            figure.supxlabel(note, fontsize=7)
    return figure


def _draw_tasks(axes: Axes, table: pd.DataFrame, tasks: list[str], skipped: Mapping[str, str]) -> None:
    """Panel A: a row for each task, a mark for each method."""
    marks = method_marks()
    for place, method in enumerate(METHODS):
        colour, marker = marks[method]
        summaries = {}
        for row, task in enumerate(tasks):
            values = table[(table["task"] == task) & (table["method"] == method)]["accuracy"]
            if len(values):
                summaries[row + 0.16 * (place - 1.5)] = interval(100 * values.to_numpy())
        means, low, high = np.array(list(summaries.values())).reshape(-1, 3).T
        axes.plot(means, list(summaries), marker, color=colour, label=method)
        axes.hlines(list(summaries), low, high, color=colour, linewidth=1)
    for row, reason in enumerate(skipped.values(), start=len(tasks)):
        text = f"SKIPPED: {reason if len(reason) < 45 else reason[:42] + '...'}"
        axes.text(0.02, row, text.replace("$", r"\$"), transform=axes.get_yaxis_transform(), fontsize=6.5, va="center")
    names = [_row_label(table, task) for task in tasks] + [short_title(task) for task in skipped]
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlabel("test accuracy (%)")
    axes.grid(axis="x", linewidth=0.4, alpha=0.6)
    axes.legend(loc="lower center", bbox_to_anchor=(0.4, 1.0), ncols=2, columnspacing=1, handletextpad=0.3)


def _row_label(table: pd.DataFrame, task: str) -> str:
    rows = table[table["task"] == task]
    sigma = rows["sigma"].iloc[0]
    level = "" if np.isnan(sigma) else rf", $\sigma$ = {sigma:g}"
    return f"{short_title(task)}{level}{star(task)}\nn = {rows['n_train'].iloc[0]}"


def _draw_layers(axes: Axes, table: pd.DataFrame, shown: list[str]) -> None:
    """Panel B: a curve for each task."""
    colours = sns.color_palette("Dark2", max(len(shown), 1))
    for colour, marker, task in zip(colours, "osD^vPX*<>" * len(shown), shown, strict=False):
        rows = table[(table["task"] == task) & table["layers"].notna()].groupby("layers")["accuracy"]
        summary = pd.DataFrame({layers: interval(100 * values.to_numpy()) for layers, values in rows}).T
        label = short_title(task) + star(task)
        axes.plot(summary.index, summary[0], marker=marker, color=colour, label=label)
        axes.fill_between(summary.index, summary[1], summary[2], color=colour, alpha=0.13, linewidth=0)
    axes.set_xticks(range(int(table["layers"].max(skipna=True) or 0) + 1 if len(table) else 1))
    axes.set_xlabel("layers that learn features\n(0: CNTK, 1: ConvRFM, then Deep)")
    axes.set_ylabel("test accuracy (%)")
    axes.grid(axis="y", linewidth=0.4, alpha=0.6)
    if shown:
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, columnspacing=1, handletextpad=0.4)


def caption(table: pd.DataFrame, layers: Iterable[str], skipped: Mapping[str, str]) -> str:
    """Write the caption in Markdown; every number in it is computed from the table. Arguments as for `draw`."""
    protocol = table["protocol"].iloc[0]
    tasks = list(dict.fromkeys(table["task"]))
    opening = (
        f"**Figure 6, many data sets** (protocol: {protocol}). **A**: test accuracy of CNTK, the kernel without feature "
        "learning; ConvRFM, its best round from round 1 on; Deep ConvRFM, the best of its stages from stage 1 on; and the "
        f"network at its best epoch. Ridge, round, stage and epoch are chosen {how_chosen(protocol)}. Bars are 95 % "
        "intervals over draws."
    )
    lines = [
        opening,
        *starred_reservation(tasks),
        "",
        "Points gained over CNTK, mean and 95 % interval over draws, paired by seed:",
        "",
        "| task | training / test images | CNTK | " + " | ".join(METHODS[1:]) + " |",
        "|" + "---|" * (len(METHODS) + 2),
        *(_gains_of(table[table["task"] == task]) for task in tasks),
        *_classes_missing(table, tasks),
        *_of_layers(table, [task for task in dict.fromkeys(layers) if task in tasks]),
    ]
    lines += skipped_lines(skipped, title)
    return "\n".join(lines) + "\n"


def _gains_of(rows: pd.DataFrame) -> str:
    first = rows.iloc[0]
    level = "" if np.isnan(first["sigma"]) else f", sigma = {first['sigma']:g}"
    cells = [f"{title(first['task'])}{level}", f"{first['n_train']} / {first['n_test']}"]
    cells.append(f"{100 * rows[rows['method'] == 'CNTK']['accuracy'].mean():.1f} %")
    cells += [gain_cell(gain(rows, method)) for method in METHODS[1:]]
    return "| " + " | ".join(cells) + " |"


def _classes_missing(table: pd.DataFrame, tasks: list[str]) -> list[str]:
    """Where training images lack classes that are tested, as first images of data that lie class by class do."""
    lines = []
    for task in tasks:
        missing = table[table["task"] == task]["unseen_classes"].max()
        if missing > 0:
            lines += ["", f"The training images of {title(task)} lack {missing:.0f} of the classes that are tested."]
    return lines


def _of_layers(table: pd.DataFrame, shown: list[str]) -> list[str]:
    """What panel B shows."""
    if not shown:
        return []
    means = {task: layer_means(table[table["task"] == task]) for task in shown}
    most = max(int(found.index.max()) for found in means.values())
    opening = (
        "**B**: accuracy against the number of layers that learn features, each layer counted by itself: 0 is CNTK, 1 ConvRFM, "
        "m stage m - 1 of Deep ConvRFM. Mean over draws:"
    )
    lines = [
        "",
        opening,
        "",
        "| task | " + " | ".join(str(number) for number in range(most + 1)) + " | non-decreasing |",
        "|" + "---|" * (most + 3),
    ]
    for task, found in means.items():
        cells = [f"{100 * found[number]:.1f} %" if number in found.index else "-" for number in range(most + 1)]
        rises = "yes" if found.is_monotonic_increasing else "no"
        lines.append(f"| {title(task)} | " + " | ".join(cells) + f" | {rises} |")
    return lines
