"""A15: what patch expansion and the AGOP class by class cost, from the table that `benchmarks/cost.py` leaves."""

import math
from collections.abc import Iterator

import pandas as pd

from convrfm.audit.claims import Claim
from convrfm.audit.evidence import Bench, Reading
from convrfm.audit.judges.registry import judges
from convrfm.pipeline.cost_record import COST_TABLE, cost_trouble

QUANTITIES = ("memory", "time", "classes")


@judges("A15")
def costs(claim: Claim, bench: Bench) -> Iterator[Reading]:
    """Ratios of cost, the authors' way over the closed form."""
    if (trouble := cost_trouble(bench.project)) is not None:
        bench.problems.append(f"{COST_TABLE} is {trouble[0]}: {trouble[1].rstrip('.')}")
        return
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
