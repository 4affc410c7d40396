"""Figure 9, robustness of the ansatz: CNFM against patch-AGOP in shallow networks, by patch size and pooling."""

import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from operator import attrgetter
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pydantic import Field, field_validator

from convrfm.replication.claims import evidence
from convrfm.replication.claims.evidence import Evidence, Judges, Number, Reading, Rule, counted, with_interval
from convrfm.replication.config.images import PreparedSet
from convrfm.replication.config.models import Model, Positive, each_once
from convrfm.replication.figures import style
from convrfm.replication.figures.figure import Drawn, FigureSpec, Plan, Run, read_recorded_runs, run_inputs
from convrfm.replication.record.session import Job

__all__ = ["FIGURE", "Fig09", "ShallowData", "caption", "contrasts", "draw", "draw_figure", "of_networks", "tidy"]


class ShallowData(Model):
    """One data set, and the form that its images are brought into."""

    dataset: PreparedSet = Field(description="name of a data set, see docs/datasets.md")
    size: Annotated[int, Field(ge=4)] = Field(description="pixels of each side that images are resized to")
    colour: Literal["grey", "rgb", "grey-rgb"] = Field(description="one channel, three, or three equal ones")
    scaling: Literal["unit", "cifar10"] = Field(description="values in [0, 1], or SimpleNet's constants for CIFAR-10")
    n_train: Positive = Field(2000, description="training images; all where there are fewer")
    n_test: Positive = Field(2000, description="test images; all where there are fewer")


class Fig09(Model):
    """Figure 9, robustness to patch size and pooling."""

    datasets: Annotated[list[ShallowData], each_once(attrgetter("dataset"))] = Field(
        min_length=1, description="what the similarities are averaged over"
    )
    architectures: Annotated[list[Literal["vanilla", "Myrtle5", "MyrtleMax"]], each_once()] = Field(
        ["vanilla", "Myrtle5", "MyrtleMax"], min_length=1, description="no pooling, average pooling, maximum pooling"
    )
    patch_sizes: Annotated[list[Positive], each_once()] = Field([3, 5, 7], min_length=1, description="patch sizes q, odd")
    width: Positive = Field(64, description="filters of each convolution")
    first_std: float = Field(5e-3, gt=0, description="standard deviation of the initial weights of the first convolution")
    later_std: float = Field(1e-2, gt=0, description="that of all other weights")
    learning_rate: float = Field(1e-3, gt=0, description="step size of Adam")
    batch_size: Positive = Field(128, description="images per step")
    epochs: Positive = Field(1000, description="most passes over the training images")
    evaluate_every: Positive = Field(5, description="epochs between evaluations, the best of which is kept")
    stop_below: float = Field(1e-5, ge=0, description="training loss at which training stops")
    seeds: Positive = Field(description="how many of the seeds train networks; the first ones of the list")

    @field_validator("patch_sizes")
    @classmethod
    def _odd(cls, patch_sizes: list[int]) -> list[int]:
        if any(size % 2 == 0 for size in patch_sizes):
            msg = "must be odd: zero padding then keeps the size of an image"
            raise ValueError(msg)
        return patch_sizes


judges = Judges("fig09", ("dataset", "architecture", "when", "quantity"), ("patch_size", "seed", "value"), ("stand_in",))


@judges("A5")
def patch_size_and_pooling(claim: Rule, found: Evidence) -> Iterator[Reading]:
    """Differences of the mean cosine between patch sizes and kinds of pooling, paired by data set."""
    for stand_in, rows in found.rows.groupby("stand_in"):
        count = rows["dataset"].nunique()
        on = f"{count} data set{'s' * (count > 1)}" + " (stand-ins)" * bool(stand_in)
        few = f"{count} of at least {claim.fewest} data sets" if count < claim.fewest else ""
        whole = evidence.none_missing(rows.loc[rows["quantity"] == "cosine", "value"])
        differences = contrasts(rows, "cosine")
        differences = differences[differences["within"] == "all"]
        if set(differences["claim"]) != {"patch size", "pooling"}:
            found.problems.append(f"{found.path} lacks patch sizes or kinds of pooling to compare on {on}")
        for _, row in differences.iterrows():
            number = Number(float(row["mean"]) if whole else math.nan, evidence.bounds(row), few)
            condition = "patch_size" if row["claim"] == "patch size" else "pooling"
            yield found.reading(rows, condition, on, f"mean cosine, {row['difference']}", number)


POOLING = {"vanilla": "none", "Myrtle5": "average", "MyrtleMax": "maximum"}
"""Pooling by architecture, in the order of the figure."""

OFFSETS = {"vanilla": -0.22, "Myrtle5": 0.0, "MyrtleMax": 0.22}
"""Places beside a patch size."""

