"""What Figures 3, 10, 11 and 12 share: their table, how filters and pictures are drawn, and numbers in words."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from pydantic import Field, field_validator, model_validator

from convrfm.datasets.registry import files_behind
from convrfm.pictures.filtering import CONSTANT
from convrfm.replication.claims import evidence
from convrfm.replication.claims.evidence import Evidence, Judges, Number, Reading, Rule, with_interval
from convrfm.replication.config.images import PreparedSet, check_count, check_counts, check_patches
from convrfm.replication.config.models import Model, Positive, check_among, each_once
from convrfm.replication.figures import style
from convrfm.replication.figures.accuracies import how_chosen
from convrfm.replication.figures.figure import FigureFiles, Plan

__all__ = [
    "COHERENT", "CONSTANT", "FeatureFigure", "FeatureTask", "Features", "by_metric", "edge_detectors", "excess_number",
    "feature_figure", "feature_judges", "kernels_and_networks", "over_in_words",
]  # fmt: skip


class FeatureNetwork(Model):
    """The finite network whose first layer is compared with."""

    width: Positive = Field(64, description="filters of each convolution")
    batch_size: Positive = Field(128, description="images per step")
    optimizer: Literal["adam", "sgd"] = Field("adam", description="Adam, or plain SGD")
    learning_rate: float = Field(5e-4, gt=0, description="step size")
    epochs: Positive = Field(description="passes over the training images")


class FeatureTask(Model):
    """One data set with the models that are fitted to it."""

    dataset: PreparedSet = Field(description="a data set of docs/datasets.md whose images are of small size")
    size: Positive = Field(32, description="pixels of each side")
    colour: Literal["grey", "rgb"] = Field("rgb", description="one channel or three")
    n_train: Positive = Field(description="training images")
    n_test: Positive = Field(description="test images")
    rounds: Positive = Field(5, description="rounds of ConvRFM, T")
    ridges: list[Annotated[float, Field(gt=0)]] = Field(
        default=[1e-8, 1e-5, 1e-3], min_length=1, description="ridges to try, for a kernel divided by its largest entry"
    )
    depth: Positive = Field(3, description="convolutions of CNTK and network, L")
    patch_size: Positive = Field(3, description="patch size q of CNTK and network")
    laplace_patch_size: Positive = Field(7, description="patch size q of the Laplace kernel")
    bandwidth: float = Field(10.0, gt=0, description="bandwidth of the Laplace kernel; the paper's is lost")
    network: FeatureNetwork = Field(description="the network to compare with")

    @model_validator(mode="after")
    def _parts_fit_together(self) -> Self:
        if self.rounds < 2:
            msg = "rounds must be at least 2: round 0 has the identity for a metric, which shows no feature"
            raise ValueError(msg)
        if min(self.patch_size, self.laplace_patch_size) < 2:
            msg = "patches must have at least 2x2 pixels: a single pixel has no orientation"
            raise ValueError(msg)
        check_counts(self.dataset, self.n_train, self.n_test)
        check_patches(self.depth, self.patch_size, self.size, self.dataset)
        if self.laplace_patch_size > self.size:
            msg = f"laplace_patch_size must be at most size, {self.size}, but it is {self.laplace_patch_size}"
            raise ValueError(msg)
        return self


class Features(Model):
    """What the first layer learns, for Figures 3, 10, 11 and 12."""

    tasks: Annotated[list[FeatureTask], each_once(attrgetter("dataset"))] = Field(
        min_length=1, description="data sets with their models"
    )
    seeds: Positive = Field(
        3, description="how many of the seeds are fitted, the first ones of the list; one where the protocol fixes the images"
    )
    natural: Literal["photographs", "imagenet", "imagenette"] = Field(
        description="large natural images: scikit-learn's two photographs (a stand-in), ImageNet, or ten classes of it, for "
        "which nobody needs an account"
    )
    natural_images: Positive = Field(description="how many of them; the authors' code takes 15")
    natural_size: Positive = Field(224, description="pixels of each side of natural images")
    images: Positive = Field(
        20, description="test images of each data set that are compared; those of highest contrast are shown"
    )
    eigenvectors: Annotated[int, Field(ge=2)] = Field(8, description="top eigenvectors that are shown and measured")
    exponent: float = Field(
        1.0, gt=0, description="power of the matrices that images pass: 1 for the full matrix, as the paper has it for SVHN"
    )
    control_draws: Positive = Field(10, description="random matrices and filters that each comparison is held against")

    @model_validator(mode="after")
    def _enough_images(self) -> Self:
        for task in self.tasks:
            if task.n_test < self.images:
                msg = f"images must be at most the n_test of {task.dataset}, {task.n_test}, but it is {self.images}"
                raise ValueError(msg)
        check_count("natural_images", self.natural_images, self.natural, "train")
        return self


class FeatureFigure(Model):
    """One figure of what the first layer learns; its class in the figure's module gives it its name."""

    most: ClassVar[int | None] = None
    """Data sets that there is room for."""

    datasets: Annotated[list[str], each_once()] = Field(
        min_length=1, description="data sets of the section features, in their order on the figure"
    )

    @field_validator("datasets")
    @classmethod
    def _room_for_them(cls, datasets: list[str]) -> list[str]:
        if cls.most is not None and len(datasets) > cls.most:
            msg = "there is room for one data set only"
            raise ValueError(msg)
        return datasets

    def check(self, preset: Any) -> None:
        """Check against other sections; ValueError for a data set that the section features does not have."""
        check_among("datasets", self.datasets, "features.tasks", [task.dataset for task in preset.features.tasks])


