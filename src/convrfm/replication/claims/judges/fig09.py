"""A5 by Figure 9: patch size and pooling."""

import math
from collections.abc import Iterator

from convrfm.replication.claims.evidence import Evidence, Judges, Number, Reading, Rule, bounds, none_missing
from convrfm.replication.figures.fig09 import contrasts

__all__ = ["judges"]

judges = Judges(
    "fig09", ("dataset", "architecture", "when", "quantity"), ("patch_size", "seed", "value"), ("stand_in",)
)


@judges("A5")
def patch_size_and_pooling(claim: Rule, found: Evidence) -> Iterator[Reading]:
    """Differences of the mean cosine between patch sizes and kinds of pooling, paired by data set."""
    for stand_in, rows in found.rows.groupby("stand_in"):
        count = rows["dataset"].nunique()
        on = f"{count} data set{'s' * (count > 1)}" + " (stand-ins)" * bool(stand_in)
        few = f"{count} of at least {claim.fewest} data sets" if count < claim.fewest else ""
        whole = none_missing(rows.loc[rows["quantity"] == "cosine", "value"])
        differences = contrasts(rows, "cosine")
        differences = differences[differences["within"] == "all"]
        if set(differences["claim"]) != {"patch size", "pooling"}:
            found.problems.append(f"{found.path} lacks patch sizes or kinds of pooling to compare on {on}")
        for _, row in differences.iterrows():
            number = Number(float(row["mean"]) if whole else math.nan, bounds(row), few)
            condition = "patch_size" if row["claim"] == "patch size" else "pooling"
            yield found.reading(rows, condition, on, f"mean cosine, {row['difference']}", number)
