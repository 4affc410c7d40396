"""Figure 8, the ansatz in SimpleNet: correlation by layer, its course over the epochs, and test accuracies."""

import textwrap
from collections.abc import Iterator, Mapping
from functools import partial
from itertools import cycle, pairwise
from operator import attrgetter
from typing import Annotated, Any, Literal, NamedTuple, Self

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pydantic import Field, field_validator, model_validator

from convrfm.datasets.registry import REGISTRY
from convrfm.replication.claims.evidence import Evidence, Judges, Reading, Rule, interval, mean_of, with_interval
from convrfm.replication.config.images import check_counts
from convrfm.replication.config.models import Model, Positive, each_once
from convrfm.replication.figures import style
from convrfm.replication.figures.accuracies import draw_of
from convrfm.replication.figures.figure import Drawn, FigureSpec, Plan, Run, read_recorded_runs
from convrfm.replication.record.session import Job

__all__ = ["FIGURE", "Fig08", "SimpleNetPanel", "caption", "draw", "draw_figure", "tidy"]


def _rising(epochs: list[int]) -> list[int]:
    if any(a >= b for a, b in pairwise(epochs)):
        msg = "the epochs must rise"
        raise ValueError(msg)
    return epochs


class SimpleNetTraining(Model):
    """Training by Adadelta (rho = 0.9, eps = 1e-3) on the cross-entropy; the defaults are SimpleNet's recipe."""

    epochs: Positive = Field(540, description="passes over the training images")
    batch_size: Positive = Field(100, description="images per step")
    learning_rate: float = Field(0.1, gt=0, description="learning rate of Adadelta at the start")
    milestones: list[Positive] = Field(
        default=[100, 190, 306, 390, 440, 540], description="after these epochs the rate is multiplied by decay"
    )
    decay: float = Field(0.1, gt=0, description="that factor")
    weight_decay: float = Field(1e-3, ge=0, description="L2 penalty; 0.002 in the logs of SimpleNet's best published runs")
    augmentation: Literal["none", "crop-flip"] = Field(
        "crop-flip", description="random crops with a margin of 4 pixels and random flips, or none"
    )
    evaluate_every: Positive = Field(1, description="epochs from one measurement of the test accuracy to the next")
    mixed_precision: bool = Field(False, description="whether training steps run in bfloat16")

    _milestones_rise = field_validator("milestones")(_rising)


class SimpleNetAnsatz(Model):
    """The comparison of filters and average gradient outer product."""

    images: Positive = Field(description="training images that the AGOP is taken over, drawn at random")
    mode: Literal["exact", "probe"] = Field(
        "exact", description="exact: one backward pass for each class; probe: random directions, for many classes"
    )
    probes: Positive = Field(16, description="random directions for each image, in the mode probe")
    epochs: list[Positive] = Field(
        default_factory=list,
        description="epochs after which the correlation is taken as well; before training and the end belong to them anyway",
    )

    _epochs_rise = field_validator("epochs")(_rising)


class SimpleNetPanel(Model):
    """SimpleNet on one data set."""

    dataset: Literal["cifar10", "cifar100", "imagenet32", "svhn", "gtsrb", "digits"] = Field(
        description="which; digits are scikit-learn's, a stand-in"
    )
    n_train: Positive = Field(description="training images")
    n_test: Positive = Field(description="test images")
    scaling: Literal["unit", "cifar10", "cifar100", "imagenet"] = Field(
        description="mean and deviation that are taken out of the images, see convrfm.datasets.transforms"
    )
    seeds: Positive = Field(1, description="how many of the seeds train networks; the first ones of the list")
    width_divisor: Annotated[int, Field(ge=1, le=64)] = Field(
        1, description="divides the filters of every layer; above 1 the network is a stand-in"
    )
    init_std: float = Field(
        1e-2, gt=0, description="standard deviation of the initial weights of the convolutions; the paper's is lost"
    )
    extra_pool: bool = Field(True, description="whether there is a fifth pooling, as in the version that the authors imported")
    training: SimpleNetTraining = Field(default_factory=SimpleNetTraining, description="how it is trained")
    ansatz: SimpleNetAnsatz = Field(description="how the ansatz is measured")

    @model_validator(mode="after")
    def _parts_fit_together(self) -> Self:
        if self.ansatz.epochs and self.ansatz.epochs[-1] > self.training.epochs:
            msg = f"ansatz.epochs must end by training.epochs, {self.training.epochs}, but they are {self.ansatz.epochs}"
            raise ValueError(msg)
        if self.ansatz.images > self.n_train:
            msg = f"ansatz.images must be at most n_train, {self.n_train}, but it is {self.ansatz.images}"
            raise ValueError(msg)
        if self.n_train % self.training.batch_size == 1:
            msg = (
                f"n_train, {self.n_train}, leaves a last batch of one image for batch_size {self.training.batch_size}, which "
                "batch norm cannot train on"
            )
            raise ValueError(msg)
        check_counts(self.dataset, self.n_train, self.n_test)
        if self.dataset == "digits" and self.scaling != "unit":
            msg = f"scaling must be 'unit' for digits, which are grey, but it is {self.scaling!r}"
            raise ValueError(msg)
        return self


