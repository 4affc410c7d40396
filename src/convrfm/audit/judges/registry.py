"""Which function judges which claim."""

from collections.abc import Callable, Iterator

from convrfm.audit.claims import Claim
from convrfm.audit.evidence import Bench, Reading

__all__ = ["JUDGES", "Judge", "judges"]

Judge = Callable[[Claim, Bench], Iterator[Reading]]
"""Reads what the results under one protocol say of a claim; what it cannot read it notes on the bench."""

JUDGES: dict[str, Judge] = {}
"""By id of the claim."""


def judges(*claims: str) -> Callable[[Judge], Judge]:
    """Register a function as the judge of claims.

    Args:
        claims: their ids.

    Raises:
        ValueError: a claim has a judge already.
    """

    def register(judge: Judge) -> Judge:
        for claim in claims:
            if claim in JUDGES:
                msg = f"The claim {claim} has a judge already: {JUDGES[claim].__module__}. Remove one of the two."
                raise ValueError(msg)
            JUDGES[claim] = judge
        return judge

    return register
