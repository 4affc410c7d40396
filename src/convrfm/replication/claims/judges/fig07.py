"""A3 and A14 by Figure 7: the mean correlation of each network before and after training, and over the epochs."""

from collections.abc import Iterator

from convrfm.replication.claims.evidence import Evidence, Judges, Number, Reading, Rule, bounds
from convrfm.replication.figures.zoo import title

__all__ = ["judges"]

judges = Judges(
    "fig07",
    ("panel", "network", "layer", "when", "quantity"),
    ("epoch", "power", "value", "low", "high"),
    ("stand_in",),
)


@judges("A3")
def before_and_after(claim: Rule, found: Evidence) -> Iterator[Reading]:
    """Gain of the mean correlation by training, for each network."""
    for network, rows in found.rows[found.rows["panel"] == "A"].groupby("network", sort=False):
        gains = rows[(rows["layer"] == "mean") & (rows["quantity"] == "gain")]
        if len(gains) == 1:
            number = Number(float(gains["value"].iloc[0]), bounds(gains.iloc[0]))
            what = "mean over layers, trained minus at initialisation"
            yield found.reading(gains, "gain", title(str(network)), what, number)
        else:
            found.problems.append(f"{found.path} has {len(gains)} gains of {network}, where one is due")


@judges("A14")
def from_the_first_epoch(claim: Rule, found: Evidence) -> Iterator[Reading]:
    """The mean correlation after the first epoch that was kept, and after the last, minus that before the first step."""
    for network, rows in found.rows[found.rows["panel"] == "B"].groupby("network", sort=False):
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
            yield found.reading(rows, condition, title(str(network)), what, number)