class Fig08(Model):
    """Figure 8, the ansatz in SimpleNet."""

    panels: Annotated[list[SimpleNetPanel], each_once(attrgetter("dataset"), attrgetter("width_divisor"))] = Field(
        min_length=1, description="one panel for each data set and width"
    )


INITIALISATIONS = "initialisations of the network"
"""What intervals over seeds are over: their images may be the same."""

RECIPE = SimpleNetTraining()
"""Of SimpleNet's authors."""

judges = Judges("fig08", ("dataset", "quantity"), ("width_divisor", "n_train", "seed", "epoch", "value"), ("stand_in",))


@judges("A4")
def simplenet(claim: Rule, found: Evidence) -> Iterator[Reading]:
    """Gains of SimpleNet's mean correlation, paired by seed, and how far its accuracy falls short of the published one."""
    for on, rows in _parts(found.rows):
        means, dataset = _means(rows), rows["dataset"].iloc[0]
        # What a shorter training gives, as of the first epochs alone, says nothing of networks trained by the recipe.
        if means.size and means.columns.max() < RECIPE.epochs and not rows["stand_in"].all():
            epochs = f"{means.columns.max():g} epochs, where its authors' recipe has {RECIPE.epochs}"
            found.problems.append(f"SimpleNet on {on} was trained for {epochs}")
            continue
        trained = means[means.columns.max()] if means.size else pd.Series(dtype=float)
        first = means[0] if 0 in means else pd.Series(dtype=float)
        nulls = rows[rows["quantity"] == "mean_rotated_null"].set_index("seed")["value"]
        for condition, against, words in (("over_initial", first, "at initialisation"), ("over_null", nulls, "rotated null")):
            what = f"mean over layers, trained minus {words}"
            yield found.reading(rows, condition, on, what, mean_of(trained - against, INITIALISATIONS))
        if dataset in PUBLISHED:
            published = PUBLISHED[dataset]
            ours = rows.loc[rows["quantity"] == "test_accuracy", "value"]
            what = f"test accuracy minus the published {100 * published:.1f} %"
            yield found.reading(rows, "accuracy", on, what, mean_of(100 * (ours - published), INITIALISATIONS))


@judges("A14")
def from_the_first_epoch(claim: Rule, found: Evidence) -> Iterator[Reading]:
    """The mean correlation after the first epoch that was kept, and after the last, minus that before the first step.

    An epoch is one over all images of the data set, as in the paper: of fewer images it takes so many more.
    """
    for title, rows in _parts(found.rows):
        means, on = _means(rows), f"SimpleNet on {title}"
        dataset, seen = rows["dataset"].iloc[0], int(rows["n_train"].iloc[0])
        whole = seen if rows["stand_in"].all() else REGISTRY[dataset].splits["train"]
        later = [epoch for epoch in means.columns if epoch >= 1]
        if 0 not in means or not later:
            found.problems.append(f"{found.path} has no course over epochs on {title}")
            continue
        if max(later) * seen < whole:
            passes = f"{max(later):g} epochs of {seen} images, less than one epoch of all {whole}"
            found.problems.append(f"SimpleNet on {title} was trained for {passes}")
            continue
        first = min(epoch for epoch in later if epoch * seen >= whole)
        for condition, epoch in zip(("first", "last"), dict.fromkeys((first, max(later))), strict=False):
            what = f"mean over layers after epoch {epoch:g} minus before the first step"
            yield found.reading(rows, condition, on, what, mean_of(means[epoch] - means[0], INITIALISATIONS))


