"""A1 to A5 and A14: correlation of CNFM and patch-AGOP, from the tables of Figures 1, 7, 8 and 9."""

import math
from collections.abc import Iterator
from functools import partial

import numpy as np
import pandas as pd

from convrfm.audit.claims import Claim
from convrfm.audit.evidence import Bench, Evidence, Interval, Reading, none_missing
from convrfm.audit.judges.registry import judges
from convrfm.plots.fig08 import PUBLISHED
from convrfm.plots.fig09 import contrasts
from convrfm.plots.names import short_title
from convrfm.plots.style import interval
from convrfm.plots.zoo import title

__all__: list[str] = []

GAINS = {
    "A1": {
        "gain_over_initial": ("over_initial", "mean over layers, trained minus at initialisation"),
        "gain_over_null": ("over_null", "mean over layers, trained minus rotated null"),
        "pearson": ("level", "mean over layers, trained"),
    },
    "A2": {"gain_over_control": ("over_control", "trained CNFM with AGOP minus initial CNFM with trained CNFM")},
}
"""By claim and quantity of Figure 1's table: the condition, and the quantity in words."""

NAMED_NETWORKS = ("alexnet-v1", "vgg13-v1")
"""Networks of which the paper says something for each layer."""


INITIALISATIONS = "initialisations of the network"
"""What intervals over seeds are over: their images may be the same."""


def _bounds(row: pd.Series) -> Interval | None:
    """The interval of a row, if it has one."""
    low, high = float(row["low"]), float(row["high"])
    return (low, high) if math.isfinite(low) and math.isfinite(high) else None


def _figure_7(bench: Bench) -> Evidence | None:
    texts, numbers = ("panel", "network", "layer", "when", "quantity"), ("epoch", "power", "value", "low", "high")
    return bench.figure("fig07", texts, numbers, ("stand_in",))


def _figure_8(bench: Bench) -> Evidence | None:
    return bench.figure("fig08", ("dataset", "quantity"), ("seed", "epoch", "value"), ("stand_in",))


@judges("A1", "A2")
def trained_networks(claim: Claim, bench: Bench) -> Iterator[Reading]:
    """Gains of the mean correlation of each network; of A1 its level, and the lowest layer of networks that the paper names."""
    found = bench.figure("fig01", ("network", "quantity"), ("value", "low", "high"), ("stand_in",))
    if found is None:
        return
    for network, rows in found.rows.groupby("network", sort=False):
        for quantity, (condition, what) in GAINS[claim.id].items():
            matching = rows[rows["quantity"] == quantity]
            if len(matching) != 1:
                bench.problems.append(
                    f"{found.path} has {len(matching)} rows of {quantity} for {network}, where one is due"
                )
                continue
            row = matching.iloc[0]
            sources = found.sources(network)
            value = float(row["value"])
            yield Reading(condition, title(str(network)), what, value, _bounds(row), not row["stand_in"], sources)
    if claim.id == "A1":
        yield from _lowest_layers(bench, sorted(set(found.rows["network"]) & set(NAMED_NETWORKS)))


def _lowest_layers(bench: Bench, networks: list[str]) -> Iterator[Reading]:
    found = _figure_7(bench) if networks else None
    if found is None:
        return
    chosen = (found.rows["panel"] == "A") & (found.rows["when"] == "trained") & (found.rows["quantity"] == "pearson")
    layers = found.rows[chosen & (found.rows["layer"] != "mean")]
    for network in networks:
        rows = layers[layers["network"] == network]
        value = float(rows["value"].to_numpy().min()) if len(rows) else math.nan
        what = "lowest layer, trained"
        yield Reading("each_layer", title(network), what, value, None, True, found.sources(network))


@judges("A3")
def before_and_after(claim: Claim, bench: Bench) -> Iterator[Reading]:
    """Gain of the mean correlation by training, for each network."""
    found = _figure_7(bench)
    if found is None:
        return
    for network, rows in found.rows[found.rows["panel"] == "A"].groupby("network", sort=False):
        gains = rows[(rows["layer"] == "mean") & (rows["quantity"] == "gain")]
        if len(gains) != 1:
            bench.problems.append(f"{found.path} has {len(gains)} gains of {network}, where one is due")
            continue
        row = gains.iloc[0]
        what = "mean over layers, trained minus at initialisation"
        sources = found.sources(network)
        value = float(row["value"])
        yield Reading("gain", title(str(network)), what, value, _bounds(row), not row["stand_in"], sources)


