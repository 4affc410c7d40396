"""What Figures 3, 10, 11 and 12 share: their table, how filters and pictures are drawn, and numbers in words."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from convrfm.pictures.eigenfilters import CONSTANT
from convrfm.replication.figures.accuracies import how_chosen
from convrfm.replication.figures.names import is_stand_in, short_title, stand_in_note
from convrfm.replication.figures.skipped import write_reason
from convrfm.replication.figures.style import figure_style, interval, with_interval

__all__ = [
    "COHERENT", "KERNELS", "LETTERS", "Sheet", "Strip", "against_random", "caption_of_data_sets", "draw_data_sets",
    "draw_sheet", "draw_strip", "excess", "first_seed", "headline", "letter_part", "notes", "orientation_sentence",
    "oriented_gaps", "proper_edges", "show", "show_filter", "table_of", "write_missing",
]  # fmt: skip

LETTERS = "ABCDEFGH"
"""Of the panels."""

KERNELS = {"cntk": "CNTK-ConvRFM", "laplace": "Laplace-ConvRFM"}

COHERENT = 0.2
"""Smallest coherence of an eigenvector that has an orientation at all (ours)."""

Shown = TypeVar("Shown")

COLUMNS = [
    "panel", "dataset", "source", "stand_in", "protocol", "seed", "draw", "n_train", "n_test", "kernel", "patch_size",
    "eigenvector", "image", "quantity", "value", "control",
]  # fmt: skip


@dataclass(frozen=True)
class Sheet:
    """Eigenvectors of one metric with images filtered by each.

    Attributes:
        filters: `(k, channels, q, q)`.
        images: `(m, channels, height, width)`, those that are shown.
        pictures: `(k, m, height, width)`.
    """

    filters: np.ndarray
    images: np.ndarray
    pictures: np.ndarray


@dataclass(frozen=True)
class Strip:
    """Images and what matrices make of them.

    Attributes:
        images: `(m, channels, height, width)`.
        pictures: by the name of the row, `(m, height, width)`.
    """

    images: np.ndarray
    pictures: Mapping[str, np.ndarray]


def table_of(parts: Sequence[pd.DataFrame], protocol: str) -> pd.DataFrame:
    """Join measurements into one table, a row for each number.

    Args:
        parts: each with some of the columns `panel`, `dataset` (that the models were fitted to), `source` (of the images that
            they transform), `seed`, `draw` (hash of the images), `n_train`, `n_test` (images of the data set), `kernel`,
            `patch_size`, `eigenvector` (from 1; 0 for the matrix as a whole), `image` (from 0; -1 for all of them together),
            `quantity`, `value`, `control`.
        protocol: of the runs.

    Returns:
        these columns, `stand_in` and `protocol`.
    """
    defaults = {"eigenvector": 0, "image": -1}
    filled = [part.assign(**{n: default for n, default in defaults.items() if n not in part}) for part in parts]
    table = pd.concat(filled)
    stand_in = table["dataset"].map(is_stand_in) | table["source"].map(is_stand_in)
    return table.assign(stand_in=stand_in, protocol=protocol)[COLUMNS].reset_index(drop=True)


def first_seed(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of the seed that comes first, the one that figures show."""
    return rows[rows["seed"] == rows["seed"].iloc[0]]


