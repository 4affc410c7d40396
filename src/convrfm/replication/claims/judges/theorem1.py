"""A6: Theorem 1, from the table of its check."""

from collections.abc import Iterator

from convrfm.replication.claims.evidence import Evidence, Judges, Number, Reading, Rule

__all__ = ["judges"]

judges = Judges("theorem1", ("case", "title", "kind"), ("one_minus_rho",))

KINDS = {"theorem": "largest", "control": "smallest"}
"""Kinds of a case, called as their conditions, and which of its numbers has to meet the condition."""


@judges("A6")
def theorem_1(claim: Rule, found: Evidence) -> Iterator[Reading]:
    """The worst 1 - rho of each network that the theorem covers, and the best one of each control."""
    for kind, which in KINDS.items():
        cases = found.rows[found.rows["kind"] == kind]
        if cases.empty:
            found.problems.append(f"{found.path} has no case of the kind {kind}")
        for title, rows in cases.groupby("title", sort=False):
            gaps = rows["one_minus_rho"].to_numpy()
            # Of NumPy: one number that is missing makes the result missing.
            number = Number(float(gaps.max() if which == "largest" else gaps.min()))
            what = f"{which} 1 - rho of {len(gaps)} ({'the theorem' if kind == 'theorem' else 'control'})"
            yield found.reading(rows, kind, str(title), what, number)