def _parts(table: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Title and rows of each panel: one data set, networks of one width, which is named where there are several."""
    for dataset, of_dataset in table.groupby("dataset", sort=False):
        widths = of_dataset.groupby("width_divisor", sort=False)
        for divisor, rows in widths:
            narrow = f", width 1/{divisor}" if len(widths) > 1 and divisor > 1 else ""
            yield style.short_title(str(dataset)) + narrow, rows


def _means(rows: pd.DataFrame) -> pd.DataFrame:
    """The mean correlation with a row for each seed and a column for each epoch."""
    means = rows[rows["quantity"] == "mean_pearson"]
    return means.pivot_table(index="seed", columns="epoch", values="value", dropna=False)


ORDER = ("cifar10", "cifar100", "imagenet32", "svhn", "gtsrb", "digits")
"""Of the data sets in the figure."""

PUBLISHED = {"cifar10": 0.953, "cifar100": 0.734, "svhn": 0.982}
"""Test accuracies of SimpleNet that its authors published (arXiv 1608.06037); 78.4 % on CIFAR-100 in the logs of their
later PyTorch code. There are none for the other data sets."""

BARS = {"trained": "trained", "initial": "at initialisation", "null": "rotated null"}
"""What is drawn for each layer: kind, with its name in the legend."""

OF_NO_LAYER = {"layer": "", "index": -1, "filters": 0, "dimension": 0, "power": 1.0}
"""Columns of rows that belong to no single layer."""

_MEANS = {"pearson": "mean_pearson", "rotated_null": "mean_rotated_null", "initial_cnfm": "mean_initial_cnfm"}


def tidy(runs: list[Run]) -> pd.DataFrame:
    """Bring trainings, with their histories, and measurements of the ansatz into one table, a row for each number.

    Returns:
        columns `panel`, `dataset`, `stand_in`, `width_divisor`, `protocol`, `seed`, `draw` (hash of its images), `n_train`,
        `n_test`, `agop_images`, `agop_mode`, `epoch`, `layer`, `index` (of the layer, from 0; -1 for what belongs to no layer),
        `filters`, `dimension`, `quantity`, `power`, `value`, `standard_error`, `low`, `high`. Quantities: those of
        `convrfm.ansatz.summarise` by layer; "mean_pearson" (by epoch), "mean_rotated_null" and "mean_initial_cnfm", means
        over the layers; "test_accuracy" (at the epoch that the protocol takes), "last_test_accuracy" and
        "published_test_accuracy", fractions.
    """
    rows: list[dict[str, Any]] = []
    for keys, record, metrics in runs:
        settings = record["settings"]
        divisor = settings["network"]["width_divisor"]
        shared = {
            "dataset": keys["dataset"], "stand_in": style.is_stand_in(keys["dataset"]) or divisor > 1, "width_divisor": divisor,
            "protocol": keys["protocol"], "seed": int(keys["seed"]), "draw": draw_of(record),
            "n_train": settings["n_train"], "n_test": settings["n_test"],
        }  # fmt: skip
        if keys["experiment"] == "simplenet":
            numbers = _accuracies(metrics, keys)
        else:
            numbers = _correlations(metrics)
            shared |= {"agop_images": settings["images"], "agop_mode": settings["mode"]}
        rows += [{**shared, **row} for row in numbers]
    table = pd.DataFrame(rows).fillna(OF_NO_LAYER)
    for name in ("agop_images", "agop_mode"):
        table[name] = table.groupby(["dataset", "width_divisor", "seed"])[name].transform("first")
    table = table.astype(dict.fromkeys(("agop_images", "index", "filters", "dimension"), int))
    order = {name: number for number, name in enumerate(ORDER)}
    table = table.sort_values(
        ["panel", "dataset", "width_divisor", "seed", "epoch", "quantity", "power", "index"],
        key=lambda column: column.map(order) if column.name == "dataset" else column,
        ignore_index=True,
    )
    first = ["panel", "dataset", "stand_in", "width_divisor", "protocol", "seed", "draw", "n_train", "n_test"]
    first += ["agop_images", "agop_mode", "epoch", "layer", "index", "filters", "dimension", "quantity", "power"]
    return table[[*first, "value", "standard_error", "low", "high"]]


def _accuracies(history: pd.DataFrame, keys: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Under `published` the epoch is the best on the test images, as in SimpleNet's papers; else it is the last."""
    trained = history[(history["epoch"] > 0) & history["test_accuracy"].notna()]
    last = trained.iloc[-1]
    taken = trained.loc[trained["test_accuracy"].idxmax()] if keys["protocol"] == "published" else last
    yield {"panel": "C", "epoch": int(taken["epoch"]), "quantity": "test_accuracy", "value": taken["test_accuracy"]}
    yield {"panel": "C", "epoch": int(last["epoch"]), "quantity": "last_test_accuracy", "value": last["test_accuracy"]}
    if published := PUBLISHED.get(keys["dataset"]):
        yield {"panel": "C", "epoch": int(last["epoch"]), "quantity": "published_test_accuracy", "value": published}


def _correlations(metrics: pd.DataFrame) -> Iterator[dict[str, Any]]:
    last = metrics["epoch"].max()
    shown = metrics[metrics["epoch"].isin((0, last))].drop(columns="groups")
    yield from ({"panel": "A", **row} for row in shown.to_dict("records"))
    plain = metrics[metrics["power"] == 1]
    for (epoch, quantity), values in plain.groupby(["epoch", "quantity"])["value"]:
        if quantity in _MEANS:
            panel = "B" if quantity == "pearson" else "A"
            mean = values.mean(skipna=False)
            yield {"panel": panel, "epoch": int(epoch), "quantity": _MEANS[quantity], "value": mean}


class Bar(NamedTuple):
    """Height of the bars of one kind, by layer, what each is the mean of, and the ends of its interval, NaN without one."""

    value: np.ndarray
    networks: np.ndarray  # (layers, seeds)
    low: np.ndarray
    high: np.ndarray


def _bars(table: pd.DataFrame) -> dict[str, Bar]:
    """The bars of one data set, with intervals over several networks, or of the measurement of a single one."""
    last = table["epoch"].max()
    rows = table[(table["panel"] == "A") & (table["index"] >= 0) & (table["power"] == 1)]
    chosen = {
        "trained": rows[(rows["quantity"] == "pearson") & (rows["epoch"] == last)],
        "initial": rows[(rows["quantity"] == "pearson") & (rows["epoch"] == 0)],
        "null": rows[(rows["quantity"] == "rotated_null")],
    }
    found = {}
    for kind, part in chosen.items():
        networks = part.pivot_table(index="index", columns="seed", values="value", dropna=False).to_numpy()
        alone = networks.shape[1] == 1
        ends = part[["value", "low", "high"]].to_numpy() if alone else np.array([_mean_of(values) for values in networks])
        value, low, high = ends.astype(np.float64).T
        found[kind] = Bar(value, networks, low, high)
    return found


def _mean_of(networks: np.ndarray) -> tuple[float, float, float]:
    """Mean and interval of the values of some networks; too few have no interval."""
    found = interval(networks)
    return found if len(networks) >= style.LEAST_FOR_INTERVALS else (found[0], np.nan, np.nan)


def _note(table: pd.DataFrame) -> str:
    """What is not the paper's about one data set; empty where all is."""
    dataset, divisor = table[["dataset", "width_divisor"]].iloc[0]
    parts = [style.STAND_INS[dataset]] if style.is_stand_in(dataset) else []
    if divisor > 1:
        parts.append(f"SimpleNet narrowed {divisor} times")
    return f"stand-in: {', '.join(parts)}" if parts else ""


def draw(table: pd.DataFrame, skipped: Mapping[str, str]) -> Figure:
    """Draw the figure from the table of one protocol; data sets that are skipped leave a panel with the reason."""
    parts = list(_parts(table))
    rows = len(parts) + len(skipped)
    with style.figure_style():
        figure = Figure(figsize=(7.2, max(3.6, 1.45 * rows + 0.5)), layout="constrained")
        left, right = figure.subfigures(1, 2, width_ratios=(1.75, 1))  # type: ignore[misc]
        panels = left.subplots(rows, 1, squeeze=False)[:, 0]
        for axes, (title, part) in zip(panels, parts, strict=False):
            _draw_bars(axes, title, part)
        left.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
        for axes, (name, reason) in zip(panels[len(parts) :], skipped.items(), strict=True):
            style.write_reason(axes, style.short_title(name), reason)
        panels[len(parts) - 1].set_xlabel("convolution")
        course, accuracies = right.subplots(2, 1, height_ratios=(1.6, 1))
        _draw_course(course, table)
        _draw_accuracies(accuracies, table)
        for axes, name, offset in ((panels[0], "A", -0.1), (course, "B", -0.2), (accuracies, "C", -0.2)):
            style.letter(axes, name, offset=offset)
    return figure


def _draw_bars(axes: Axes, title: str, table: pd.DataFrame) -> None:
    bars = _bars(table)
    colours = dict(zip(BARS, style.palette("colorblind", len(BARS)), strict=True))
    width = 0.8 / len(bars)
    lowest = 0.0
    for number, (kind, bar) in enumerate(bars.items()):
        places = 1 + np.arange(len(bar.value)) + (number - 1) * width
        axes.bar(places, bar.value, width, color=colours[kind], label=BARS[kind], linewidth=0)
        # No correlation is above 1.
        ends = np.abs(np.nan_to_num(np.stack([bar.value - bar.low, bar.high.clip(max=1) - bar.value])))
        axes.errorbar(places, bar.value, ends, fmt="none", ecolor="0.15", elinewidth=0.6)
        if 1 < bar.networks.shape[1] < style.LEAST_FOR_INTERVALS:
            axes.plot(places, bar.networks, ".", color="0.15", markersize=2)
        lowest = min(lowest, float(np.nan_to_num(bar.value - ends[0]).min()), float(np.nan_to_num(bar.networks).min()))
    note = _note(table)
    axes.set(
        title=textwrap.fill(title + (f" ({note})" if note else ""), 60), xticks=range(1, len(bars["trained"].value) + 1),
        ylim=(lowest - (0.05 if lowest < 0 else 0), 1.03), ylabel="Pearson correlation",
    )  # fmt: skip
    axes.grid(axis="y")
    axes.set_axisbelow(True)


def _draw_course(axes: Axes, table: pd.DataFrame) -> None:
    """Mean over the layers against the epoch, on a scale that shows step 0 and the last epoch alike."""
    means = table[table["quantity"] == "mean_pearson"]
    parts = list(_parts(means))
    for (title, part), colour, marker in zip(parts, style.palette("colorblind", len(parts)), cycle("osD^vP"), strict=False):
        rows = part.groupby("epoch")["value"]
        summary = pd.DataFrame({epoch: _mean_of(values.to_numpy()) for epoch, values in rows}).T
        axes.plot(summary.index, summary[0], color=colour, marker=marker, label=title)
        axes.fill_between(summary.index, summary[1], summary[2], color=colour, alpha=0.15, linewidth=0)
    axes.set_xscale("symlog", linthresh=1, linscale=0.5)
    axes.set_xlim(left=-0.15)
    last = int(means["epoch"].max())
    ticks = [0, *(epoch for epoch in (1, 3, 10, 30, 100, 300) if epoch < 0.5 * last), last]
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.set(xlabel="epoch", ylabel="Pearson correlation,\nmean over layers")
    axes.grid(axis="y")
    if len(parts) > 1:
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0))
    else:
        axes.set_title(parts[0][0])


