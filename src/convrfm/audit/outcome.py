"""What an audit finds, as plain data: the page, the JSON file and the exit status are all made from it."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from convrfm.claims.judging import Judgement
from convrfm.claims.verdicts import Verdict

__all__ = ["Audit", "Finding", "SpotCheck", "State"]


class State(StrEnum):
    """What is wrong with a file of the results."""

    TAMPERED = "tampered"
    """Not what its record says was written."""
    STALE = "stale"
    """What it was made from has changed: code, configuration, inputs, or the environment."""
    ORPHANED = "orphaned"
    """No record vouches for it, or nothing asks for it any more."""
    MISSING = "missing"
    """A record names it, and it is not there."""


@dataclass(frozen=True)
class Finding:
    """Something that is wrong with a file.

    Attributes:
        state: what kind of wrong.
        file: relative to the project.
        found: what was found and what was expected, in a sentence.
        remedy: a command, or what to do; `convrfm.audit.integrity` fills it in where the run or figure as a whole needs it.
    """

    state: State
    file: str
    found: str
    remedy: str = ""


@dataclass(frozen=True)
class SpotCheck:
    """A few numbers of an artefact, computed anew on the CPU by the reference route.

    Attributes:
        file: relative to the project.
        what: which numbers.
        entries: how many.
        deviation: largest difference, relative to `scale` as `what` says.
        tolerance: what is allowed.
        holds: whether it is within.
    """

    file: str
    what: str
    entries: int
    deviation: float
    tolerance: float
    holds: bool


@dataclass(frozen=True)
class Audit:
    """All that one audit found.

    Attributes:
        preset: name of the preset that the results belong to.
        results: folder of the results, relative to the project.
        judgements: in the order of the claims; no claim is absent.
        findings: empty in a clean tree.
        spot_checks: what was computed anew.
        checked: how many things of each kind were looked at, such as {"records": 120, "artefacts": 610}.
        seed: of the random choices of the spot checks.
    """

    preset: str
    results: str
    judgements: tuple[Judgement, ...]
    findings: tuple[Finding, ...]
    spot_checks: tuple[SpotCheck, ...]
    checked: dict[str, int]
    seed: int

    @property
    def trusted(self) -> bool:
        """Whether the numbers can be trusted: nothing was found and every spot check holds. Verdicts do not count."""
        return not self.findings and all(check.holds for check in self.spot_checks)

    def of_verdict(self, verdict: Verdict) -> Iterable[Judgement]:
        """The judgements of one verdict."""
        return (judgement for judgement in self.judgements if judgement.verdict is verdict)

    def as_json(self) -> dict[str, Any]:
        """Plain values for `audit.json`: the same content as the page."""
        return {"trusted": self.trusted, **asdict(self)}
