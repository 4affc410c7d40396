"""A7 by Figure 2: whether CNFM and AGOP make the same of images."""

from collections.abc import Iterator

from convrfm.replication.claims.evidence import Evidence, Judges, Number, Reading, Rule, bounds, none_missing
from convrfm.replication.figures.fig02 import summary
from convrfm.replication.figures.zoo import title

__all__ = ["judges"]

judges = Judges("fig02", ("network", "layer"), ("index", "pearson", "control", "excess"), ("stand_in",))


@judges("A7")
def pretrained_pictures(claim: Rule, found: Evidence) -> Iterator[Reading]:
    """By how much pictures through CNFM and AGOP agree beyond random matrices, for each layer, over the images."""
    for (network, layer), rows in found.rows.groupby(["network", "layer"], sort=False):
        number = Number(float("nan"))
        # Pictures of a single pixel have no correlation, and are left out as in the figure.
        if none_missing(rows["excess"].dropna()):
            row = summary(rows).iloc[0]
            number = Number(float(row["excess"]), bounds(row))
        what = f"{layer}, pixel correlation beyond that with random matrices"
        yield found.reading(rows, "excess", title(str(network)), what, number)
