"""A6: Theorem 1, from the table of its check."""

from collections.abc import Iterator

from convrfm.audit.claims import Claim
from convrfm.audit.evidence import Bench, Reading
from convrfm.audit.judges.registry import judges

__all__: list[str] = []

KINDS = {"theorem": ("theorem", "largest"), "control": ("control", "smallest")}
"""Conditions by the kind of a case, and which of its numbers has to meet them."""


@judges("A6")
def theorem_1(claim: Claim, bench: Bench) -> Iterator[Reading]:
    """The worst 1 - rho of each network that the theorem covers, and the best one of each control."""
    found = bench.figure("theorem1", ("case", "title", "kind"), ("one_minus_rho",))
    if found is None:
        return
    for kind, (condition, which) in KINDS.items():
        cases = found.rows[found.rows["kind"] == kind]
        if cases.empty:
            bench.problems.append(f"{found.path} has no case of the kind {kind}")
        for title, rows in cases.groupby("title", sort=False):
            gaps = rows["one_minus_rho"].to_numpy()
            # Of NumPy: one number that is missing makes the result missing.
            value = float(gaps.max() if which == "largest" else gaps.min())
            what = f"{which} 1 - rho of {len(gaps)} ({'the theorem' if kind == 'theorem' else 'control'})"
            yield Reading(condition, str(title), what, value, None, True, (found.path,))