def proper_edges(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of eigenvectors that are not constant: a flat window finds brightness, not edges."""
    keys = ["dataset", "source", "seed", "kernel", "eigenvector"]
    shares = table[table["quantity"] == "constant_share"].set_index(keys)["value"]
    own = pd.MultiIndex.from_frame(table[keys])
    return table[np.asarray(shares.reindex(own).to_numpy() <= CONSTANT)]


def excess(rows: pd.DataFrame) -> dict[str, float]:
    """Mean of values, of controls, and of their differences with a 95 % interval.

    What the interval is over are the draws, where there are several, and the images otherwise. Seeds with the same images are
    one draw.

    Args:
        rows: of one quantity.

    Returns:
        `value`, `control`, `excess`, `low`, `high`, and `units`, the number of draws or images.
    """
    unit = "draw" if rows["draw"].nunique() > 1 else "image"
    means = rows.groupby(unit)[["value", "control"]].mean()
    mean, low, high = interval((means["value"] - means["control"]).to_numpy())
    return {**means.mean().to_dict(), "excess": mean, "low": low, "high": high, "units": len(means)}


def against_random(found: Mapping[str, float]) -> str:
    """Numbers of `excess` in words."""
    gain = with_interval(found["excess"], found["low"], found["high"], "+.3f")
    return f"{found['value']:.3f}, against {found['control']:.3f} at random: {gain}"


def oriented_gaps(table: pd.DataFrame) -> pd.DataFrame:
    """Angles between eigenvectors and the edges they pick, of those that are neither constant nor without orientation.

    Returns:
        columns `value` (degrees) and `control` (to the edges that the other eigenvectors pick).
    """
    keys = ["dataset", "source", "seed", "kernel", "eigenvector"]
    rows = proper_edges(table)
    wide = rows[rows["image"] < 0].pivot_table(index=keys, columns="quantity", values="value")
    gaps = rows[rows["quantity"] == "gap"].set_index(keys)
    return gaps.loc[wide.index[wide["coherence"] >= COHERENT], ["value", "control"]]


def orientation_sentence(table: pd.DataFrame) -> str:
    """How many eigenvectors look like the edges they pick."""
    rows = proper_edges(table)
    oriented = oriented_gaps(table)
    if len(oriented) == 0:
        return "No eigenvector has an orientation, so that nothing can be said of the edges it picks."
    own, control = oriented["value"], oriented["control"]
    return (
        f"Of {int((rows['quantity'] == 'gap').sum())} eigenvectors that are not constant, {len(oriented)} have an orientation "
        f"(coherence of at least {COHERENT:g}). Median angle to the edges that they pick {own.median():.1f} degrees; to "
        f"the edges that the other eigenvectors pick, {control.median():.1f}."
    )


def headline(name: str, rest: str, table: pd.DataFrame) -> str:
    """First words of a caption."""
    protocol = table["protocol"].iloc[0]
    return (
        f"**{name}** (protocol: {protocol}). {rest} The metric is that of ConvRFM's best round from round 1 on, chosen "
        f"{how_chosen(protocol)}."
    )


def notes(table: pd.DataFrame, skipped: Mapping[str, str]) -> list[str]:
    """Last paragraphs of a caption: what the intervals are over, what stands in for other data, and what is missing."""
    draws = table.groupby("dataset")["draw"].nunique().max()
    over = f"{draws} draws" if draws > 1 else "the images of one draw"
    lines = [
        f"Intervals are at 95 %, over {over}. Of the images that are compared, those of highest contrast are shown."
    ]
    standing = stand_in_note([*table["dataset"], *table["source"]])
    if standing:
        lines.append(f"{standing[0].upper()}{standing[1:]}; not comparable with the paper.")
    return [*lines, *(f"**{short_title(part)}**: SKIPPED ({reason})" for part, reason in skipped.items())]


def caption_of_data_sets(
    name: str, rest: str, table: pd.DataFrame, skipped: Mapping[str, str], sentences: Callable[[pd.DataFrame], str]
) -> str:
    """Write the caption of a figure with a part for each data set.

    Args:
        name: of the figure.
        rest: what it shows.
        table: from `table_of`.
        skipped: data sets that are not there, with the reason.
        sentences: what was found on one data set, from its rows.
    """
    groups = table.groupby("dataset", sort=False)
    paragraphs = [f"**{short_title(str(dataset))}**: {sentences(rows)}" for dataset, rows in groups]
    return "\n\n".join([headline(name, rest, table), *paragraphs, *notes(table, skipped)]) + "\n"


def show(cell: Axes, picture: np.ndarray) -> None:
    """Show an image `(channels, height, width)` in [0, 1], or a picture `(height, width)` from smallest to largest value."""
    if picture.ndim == 2:
        cell.imshow(picture, cmap="viridis", interpolation="nearest")
    elif len(picture) == 1:
        cell.imshow(picture[0], cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    else:
        cell.imshow(picture.transpose(1, 2, 0), interpolation="nearest")
    _bare(cell)


def show_filter(cell: Axes, window: np.ndarray) -> None:
    """Show a filter `(channels, q, q)`: zero is mid-grey, and its largest entry black or white."""
    scaled = 0.5 + 0.5 * window / np.abs(window).max()
    show(cell, scaled)
    # Grey borders tell black and white windows from the paper.
    sns.despine(ax=cell, top=False, right=False, left=False, bottom=False)
    cell.spines[:].set_color("0.6")


def draw_strip(figure: Figure | SubFigure, strip: Strip, labels: Mapping[str, Sequence[str]]) -> np.ndarray:
    """Draw images above what matrices make of them.

    Args:
        figure: where to.
        strip: a column for each image, a row for each matrix.
        labels: what stands under each picture of a row, by the name of the row.

    Returns:
        the axes `(1 + rows, images)`.
    """
    count = len(strip.images)
    cells = np.asarray(figure.subplots(1 + len(strip.pictures), count, squeeze=False))
    for i, image in enumerate(strip.images):
        show(cells[0, i], image)
        for row, (name, pictures) in enumerate(strip.pictures.items(), start=1):
            show(cells[row, i], pictures[i])
            if name in labels:
                cells[row, i].set_xlabel(labels[name][i], fontsize=6.5, labelpad=1.5)
    for cell, name in zip(cells[:, 0], ["image", *strip.pictures], strict=True):
        cell.set_ylabel(name, fontsize=7)
    return cells


def letter_part(part: SubFigure, name: str) -> None:
    """Put the letter of a part of a figure into its upper left corner."""
    part.text(0.005, 0.995, name, fontsize=11, fontweight="bold", va="top")


def write_missing(part: SubFigure, dataset: str, reason: str) -> None:
    """Write into a part of a figure that a data set is not there, and why."""
    write_reason(part.subplots(), short_title(dataset), reason, width=110)


def draw_data_sets(
    table: pd.DataFrame,
    shown: Mapping[str, Shown],
    skipped: Mapping[str, str],
    *,
    height: Callable[[Shown], float],
    draw: Callable[[SubFigure, Shown, pd.DataFrame], None],
) -> Figure:
    """Draw a figure with a part for each data set, lettered, above those that are not there.

    Args:
        table: from `table_of`.
        shown: of the first seed, by data set.
        skipped: data sets that are not there, with the reason.
        height: inches that a data set takes.
        draw: draws one data set from what is shown and from its rows of the first seed.
    """
    with figure_style():
        heights = [height(content) for content in shown.values()] + [0.9] * len(skipped)
        figure = Figure(figsize=(7.2, sum(heights)), layout="constrained")
        parts = figure.subfigures(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
        for part, name, (dataset, content) in zip(parts, LETTERS, shown.items(), strict=False):
            draw(part, content, first_seed(table[table["dataset"] == dataset]))
            letter_part(part, name)
        for part, (dataset, reason) in zip(parts[len(shown) :], skipped.items(), strict=True):
            write_missing(part, dataset, reason)
    return figure


def draw_sheet(figure: Figure | SubFigure, sheet: Sheet, rows: pd.DataFrame) -> np.ndarray:
    """Draw eigenvectors above the images that each filters.

    Args:
        figure: where to.
        sheet: the first images that `rows` is about.
        rows: of the table, of one metric and source.

    Returns:
        the axes `(1 + images, 1 + eigenvectors)`.
    """
    of = rows[rows["image"] < 0].pivot_table(index="eigenvector", columns="quantity", values="value")
    sobel = rows[rows["quantity"] == "sobel"].set_index(["eigenvector", "image"])
    cells = np.asarray(figure.subplots(1 + len(sheet.images), 1 + len(sheet.filters), squeeze=False))
    cells[0, 0].set_axis_off()
    explained = "share of trace\n\nlooks like,\npicks edges at"
    cells[0, 0].text(1.0, 0.5, explained, ha="right", va="center", fontsize=6, transform=cells[0, 0].transAxes)
    for j, image in enumerate(sheet.images):
        show(cells[1 + j, 0], image)
        cells[1 + j, 0].set_xlabel("r with Sobel\nrandom filters", fontsize=6, labelpad=1.5)
    for i, window in enumerate(sheet.filters):
        show_filter(cells[0, 1 + i], window)
        cells[0, 1 + i].set_title(f"{100 * of.loc[i + 1, 'share']:.2g} %", fontsize=7)
        cells[0, 1 + i].set_xlabel(_orientation_label(of.loc[i + 1]), fontsize=6.5, labelpad=1.5)
        for j, picture in enumerate(sheet.pictures[i]):
            show(cells[1 + j, 1 + i], picture)
            row = sobel.loc[(i + 1, j)]
            cells[1 + j, 1 + i].set_xlabel(f"{row['value']:.2f}\n{row['control']:.2f}", fontsize=6.5, labelpad=1.5)
    return cells


def _orientation_label(row: pd.Series) -> str:
    if row["constant_share"] > CONSTANT:
        return "constant\n"
    if row["coherence"] < COHERENT:
        return f"none,\n{row['picked']:.0f}°"
    return f"{row['orientation']:.0f}°,\n{row['picked']:.0f}°"


def _bare(cell: Axes) -> None:
    cell.set(xticks=[], yticks=[])
    sns.despine(ax=cell, left=True, bottom=True)
