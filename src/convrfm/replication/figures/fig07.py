"""Figure 7, the ansatz before and after training: by network and layer, over the epochs, and for powers of the AGOP."""

from collections.abc import Iterator, Mapping
from fractions import Fraction

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from convrfm.replication.claims.evidence import Evidence, Judges, Number, Reading, Rule, bounds, spoken_of
from convrfm.replication.figures import zoo
from convrfm.replication.figures.figure import Drawn, FigureSpec, run_inputs
from convrfm.replication.figures.style import figure_style, letter, markdown_table, palette
from convrfm.replication.record.session import Job

__all__ = ["FIGURE", "caption", "draw", "draw_figure", "tidy"]


judges = Judges(
    "fig07", ("panel", "network", "layer", "when", "quantity"), ("epoch", "power", "value", "low", "high"), ("stand_in",)
)


@judges("A3")
def before_and_after(claim: Rule, found: Evidence) -> Iterator[Reading]:
    """Gain of the mean correlation by training, for each network."""
    for network, rows in spoken_of(claim, found.rows[found.rows["panel"] == "A"], "network").groupby("network", sort=False):
        gains = rows[(rows["layer"] == "mean") & (rows["quantity"] == "gain")]
        if len(gains) == 1:
            number = Number(float(gains["value"].iloc[0]), bounds(gains.iloc[0]))
            what = "mean over layers, trained minus at initialisation"
            yield found.reading(gains, "gain", zoo.title(str(network)), what, number)
        else:
            found.problems.append(f"{found.path} has {len(gains)} gains of {network}, where one is due")


@judges("A14")
def from_the_first_epoch(claim: Rule, found: Evidence) -> Iterator[Reading]:
    """The mean correlation after the first epoch that was kept, and after the last, minus that before the first step."""
    of_paper = found.rows[~found.rows["network"].map(zoo.is_beyond)]
    for network, rows in of_paper[of_paper["panel"] == "B"].groupby("network", sort=False):
        course = rows.set_index("epoch")[["value", "low", "high"]].sort_index()
        later = course.loc[1:]
        if 0 not in course.index or later.empty or course.index.has_duplicates:
            found.problems.append(f"{found.path} has no course over epochs of {network}")
            continue
        start = course.loc[0]
        for condition, (epoch, end) in (("first", next(later.iterrows())), ("last", list(later.iterrows())[-1])):
            # The widest interval that the difference of two numbers can have.
            difference = end - start.rename({"low": "high", "high": "low"})
            what = f"mean over layers after epoch {epoch:g} minus before the first step"
            number = Number(float(difference["value"]), bounds(difference))
            yield found.reading(rows, condition, zoo.title(str(network)), what, number)


TIMES = ("initial", "trained")


def tidy(runs: list[zoo.Run]) -> pd.DataFrame:
    """Bring the measurements, one for each network, into one table.

    Returns:
        columns `panel`, `network`, `stand_in`, `protocol`, `images` (behind the AGOP), `layer` ("mean" for the mean over the
        paper's layers), `when`, `epoch`, `power`, `quantity`, `value`, `low`, `high`. Panel A: "pearson" of CNFM and AGOP, of
        each of the paper's layers and of their mean, at both times, and "gain" (claim A3), trained minus initial, paired. Panel
        B: the mean at each epoch that was kept. Panel C: the mean for each power p of the AGOP.
    """
    parts = []
    for network, protocol, metrics in sorted(runs, key=lambda run: zoo.order(run[0])):
        chosen = metrics[metrics["in_paper"] & metrics["quantity"].isin(["pearson", "gain"])]
        whole = chosen[chosen["power"] == 1]
        means = whole[(whole["layer"] == "mean") & (whole["quantity"] == "pearson")]
        layers = chosen[(chosen["layer"] != "mean") & chosen["when"].isin(TIMES)]
        # Means over layers for each power, without intervals.
        powers = layers.groupby(["when", "power"], as_index=False)["value"].mean()
        powers = powers.assign(layer="mean", quantity="pearson", epoch=np.nan, low=np.nan, high=np.nan)
        panels = [whole[whole["when"].isin(TIMES)].assign(panel="A"), powers.assign(panel="C")]
        if means["epoch"].notna().all():
            panels.append(means.sort_values("epoch").assign(panel="B"))
        shared = {"network": network, "stand_in": zoo.is_stand_in(network), "protocol": protocol, **zoo.images_of(metrics)}
        parts.append(pd.concat(panels).assign(**shared))
    first = ["panel", "network", "stand_in", "protocol", "images", "layer", "when", "epoch", "power", "quantity"]
    table = pd.concat(parts, ignore_index=True)[[*first, "value", "low", "high"]]
    return table.sort_values("panel", kind="stable", ignore_index=True)