def _percent(values: pd.Series) -> str:
    if values.empty:
        return "-"
    percent = 100 * values.to_numpy()
    if len(percent) < style.LEAST_FOR_INTERVALS:
        return ", ".join(f"{value:.1f}" for value in percent)
    return with_interval(*interval(percent), ".1f")


def _accuracy_cells(table: pd.DataFrame) -> list[list[str]]:
    """Rows of the table of accuracies: data set, at the chosen epoch, at the last one, as published."""
    quantities = ("test_accuracy", "last_test_accuracy", "published_test_accuracy")
    cells = []
    for title, rows in _parts(table):
        chosen, last, published = (rows.loc[rows["quantity"] == quantity, "value"] for quantity in quantities)
        cells.append([title, *map(_percent, (chosen, last, published.head(1)))])
    return cells


def _draw_accuracies(axes: Axes, table: pd.DataFrame) -> None:
    chosen = "best" if table["protocol"].iloc[0] == "published" else "chosen"
    cells = [
        [title.replace(", ", "\n"), *(number.replace(" [", "\n[") for number in numbers)]
        for title, *numbers in _accuracy_cells(table)
    ]
    drawn = axes.table(
        cells, colLabels=["accuracy, %", chosen, "last", "published"], colWidths=[0.24, 0.28, 0.28, 0.2],
        cellLoc="center", loc="upper center", edges="horizontal",
    )  # fmt: skip
    drawn.auto_set_font_size(False)
    drawn.set_fontsize(6)
    for (row, column), cell in drawn.get_celld().items():
        cell.set_linewidth(0.5)
        cell.set_height(cell.get_height() * (1 + max(text.count("\n") for text in cells[row - 1]) if row else 1))
        if column == 0:
            cell.get_text().set_horizontalalignment("left")
    axes.set_axis_off()


