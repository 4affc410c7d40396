"""A15: what patch expansion and the AGOP class by class cost, from the table that `benchmarks/cost.py` leaves.

Columns `quantity` ("memory", "time", "classes"), `what`, `ours`, `theirs`, `ratio` (theirs over ours), `low`, `high` (its
range over repetitions), `machine`. A machine's numbers: they belong to the project, not to a preset.
"""

from collections.abc import Iterator

from convrfm.replication.claims.evidence import Evidence, Judges, Number, Reading, Rule, bounds

__all__ = ["judges"]

judges = Judges("cost", ("quantity", "what", "machine"), ("ratio", "low", "high"), file="benchmarks/cost.csv")


@judges("A15")
def costs(claim: Rule, found: Evidence) -> Iterator[Reading]:
    """Ratios of cost, the authors' way over the closed form."""
    for quantity in claim.conditions:
        rows = found.rows[found.rows["quantity"] == quantity]
        if len(rows) != 1:
            found.problems.append(f"{found.path} has {len(rows)} rows of {quantity}, where one is due")
            continue
        row = rows.iloc[0]
        number = Number(float(row["ratio"]), bounds(row))
        yield found.reading(rows, quantity, str(row["machine"]), str(row["what"]), number)
