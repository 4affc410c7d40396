"""What an audit finds, as plain data, and how it is said: in sentences, on a terminal, and in `audit.json`."""

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from convrfm.replication.audit.judging import Judgement
from convrfm.replication.claims.evidence import counted
from convrfm.replication.claims.verdicts import Verdict

__all__ = [
    "Audit", "Coverage", "Deviation", "Finding", "Replay", "Result", "State", "as_document", "as_text", "by_kind",
    "coverage_in_words", "document_schema", "headline", "summary", "trust",
]  # fmt: skip


class State(StrEnum):
    """What is wrong with a file of the results."""

    TAMPERED = "tampered"  # it is not what its record says was written
    STALE = "stale"  # what it was made from has changed: code, configuration, inputs, or the environment
    ORPHANED = "orphaned"  # no record vouches for it, or the configuration no longer needs it
    MISSING = "missing"  # a record names it, and it does not exist


@dataclass(frozen=True)
class Finding:
    """Something that is wrong with a file: what was found and what was expected, and what to do, a command or in words."""

    state: State
    file: str
    found: str
    remedy: str = ""


class Result(StrEnum):
    """The outcome of computing a run or figure again."""

    EQUAL = "equal"  # to the bit
    CLOSE = "close"  # within the tolerance of its kind, which is allowed where machine, device or versions are others
    DIFFERENT = "different"
    IMPOSSIBLE = "impossible"  # it cannot be computed here, for want of data, memory or a device; nothing is known of it


@dataclass(frozen=True)
class Replay:
    """A run or figure that was computed again from the inputs in the results.

    `found` is the difference and what is allowed, or why it is impossible, in a sentence; empty for equal ones.
    """

    name: str
    result: Result
    found: str
    seconds: float


@dataclass(frozen=True)
class Coverage:
    """How much of what a verdict rests on was computed again: of its runs, from the draws of images on, those confirmed.

    `caught_one` is the probability that one forged run would have been found, chosen by the forger among the kinds that are not
    always computed again; `caught_tenth` the same for a tenth of these runs, and at least one.
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

    It is of "configuration", "preset", "claims", "code", "lock", "seeds", "resumed" or "equal draws".
    """

    what: str
    found: str