def caption(table: pd.DataFrame, skipped: Mapping[str, str]) -> str:
    """Write the caption in Markdown; every number in it is computed from the table. Arguments as for `draw`."""
    protocol = table["protocol"].iloc[0]
    epoch = "the best on the test images, as in the paper" if protocol == "published" else "the last"
    opening = (
        f"**Figure 8, the ansatz in SimpleNet** (protocol: {protocol}). A: Pearson correlation of W^T W and the average "
        "gradient outer product for each of the 13 convolutions, after training, at initialisation (batch norm with mean 0 "
        "and variance 1), and for the rotated null: the same filters with randomly rotated gradients (95 % of the draws). "
        f"Bars carry 95 % intervals, over {style.LEAST_FOR_INTERVALS} initialisations or more; of two, dots are the networks; "
        "of one, intervals are over parts of the images. B: mean over the layers against the epoch. C: test accuracies, of two "
        f"networks each; the first is of the epoch that is {epoch}."
    )
    lines = [opening, *(f"\n{_paragraph(title, rows)}" for title, rows in _parts(table)), ""]
    lines += style.markdown_table(
        ["test accuracy, %", "at that epoch", "at the last epoch", "published"], _accuracy_cells(table)
    )
    return "\n".join([*lines, *style.skipped_lines(skipped, style.short_title)]) + "\n"