def draw(table: pd.DataFrame) -> Figure:
    """Draw the figure from the table of one protocol; networks beyond the paper's list have a row of their own."""
    groups = zoo.groups_of(dict.fromkeys(table.loc[table["panel"] == "A", "network"]))
    heights = [2.9 if len(networks) <= FEW else 4.6 for networks in groups]
    with figure_style():
        figure = Figure(figsize=(7.2, sum(heights)), layout="constrained")
        rows = figure.subfigures(len(groups), 1, height_ratios=heights, squeeze=False)[:, 0]
        for row, networks in zip(rows, groups, strict=True):
            _draw_group(row, table[table["network"].isin(networks)], networks)
    return figure


FEW = 6
"""Networks that fit beside the other panels."""


def _draw_group(figure: SubFigure, table: pd.DataFrame, networks: list[str]) -> None:
    colours = dict(zip(networks, palette("husl", len(networks)), strict=True))
    followed = table[table["panel"] == "B"]
    if len(networks) <= FEW:
        panels = list(figure.subplots(1, 2 + (len(followed) > 0)))
    else:
        above, *below = [["A"] * 2], ["B", "C"] if len(followed) else ["C"] * 2
        panels = list(figure.subplot_mosaic([*above, *below]).values())
    _draw_before_and_after(panels[0], table[table["panel"] == "A"], networks, colours)
    if len(followed):
        _draw_epochs(panels[1], followed, colours)
    _draw_powers(panels[-1], table[table["panel"] == "C"], networks, colours)
    for panel, name in zip(panels, "ABC" if len(followed) else "AC", strict=True):
        shown = f"{name}'" if zoo.is_beyond(networks[0]) else name
        letter(panel, shown, offset=-0.06 if panel is panels[0] and len(networks) > FEW else -0.2)
    if note := zoo.note_of(networks):
        figure.suptitle(note, fontsize=8, style="italic")


def _draw_before_and_after(axes: Axes, table: pd.DataFrame, networks: list[str], colours: Mapping[str, tuple]) -> None:
    places = {"initial": -0.17, "trained": 0.17}
    for x, network in enumerate(networks):
        rows = table[(table["network"] == network) & (table["quantity"] == "pearson")]
        means = rows[rows["layer"] == "mean"].set_index("when").loc[list(TIMES)]
        for _, pair in rows[rows["layer"] != "mean"].groupby("layer"):
            pair = pair.set_index("when").loc[list(TIMES)]
            axes.plot([x + places[when] for when in TIMES], pair["value"], color=colours[network], alpha=0.3, linewidth=0.6,
                      marker=".", markersize=3, zorder=1)  # fmt: skip
        for when in TIMES:
            mean = means.loc[when]
            reach = np.nan_to_num([[mean["value"] - mean["low"]], [mean["high"] - mean["value"]]]).clip(min=0)
            axes.errorbar(
                x + places[when], mean["value"], reach, marker="o", markersize=5.5, color=colours[network], capsize=2,
                markerfacecolor="white" if when == "initial" else colours[network], elinewidth=1, zorder=3,
            )  # fmt: skip
    zoo.network_ticks(axes, networks)
    axes.set(xlim=(-0.5, len(networks) - 0.5), ylabel="correlation of CNFM and AGOP")
    axes.grid(axis="y")
    for name, face in (("at initialisation", "white"), ("trained", "0.3")):
        axes.plot([], [], "o", markersize=5.5, color="0.3", markerfacecolor=face, label=name)
    axes.plot([], [], ".-", markersize=3, linewidth=0.6, color="0.3", alpha=0.5, label="layers")
    axes.legend(loc="best")