@dataclass(frozen=True)
class Audit:
    """All that one audit found.

    Attributes:
        judgements: in the order of the claims, none of which is absent; with the coverage of each.
        findings: empty in a clean tree.
        replays: in the order of names.
        deviations: from what they were found by comparing with, in words.
        checked: how many things of each kind were looked at, such as {"records": 120, "artefacts": 610}.
        root: Merkle root of all records, hex; and the beacon that was mixed with it to choose runs, or nothing.
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
        """Whether nothing was found, and nothing that was computed again differs. Verdicts do not count."""
        return not self.findings and all(replay.result is not Result.DIFFERENT for replay in self.replays)


def headline(audit: Audit) -> str:
    """The audit in a few words: trust reaches as far as what was computed again."""
    if not audit.trusted:
        return "Not trusted"
    again = sum(replay.result is not Result.IMPOSSIBLE for replay in audit.replays)
    of = audit.checked.get("records", 0)
    reach = "" if again == of else f" as far as recomputed ({again} of {of} runs and figures)"
    shown = f", with {counted(len(audit.deviations), 'deviation')}" if audit.deviations else ""
    return f"Trusted{reach}{shown}"


def trust(audit: Audit) -> str:
    """Say in a sentence whether the numbers can be trusted."""
    results = Counter(replay.result for replay in audit.replays)
    impossible = results.pop(Result.IMPOSSIBLE, 0)
    again = counted(results.total(), "run or figure", "runs and figures")
    if not audit.trusted:
        return (
            f"{headline(audit)}: {counted(len(audit.findings), 'finding')} on the files, and {results[Result.DIFFERENT]} of "
            f"{again} computed again came out different. Verdicts rest on these files: follow the remedies, and audit again."
        )
    close = results[Result.CLOSE]
    more = f", {close} of them close by the tolerance of their kind, not equal" if close else ""
    more += f"; {impossible} more could not be" if impossible else ""
    return (
        f"{headline(audit)}: nothing wrong was found in these files, and nothing came out different that was computed again "
        f"({again}{more}). How much that says stands beside each verdict."
    )


def coverage_in_words(coverage: Coverage) -> str:
    """What is given beside every verdict: how much was recomputed, and how likely a forgery would have been found."""
    if not coverage.runs:
        return "no run behind it"
    # Never rounded up: 0.999 is not 1.
    one, tenth = (f"{math.floor(100 * p + 1e-9) / 100:g}" for p in (coverage.caught_one, coverage.caught_tenth))
    return (
        f"{coverage.recomputed} of {counted(coverage.runs, 'run')} recomputed; a single forged run would have been found with "
        f"probability {one}, a tenth of them forged with {tenth}"
    )


def by_kind(audit: Audit) -> dict[str, Counter[Result]]:
    """The outcomes of computing again, counted for each kind of run, and for figures."""
    found: dict[str, Counter[Result]] = {}
    for replay in audit.replays:
        parts = Path(replay.name).parts
        kind = parts[3] if parts[2:3] == ("runs",) and len(parts) > 3 else "figures"
        found.setdefault(kind, Counter())[replay.result] += 1
    return found


def summary(audit: Audit, page: str | None) -> Iterator[str]:
    """The audit on a terminal, line by line; without verdicts if there is no page, as of results that wait to be taken in."""
    # What may be long comes first: the last lines say all. Nothing may steer the terminal.
    for finding in audit.findings[:100]:
        yield _printable(f"{finding.state.upper()} {finding.file}: {finding.found}")
        yield _printable(f"  remedy: {finding.remedy}")
    if len(audit.findings) > 100:
        yield f"and {len(audit.findings) - 100} more findings{'' if page is None else ', on the page'}"
    for replay in audit.replays:
        if replay.result in (Result.DIFFERENT, Result.IMPOSSIBLE):
            yield _printable(f"{replay.result.upper()} {replay.name}: {replay.found}")
    for deviation in audit.deviations:
        yield _printable(f"DEVIATION {deviation.what}: {deviation.found}")
    for judgement, coverage in zip(audit.judgements, audit.coverage, strict=True):
        protocol = "" if judgement.protocol is None else f", {judgement.protocol}"
        yield f"{judgement.claim}{protocol}: {judgement.verdict} ({coverage_in_words(coverage)})"
    yield _printable(f"Audit of {audit.results}, preset {audit.preset}")
    if page is not None:
        yield f"  verdicts: {_tally(Verdict, (judgement.verdict for judgement in audit.judgements))}"
    yield "  looked at: " + (", ".join(f"{number} {kind}" for kind, number in audit.checked.items()) or "nothing")
    yield f"  findings: {_tally(State, (finding.state for finding in audit.findings))}"
    again = _tally(Result, (replay.result for replay in audit.replays))
    yield _printable(f"  recomputed: {again}; root {audit.root}, beacon {audit.beacon or 'none'}")
    yield _printable(f"  deviations: {len(audit.deviations)}, compared with {audit.compared}")
    if page is not None:
        yield _printable(f"  page: {page}")
    yield trust(audit)


def _tally(kinds: type[StrEnum], values: Iterable[StrEnum]) -> str:
    counts = Counter(values)
    return ", ".join(f"{counts[kind]} {kind}" for kind in kinds if counts[kind]) or "none"


def _printable(text: str) -> str:
    """Text without characters that steer a terminal."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


FORMAT = 2  # of `audit.json`; counts up when a key changes its meaning or goes away

NOT_FINITE = ["NaN", "Infinity", "-Infinity"]
"""Words for the numbers that JSON does not have, as Python writes and reads them."""


def as_document(audit: Audit, made: datetime) -> dict[str, Any]:
    """The content of `audit.json`: that of the page."""
    head = {"format": FORMAT, "made": f"{made:%Y-%m-%dT%H:%M:%SZ}", "convrfm": version("convrfm")}
    text = json.dumps({**head, "trusted": audit.trusted, **asdict(audit)}, ensure_ascii=False)
    # What is no text has question marks then, and of numbers that JSON does not have there are words.
    content: dict[str, Any] = json.loads(as_text(text), parse_constant=str)
    return content


def as_text(name: str) -> str:
    """A name with question marks for what is no text: names of files may hold any bytes, and JSON halves of letters."""
    return name.encode("utf-8", "replace").decode("utf-8")


def document_schema() -> dict[str, Any]:
    """The JSON schema of `audit.json`, made from the classes above."""
    schema = TypeAdapter(Audit).json_schema()
    head = {
        "format": {"const": FORMAT},
        "made": {"type": "string", "format": "date-time"},
        "convrfm": {"type": "string"},
        "trusted": {"type": "boolean"},
    }
    schema |= {"title": "audit.json", "properties": head | schema["properties"], "required": [*head, *schema["required"]]}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **_closed(schema)}


def _closed(schema: Any) -> Any:
    """A schema that allows words for numbers that are not finite, and no keys but its own."""
    if isinstance(schema, list):
        return [_closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("type") == "number":
        titles = {key: value for key, value in schema.items() if key != "type"}
        return {**titles, "anyOf": [{"type": "number"}, {"enum": NOT_FINITE}]}
    closed = {key: _closed(value) for key, value in schema.items()}
    if schema.get("type") == "object" and "properties" in schema:
        closed["additionalProperties"] = False
    return closed
