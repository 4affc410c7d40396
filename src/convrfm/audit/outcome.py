"""What an audit finds, as plain data: the page, the JSON file and the exit status are all made from it."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

__all__ = ["Audit", "Finding", "Judgement", "Measurement", "SpotCheck", "State", "Verdict"]


class Verdict(StrEnum):
    """What the results say of a claim."""

    REPRODUCED = "REPRODUCED"
    PARTIAL = "PARTIAL"
    NOT_REPRODUCED = "NOT REPRODUCED"
    NOT_COMPARABLE = "NOT COMPARABLE"
    """Measured on stand-in data: whatever comes out says nothing of the paper."""
    SKIPPED = "SKIPPED"
    """Its data are not there; the reason says which, and how they are fetched."""
    UNKNOWN = "UNKNOWN"
    """Its results have not been built, or are too few to decide."""


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
class Measurement:
    """One number that a verdict rests on.

    Attributes:
        what: the quantity, in words, with the case that it belongs to (task, network, noise level).
        value: measured; None where it is not there. Fractions are in 0-1.
        unit: "points", "cosine", "1 - rho", "seconds", or empty.
        interval: 95 %; None where there is none.
        required: the condition, fixed beforehand, in words.
        margin: by how much the condition holds, in units of `value`; negative where it fails; None where it is not decided.
        holds: None where it is not decided.
        soft: whether it is reported only, since the paper's number is lost.
        comparable: False on stand-in data.
        sources: files that it was read from, relative to the project.
        over: what the interval is over, such as "draws" or "test images"; empty where `what` says it.
    """

    what: str
    value: float | None
    unit: str
    interval: tuple[float, float] | None
    required: str
    margin: float | None
    holds: bool | None
    soft: bool
    comparable: bool
    sources: tuple[str, ...]
    over: str = ""


@dataclass(frozen=True)
class Judgement:
    """The verdict on one claim under one protocol.

    Attributes:
        claim: id, such as "A10".
        title: a few words.
        sentence: what the paper says, in our words, and where.
        figure: name of the figure that shows it, such as "fig05"; None where it has none.
        protocol: "published" or "corrected"; None where the claim knows none.
        condition: what has to hold for REPRODUCED, fixed beforehand.
        failure_means: what it would mean if it failed.
        verdict: the verdict.
        reason: one sentence: why this verdict.
        measurements: what it rests on.
        command: the one command that builds anew what it rests on.
    """

    claim: str
    title: str
    sentence: str
    figure: str | None
    protocol: str | None
    condition: str
    failure_means: str
    verdict: Verdict
    reason: str
    measurements: tuple[Measurement, ...]
    command: str


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