KERNELS = {"cntk": "CNTK-ConvRFM", "laplace": "Laplace-ConvRFM"}

NEGLIGIBLE = 1e-3
"""Share of the trace below which an eigenvector is left out: in float32 it may be rounding noise (ours)."""

COHERENT = 0.2
"""Smallest coherence of an eigenvector that has an orientation at all (ours)."""

Shown = TypeVar("Shown")

COLUMNS = [
    "panel", "dataset", "source", "stand_in", "protocol", "seed", "draw", "n_train", "n_test", "kernel", "patch_size",
    "eigenvector", "image", "quantity", "value", "control",
]  # fmt: skip


EIGENVECTOR = ["dataset", "source", "seed", "kernel", "eigenvector"]
"""Columns that tell eigenvectors apart."""


@dataclass(frozen=True)
class Sheet:
    """Eigenvectors of one metric `(k, channels, q, q)`, with the images that are shown and what each makes of them.

    Images are `(m, channels, height, width)`, and pictures `(k, m, height, width)`.
    """

    filters: np.ndarray
    images: np.ndarray
    pictures: np.ndarray


@dataclass(frozen=True)
class Strip:
    """Images `(m, channels, height, width)`, and what matrices make of them `(m, height, width)`, by the name of the row."""

    images: np.ndarray
    pictures: Mapping[str, np.ndarray]


def table_of(parts: Sequence[pd.DataFrame], protocol: str) -> pd.DataFrame:
    """Join measurements of one protocol into one table, a row for each number.

    Returns:
        columns `panel`, `dataset` (that the models were fitted to), `source` (of the images that they transform), `stand_in`,
        `protocol`, `seed`, `draw` (hash of the images), `n_train`, `n_test` (images of the data set), `kernel`, `patch_size`,
        `eigenvector` (from 1; 0, as without, for the matrix as a whole), `image` (from 0; -1, as without, for all of them
        together), `quantity`, `value`, `control`.
    """
    defaults = {"eigenvector": 0, "image": -1}
    table = pd.concat([part.assign(**{n: default for n, default in defaults.items() if n not in part}) for part in parts])
    stand_in = table["dataset"].map(style.is_stand_in) | table["source"].map(style.is_stand_in)
    return table.assign(stand_in=stand_in, protocol=protocol)[COLUMNS].reset_index(drop=True)