def _paragraph(title: str, table: pd.DataFrame) -> str:
    bars, note, shown, means = _bars(table), _note(table), table.iloc[0], _means(table)
    trained = bars["trained"].value
    nulls = table[table["quantity"] == "mean_rotated_null"].set_index("seed")["value"]
    last, start = means.iloc[:, -1], means.iloc[:, 0]
    # What the networks differ in, which intervals are over.
    seeds, draws = table["seed"].nunique(), table["draw"].nunique()
    images = "on the same images" if draws == 1 else "each on another draw of images" if draws == seeds else f"on {draws} draws"
    networks = "1 initialisation" if seeds == 1 else f"{seeds} initialisations {images}"
    return (
        f"**{title}**{f' ({note}: not comparable with the paper)' if note else ''}: {shown['n_train']} "
        f"training images, {means.columns[-1]} epochs, {networks}; AGOP over "
        f"{shown['agop_images']} images, mode {shown['agop_mode']}. Mean over the layers after training: {_mean(last)}; at "
        f"initialisation {_mean(start)}; rotated null {_mean(nulls)}. It exceeds the initial value by {_mean(last - start)} "
        f"and the null by {_mean(last - nulls)}. {int((trained > bars['initial'].value).sum())} of {len(trained)} layers "
        f"exceed their initial value, {int((trained > bars['null'].high).sum())} the interval of their null. After epoch "
        f"{means.columns[1]} the mean is {_mean(means.iloc[:, 1])}."
    )


def _mean(values: pd.Series) -> str:
    return with_interval(*interval(values.to_numpy()), ".3f")


def _runs(plan: Plan, protocol: str, kind: str, file: str) -> list[str]:
    return [
        plan.run_file(kind, protocol, file, dataset=panel.dataset, width_divisor=panel.width_divisor, seed=seed)
        for panel in plan.settings.preset.fig08.panels
        if plan.ready([panel.dataset])
        for seed in plan.seeds[: panel.seeds]
    ]


FIGURE = FigureSpec(
    title="Figure 8",
    subject="the ansatz in SimpleNet",
    about="Pearson correlation of filters and average gradient outer product for every convolution of SimpleNet, against the "
    "network before training and against rotated gradients, its course over the epochs, and the test accuracies.",
    section=Fig08,
    needs=lambda plan: plan.needs(panel.dataset for panel in plan.settings.preset.fig08.panels),
    inputs={
        "histories": partial(_runs, kind="simplenet", file="metrics"),
        "trainings": partial(_runs, kind="simplenet", file="record"),
        "metrics": partial(_runs, kind="simplenet-ansatz", file="metrics"),
        "records": partial(_runs, kind="simplenet-ansatz", file="record"),
    },
    judges=judges,
)


@FIGURE.drawn
def draw_figure(job: Job, skipped: Mapping[str, str]) -> Drawn:
    """Give table, picture and caption; data sets that are not there are SKIPPED with the reason."""
    table = tidy(read_recorded_runs([*job.inputs["histories"], *job.inputs["metrics"]]))
    return table, draw(table, skipped), caption(table, skipped)