@judges("A4")
def simplenet(claim: Claim, bench: Bench) -> Iterator[Reading]:
    """Gains of SimpleNet's mean correlation, paired by seed, and how far its accuracy falls short of the published one."""
    found = _figure_8(bench)
    if found is None:
        return
    for dataset, rows in found.rows.groupby("dataset", sort=False):
        means = _by_seed(rows, "mean_pearson")
        trained = means[means.columns.max()] if means.size else pd.Series(dtype=float)
        first = means[0] if 0 in means else pd.Series(dtype=float)
        nulls = rows[rows["quantity"] == "mean_rotated_null"].set_index("seed")["value"]
        on, comparable = short_title(str(dataset)), not rows["stand_in"].any()
        read = partial(Reading, on=on, comparable=comparable, sources=found.sources(dataset))
        for condition, against, words in (
            ("over_initial", first, "at initialisation"),
            ("over_null", nulls, "rotated null"),
        ):
            value, bounds, gap = _over_seeds(trained - against)
            what = f"mean over layers, trained minus {words}"
            yield read(condition, what=what, value=value, interval=bounds, gap=gap, over=INITIALISATIONS)
        if dataset in PUBLISHED:
            published = PUBLISHED[str(dataset)]
            ours = rows.loc[rows["quantity"] == "test_accuracy", "value"]
            value, bounds, _ = _over_seeds(100 * (ours - published))
            what = f"test accuracy minus the published {100 * published:.1f} %"
            yield read("accuracy", what=what, value=value, interval=bounds, over=INITIALISATIONS)


def _by_seed(rows: pd.DataFrame, quantity: str) -> pd.DataFrame:
    """A quantity with a row for each seed and a column for each epoch."""
    return rows[rows["quantity"] == quantity].pivot_table(index="seed", columns="epoch", values="value", dropna=False)


def _over_seeds(values: pd.Series) -> tuple[float, Interval | None, str]:
    """Mean, 95 % interval over seeds, that is over `INITIALISATIONS`, and what is wrong, or nothing."""
    if not none_missing(values):
        return math.nan, None, "numbers are missing"
    mean, low, high = interval(values.to_numpy())
    return mean, None if len(values) < 2 else (low, high), "a single seed has no interval" if len(values) < 2 else ""


@judges("A5")
def patch_size_and_pooling(claim: Claim, bench: Bench) -> Iterator[Reading]:
    """Differences of the mean cosine between patch sizes and kinds of pooling, paired by data set."""
    texts, numbers = ("dataset", "architecture", "when", "quantity"), ("patch_size", "seed", "value")
    found = bench.figure("fig09", texts, numbers, ("stand_in",))
    if found is None:
        return
    for stand_in, rows in found.rows.groupby("stand_in"):
        count = rows["dataset"].nunique()
        on = f"{count} data set{'s' * (count > 1)}" + " (stand-ins)" * bool(stand_in)
        few = f"{count} of at least {claim.fewest} data sets" if count < claim.fewest else ""
        whole = none_missing(rows.loc[rows["quantity"] == "cosine", "value"])
        differences = contrasts(rows, "cosine")
        differences = differences[differences["within"] == "all"]
        if set(differences["claim"]) != {"patch size", "pooling"}:
            bench.problems.append(f"{found.path} lacks patch sizes or kinds of pooling to compare on {on}")
        for _, row in differences.iterrows():
            condition = "patch_size" if row["claim"] == "patch size" else "pooling"
            value = float(row["mean"]) if whole else math.nan
            what = f"mean cosine, {row['difference']}"
            yield Reading(condition, on, what, value, _bounds(row), not stand_in, found.sources(), gap=few)


@judges("A14")
def from_the_first_epoch(claim: Claim, bench: Bench) -> Iterator[Reading]:
    """The mean correlation after the first epoch that was kept, and after the last, minus that before the first step."""
    shallow, zoo = _figure_8(bench), _figure_7(bench)
    if shallow is not None:
        for dataset, rows in shallow.rows.groupby("dataset", sort=False):
            means = _by_seed(rows, "mean_pearson")
            later = [epoch for epoch in means.columns if epoch >= 1]
            if 0 not in means or not later:
                bench.problems.append(f"{shallow.path} has no course over epochs on {dataset}")
                continue
            for condition, epoch in (("first", min(later)), ("last", max(later))):
                value, bounds, gap = _over_seeds(means[epoch] - means[0])
                on, what = f"SimpleNet on {short_title(str(dataset))}", _after(epoch)
                comparable, sources = not rows["stand_in"].any(), shallow.sources(dataset)
                yield Reading(condition, on, what, value, bounds, comparable, sources, gap=gap, over=INITIALISATIONS)
    if zoo is not None:
        for network, rows in zoo.rows[zoo.rows["panel"] == "B"].groupby("network", sort=False):
            course = rows.set_index("epoch")[["value", "low", "high"]].sort_index()
            later = course.loc[1:]
            if 0 not in course.index or later.empty or course.index.has_duplicates:
                bench.problems.append(f"{zoo.path} has no course over epochs of {network}")
                continue
            for condition, epoch in (("first", later.index.min()), ("last", later.index.max())):
                value, bounds = _difference(course.loc[epoch], course.loc[0])
                comparable, sources = not rows["stand_in"].any(), zoo.sources(network)
                yield Reading(condition, title(str(network)), _after(epoch), value, bounds, comparable, sources)


def _after(epoch: float) -> str:
    return f"mean over layers after epoch {epoch:g} minus before the first step"


def _difference(late: pd.Series, early: pd.Series) -> tuple[float, Interval | None]:
    """Difference of two numbers with intervals, and the widest that its own can be."""
    widest = pd.Series({"low": late["low"] - early["high"], "high": late["high"] - early["low"]})
    return float(np.subtract(late["value"], early["value"])), _bounds(widest)
