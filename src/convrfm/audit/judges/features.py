"""A7 to A9: what operators and eigenvectors make of images, from the tables of Figures 2, 3, 4, 10, 11 and 12.

What is compared are pictures: intervals are over draws where there are several, and over the images of the one otherwise.
"""

import math
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import pandas as pd

from convrfm.audit.claims import Claim
from convrfm.audit.evidence import Bench, Evidence, Interval, Reading, none_missing
from convrfm.audit.judges.registry import judges
from convrfm.plots import fig02, fig04
from convrfm.plots.features import KERNELS, excess, oriented_gaps, proper_edges
from convrfm.plots.names import in_sentence, short_title
from convrfm.plots.zoo import title

__all__: list[str] = []

NO_INTERVAL = "a single image has no interval"


def _sheet(bench: Bench, figure: str) -> Evidence | None:
    """The table of one of Figures 3, 10, 11 and 12."""
    texts = ("panel", "dataset", "source", "kernel", "quantity", "draw")
    return bench.figure(figure, texts, ("seed", "eigenvector", "image", "value", "control"), ("stand_in",))


def _over(rows: pd.DataFrame) -> str:
    """What an interval is over, in words."""
    draws = rows["draw"].nunique()
    return f"over {draws} draws" if draws > 1 else "over the images of one draw"


def _bounds(low: float, high: float) -> Interval | None:
    return (low, high) if math.isfinite(low) and math.isfinite(high) else None


def _excess(rows: pd.DataFrame) -> tuple[float, Interval | None, str]:
    """By how much a correlation exceeds that with random matrices: mean, interval, and what is wrong, or nothing."""
    if not none_missing(rows[["value", "control"]]):
        return math.nan, None, "correlations are missing"
    found = excess(rows)
    bounds = _bounds(found["low"], found["high"])
    return found["excess"], bounds, "" if bounds else NO_INTERVAL


def _summed_up(
    rows: pd.DataFrame, summary: Callable[[pd.DataFrame], pd.DataFrame], needed: pd.Series
) -> tuple[float, Interval | None, str]:
    """The excess of one layer by the figure's own summary, as from `_excess`; of numbers that must all be there."""
    if not none_missing(needed):
        return math.nan, None, "correlations are missing"
    (row,) = summary(rows).to_dict("records")
    bounds = _bounds(row["low"], row["high"])
    return row["excess"], bounds, "" if bounds else NO_INTERVAL


@judges("A7")
def pretrained_pictures(claim: Claim, bench: Bench) -> Iterator[Reading]:
    """By how much pictures through CNFM and AGOP agree beyond random matrices, for each layer."""
    texts, numbers = ("network", "layer"), ("index", "pearson", "control", "excess")
    found = bench.figure("fig02", texts, numbers, ("stand_in",))
    if found is None:
        return
    for network, rows in found.rows.groupby("network", sort=False):
        comparable, sources = not rows["stand_in"].any(), found.sources(network)
        read = partial(Reading, "excess", title(str(network)), comparable=comparable, sources=sources)
        for layer, part in rows.groupby("layer", sort=False):
            # Pictures of a single pixel have no correlation, and are left out as in the figure.
            value, bounds, gap = _summed_up(part, fig02.summary, part["excess"].dropna())
            what = f"{layer}, pixel correlation beyond that with random matrices"
            yield read(what=what, value=value, interval=bounds, gap=gap)


@judges("A8")
def edge_detectors(claim: Claim, bench: Bench) -> Iterator[Reading]:
    """Whether top eigenvectors find edges, of their own orientation, and whether metrics do on other images."""
    for figure in claim.tables:
        found = _sheet(bench, figure)
        if found is None:
            continue
        for (panel, dataset, source, kernel), rows in found.rows.groupby(
            ["panel", "dataset", "source", "kernel"], sort=False
        ):
            on = f"{KERNELS.get(kernel, kernel)} of {in_sentence(dataset)} on {in_sentence(source)} ({figure})"
            comparable = not rows["stand_in"].any()
            read = partial(Reading, on=on, comparable=comparable, sources=found.sources(dataset))
            if figure == "fig03" and panel == "C":
                value, bounds, gap = _excess(rows[rows["quantity"] == f"sobel_{kernel}"])
                what = f"correlation with Sobel beyond random matrices, {_over(rows)}"
                yield read("transfer", what=what, value=value, interval=bounds, gap=gap)
            elif figure != "fig03" or panel == "A":
                yield from _eigenvectors(rows, read)


def _eigenvectors(rows: pd.DataFrame, read: Callable[..., Reading]) -> Iterator[Reading]:
    edges = proper_edges(rows)
    flat = "all top eigenvectors are constant" if edges.empty else ""
    value, bounds, gap = (math.nan, None, flat) if flat else _excess(edges[edges["quantity"] == "sobel"])
    what = f"eigenvectors' correlation with Sobel beyond random filters, {_over(rows)}"
    yield read("sobel", what=what, value=value, interval=bounds, gap=gap)
    angles = np.array([]) if flat else oriented_gaps(rows)["value"].to_numpy()
    # The upper one of two middles: it is within the bound exactly if more than half of the angles are.
    known = none_missing(angles)
    value = float(np.quantile(angles, 0.5, method="higher")) if known else math.nan
    gap = "" if known else flat or "no eigenvector has an orientation"
    what = f"median angle between {len(angles)} oriented eigenvectors and the edges they pick"
    yield read("orientation", what=what, value=value, interval=None, gap=gap)


@judges("A9")
def kernels_and_networks(claim: Claim, bench: Bench) -> Iterator[Reading]:
    """By how much pictures through metrics and through networks agree beyond random matrices."""
    seen = set()
    # Figure 10 first: panel B of Figure 3 is a part of it, where both show the same data set.
    for figure in ("fig10", "fig03"):
        found = _sheet(bench, figure)
        if found is None:
            continue
        rows = found.rows if figure == "fig10" else found.rows[found.rows["panel"] == "B"]
        for dataset, part in rows.groupby("dataset", sort=False):
            if dataset in seen:
                continue
            seen.add(dataset)
            on = f"{short_title(str(dataset))} ({figure})"
            for condition, quantity, words in (
                ("excess", "alike", "first layer, pixel correlation beyond random matrices"),
                ("without_brightness", "alike_without_means", "the same with each patch's mean left out"),
            ):
                value, bounds, gap = _excess(part[part["quantity"] == quantity])
                sources, comparable = found.sources(dataset), not part["stand_in"].any()
                yield Reading(condition, on, f"{words}, {_over(part)}", value, bounds, comparable, sources, gap=gap)
    found = bench.figure("fig04", ("task", "draw"), ("seed", "layer", "pearson", "control", "excess"), ("stand_in",))
    if found is None:
        return
    for task, part in found.rows.groupby("task", sort=False):
        comparable, sources = not part["stand_in"].any(), found.sources(task)
        read = partial(Reading, "excess", f"{short_title(str(task))} (fig04)", comparable=comparable, sources=sources)
        for layer, rows in part.groupby("layer"):
            value, bounds, gap = _summed_up(rows, fig04.summary, rows["excess"])
            what = f"layer {layer}, pixel correlation beyond random matrices, {_over(rows)}"
            yield read(what=what, value=value, interval=bounds, gap=gap)
