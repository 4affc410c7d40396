"""A9 by Figure 4: whether Deep ConvRFM and the network make the same of images, layer by layer."""

from collections.abc import Iterator

from convrfm.replication.claims.evidence import Evidence, Judges, Number, Reading, Rule, bounds, none_missing
from convrfm.replication.figures.fig04 import summary
from convrfm.replication.figures.names import short_title

__all__ = ["judges"]

judges = Judges("fig04", ("task", "draw"), ("seed", "layer", "pearson", "control", "excess"), ("stand_in",))


@judges("A9")
def layers_alike(claim: Rule, found: Evidence) -> Iterator[Reading]:
    """By how much pictures through metrics and through the network agree beyond random matrices; over draws or images."""
    for (task, layer), rows in found.rows.groupby(["task", "layer"], sort=False):
        number = Number(float("nan"))
        if none_missing(rows["excess"]):
            row = summary(rows).iloc[0]
            number = Number(float(row["excess"]), bounds(row))
        what = f"layer {layer}, pixel correlation beyond random matrices"
        yield found.reading(rows, "excess", short_title(str(task)), what, number)
