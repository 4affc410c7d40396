"""A1 and A2 by Figure 1: what the mean correlation of each network gains over its controls."""

from collections.abc import Iterator

from convrfm.replication.claims.evidence import Evidence, Judges, Number, Reading, Rule, bounds
from convrfm.replication.figures.zoo import title

__all__ = ["judges"]

judges = Judges("fig01", ("network", "quantity"), ("value", "low", "high"), ("stand_in",))

GAINS = {
    "A1": {
        "gain_over_initial": ("over_initial", "mean over layers, trained minus at initialisation"),
        "gain_over_null": ("over_null", "mean over layers, trained minus rotated null"),
        "pearson": ("level", "mean over layers, trained"),
    },
    "A2": {"gain_over_control": ("over_control", "trained CNFM with AGOP minus initial CNFM with trained CNFM")},
}
"""By claim and quantity of the table: the condition, and the quantity in words."""

EACH_LAYER = {"lowest_pearson": ("each_layer", "lowest layer, trained")}
NAMED_NETWORKS = ("alexnet-v1", "vgg13-v1")
"""Networks of which the paper says something for each layer."""


@judges("A1", "A2")
def trained_networks(claim: Rule, found: Evidence) -> Iterator[Reading]:
    """Gains of the mean correlation of each network; of A1 its level, and the lowest layer of networks that the paper names."""
    for network, rows in found.rows.groupby("network", sort=False):
        named = EACH_LAYER if claim.id == "A1" and network in NAMED_NETWORKS else {}
        for quantity, (condition, what) in {**GAINS[claim.id], **named}.items():
            own = rows[rows["quantity"] == quantity]
            if len(own) == 1:
                row = own.iloc[0]
                number = Number(float(row["value"]), bounds(row))
                yield found.reading(own, condition, title(str(network)), what, number)
            else:
                found.problems.append(f"{found.path} has {len(own)} rows of {quantity} for {network}, where one is due")
