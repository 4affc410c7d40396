"""Figure 4, Deep ConvRFM against the network, layer by layer."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from convrfm.replication.figures.accuracies import draw_of
from convrfm.replication.figures.names import is_stand_in, short_title, star, starred_note, starred_reservation, title
from convrfm.replication.figures.skipped import skipped_lines
from convrfm.replication.figures.style import figure_style, interval, letter, with_interval

__all__ = ["caption", "draw", "summary", "tidy"]

Run = tuple[Mapping[str, str], Mapping[str, Any], pd.DataFrame]
"""Keys of a run (`protocol`, `dataset`, `seed`), its record, and its metrics."""

Pictures = Mapping[str, np.ndarray]
"""`image` `(channels, height, width)`, and `kernel/<layer>`, `network/<layer>`, `random/<layer>` `(height, width)`."""


def tidy(runs: list[Run]) -> pd.DataFrame:
    """Bring the runs into one table, a row for each task, seed, layer and image.

    Returns:
        columns `task`, `stand_in`, `protocol`, `sigma` (NaN where there is none), `n_train`, `n_test`, `seed`, `draw` (hash of
        its images), `layer` (from 1), `round` (the best one of the stage from round 1 on), `followed` (whether it is the best
        of all), `image`, `pearson` of the pixels of both pictures, `control`, that with random matrices, and `excess`, their
        difference.
    """
    frames = []
    for keys, record, metrics in runs:
        settings = record["settings"]
        shared = {
            "task": keys["dataset"],
            "stand_in": is_stand_in(keys["dataset"]),
            "protocol": keys["protocol"],
            "sigma": float(settings.get("sigma", "nan")),
            "n_train": settings["n_train"],
            "n_test": settings["n_test"],
            "seed": int(keys["seed"]),
            "draw": draw_of(record),
        }
        frames.append(pd.DataFrame(shared, index=metrics.index).join(metrics))
    table = pd.concat(frames, ignore_index=True)
    return table.assign(excess=table["pearson"] - table["control"])


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Means by task and layer: `task`, `layer`, `pearson`, `control`, `excess`, and its 95 % interval `low`, `high`.

    The interval is over draws; of a single draw it is over its images.
    """
    rows = []
    for (task, layer), part in table.groupby(["task", "layer"], sort=False):
        unit = "draw" if part["draw"].nunique() > 1 else "image"
        mean, low, high = interval(part.groupby(unit)["excess"].mean().dropna().to_numpy())
        means = part[["pearson", "control"]].mean().to_dict()
        rows.append({"task": task, "layer": layer, **means, "excess": mean, "low": low, "high": high})
    return pd.DataFrame(rows)


def draw(table: pd.DataFrame, pictures: Mapping[str, Pictures], skipped: Mapping[str, str]) -> Figure:
    """Draw the figure: for each task a row of the kernel's pictures and one of the network's, a column for each layer.

    Args:
        table: from `tidy`, one protocol.
        pictures: of the first image, by task, of its first seed.
        skipped: tasks whose data are not there, with the reason.
    """
    tasks = list(dict.fromkeys(table["task"]))
    columns = 1 + int(table["layer"].max())
    with figure_style():
        tight = ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.02, wspace=0.01, hspace=0.02)
        heights = [2 * _cell_height(pictures[task]["image"], columns) + 0.75 for task in tasks]
        figure = Figure(figsize=(7.2, sum(heights) + 0.3), layout=tight)
        parts = figure.subfigures(len(tasks), 1, squeeze=False, height_ratios=heights)[:, 0]
        for name, part, task in zip("ABCDEFGHIJ", parts, tasks, strict=False):
            rows = table[table["task"] == task]
            cells = part.subplots(2, columns, squeeze=False)
            part.suptitle(_heading(rows), fontsize=8.5)
            _draw_task(cells, rows, pictures[task])
            letter(cells[0, 0], name, offset=-0.1)
        notes = [starred_note(tasks), *(f"{short_title(task)}: SKIPPED, see the caption" for task in skipped)]
        if any(notes):
            figure.supxlabel("\n" + "\n".join(filter(None, notes)), fontsize=7)
    return figure


def _cell_height(image: np.ndarray, columns: int) -> float:
    """Inches that a picture takes, as wide as its column but never higher than that."""
    return min(1.0, image.shape[1] / image.shape[2]) * 6.4 / columns