LABELS = {"vanilla": "no pooling", "Myrtle5": "average pooling", "MyrtleMax": "maximum pooling"}

MEASURES = {"cosine": "cosine similarity (the paper's)", "pearson": "Pearson correlation"}
"""What is drawn, with the titles of the panels."""

QUANTITIES = (*MEASURES, "off_diagonal", "rotated_null", "random_filters", "initial_cnfm")


def tidy(runs: Sequence[Run]) -> pd.DataFrame:
    """Bring the runs into one table, a row for each number: network, layer, and quantity, before and after training.

    Returns:
        columns `dataset`, `stand_in`, `protocol`, `architecture`, `pooling`, `patch_size`, `seed`, `when` ("initial" or
        "trained"), `epoch`, `layer`, `index`, `quantity` (of `convrfm.ansatz.summarise`, with G itself), `value`, `low`,
        `high` (95 % over images, or of a null), `test_accuracy` (at the chosen epoch), `n_train` (images trained on),
        `n_test`.
    """
    parts = []
    for keys, record, metrics in runs:
        part = metrics[(metrics["power"] == 1) & metrics["quantity"].isin(QUANTITIES)]
        part = part[["when", "epoch", "layer", "index", "quantity", "value", "low", "high"]].astype({"index": int})
        network = {
            "dataset": keys["dataset"], "stand_in": style.is_stand_in(keys["dataset"]), "protocol": keys["protocol"],
            "architecture": keys["architecture"], "pooling": POOLING[keys["architecture"]],
            "patch_size": int(keys["patch_size"]), "seed": int(keys["seed"]),
        }  # fmt: skip
        results = {
            "test_accuracy": record["best_epoch_test_accuracy"], "n_train": record["images_trained_on"],
            "n_test": record["images_tested_on"],
        }  # fmt: skip
        parts.append(pd.DataFrame({**network, **part, **results}, index=part.index))
    table = pd.concat(parts, ignore_index=True)
    order = ["dataset", "architecture", "patch_size", "seed", "when", "index", "quantity"]
    return table.sort_values(order, ignore_index=True)


def of_networks(table: pd.DataFrame, quantity: str, when: str = "trained") -> pd.DataFrame:
    """Mean over the layers of each network, then over seeds: a row for each data set, a column for each kind of network.

    Returns:
        indexed by `dataset`; columns are pairs of architecture and patch size.
    """
    rows = table[(table["quantity"] == quantity) & (table["when"] == when)]
    networks = rows.groupby(["dataset", "architecture", "patch_size", "seed"])["value"].mean()
    return networks.groupby(["dataset", "architecture", "patch_size"]).mean().unstack(["architecture", "patch_size"])


def contrasts(table: pd.DataFrame, quantity: str) -> pd.DataFrame:
    """The paper's two statements as differences, paired by data set.

    Smaller minus next larger patch size, for each architecture and averaged over them; maximum pooling minus average and
    minus no pooling, averaged over patch sizes and for each.

    Returns:
        columns `claim` ("patch size" or "pooling"), `difference`, `within` ("all" or what it is restricted to), `mean`,
        `low`, `high` (95 % Student interval over data sets; NaN for fewer than two), `datasets`, `agree` (how many of these
        have a positive difference).
    """
    means = of_networks(table, quantity)
    architectures = [name for name in POOLING if name in means.columns.get_level_values(0)]
    sizes = sorted(set(means.columns.get_level_values(1)))
    # By claim and difference: the values that are averaged, by what each is within.
    compared: dict[tuple[str, str], dict[str, pd.Series]] = {}
    for small, large in pairwise(sizes):
        each = {name: means[name, small] - means[name, large] for name in architectures}
        compared["patch size", f"q = {small} - q = {large}"] = each
    for other in ("Myrtle5", "vanilla"):
        if {"MyrtleMax", other} <= set(architectures):
            each = {f"q = {size}": means["MyrtleMax", size] - means[other, size] for size in sizes}
            compared["pooling", f"maximum - {POOLING[other]}"] = each
    rows = []
    for (claim, difference), each in compared.items():
        for within, own in {"all": list(each.values()), **{name: [values] for name, values in each.items()}}.items():
            values = np.mean(own, axis=0)
            values = values[np.isfinite(values)]
            rows.append([claim, difference, within, *evidence.interval(values), len(values), int((values > 0).sum())])
    columns = ["claim", "difference", "within", "mean", "low", "high", "datasets", "agree"]
    return pd.DataFrame(rows, columns=columns)


