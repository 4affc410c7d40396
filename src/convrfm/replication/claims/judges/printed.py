"""The numbers that the authors printed, from the table that puts ours beside them."""

from collections.abc import Iterator

from convrfm.replication.claims.evidence import Evidence, Judges, Reading, Rule, mean_of
from convrfm.replication.figures.names import short_title
from convrfm.replication.figures.printed_runs import PRINTED

__all__ = ["judges"]

judges = Judges("printed", ("run", "task", "quantity", "draw"), ("round", "ours"))


@judges(*(f"P-{name}" for name in PRINTED))
def printed_numbers(claim: Rule, found: Evidence) -> Iterator[Reading]:
    """Difference of each round's accuracy, mean over draws, to the printed one; squared errors beside them."""
    assert claim.printed is not None
    run = PRINTED[claim.printed]
    rows = found.rows[found.rows["run"] == claim.printed]
    if rows.empty and run.task not in found.skipped and claim.printed not in found.skipped:
        found.problems.append(f"{found.path} has no rows of {claim.printed}")
    if rows.empty:
        return
    on = short_title(run.task)
    for condition, quantity, printed in (
        ("accuracy", "accuracy", run.accuracy),
        ("squared_error", "squared error", run.squared_error),
    ):
        for number, expected in enumerate(printed):
            ours = rows[(rows["quantity"] == quantity) & (rows["round"] == number)]
            # Seeds with equal images are one draw; a mean by NumPy is missing where a number is.
            draws = ours.groupby("draw")["ours"].agg(lambda own: own.to_numpy().mean())
            digits = ".1f" if condition == "accuracy" else ".4f"
            what = f"{quantity} of round {number}, ours minus the printed {expected:{digits}}"
            bound = run.tolerance[number] if condition == "accuracy" else None
            yield found.reading(rows, condition, on, what, mean_of(draws - expected, "draws"), bound)