def _heading(rows: pd.DataFrame) -> str:
    first = rows.iloc[0]
    level = "" if np.isnan(first["sigma"]) else rf", $\sigma$ = {first['sigma']:g}"
    return f"{title(first['task'])}{star(first['task'])}{level}, n = {first['n_train']}"


def _draw_task(cells: np.ndarray, rows: pd.DataFrame, pictures: Pictures) -> None:
    """The image, and of each layer both pictures with their correlation."""
    image = pictures["image"].transpose(1, 2, 0)
    cells[0, 0].imshow(image if image.shape[2] == 3 else image[..., 0], cmap="gray", interpolation="nearest")
    cells[0, 0].set_title("image", fontsize=7.5)
    cells[1, 0].set_axis_off()
    shown = rows[(rows["image"] == 0) & (rows["seed"] == rows["seed"].iloc[0])].set_index("layer")
    for place in range(1, cells.shape[1]):
        top, bottom = cells[:, place]
        if place not in shown.index:
            top.set_axis_off()
            bottom.set_axis_off()
            continue
        _show(top, pictures[f"kernel/{place}"])
        _show(bottom, pictures[f"network/{place}"])
        top.set_title(f"layer {place}", fontsize=7.5)
        found = shown.loc[place]
        bottom.set_xlabel(f"r = {found['pearson']:.2f}, random {found['control']:.2f}", fontsize=7.5)
    cells[0, 1].set_ylabel("Deep ConvRFM", fontsize=7.5)
    cells[1, 1].set_ylabel("CNN", fontsize=7.5)
    for cell in cells.flat:
        cell.set(xticks=[], yticks=[])
        sns.despine(ax=cell, left=True, bottom=True)


def _show(cell: Axes, picture: np.ndarray) -> None:
    """A picture from its smallest to its largest value, as in the paper."""
    cell.imshow(picture, cmap="viridis", interpolation="nearest")


def caption(table: pd.DataFrame, skipped: Mapping[str, str]) -> str:
    """Write the caption in Markdown; every number in it is computed from the table. Arguments as for `draw`."""
    means, protocol = summary(table), table["protocol"].iloc[0]
    draws = table.groupby("task")["draw"].nunique()
    unit = (
        "draws" if (draws > 1).all() else "the images of the draw" if (draws == 1).all() else "draws, or images of one"
    )
    opening = (
        f"**Figure 4, Deep ConvRFM against the network, layer by layer** (protocol: {protocol}). Features of a test image, "
        "with every pixel replaced by the norm of the patch around it times a matrix. Above: the metric M of each stage of "
        "Deep ConvRFM, of its best round from round 1 on, on the random features of that stage. Below: the filter covariance "
        "of what training has added to the filters of the network, (W - W0)^T (W - W0), on the network's features. Both are "
        "taken in full, not by their square roots; patches wrap around the border. Under each pair: the Pearson correlation "
        "of its pixels, and that of the lower picture with a random positive matrix in the place of M."
    )
    number = table["image"].nunique()
    lines = [
        opening,
        *starred_reservation(table["task"]),
        "",
        f"Means over {number} test images and {draws.max()} draw(s), with 95 % intervals of the excess over {unit}:",
        "",
        "| task | layer | correlation | random | excess |",
        "|---|---|---|---|---|",
    ]
    for _, row in means.iterrows():
        excess = with_interval(row["excess"], row["low"], row["high"], "+.3f")
        cells = [title(row["task"]), str(row["layer"]), f"{row['pearson']:.3f}", f"{row['control']:.3f}"]
        lines.append(f"| {' | '.join(cells)} | {excess} |")
    lines += [*_plain_stages(table), *skipped_lines(skipped, title)]
    return "\n".join(lines) + "\n"


def _plain_stages(table: pd.DataFrame) -> list[str]:
    """Stages whose round 0 was better than all that had learned."""
    plain = table[~table["followed"]].drop_duplicates(["task", "seed", "layer"])
    found = [f"{title(row.task)}, layer {row.layer} (seed {row.seed})" for row in plain.itertuples()]
    if not found:
        return []
    reason = "the plain kernel of the stage is at least as good, and the random filters of the next stage follow the identity"
    return ["", f"In {'; '.join(found)}, {reason}."]
