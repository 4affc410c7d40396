"""A15: what patch expansion and the AGOP class by class cost, from the table that `benchmarks/cost.py` leaves."""

import math
from collections.abc import Iterator

import pandas as pd

from convrfm.audit.claims import Claim
from convrfm.audit.evidence import Bench, Reading
from convrfm.audit.judges.registry import judges

__all__ = ["COST_TABLE"]

COST_TABLE = "benchmarks/cost.csv"
"""Columns `quantity` ("memory", "time", "classes"), `what`, `ours`, `theirs`, `ratio` (theirs over ours), `low`, `high`
(its range over repetitions), `machine`. A machine's numbers: they belong to the project, not to a preset."""

QUANTITIES = ("memory", "time", "classes")


@judges("A15")
def costs(claim: Claim, bench: Bench) -> Iterator[Reading]:
    """Ratios of cost, the authors' way over the closed form."""
    path = bench.project / COST_TABLE
    table = bench.table(path, f"There is no {COST_TABLE}: it has not been measured", pd.read_csv)
    if table is None:
        return
    if not {"quantity", "what", "ratio", "low", "high", "machine"} <= set(table.columns):
        bench.problems.append(f"{COST_TABLE} lacks columns, so that it is not what `{claim.command}` writes")
        return
    for quantity in QUANTITIES:
        rows = table[table["quantity"] == quantity]
        if len(rows) != 1:
            bench.problems.append(f"{COST_TABLE} has {len(rows)} rows of {quantity}, where one is due")
            continue
        row = rows.iloc[0]
        low, high = float(row["low"]), float(row["high"])
        bounds = (low, high) if math.isfinite(low) and math.isfinite(high) else None
        yield Reading(quantity, str(row["machine"]), str(row["what"]), float(row["ratio"]), bounds, True, (COST_TABLE,))