def first_seed(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of the seed that comes first, the one that figures show."""
    return rows[rows["seed"] == rows["seed"].iloc[0]]


def proper_edges(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of eigenvectors that are neither constant nor negligible.

    A flat window finds brightness, not edges; one with next to nothing of the trace of its metric is rounding noise.
    """
    own = pd.MultiIndex.from_frame(table[EIGENVECTOR])
    numbers = (table[table["quantity"] == name].set_index(EIGENVECTOR)["value"] for name in ("constant_share", "share"))
    flat, share = (values.reindex(own).to_numpy() for values in numbers)
    return table[(flat <= CONSTANT) & (share >= NEGLIGIBLE)]


def excess(rows: pd.DataFrame) -> dict[str, float]:
    """Means of rows of one quantity: `value`, `control`, and their difference `excess` with its 95 % interval `low`, `high`.

    The interval is over `units`: draws, where there are several, and images otherwise. Seeds with the same images are one draw.
    """
    unit = "draw" if rows["draw"].nunique() > 1 else "image"
    means = rows.groupby(unit)[["value", "control"]].mean()
    mean, low, high = evidence.interval((means["value"] - means["control"]).to_numpy())
    return {**means.mean().to_dict(), "excess": mean, "low": low, "high": high, "units": len(means)}


def against_random(found: Mapping[str, float]) -> str:
    """Numbers of `excess` in words."""
    gain = with_interval(found["excess"], found["low"], found["high"], "+.3f")
    return f"{found['value']:.3f}, against {found['control']:.3f} at random: {gain}"


def oriented_gaps(table: pd.DataFrame) -> pd.DataFrame:
    """Angles between eigenvectors and the edges they pick, of proper edges that have an orientation.

    Returns:
        columns `value` (degrees) and `control` (to the edges that the other eigenvectors pick).
    """
    rows = proper_edges(table)
    wide = rows[rows["image"] < 0].pivot_table(index=EIGENVECTOR, columns="quantity", values="value")
    gaps = rows[rows["quantity"] == "gap"].set_index(EIGENVECTOR)
    return gaps.loc[wide.index[wide["coherence"] >= COHERENT], ["value", "control"]]


def orientation_sentence(table: pd.DataFrame) -> str:
    """How many eigenvectors look like the edges they pick."""
    oriented = oriented_gaps(table)
    if oriented.empty:
        return "No eigenvector has an orientation: nothing can be said of the edges it picks."
    every, median = (proper_edges(table)["quantity"] == "gap").sum(), oriented.median()
    return (
        f"Of {every} eigenvectors that are neither constant nor negligible (at least {100 * NEGLIGIBLE:g} % of the trace), "
        f"{len(oriented)} have an orientation (coherence of at least {COHERENT:g}). Median angle to the edges that they pick "
        f"{median['value']:.1f} degrees; to the edges that the other eigenvectors pick, {median['control']:.1f}."
    )


def caption_of(name: str, rest: str, table: pd.DataFrame, skipped: Mapping[str, str], paragraphs: Iterable[str]) -> str:
    """Write the caption of a figure: its name, `rest`, that is what it shows, and paragraphs on what was found.

    The last ones say what the intervals are over, what stands in for other data, and what is missing.
    """
    protocol = table["protocol"].iloc[0]
    opening = (
        f"**{name}** (protocol: {protocol}). {rest} The metric is that of ConvRFM's best round from round 1 on, chosen "
        f"{how_chosen(protocol)}."
    )
    draws = table.groupby("dataset")["draw"].nunique().max()
    over = f"{draws} draws" if draws > 1 else "the images of one draw"
    lines = [f"Intervals are at 95 %, over {over}. Of the images that are compared, those of highest contrast are shown."]
    if standing := style.stand_in_note([*table["dataset"], *table["source"]]):
        lines.append(f"{standing[0].upper()}{standing[1:]}; not comparable with the paper.")
    lines += [f"**{style.short_title(part)}**: SKIPPED ({reason})" for part, reason in skipped.items()]
    return "\n\n".join([opening, *paragraphs, *lines]) + "\n"


def by_data_set(table: pd.DataFrame, sentences: Callable[[pd.DataFrame], str]) -> Iterator[str]:
    """A paragraph for each data set, from its rows."""
    for dataset, rows in table.groupby("dataset", sort=False):
        yield f"**{style.short_title(str(dataset))}**: {sentences(rows)}"


def show(cell: Axes, picture: np.ndarray) -> None:
    """Show an image `(channels, height, width)` in [0, 1], or a picture `(height, width)` from smallest to largest value."""
    if picture.ndim == 2:
        style.show_picture(cell, picture)
    elif len(picture) == 1:
        cell.imshow(picture[0], cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    else:
        cell.imshow(picture.transpose(1, 2, 0), interpolation="nearest")
    style.bare(cell)


def show_filter(cell: Axes, window: np.ndarray) -> None:
    """Show a filter `(channels, q, q)`: zero is mid-grey, and its largest entry black or white."""
    scaled = 0.5 + 0.5 * window / np.abs(window).max()
    show(cell, scaled)
    # Grey borders tell black and white windows from the paper.
    cell.spines[:].set_visible(True)
    cell.spines[:].set_color("0.6")


def draw_strip(figure: SubFigure, strip: Strip, labels: Mapping[str, Sequence[str]]) -> None:
    """Draw images above what matrices make of them; labels stand under the pictures of a row, by its name."""
    cells = figure.subplots(1 + len(strip.pictures), len(strip.images), squeeze=False)
    for i, image in enumerate(strip.images):
        show(cells[0, i], image)
        for row, (name, pictures) in enumerate(strip.pictures.items(), start=1):
            show(cells[row, i], pictures[i])
            if name in labels:
                cells[row, i].set_xlabel(labels[name][i], fontsize=6.5, labelpad=1.5)
    for cell, name in zip(cells[:, 0], ["image", *strip.pictures], strict=True):
        cell.set_ylabel(name, fontsize=7)


def letter_part(part: SubFigure, name: str) -> None:
    """Put the letter of a part of a figure into its upper left corner."""
    part.text(0.005, 0.995, name, fontsize=11, fontweight="bold", va="top")


def draw_data_sets(
    table: pd.DataFrame,
    shown: Mapping[str, Shown],
    skipped: Mapping[str, str],
    *,
    height: Callable[[Shown], float],
    draw: Callable[[SubFigure, Shown, pd.DataFrame], None],
) -> Figure:
    """Draw a figure with a part for each data set, lettered, above those that are not there.

    What is `shown` of a data set takes some inches of `height`, and is drawn with its rows of the first seed.
    """
    with style.figure_style():
        heights = [height(content) for content in shown.values()] + [0.9] * len(skipped)
        figure = Figure(figsize=(7.2, sum(heights)), layout="constrained")
        parts = figure.subfigures(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
        for part, name, (dataset, content) in zip(parts, style.LETTERS, shown.items(), strict=False):
            draw(part, content, first_seed(table[table["dataset"] == dataset]))
            letter_part(part, name)
        for part, (dataset, reason) in zip(parts[len(shown) :], skipped.items(), strict=True):
            style.write_reason(part.subplots(), style.short_title(dataset), reason)
    return figure


def draw_sheet(figure: Figure | SubFigure, sheet: Sheet, rows: pd.DataFrame) -> None:
    """Draw eigenvectors above the images that each filters, the first ones that the rows, of one metric and source, know."""
    of = rows[rows["image"] < 0].pivot_table(index="eigenvector", columns="quantity", values="value")
    sobel = rows[rows["quantity"] == "sobel"].set_index(["eigenvector", "image"])
    cells = figure.subplots(1 + len(sheet.images), 1 + len(sheet.filters), squeeze=False)
    cells[0, 0].set_axis_off()
    explained = "share of trace\n\nlooks like,\npicks edges at"
    cells[0, 0].text(1.0, 0.5, explained, ha="right", va="center", fontsize=6, transform=cells[0, 0].transAxes)
    for j, image in enumerate(sheet.images):
        show(cells[1 + j, 0], image)
        cells[1 + j, 0].set_xlabel("r with Sobel\nrandom filters", fontsize=6, labelpad=1.5)
    for i, window in enumerate(sheet.filters):
        show_filter(cells[0, 1 + i], window)
        cells[0, 1 + i].set_title(share_label(of.loc[i + 1, "share"]), fontsize=7)
        cells[0, 1 + i].set_xlabel(_orientation_label(of.loc[i + 1]), fontsize=6.5, labelpad=1.5)
        for j, picture in enumerate(sheet.pictures[i]):
            show(cells[1 + j, 1 + i], picture)
            row = sobel.loc[(i + 1, j)]
            cells[1 + j, 1 + i].set_xlabel(f"{row['value']:.2f}\n{row['control']:.2f}", fontsize=6.5, labelpad=1.5)


def share_label(share: float) -> str:
    """The share of the trace in per cent."""
    return f"{100 * share:.2g} %" if share >= NEGLIGIBLE else f"< {100 * NEGLIGIBLE:g} %"


def _orientation_label(row: pd.Series) -> str:
    if row["constant_share"] > CONSTANT:
        return "constant\n"
    if row["coherence"] < COHERENT:
        return f"none,\n{row['picked']:.0f}°"
    return f"{row['orientation']:.0f}°,\n{row['picked']:.0f}°"


def feature_figure(section: type[FeatureFigure], kernels: Sequence[str], *, networks: bool, natural: bool) -> dict[str, Any]:
    """The arguments `section`, `needs`, `inputs` and `seen` of `FigureSpec` for a figure of what the first layer learns.

    It shows the metrics of some kernels, and finite networks or large natural images where these are asked for.
    """

    def needs(plan: Plan) -> dict[str, list[str]]:
        own, name = plan.needs(plan.section(section).datasets), plan.settings.preset.features.natural
        if not natural:
            return own
        images = list(files_behind(name))
        # A figure of natural images alone has nothing to show without them.
        return {**own, name: images} if networks else {dataset: files + images for dataset, files in own.items()}

    def runs(plan: Plan, protocol: str) -> list[tuple[str, int]]:
        shown = [name for name in plan.section(section).datasets if not plan.absent(needs(plan)[name])]
        count = plan.settings.preset.features.seeds
        return [(name, seed) for name in shown for seed in plan.image_seeds(name, protocol, count)]

    def fits(plan: Plan, protocol: str) -> list[str]:
        return [
            plan.run_file("features", protocol, "arrays", dataset=dataset, kernel=kernel, seed=seed)
            for dataset, seed in runs(plan, protocol)
            for kernel in kernels
        ]

    def trained(plan: Plan, protocol: str) -> list[str]:
        shown = runs(plan, protocol) if networks else []
        return [plan.run_file("feature-network", protocol, "arrays", dataset=name, seed=seed) for name, seed in shown]

    def large(plan: Plan, protocol: str) -> list[str]:
        """ImageNet lies class by class: both protocols draw from it, stratified by class."""
        features, shown = plan.settings.preset.features, runs(plan, protocol)
        if not natural or not shown or not plan.ready([features.natural]):
            return []
        appearance = {"size": features.natural_size, "fit": "crop", "colour": plan.feature_tasks[shown[0][0]].colour}
        counts = (features.natural_images, 0)
        return [plan.prepared("corrected", "arrays", features.natural, counts, plan.seeds[0], **appearance)]

    def seen(plan: Plan, _: str) -> dict[str, Any]:
        features = plan.settings.preset.features
        tasks = [plan.feature_tasks[name] for name in plan.section(section).datasets]
        return {
            "natural": features.natural,
            "patch_sizes": {t.dataset: {"cntk": t.patch_size, "laplace": t.laplace_patch_size} for t in tasks},
            **features.model_dump(include={"images", "eigenvectors", "exponent", "control_draws"}),
        }

    inputs: dict[str, FigureFiles] = {
        "images": lambda plan, protocol: [
            plan.feature_images({"protocol": protocol, "dataset": name, "seed": str(seed)})[0]
            for name, seed in runs(plan, protocol)
        ],
        "fits": fits,
        "networks": trained,
        "natural": large,
    }
    return {"section": section, "needs": needs, "inputs": inputs, "seen": seen}


def feature_judges(figure: str) -> Judges:
    """The judges of a figure's table.

    What is compared are pictures: intervals are over draws where there are several, and over the images of the one otherwise.
    """
    words = ("panel", "dataset", "source", "kernel", "quantity", "draw")
    return Judges(figure, words, ("seed", "eigenvector", "image", "value", "control"), ("stand_in",))


def over_in_words(rows: pd.DataFrame) -> str:
    """What an interval is over, in words."""
    draws = rows["draw"].nunique()
    return f"over {draws} draws" if draws > 1 else "over the images of one draw"


def excess_number(rows: pd.DataFrame) -> Number:
    """By how much a correlation exceeds that with random matrices."""
    if not evidence.none_missing(rows[["value", "control"]]):
        return Number(math.nan, None, "correlations are missing")
    found = excess(rows)
    return Number(found["excess"], evidence.bounds(pd.Series(found)))


def by_metric(rows: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """The rows of each metric on each kind of images, with a name."""
    for (dataset, source, kernel), own in rows.groupby(["dataset", "source", "kernel"], sort=False):
        yield f"{KERNELS.get(kernel, kernel)} of {style.in_sentence(dataset)} on {style.in_sentence(source)}", own


def edge_detectors(claim: Rule, found: Evidence) -> Iterator[Reading]:
    """Whether top eigenvectors find edges, and of their own orientation."""
    for on, rows in by_metric(found.rows):
        edges = proper_edges(rows)
        flat = "all top eigenvectors are constant" if edges.empty else ""
        number = Number(math.nan, None, flat) if flat else excess_number(edges[edges["quantity"] == "sobel"])
        what = f"eigenvectors' correlation with Sobel beyond random filters, {over_in_words(rows)}"
        yield found.reading(rows, "sobel", on, what, number)
        angles = np.array([]) if flat else oriented_gaps(rows)["value"].to_numpy()
        number = Number(math.nan, None, flat or "no eigenvector has an orientation")
        if evidence.none_missing(angles):
            # The upper one of two middles: it is within the bound exactly if more than half of the angles are.
            number = Number(float(np.quantile(angles, 0.5, method="higher")))
        what = f"median angle between {len(angles)} oriented eigenvectors and the edges they pick"
        yield found.reading(rows, "orientation", on, what, number)


def kernels_and_networks(claim: Rule, found: Evidence) -> Iterator[Reading]:
    """By how much pictures through the metric and through the network agree beyond random matrices."""
    for dataset, rows in found.rows.groupby("dataset", sort=False):
        controls = rows.loc[rows["quantity"] == "alike", "control"]
        for condition, quantity, words in (
            (evidence.with_room(claim, controls), "alike", "first layer, pixel correlation beyond random matrices"),
            ("without_brightness", "alike_without_means", "the same with each patch's mean left out"),
        ):
            number = excess_number(rows[rows["quantity"] == quantity])
            yield found.reading(rows, condition, style.short_title(str(dataset)), f"{words}, {over_in_words(rows)}", number)
