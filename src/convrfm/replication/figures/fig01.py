"""Figure 1, the ansatz in trained networks: correlation of CNFM and patch-AGOP, its controls, and first layers as pictures."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pydantic import Field

from convrfm.ansatz.filter_forms import FilterForm
from convrfm.replication.claims.evidence import Evidence, Judges, Number, Reading, Rule, bounds, spoken_of
from convrfm.replication.config.models import Model, check_among
from convrfm.replication.figures import zoo
from convrfm.replication.figures.figure import Drawn, FigureSpec, run_inputs
from convrfm.replication.figures.style import bare, figure_style, letter, markdown_table, palette, write_reason
from convrfm.replication.record.record import run_keys
from convrfm.replication.record.session import Job
from convrfm.system.storage import load_arrays

__all__ = ["FIGURE", "Fig01", "caption", "draw", "draw_figure", "growth", "tidy"]


class Fig01(Model):
    """Figure 1, the ansatz in trained networks."""

    heat_maps: list[str] = Field(
        min_length=1,
        max_length=4,
        description="networks of the section zoo whose first layer is shown, such as vgg11-v1 or vgg11-standin",
    )

    def check(self, preset: Any) -> None:
        """Check against other sections; ValueError for a network that the section zoo does not have."""
        check_among("heat_maps", self.heat_maps, "zoo", preset.zoo.networks)


judges = Judges("fig01", ("network", "quantity"), ("value", "low", "high"), ("stand_in",))

TRAINED = {
    "gain_over_initial": ("over_initial", "mean over layers, trained minus at initialisation"),
    "gain_over_null": ("over_null", "mean over layers, trained minus rotated null"),
}
JUDGED = {
    "A1": {**TRAINED, "pearson": ("level", "mean over layers, trained")},
    "A2": {"gain_over_control": ("over_control", "trained CNFM with AGOP minus initial CNFM with trained CNFM")},
    "A16": TRAINED,
}
"""By claim and quantity of the table: the condition, and the quantity in words."""

EACH_LAYER = {"lowest_pearson": ("each_layer", "lowest layer, trained")}
NAMED_NETWORKS = ("alexnet-v1", "vgg13-v1")
"""Networks of which the paper says something for each layer."""


@judges("A1", "A2", "A16")
def trained_networks(claim: Rule, found: Evidence) -> Iterator[Reading]:
    """Gains of the mean correlation of each network; of A1 its level, and the lowest layer of networks that the paper names."""
    for network, rows in spoken_of(claim, found.rows, "network").groupby("network", sort=False):
        named = EACH_LAYER if claim.id == "A1" and network in NAMED_NETWORKS else {}
        for quantity, (condition, what) in {**JUDGED[claim.id], **named}.items():
            own = rows[rows["quantity"] == quantity]
            if len(own) == 1:
                row = own.iloc[0]
                number = Number(float(row["value"]), bounds(row))
                yield found.reading(own, condition, zoo.title(str(network)), what, number)
            else:
                found.problems.append(f"{found.path} has {len(own)} rows of {quantity} for {network}, where one is due")


GAINS = {
    "gain_over_initial": "gain over initialisation",
    "gain_over_null": "gain over the null",
    "gain_over_control": "gain over the control",
}
"""What the claims are about, with their names in the caption."""

Heat = Mapping[str, np.ndarray]
"""`cnfm` and `agop` of the first convolution of one network, each `(d, d)`."""

BARS = {
    "pearson": "CNFM and AGOP, trained",
    "initial_cnfm": "CNFM at initialisation and CNFM trained",
    "rotated_null": "null: CNFM and AGOP with rotated gradients",
}
"""Quantities shown as bars, with their names in the legend."""

MEANS = {
    "pearson": ("pearson", "trained"),
    "initial_pearson": ("pearson", "initial"),
    **{name: (name, "trained") for name in ("initial_cnfm", "rotated_null", "random_filters")},
    "gain_over_initial": ("gain", "trained"),
}
"""Means over layers in the table, with the quantity and the time of what is averaged."""


def tidy(runs: list[zoo.Run]) -> pd.DataFrame:
    """Bring the measurements, one for each network, into one table.

    Returns:
        columns `network`, `stand_in`, `protocol`, `images` (behind the AGOP), `layers` (how many the mean is over), `quantity`,
        `value`, `low`, `high`. Quantities: means over the paper's layers of `pearson` (CNFM against AGOP, trained),
        `initial_pearson` (the same at initialisation), `initial_cnfm` (CNFM at initialisation against CNFM trained),
        `rotated_null` (CNFM against W^T U D U^T W, U random; its bounds hold 95 % of the draws), `random_filters` (CNFM of
        Gaussian filters against AGOP); of `pearson` the lowest layer, `lowest_pearson`; and what the claims are about,
        `gain_over_initial` (claim A1, paired), `gain_over_null` (A1; its lower bound is the lower one of `pearson` minus the
        upper one of the null) and `gain_over_control` (A2).
    """
    rows = []
    for network, protocol, metrics in sorted(runs, key=lambda run: zoo.order(run[0])):
        found = {name: zoo.mean_over_layers(metrics, quantity, when) for name, (quantity, when) in MEANS.items()}
        trained, null, control = (found[name] for name in ("pearson", "rotated_null", "initial_cnfm"))
        opposite = {"value": "value", "low": "high", "high": "low"}
        found["gain_over_null"] = {name: trained[name] - null[other] for name, other in opposite.items()}
        found["gain_over_control"] = {name: trained[name] - control["value"] for name in ("value", "low", "high")}
        single = metrics[metrics["in_paper"] & (metrics["layer"] != "mean")]
        each = single[(single["quantity"] == "pearson") & (single["when"] == "trained") & (single["power"] == 1)]
        # Of NumPy: a layer that is missing makes the lowest one missing.
        found["lowest_pearson"] = {"value": float(each["value"].to_numpy().min()), "low": np.nan, "high": np.nan}
        shared = {"network": network, "stand_in": zoo.is_stand_in(network), "protocol": protocol, **zoo.images_of(metrics)}
        shared["layers"] = single["layer"].nunique()
        rows += [{**shared, "quantity": quantity, **numbers} for quantity, numbers in found.items()]
    return pd.DataFrame(rows)


def growth(runs: list[zoo.Run]) -> pd.DataFrame:
    """Mean correlation from the first images alone: columns `network`, `images`, `value`; no rows where it is not known."""
    rows = []
    for network, _, metrics in sorted(runs, key=lambda run: zoo.order(run[0])):
        chosen = metrics[(metrics["quantity"] == "growth") & (metrics["when"] == "trained") & metrics["in_paper"]]
        means = chosen.groupby("images")["value"].mean()
        rows += [{"network": network, "images": images, "value": value} for images, value in means.items()]
    return pd.DataFrame(rows, columns=["network", "images", "value"])


def draw(table: pd.DataFrame, grown: pd.DataFrame, heats: Mapping[str, Heat]) -> Figure:
    """Draw the figure from the table of one protocol, from `growth`, and from matrices of the first convolution, by network."""
    groups = zoo.groups_of(dict.fromkeys(table["network"]))
    with figure_style():
        figure = Figure(figsize=(7.2, 4.3 if len(groups) == 1 else 8.0), layout="constrained")
        heights = [1.7] * len(groups) + [1.0]
        *above, below = figure.subfigures(len(groups) + 1, 1, height_ratios=heights, squeeze=False)[:, 0]
        for row, networks in zip(above, groups, strict=True):
            growing = grown[grown["network"].isin(networks)]
            # Probes tell nothing of single images: then the bars have the whole row.
            left, *right = row.subplots(1, 2, width_ratios=(2.4, 1)) if len(growing) else [row.subplots()]
            prime = "'" if zoo.is_beyond(networks[0]) else ""
            _draw_bars(left, table[table["network"].isin(networks)], networks)
            letter(left, f"A{prime}", offset=-0.09)
            for axes in right:
                _draw_growth(axes, growing, networks)
                letter(axes, f"B{prime}", offset=-0.22)
            if note := zoo.note_of(networks):
                row.suptitle(note, fontsize=8, style="italic")
        cells = below.subplots(1, 2 * len(heats) or 1, squeeze=False)[0]
        for index, (network, heat) in enumerate(heats.items()):
            _draw_heat(cells[2 * index : 2 * index + 2], network, heat)
        if not heats:
            write_reason(cells[0], "first layers", "the data of the networks to be shown are not there")
        letter(cells[0], "C", offset=-0.2)
    return figure


def _draw_bars(axes: Axes, table: pd.DataFrame, networks: list[str]) -> None:
    found = palette("colorblind", 4)
    colours = {"pearson": found[0], "initial_cnfm": found[3], "rotated_null": "0.72"}
    width = 0.8 / len(BARS)
    for place, (quantity, name) in enumerate(BARS.items()):
        rows = table[table["quantity"] == quantity].set_index("network").loc[networks]
        x = np.arange(len(networks)) + (place - (len(BARS) - 1) / 2) * width
        axes.bar(x, rows["value"], width * 0.92, color=colours[quantity], label=name, zorder=2)
        known = rows["low"].notna().to_numpy()
        reach = np.stack([rows["value"] - rows["low"], rows["high"] - rows["value"]]).clip(min=0)
        axes.errorbar(x[known], rows["value"][known], reach[:, known], fmt="none", ecolor="0.15", elinewidth=0.8, capsize=1.5)
    zoo.network_ticks(axes, networks)
    lowest = table.loc[table["quantity"].isin(list(BARS)), ["value", "low"]].min(axis=None)
    axes.set(ylabel="correlation, mean over layers", ylim=(min(0.0, float(lowest) - 0.02), 1.0))
    axes.axhline(0, color="0.3", linewidth=0.6)
    axes.grid(axis="y", zorder=0)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=1, borderaxespad=0.2)


def _draw_growth(axes: Axes, grown: pd.DataFrame, networks: list[str]) -> None:
    colours = dict(zip(networks, palette("husl", len(networks)), strict=True))
    for network, rows in grown.groupby("network", sort=False):
        axes.plot(rows["images"], rows["value"], marker="o", markersize=3, color=colours[network], label=zoo.title(network))
    axes.set(xlabel="images in the AGOP", ylabel="correlation, trained")
    axes.grid(axis="y")
    many = len(networks) > 6
    axes.legend(
        loc="lower left", bbox_to_anchor=(0, 1.0), borderaxespad=0.2, fontsize=5.5 if many else 7.5,
        ncols=3 if many else 1, columnspacing=0.8, handlelength=1.2,
    )  # fmt: skip


def _draw_heat(cells: np.ndarray, network: str, heat: Heat) -> None:
    """CNFM and AGOP in grey, each from its smallest to its largest entry."""
    for cell, name in zip(cells, ("cnfm", "agop"), strict=True):
        cell.imshow(heat[name], cmap="gray", interpolation="nearest")
        size = len(heat[name])
        cell.set_title(f"{zoo.title(network)}\n{name.upper()}, {size}x{size}", fontsize=7.5)
        bare(cell)


def caption(table: pd.DataFrame, skipped: Mapping[str, str]) -> str:
    """Write the caption in Markdown; every number in it is computed from the table. Skipped are networks, with the reason."""
    networks = list(dict.fromkeys(table["network"]))
    numbers = table.set_index(["network", "quantity"])
    opening = (
        f"**Figure 1, the ansatz in trained networks** (protocol: {table['protocol'].iloc[0]}). A: Pearson correlation of the "
        "filter covariance W^T W (CNFM) and the patch-AGOP, mean over the layers that the paper measures, with 95 % "
        "jackknife intervals over the images (or probes); the control of the paper, filters at initialisation against trained "
        "ones; and a null in which the gradients are rotated at random, so that only the filters W are shared (bars: 95 % of "
        "the draws). B, for networks measured exactly: the correlation from the first images alone. C: both matrices of the "
        "first layer, grey from their smallest to their largest entry."
        + (" A', B': the same for networks beyond the paper's list." if any(map(zoo.is_beyond, networks)) else "")
    )
    rows = []
    for network in networks:
        of = numbers.loc[network]
        cells = [zoo.number_cell(of.loc[name], signed=name in GAINS) for name in ("pearson", "initial_pearson", *GAINS)]
        rows.append([zoo.title(network), of.loc["pearson", "layers"], *cells])
    means = markdown_table(["network", "layers", "trained", "at initialisation", *GAINS.values()], rows)
    return "\n".join([opening, "", *means, *zoo.caption_of_networks(networks, skipped)]) + "\n"


FIGURE = FigureSpec(
    title="Figure 1",
    subject="the ansatz in trained networks",
    about="Correlation between the filter covariance W^T W (CNFM) and the patch-AGOP of each layer of trained networks, beside "
    "its value for the covariance of untrained filters and for a null with randomly rotated gradients.",
    section=Fig01,
    needs=zoo.ansatz_needs,
    inputs={
        **run_inputs(zoo.ansatz_runs, "metrics", "records"),
        # Of the networks whose first layer is shown.
        "arrays": lambda plan, protocol: zoo.zoo_runs(
            plan, protocol, "arrays", kind="ansatz", networks=plan.section(Fig01).heat_maps
        ),
    },
    seen=lambda plan, _: plan.section(Fig01).model_dump(),
    judges=judges,
)


@FIGURE.drawn
def draw_figure(job: Job, skipped: Mapping[str, str]) -> Drawn:
    """Give table, picture and caption; networks whose data are not there are SKIPPED with the reason."""
    runs = zoo.measurements(job)
    table = tidy(runs)
    return table, draw(table, growth(runs), _heat_maps(job)), caption(table, skipped)


def _heat_maps(job: Job) -> dict[str, dict[str, np.ndarray]]:
    """CNFM and AGOP of the first convolution of the networks that are to be shown, in the order of the configuration."""
    paths = {run_keys(path.parent)["network"]: path for path in job.inputs["arrays"]}
    found = {}
    for network in [name for name in job.settings["heat_maps"] if name in paths]:
        layer = "conv1" if network.startswith("resnet") else "features.0"
        arrays = load_arrays(paths[network])
        weight = arrays[f"trained/{layer}/weight"].astype(np.float64)
        core = arrays[f"trained/{layer}/core"]
        found[network] = {"cnfm": FilterForm(weight, None).dense()[0], "agop": FilterForm(weight, core).dense()[0]}
    return found
