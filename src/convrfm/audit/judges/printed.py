"""The numbers that the authors printed, from the table that puts ours beside them."""

from collections.abc import Iterator

import pandas as pd

from convrfm.audit.claims import Claim
from convrfm.audit.evidence import Bench, Reading, none_missing
from convrfm.audit.judges.registry import judges
from convrfm.plots.names import short_title
from convrfm.plots.style import interval
from convrfm.printed import PRINTED

__all__: list[str] = []


@judges(*(f"P-{name}" for name in PRINTED))
def printed_numbers(claim: Claim, bench: Bench) -> Iterator[Reading]:
    """Difference of each round's accuracy, mean over draws, to the printed one; squared errors beside them."""
    assert claim.printed is not None
    run = PRINTED[claim.printed]
    found = bench.figure("printed", ("run", "task", "quantity", "draw"), ("round", "ours"))
    if found is None:
        return
    rows = found.rows[found.rows["run"] == claim.printed]
    if rows.empty and run.task not in bench.skipped and claim.printed not in bench.skipped:
        bench.problems.append(f"{found.path} has no rows of {claim.printed}")
    if rows.empty:
        return
    on = f"{short_title(run.task)}, n = {run.n_train}/{run.n_test}"
    sources = found.sources(run.task, **({} if run.sigma is None else {"sigma": run.sigma}))
    for condition, quantity, printed in (
        ("accuracy", "accuracy", run.accuracy),
        ("squared_error", "squared error", run.squared_error),
    ):
        for number, expected in enumerate(printed):
            ours = rows[(rows["quantity"] == quantity) & (rows["round"] == number)]
            value, bounds = _difference(ours, expected)
            digits = ".1f" if condition == "accuracy" else ".4f"
            what = f"{quantity} of round {number}, ours minus the printed {expected:{digits}}"
            bound = run.tolerance[number] if condition == "accuracy" else None
            yield Reading(condition, on, what, value, bounds, True, sources, bound=bound, over="draws")


def _difference(ours: pd.DataFrame, expected: float) -> tuple[float, tuple[float, float] | None]:
    if not none_missing(ours["ours"]):
        return float("nan"), None
    draws = ours.groupby("draw")["ours"].mean().to_numpy()
    mean, low, high = interval(draws - expected)
    return mean, None if len(draws) < 2 else (low, high)
