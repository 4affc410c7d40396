"""A4 and A14 by Figure 8: the mean correlation in SimpleNet, its course over the epochs, and its accuracy."""

from collections.abc import Iterator

import pandas as pd

from convrfm.replication.claims.evidence import Evidence, Judges, Reading, Rule, mean_of
from convrfm.replication.figures.fig08 import PUBLISHED
from convrfm.replication.figures.names import short_title

__all__ = ["judges"]

INITIALISATIONS = "initialisations of the network"
"""What intervals over seeds are over: their images may be the same."""

judges = Judges("fig08", ("dataset", "quantity"), ("seed", "epoch", "value"), ("stand_in",))


@judges("A4")
def simplenet(claim: Rule, found: Evidence) -> Iterator[Reading]:
    """Gains of SimpleNet's mean correlation, paired by seed, and how far its accuracy falls short of the published one."""
    for dataset, rows in found.rows.groupby("dataset", sort=False):
        means, on = _means(rows), short_title(str(dataset))
        trained = means[means.columns.max()] if means.size else pd.Series(dtype=float)
        first = means[0] if 0 in means else pd.Series(dtype=float)
        nulls = rows[rows["quantity"] == "mean_rotated_null"].set_index("seed")["value"]
        for condition, against, words in (
            ("over_initial", first, "at initialisation"),
            ("over_null", nulls, "rotated null"),
        ):
            what = f"mean over layers, trained minus {words}"
            yield found.reading(rows, condition, on, what, mean_of(trained - against, INITIALISATIONS))
        if dataset in PUBLISHED:
            published = PUBLISHED[str(dataset)]
            ours = rows.loc[rows["quantity"] == "test_accuracy", "value"]
            what = f"test accuracy minus the published {100 * published:.1f} %"
            yield found.reading(rows, "accuracy", on, what, mean_of(100 * (ours - published), INITIALISATIONS))


@judges("A14")
def from_the_first_epoch(claim: Rule, found: Evidence) -> Iterator[Reading]:
    """The mean correlation after the first epoch that was kept, and after the last, minus that before the first step."""
    for dataset, rows in found.rows.groupby("dataset", sort=False):
        means, on = _means(rows), f"SimpleNet on {short_title(str(dataset))}"
        later = [epoch for epoch in means.columns if epoch >= 1]
        if 0 not in means or not later:
            found.problems.append(f"{found.path} has no course over epochs on {dataset}")
            continue
        for condition, epoch in (("first", min(later)), ("last", max(later))):
            what = f"mean over layers after epoch {epoch:g} minus before the first step"
            yield found.reading(rows, condition, on, what, mean_of(means[epoch] - means[0], INITIALISATIONS))


def _means(rows: pd.DataFrame) -> pd.DataFrame:
    """The mean correlation with a row for each seed and a column for each epoch."""
    means = rows[rows["quantity"] == "mean_pearson"]
    return means.pivot_table(index="seed", columns="epoch", values="value", dropna=False)