def draw(table: pd.DataFrame, skipped: Mapping[str, str]) -> Figure:
    """Draw the figure from the table of one protocol; data sets that are skipped are named above the panels."""
    with style.figure_style():
        figure = Figure(figsize=(7.2, 3.6), layout="constrained")
        panels = figure.subplots(1, 3, width_ratios=(1, 1, 0.75))
        low = min(of_networks(table, name, when).min().min() for name in MEASURES for when in ("initial", "trained"))
        nulls = of_networks(table, "rotated_null").mean()
        for axes, (quantity, title), name in zip(panels, MEASURES.items(), "AB", strict=False):
            _draw_measure(axes, table, quantity)
            axes.set(title=title, ylim=(min(low, nulls.min()) - 0.05, 1.02))
            style.letter(axes, name, offset=-0.22)
        _draw_nulls(panels[1], nulls)
        panels[0].set_ylabel("CNFM against patch-AGOP")
        differences = contrasts(table, "cosine").query("within == 'all'")
        if differences.empty:
            panels[2].remove()
        else:
            _draw_contrasts(panels[2], differences)
            style.letter(panels[2], "C", offset=-0.22)
        handles, labels = panels[1].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=5)
        notes = []
        if len(stand_ins := table.loc[table["stand_in"], "dataset"].unique()):
            notes.append(f"stand-in data, not the paper's: {', '.join(map(style.in_sentence, stand_ins))}")
        if skipped:
            notes += textwrap.wrap(f"SKIPPED, reasons in the caption: {', '.join(map(style.in_sentence, skipped))}", 120)
        figure.suptitle("\n".join(notes), fontsize=8)
    return figure


def _draw_measure(axes: Axes, table: pd.DataFrame, quantity: str) -> None:
    """Mean over data sets with its interval, the data sets as points, and the mean at initialisation."""
    trained, initial = (of_networks(table, quantity, when) for when in ("trained", "initial"))
    sizes, colours = sorted(table["patch_size"].unique()), _colours()
    for architecture in [name for name in POOLING if name in trained.columns.get_level_values(0)]:
        colour, label = colours[architecture], LABELS[architecture]
        places = np.arange(len(sizes)) + OFFSETS[architecture]
        means = []
        for place, size in zip(places, sizes, strict=True):
            values = trained[architecture, size].dropna().to_numpy()
            mean, low, high = evidence.interval(values)
            means.append(mean)
            axes.plot(np.full(len(values), place + 0.07), values, ".", color=colour, alpha=0.45, markersize=3, zorder=2)
            if len(values) >= style.LEAST_FOR_INTERVALS:
                # A mean of correlations cannot lie above 1, which Student's interval does not know.
                axes.plot([place, place], [low, min(high, 1)], color=colour, linewidth=1.2, zorder=3)
        axes.plot(places, means, "o", color=colour, label=label, zorder=4)
        starts = [initial[architecture, size].mean() for size in sizes]
        axes.plot(places - 0.07, starts, "o", color=colour, markerfacecolor="white", zorder=3)
    axes.plot([], [], "o", color="0.3", markerfacecolor="white", label="before training")
    axes.set_xticks(range(len(sizes)), [f"{size}x{size}" for size in sizes])
    axes.set_xlabel("patch size")
    axes.grid(axis="y")


def _draw_nulls(axes: Axes, nulls: pd.Series) -> None:
    """The rotated null of the trained networks, mean over data sets."""
    sizes, colours = sorted(set(nulls.index.get_level_values(1))), _colours()
    for (architecture, size), value in nulls.items():
        place = sizes.index(size) + OFFSETS[architecture]
        axes.plot([place - 0.09, place + 0.09], [value, value], color=colours[architecture], linewidth=1.2, zorder=3)
    axes.plot([], [], color="0.3", linewidth=1.2, label="rotated null (in B)")


def _colours() -> dict[str, Any]:
    return dict(zip(POOLING, style.palette("colorblind", len(POOLING)), strict=True))


def _draw_contrasts(axes: Axes, summary: pd.DataFrame) -> None:
    """Differences of the cosine similarity, with their intervals over data sets."""
    heights = np.arange(len(summary))
    axes.axvline(0, color="0.4", linewidth=0.8, zorder=0)
    axes.plot(summary["mean"], heights, "D", color="0.15", zorder=3)
    for height, row in zip(heights, summary.itertuples(), strict=True):
        if row.datasets >= style.LEAST_FOR_INTERVALS:
            axes.plot([row.low, row.high], [height, height], color="0.15", linewidth=1.2)
    reach = 1.25 * max(axes.get_xlim(), key=abs)
    axes.set_yticks(heights, [text.replace(" - ", "\n- ") for text in summary["difference"]])
    axes.set(xlim=(-abs(reach), abs(reach)), ylim=(len(summary) - 0.5, -0.5))
    axes.set(xlabel="difference of cosines", title="claimed: all positive")


