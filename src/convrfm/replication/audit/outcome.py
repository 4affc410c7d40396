"""What an audit finds, as plain data: the page, the JSON file and the exit status are all made from it."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from convrfm.replication.claims.judging import Judgement
from convrfm.replication.claims.verdicts import Verdict

__all__ = ["Audit", "Coverage", "Deviation", "Finding", "Replay", "Result", "State"]


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
        remedy: a command, or what to do; `convrfm.replication.audit.integrity` fills it in where the run or figure as a whole needs it.
    """

    state: State
    file: str
    found: str
    remedy: str = ""


class Result(StrEnum):
    """What comes out when a run or figure is computed again."""

    EQUAL = "equal"
    """To the bit."""
    CLOSE = "close"
    """Within the tolerance of its kind, which is allowed where machine, device or versions are others."""
    DIFFERENT = "different"
    IMPOSSIBLE = "impossible"
    """It cannot be computed here, for want of data, memory or a device; nothing is known of it."""


@dataclass(frozen=True)
class Replay:
    """A run or figure that was computed again, from the inputs that lie there.

    Attributes:
        name: its folder, or the figure, relative to the project.
        result: what came out.
        found: the difference and what is allowed, or why it is not possible, in a sentence; empty for equal ones.
        seconds: that it took.
    """

    name: str
    result: Result
    found: str
    seconds: float


@dataclass(frozen=True)
class Coverage:
    """How much of what a verdict rests on was computed again.

    Attributes:
        claim: id, such as "A10".
        protocol: as of the judgement.
        runs: how many it rests on, from the draws of images on.
        recomputed: how many of them were computed again, and came out as they lie there.
        caught_one: probability that one forged run would have been found, chosen by the forger among the kinds that are not
            always computed again.
        caught_tenth: the same for a tenth of these runs, and at least one.
    """

    claim: str
    protocol: str | None
    runs: int
    recomputed: int
    caught_one: float
    caught_tenth: float


@dataclass(frozen=True)
class Deviation:
    """Something that differs from the release, or that makes results other than they seem; no proof of anything wrong.

    Attributes:
        what: "configuration", "preset", "claims", "code", "lock", "seeds", "resumed" or "equal draws".
        found: in a sentence.
    """

    what: str
    found: str


@dataclass(frozen=True)
class Audit:
    """All that one audit found.

    Attributes:
        preset: name of the preset that the results belong to.
        results: folder of the results, relative to the project.
        judgements: in the order of the claims; no claim is absent.
        coverage: one for each judgement, in their order.
        findings: empty in a clean tree.
        replays: runs and figures that were computed again, in the order of their names.
        deviations: from the release.
        compared: what they were found by comparing with, in words, see `convrfm.replication.audit.deviations.compared_with`.
        checked: how many things of each kind were looked at, such as {"records": 120, "artefacts": 610}.
        root: Merkle root of all records, hex, see `convrfm.replication.audit.seal`.
        beacon: what was mixed with the root to choose runs; empty where nothing was.
    """

    preset: str
    results: str
    judgements: tuple[Judgement, ...]
    coverage: tuple[Coverage, ...]
    findings: tuple[Finding, ...]
    replays: tuple[Replay, ...]
    deviations: tuple[Deviation, ...]
    compared: str
    checked: dict[str, int]
    root: str
    beacon: str

    @property
    def trusted(self) -> bool:
        """Whether nothing was found, and all that was computed again came out as it lies there. Verdicts do not count."""
        return not self.findings and all(replay.result is not Result.DIFFERENT for replay in self.replays)

    def of_verdict(self, verdict: Verdict) -> Iterable[Judgement]:
        """The judgements of one verdict."""
        return (judgement for judgement in self.judgements if judgement.verdict is verdict)

    def as_json(self) -> dict[str, Any]:
        """Plain values for `audit.json`: the same content as the page."""
        return {"trusted": self.trusted, **asdict(self)}
