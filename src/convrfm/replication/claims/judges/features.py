"""A8 and A9 by Figures 3, 10, 11 and 12: what operators and eigenvectors of the first layer make of images.

What is compared are pictures: intervals are over draws where there are several, and over the images of the one otherwise.
"""

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pandas as pd

from convrfm.replication.claims.evidence import Evidence, Judges, Number, Reading, Rule, bounds, none_missing
from convrfm.replication.figures.features import KERNELS, excess, oriented_gaps, proper_edges
from convrfm.replication.figures.names import in_sentence, short_title

__all__ = ["FIG03", "FIG10", "FIG11", "FIG12"]

FIG03, FIG10, FIG11, FIG12 = (
    Judges(
        figure,
        ("panel", "dataset", "source", "kernel", "quantity", "draw"),
        ("seed", "eigenvector", "image", "value", "control"),
        ("stand_in",),
    )
    for figure in ("fig03", "fig10", "fig11", "fig12")
)


def _over(rows: pd.DataFrame) -> str:
    """What an interval is over, in words."""
    draws = rows["draw"].nunique()
    return f"over {draws} draws" if draws > 1 else "over the images of one draw"


def _excess(rows: pd.DataFrame) -> Number:
    """By how much a correlation exceeds that with random matrices."""
    if not none_missing(rows[["value", "control"]]):
        return Number(math.nan, None, "correlations are missing")
    found = excess(rows)
    return Number(found["excess"], bounds(pd.Series(found)))


@FIG11("A8")
@FIG12("A8")
def edge_detectors(claim: Rule, found: Evidence) -> Iterator[Reading]:
    """Whether top eigenvectors find edges, and of their own orientation."""
    for on, rows in _by_metric(found.rows):
        edges = proper_edges(rows)
        flat = "all top eigenvectors are constant" if edges.empty else ""
        number = Number(math.nan, None, flat) if flat else _excess(edges[edges["quantity"] == "sobel"])
        what = f"eigenvectors' correlation with Sobel beyond random filters, {_over(rows)}"
        yield found.reading(rows, "sobel", on, what, number)
        angles = np.array([]) if flat else oriented_gaps(rows)["value"].to_numpy()
        number = Number(math.nan, None, flat or "no eigenvector has an orientation")
        if none_missing(angles):
            # The upper one of two middles: it is within the bound exactly if more than half of the angles are.
            number = Number(float(np.quantile(angles, 0.5, method="higher")))
        what = f"median angle between {len(angles)} oriented eigenvectors and the edges they pick"
        yield found.reading(rows, "orientation", on, what, number)


def _by_metric(rows: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """The rows of each metric on each kind of images, with a name."""
    for (dataset, source, kernel), own in rows.groupby(["dataset", "source", "kernel"], sort=False):
        yield f"{KERNELS.get(kernel, kernel)} of {in_sentence(dataset)} on {in_sentence(source)}", own


@FIG03("A8")
def first_layer(claim: Rule, found: Evidence) -> Iterator[Reading]:
    """The same of panel A; of panel C whether metrics find edges in natural images."""
    yield from edge_detectors(claim, _panel(found, "A"))
    for on, rows in _by_metric(_panel(found, "C").rows):
        what = f"correlation with Sobel beyond random matrices, {_over(rows)}"
        own = rows[rows["quantity"] == f"sobel_{rows['kernel'].iloc[0]}"]
        yield found.reading(rows, "transfer", on, what, _excess(own))


@FIG10("A9")
def kernels_and_networks(claim: Rule, found: Evidence) -> Iterator[Reading]:
    """By how much pictures through the metric and through the network agree beyond random matrices."""
    for dataset, rows in found.rows.groupby("dataset", sort=False):
        for condition, quantity, words in (
            ("excess", "alike", "first layer, pixel correlation beyond random matrices"),
            ("without_brightness", "alike_without_means", "the same with each patch's mean left out"),
        ):
            number = _excess(rows[rows["quantity"] == quantity])
            yield found.reading(rows, condition, short_title(str(dataset)), f"{words}, {_over(rows)}", number)


@FIG03("A9")
def one_data_set(claim: Rule, found: Evidence) -> Iterator[Reading]:
    """The same of panel B, which is a part of Figure 10 where both show the same data set."""
    yield from kernels_and_networks(claim, _panel(found, "B"))


def _panel(found: Evidence, name: str) -> Evidence:
    return replace(found, rows=found.rows[found.rows["panel"] == name])