def _draw_epochs(axes: Axes, table: pd.DataFrame, colours: Mapping[str, tuple]) -> None:
    for network, rows in table.groupby("network", sort=False):
        axes.plot(rows["epoch"], rows["value"], marker="o", markersize=3.5, color=colours[network], label=zoo.title(network))
        axes.fill_between(rows["epoch"], rows["low"], rows["high"], color=colours[network], alpha=0.15, linewidth=0)
    axes.set(xlabel="epoch", ylabel="correlation, mean over layers")
    axes.grid(axis="y")
    axes.legend(loc="best")


def _draw_powers(axes: Axes, table: pd.DataFrame, networks: list[str], colours: Mapping[str, tuple]) -> None:
    for network in networks:
        for when, line in (("trained", "-"), ("initial", ":")):
            rows = table[(table["network"] == network) & (table["when"] == when)].sort_values("power")
            axes.plot(rows["power"], rows["value"], line, marker="o", markersize=3, color=colours[network])
    for name, line in (("trained", "-"), ("at initialisation", ":")):
        axes.plot([], [], line, color="0.3", label=name)
    axes.set(xlabel="power p of the AGOP", ylabel="correlation of CNFM and AGOP$^p$")
    powers = sorted(table["power"].unique())
    axes.set_xticks(powers, [str(Fraction(power)) for power in powers])
    axes.grid(axis="y")
    axes.legend(loc="best")


def caption(table: pd.DataFrame, skipped: Mapping[str, str]) -> str:
    """Write the caption in Markdown; every number in it is computed from the table. Skipped are networks, with the reason."""
    means = table[(table["panel"] == "A") & (table["layer"] == "mean")]
    networks = list(dict.fromkeys(means["network"]))
    followed = set(table.loc[table["panel"] == "B", "network"])
    opening = (
        f"**Figure 7, the ansatz before and after training** (protocol: {table['protocol'].iloc[0]}). A: Pearson correlation "
        "of the filter covariance W^T W (CNFM) and the patch-AGOP at initialisation and after training; small dots are "
        "layers, large ones their mean with 95 % jackknife intervals over the images (or probes). Where a pretrained network "
        "started is not known: a fresh initialisation takes the place. "
        + ("B: the mean over the epochs, from before the first step. " if followed else "")
        + "C: the mean for powers p of the AGOP."
        + (" A', C': the same for networks beyond the paper's list." if any(map(zoo.is_beyond, networks)) else "")
    )
    lines = []
    for network in networks:
        rows = means[means["network"] == network]
        gain = rows[rows["quantity"] == "gain"].iloc[0]
        by_time = rows[rows["quantity"] == "pearson"].set_index("when")
        cells = [zoo.number_cell(by_time.loc[when], signed=False) for when in TIMES]
        sweep = table[(table["panel"] == "C") & (table["network"] == network) & (table["when"] == "trained")]
        best = sweep.loc[sweep["value"].idxmax()]
        layers = table[(table["panel"] == "A") & (table["network"] == network) & (table["layer"] != "mean")]
        pivot = layers.pivot_table(index="layer", columns="when", values="value")
        cells += [zoo.number_cell(gain, signed=True), f"{int((pivot['trained'] > pivot['initial']).sum())} of {len(pivot)}"]
        lines.append([zoo.title(network), *cells, f"{best['power']:g} ({best['value']:.3f})"])
    header = ["network", "at initialisation", "trained", "gain", "layers that gain", "best power, trained"]
    return "\n".join([opening, "", *markdown_table(header, lines), *zoo.caption_of_networks(networks, skipped)]) + "\n"


FIGURE = FigureSpec(
    title="Figure 7",
    subject="the ansatz before and after training",
    about="Correlation between filter covariance (CNFM) and patch-AGOP at initialisation and after training, over the epochs "
    "between, and for powers of the AGOP.",
    needs=zoo.ansatz_needs,
    inputs=run_inputs(zoo.ansatz_runs, "metrics", "records"),
    judges=judges,
)


@FIGURE.drawn
def draw_figure(job: Job, skipped: Mapping[str, str]) -> Drawn:
    """Give table, picture and caption; networks whose data are not there are SKIPPED with the reason."""
    table = tidy(zoo.measurements(job))
    return table, draw(table), caption(table, skipped)
