"""Beyond the paper: whether the metric of ConvRFM and the filters of a network's first layer agree, as training images grow."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Annotated, Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pydantic import Field

from convrfm.ansatz.filter_forms import pearson
from convrfm.numerics.inputs import generator
from convrfm.numerics.patches import random_metrics
from convrfm.pictures.filtering import without_means
from convrfm.replication.config.images import check_count
from convrfm.replication.config.models import Model, Positive, check_among, each_once
from convrfm.replication.figures import style
from convrfm.replication.figures.feature_measurements import change_of_filters
from convrfm.replication.figures.figure import Drawn, FigureSpec, Plan, runs_with
from convrfm.replication.record.record import run_keys
from convrfm.replication.record.session import Job
from convrfm.replication.runs import Keys, RunKind, RunSettings, fits, networks
from convrfm.system.storage import load_arrays

__all__ = ["FIGURE", "KINDS", "FirstLayers", "caption", "compare", "draw", "draw_figure"]


class FirstLayers(Model):
    """Beyond the paper: ConvRFM's metric and the network's first layer against training images."""

    in_all: bool = Field(False, description="whether `snakemake` without a target builds it, too")
    datasets: Annotated[list[str], each_once()] = Field(
        min_length=1, max_length=3, description="data sets of the section features, whose models are fitted"
    )
    n_train: Annotated[list[Positive], each_once(str)] = Field(min_length=1, description="numbers of training images")
    rotations: Positive = Field(200, description="random rotations of the metric, and random matrices, that it is held against")

    def check(self, preset: Any) -> None:
        """Check against other sections; ValueError for a data set that features does not have, or that has fewer images."""
        check_among("datasets", self.datasets, "features.tasks", [task.dataset for task in preset.features.tasks])
        for name in self.datasets:
            check_count("n_train: the largest number", max(self.n_train), name, "train")


QUANTITIES = {"whole": "whole matrices", "without_means": "without the mean of each patch"}
"""Which entries are compared, in words."""


def compare(metric: np.ndarray, cnfm: np.ndarray, patch_size: int, draws: int, rng: np.random.Generator) -> pd.DataFrame:
    """Pearson correlation of a metric M `(d, d)` with (W - W_0)^T (W - W_0) `(d, d)`, beside what chance would give.

    Rotated, the metric keeps its eigenvalues and loses its directions; a random matrix has other eigenvalues, too.

    Returns:
        a row for each of `QUANTITIES`: columns `quantity`, `value`, and of the rotated metric `rotated` (mean), `rotated_low`
        and `rotated_high` (central 95 %), and `random` (mean).
    """
    from convrfm.ansatz.summaries import random_rotations

    turns = random_rotations(rng, draws, len(metric))
    parts = {"rotated": turns @ metric @ turns.transpose(0, 2, 1), "random": random_metrics(len(metric), draws, rng)}
    rows = []
    for quantity in QUANTITIES:
        seen = (lambda matrix: without_means(matrix, patch_size)) if quantity == "without_means" else np.asarray
        target = seen(cnfm)
        chance = {name: [pearson(seen(matrix), target) for matrix in matrices] for name, matrices in parts.items()}
        low, high = np.quantile(chance["rotated"], [0.025, 0.975])
        rows.append({
            "quantity": quantity, "value": pearson(seen(metric), target), "rotated": np.mean(chance["rotated"]),
            "rotated_low": low, "rotated_high": high, "random": np.mean(chance["random"]),
        })  # fmt: skip
    return pd.DataFrame(rows)


def _tidy(job: Job) -> pd.DataFrame:
    """A row for each data set, number of training images, seed and quantity."""
    given = job.settings
    parts = []
    for path in job.inputs["fits"]:
        keys = {name: value for name, value in run_keys(path.parent).items() if name in ("dataset", "n_train", "seed")}
        (network,) = runs_with(job.inputs["networks"], **keys)
        rng = generator(int(keys["seed"]), f"rotations of the metric of {keys['dataset']}", int(keys["n_train"]))
        size = given["patch_sizes"][keys["dataset"]]
        rows = compare(load_arrays(path)["best"], change_of_filters(network), size, given["rotations"], rng)
        own = {"dataset": keys["dataset"], "stand_in": style.is_stand_in(keys["dataset"]), "protocol": given["protocol"]}
        parts.append(rows.assign(**own, n_train=int(keys["n_train"]), seed=int(keys["seed"])))
    return pd.concat(parts).sort_values(["dataset", "quantity", "n_train", "seed"], ignore_index=True)


def draw(table: pd.DataFrame, skipped: Mapping[str, str]) -> Figure:
    """Draw a panel for each data set; of those that are skipped, with the reason.

    The table has the columns of `compare`, `dataset`, `stand_in`, `protocol`, `n_train` and `seed`.
    """
    parts = dict(list(table.groupby("dataset", sort=False)))
    count = len(skipped) + len(parts)
    with style.figure_style():
        figure = Figure(figsize=(max(5.2, 2.6 * count), 3.4), layout="constrained")
        panels = figure.subplots(1, count, sharey=True, squeeze=False)[0]
        for panel, (dataset, reason) in zip(panels, skipped.items(), strict=False):
            style.write_reason(panel, style.short_title(dataset), reason)
        for panel, (dataset, rows), name in zip(panels[len(skipped) :], parts.items(), style.LETTERS, strict=False):
            _draw_data_set(panel, rows)
            panel.set_title(style.with_stand_ins(style.short_title(dataset), [dataset], separator="\n", width=44))
            style.letter(panel, name)
        figure.legend(*panels[-1].get_legend_handles_labels(), loc="outside lower center", ncols=2)
        panels[len(skipped)].set_ylabel("Pearson correlation with the\nnetwork's first layer")
    return figure


def _draw_data_set(panel: Axes, table: pd.DataFrame) -> None:
    """Mean over seeds for each number of images; the band is that of the rotated metric."""
    for colour, (quantity, words) in zip(style.palette("colorblind", len(QUANTITIES)), QUANTITIES.items(), strict=True):
        rows = table[table["quantity"] == quantity].groupby("n_train").mean(numeric_only=True)
        panel.plot(rows.index, rows["value"], marker="o", color=colour, label=words)
        panel.plot(rows.index, rows["rotated"], linestyle=":", color=colour, label="rotated: mean, central 95 %")
        panel.fill_between(rows.index, rows["rotated_low"], rows["rotated_high"], color=colour, alpha=0.13, linewidth=0)
    panel.set_xscale("log")
    ticks = sorted(table["n_train"].unique())
    panel.set_xticks(ticks, [f"{tick}" for tick in ticks])
    panel.minorticks_off()
    panel.set_xlabel("training images")


def caption(table: pd.DataFrame, skipped: Mapping[str, str]) -> str:
    """Write the caption in Markdown; every number in it is computed from the table. Arguments as for `draw`."""
    opening = (
        f"**Beyond the paper, first layers against training images** (protocol: {table['protocol'].iloc[0]}). Pearson "
        "correlation of the entries of ConvRFM's metric with those of (W - W_0)^T (W - W_0) of the first convolution of a "
        "network, both fitted to the same images; once of whole matrices, and once without the mean of each channel of a "
        "patch, its brightness. Rotated: the same metric in random directions, mean and central 95 %. Random: random positive "
        "matrices, mean. The metric is that of ConvRFM's best round from round 1 on."
    )
    lines = [opening]
    for dataset, rows in table.groupby("dataset", sort=False):
        seeds = rows["seed"].nunique()
        models = "one fit and one training" if seeds == 1 else f"mean of {seeds} seeds"
        lines.append(
            f"\n**{style.short_title(str(dataset))}**{style.reservation(str(dataset))}, {models} for each number of images:\n"
        )
        lines += style.markdown_table(["training images", "compared", "correlation", "rotated", "random"], _cells(rows))
    return "\n".join([*lines, *style.skipped_lines(skipped, style.short_title)]) + "\n"


def _cells(rows: pd.DataFrame) -> Iterator[tuple[str, ...]]:
    columns = ["value", "rotated", "rotated_low", "rotated_high", "random"]
    means = rows.groupby(["quantity", "n_train"])[columns].mean()
    for (quantity, n_train), row in means.iterrows():
        chance = f"{row['rotated']:.2f} [{row['rotated_low']:.2f}, {row['rotated_high']:.2f}]"
        yield f"{n_train}", QUANTITIES[str(quantity)], f"{row['value']:.2f}", chance, f"{row['random']:.2f}"


def _sized(kind: RunKind) -> RunKind:
    """A kind of run of Figures 3 and 10, with the number of training images among its keys, and the CNTK for its kernel."""

    def seen(plan: Plan, w: Keys) -> RunSettings:
        return kind.seen(plan, {**w, "kernel": "cntk"})

    return replace(kind, name=f"sized-{kind.name}", keys=("dataset", "n_train", "seed"), seen=seen)


KINDS = tuple(_sized(kind) for kind in (*fits.KINDS, *networks.KINDS) if kind.name in ("features", "feature-network"))


def _runs(plan: Plan, protocol: str, kind: str) -> list[str]:
    section, count = plan.section(FirstLayers), plan.settings.preset.features.seeds
    return [
        plan.run_file(kind, protocol, "arrays", dataset=dataset, n_train=n_train, seed=seed)
        for dataset in plan.ready(section.datasets)
        for n_train in section.n_train
        for seed in plan.image_seeds(dataset, protocol, count)
    ]


FIGURE = FigureSpec(
    title="Beyond the paper: first layers",
    subject="",
    about="How well the metric of ConvRFM agrees with the filters of a network's first layer, against the number of training "
    "images.",
    section=FirstLayers,
    needs=lambda plan: plan.needs(plan.section(FirstLayers).datasets),
    inputs={"fits": partial(_runs, kind="sized-features"), "networks": partial(_runs, kind="sized-feature-network")},
    seen=lambda plan, _: {
        "rotations": plan.section(FirstLayers).rotations,
        "patch_sizes": {name: plan.feature_tasks[name].patch_size for name in plan.section(FirstLayers).datasets},
    },
    asked=lambda plan: plan.section(FirstLayers).in_all,
)


@FIGURE.drawn
def draw_figure(job: Job, skipped: Mapping[str, str]) -> Drawn:
    """Give table, picture and caption; data sets that are not there are SKIPPED with the reason."""
    table = _tidy(job)
    return table, draw(table, skipped), caption(table, skipped)
