"""Which runs are computed again, and what that says of each claim.

Whoever computed the results must not know beforehand which runs will be looked at. So they follow from the Merkle root of all
records, and, since records can be made over and over until the choice is a convenient one, from a public value that did not
exist when the root was made known, see `docs/audit.md`.
"""

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from convrfm.replication.audit.outcome import Coverage, Replay, Result
from convrfm.replication.audit.records import Product
from convrfm.replication.audit.replay import ALWAYS
from convrfm.replication.claims.judging import Judgement

__all__ = ["Choice", "choose", "coverage_of"]


@dataclass(frozen=True)
class Choice:
    """What is computed again beside what always is.

    Attributes:
        each: so many runs of each claim, drawn at random; None for all there are.
        claims: and all runs of these.
        beacon: a public value that goes into the draw.
    """

    each: int | None = 0
    claims: tuple[str, ...] = ()
    beacon: str = ""


def choose(
    choice: Choice, judgements: Sequence[Judgement], products: Iterable[Product], sound: Iterable[Product], root: str
) -> list[Product]:
    """Give the runs and figures to compute again.

    Args:
        choice: what is asked for.
        judgements: which runs claims rest on.
        products: all runs and figures.
        sound: those that can be computed again.
        root: Merkle root of the records.
    """
    candidates = {product.name: product for product in sound}
    if choice.each is None:
        return list(candidates.values())
    always = {name for name, product in candidates.items() if product.is_figure or product.kind in ALWAYS}
    chosen = set(always)
    behind = _Behind(products)
    for judgement in judgements:
        drawn = [name for name in behind.runs(judgement) if name in candidates and name not in always]
        drawn.sort(key=lambda name: _rank(name, root, choice.beacon))
        chosen |= set(drawn if judgement.claim in choice.claims else drawn[: choice.each])
    return [candidates[name] for name in sorted(chosen)]


def _rank(name: str, root: str, beacon: str) -> bytes:
    """A number that nobody can choose; the same for all claims, so that they share runs where they can."""
    return hashlib.sha256("\n".join([root, beacon, name]).encode("utf-8", "surrogateescape")).digest()


class _Behind:
    """What runs lie behind figures, by the records."""

    def __init__(self, products: Iterable[Product]) -> None:
        self.products = {product.name: product for product in products}
        self.made_by = {file: product.name for product in self.products.values() for file in product.files.values()}

    def runs(self, judgement: Judgement) -> list[str]:
        """Names of the runs behind the tables that a judgement has read."""
        waiting = [
            self.made_by[file] for each in judgement.measurements for file in each.sources if file in self.made_by
        ]
        found: set[str] = set()
        while waiting:
            name = waiting.pop()
            if name in found:
                continue
            found.add(name)
            record = self.products[name].record
            inputs = [] if record is None else [described.path for described in record.inputs.values()]
            waiting += [self.made_by[path] for path in inputs if path in self.made_by]
        return sorted(name for name in found if not self.products[name].is_figure)


def coverage_of(
    judgements: Sequence[Judgement], products: Iterable[Product], replays: Iterable[Replay]
) -> tuple[Coverage, ...]:
    """How much of what each judgement rests on was computed again, and how likely a forgery would have been found.

    Args:
        judgements: in their order.
        products: all runs and figures.
        replays: what came out.
    """
    behind = _Behind(products)
    held = {replay.name for replay in replays if replay.result in (Result.EQUAL, Result.CLOSE)}
    found = []
    for judgement in judgements:
        runs = behind.runs(judgement)
        # What could not be computed again here may be forged like any other.
        drawn = [name for name in runs if behind.products[name].kind not in ALWAYS or name not in held]
        done, of_drawn = len(held & set(runs)), len(held & set(drawn))
        one, tenth = (_caught(len(drawn), of_drawn, forged) for forged in (1, math.ceil(len(drawn) / 10)))
        if not drawn:
            one = tenth = float(done == len(runs) > 0)
        found.append(Coverage(judgement.claim, judgement.protocol, len(runs), done, one, tenth))
    return tuple(found)


def _caught(runs: int, recomputed: int, forged: int) -> float:
    """Probability that at least one of the forged runs is among those that were computed again, drawn without replacement."""
    return 1 - math.comb(runs - recomputed, forged) / math.comb(runs, forged) if runs else 0.0