def caption(table: pd.DataFrame, skipped: Mapping[str, str]) -> str:
    """Write the caption in Markdown; every number in it is computed from the table. Arguments as for `draw`."""
    protocol = table["protocol"].iloc[0]
    chosen = "by test accuracy, as in the paper" if protocol == "published" else "on a validation split"
    drawn = "with replacement, as in the authors' code" if protocol == "published" else "without replacement"
    seeds = table["seed"].nunique()
    opening = (
        f"**Figure 9, patch size and pooling** (protocol: {protocol}). Networks of four convolutions, without pooling, with "
        "average and with maximum pooling. Similarity of the filters' covariance W^T W and the patch-AGOP of each "
        "convolution, over all training images, mean over the four layers; "
        f"{counted(len(set(table['dataset'])), 'data set')}, {counted(seeds, 'seed')}. Images are drawn {drawn}, and the epoch "
        f"whose weights are measured is chosen {chosen}."
    )
    panels = (
        "**A**: cosine similarity, which the paper shows. **B**: Pearson correlation. Points: data sets; filled: their mean "
        "with 95 % interval over them; open: before training; lines in B: the rotated null, in which the AGOP's "
        "eigenvectors are randomly rotated between the filters. **C**: the paper's claims, as differences of A paired by data "
        "set, averaged over what they do not name; intervals over data sets. Intervals are drawn "
        f"for {style.LEAST_FOR_INTERVALS} data sets or more; in A and B they end at 1."
    )
    lines = [opening, "", panels, "", *_means(table), "", *_contrasts(table), "", *_data(table)]
    return "\n".join([*lines, *style.skipped_lines(skipped, style.short_title)]) + "\n"


def _means(table: pd.DataFrame) -> list[str]:
    cosine, pearson, null = (of_networks(table, name).mean() for name in ("cosine", "pearson", "rotated_null"))
    before = of_networks(table, "cosine", "initial").mean()
    rows = [
        [POOLING[name], f"{size}x{size}", *(f"{part[name, size]:.3f}" for part in (cosine, before, pearson, null))]
        for name, size in cosine.sort_index().index
    ]
    header = ["pooling", "patch size", "cosine", "cosine, untrained", "Pearson", "rotated null (Pearson)"]
    return style.markdown_table(header, rows)


def _contrasts(table: pd.DataFrame) -> list[str]:
    rows = []
    pairs = zip(contrasts(table, "cosine").itertuples(), contrasts(table, "pearson").itertuples(), strict=True)
    for cosine, pearson in pairs:
        within = POOLING.get(cosine.within, cosine.within)
        gaps = (with_interval(row.mean, row.low, row.high, "+.3f") for row in (cosine, pearson))
        rows.append([cosine.difference, within, *gaps, f"{cosine.agree} of {cosine.datasets}"])
    return style.markdown_table(["difference", "within", "cosine", "Pearson", "data sets that agree (cosine)"], rows)


def _data(table: pd.DataFrame) -> list[str]:
    networks = table.drop_duplicates(["dataset", "architecture", "patch_size", "seed"])
    cells = []
    for name, rows in networks.groupby("dataset"):
        note = " (stand-in, not comparable with the paper)" if rows["stand_in"].iloc[0] else ""
        accuracy = rows["test_accuracy"]
        reach = f"{100 * accuracy.min():.1f} to {100 * accuracy.max():.1f} %"
        cells.append([style.short_title(str(name)) + note, rows["n_train"].iloc[0], rows["n_test"].iloc[0], reach])
    return style.markdown_table(["data set", "training images", "test images", "test accuracy of the networks"], cells)


def _runs(plan: Plan, protocol: str, file: str) -> list[str]:
    section = plan.section(Fig09)
    return [
        plan.run_file("shallow", protocol, file, dataset=dataset, architecture=architecture, patch_size=patch_size, seed=seed)
        for dataset in plan.ready(plan.shallow_data)
        for architecture in section.architectures
        for patch_size in section.patch_sizes
        for seed in plan.seeds[: section.seeds]
    ]


FIGURE = FigureSpec(
    title="Figure 9",
    subject="patch size and pooling",
    about="Similarity of the filters' covariance and the patch-AGOP in shallow networks, by patch size and pooling.",
    section=Fig09,
    needs=lambda plan: plan.needs(plan.shallow_data),
    inputs=run_inputs(_runs, "metrics", "records"),
    judges=judges,
)


@FIGURE.drawn
def draw_figure(job: Job, skipped: Mapping[str, str]) -> Drawn:
    """Give table, picture and caption; data sets that are not there are SKIPPED with the reason."""
    table = tidy(read_recorded_runs(job.inputs["metrics"]))
    return table, draw(table, skipped), caption(table, skipped)
