"""The audit on a terminal, in a few lines, and the sentences that it shares with the page."""

import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from convrfm.replication.audit.outcome import Audit, Coverage, Result, State
from convrfm.replication.claims.verdicts import Verdict

__all__ = ["by_kind", "coverage_in_words", "headline", "summary", "trust"]

MOST_FINDINGS = 100
"""So many are printed; the page has all."""


def summary(audit: Audit, page: str | None) -> Iterator[str]:
    """Give the lines: what was found, each verdict beside what of it was recomputed, and everything by number.

    Args:
        audit: what was found.
        page: where the page lies; None where there is none, as claims were not judged.
    """
    # What may be long comes first, so that the last lines say all.
    for finding in audit.findings[:MOST_FINDINGS]:
        yield f"{finding.state.upper()} {_printable(finding.file)}: {_printable(finding.found)}"
        yield f"  remedy: {_printable(finding.remedy)}"
    if len(audit.findings) > MOST_FINDINGS:
        yield f"and {len(audit.findings) - MOST_FINDINGS} more findings{'' if page is None else ', on the page'}"
    for replay in audit.replays:
        if replay.result in (Result.DIFFERENT, Result.IMPOSSIBLE):
            yield f"{replay.result.upper()} {_printable(replay.name)}: {_printable(replay.found)}"
    for deviation in audit.deviations:
        yield f"DEVIATION {deviation.what}: {_printable(deviation.found)}"
    for judgement, coverage in zip(audit.judgements, audit.coverage, strict=True):
        protocol = "" if judgement.protocol is None else f", {judgement.protocol}"
        yield f"{judgement.claim}{protocol}: {judgement.verdict} ({coverage_in_words(coverage)})"
    yield f"Audit of {_printable(audit.results)}, preset {_printable(audit.preset)}"
    if page is not None:
        verdicts = Counter(judgement.verdict for judgement in audit.judgements)
        yield "  verdicts: " + (", ".join(f"{verdicts[each]} {each}" for each in Verdict if verdicts[each]) or "none")
    yield "  looked at: " + (", ".join(f"{number} {kind}" for kind, number in audit.checked.items()) or "nothing")
    states = Counter(finding.state for finding in audit.findings)
    yield "  findings: " + (", ".join(f"{states[state]} {state}" for state in State if states[state]) or "none")
    results = Counter(replay.result for replay in audit.replays)
    again = ", ".join(f"{results[each]} {each}" for each in Result if results[each])
    yield f"  recomputed: {again or 'nothing'}; root {audit.root}, beacon {_printable(audit.beacon) or 'none'}"
    yield f"  deviations: {len(audit.deviations)}, compared with {_printable(audit.compared)}"
    if page is not None:
        yield f"  page: {_printable(page)}"
    yield trust(audit)


def headline(audit: Audit) -> str:
    """The audit in a few words: trust reaches as far as what was computed again."""
    if not audit.trusted:
        return "Not trusted"
    again = sum(replay.result is not Result.IMPOSSIBLE for replay in audit.replays)
    of = audit.checked.get("records", 0)
    reach = "" if again == of else f" as far as recomputed ({again} of {of} runs and figures)"
    shown = f", with {_counted(len(audit.deviations), 'deviation')}" if audit.deviations else ""
    return f"Trusted{reach}{shown}"


def trust(audit: Audit) -> str:
    """Say in a sentence whether the numbers can be trusted."""
    results = Counter(replay.result for replay in audit.replays)
    impossible = results.pop(Result.IMPOSSIBLE, 0)
    again = _counted(results.total(), "run or figure", "runs and figures")
    if audit.trusted:
        close = results[Result.CLOSE]
        more = f", {close} of them close by the tolerance of their kind, not equal" if close else ""
        more += f"; {impossible} more could not be" if impossible else ""
        return (
            f"{headline(audit)}: nothing wrong was found in these files, and nothing came out different that was computed "
            f"again ({again}{more}). How much that says stands beside each verdict."
        )
    findings = _counted(len(audit.findings), "finding")
    return (
        f"{headline(audit)}: {findings} on the files, and {results[Result.DIFFERENT]} of {again} "
        "computed again came out different. Verdicts rest on these files: follow the remedies, and audit again."
    )


def coverage_in_words(coverage: Coverage) -> str:
    """What stands beside every verdict: how much was recomputed, and what a forger would have had to fear."""
    if not coverage.runs:
        return "no run behind it"
    return (
        f"{coverage.recomputed} of {_counted(coverage.runs, 'run')} recomputed; a single forged run would have been found with "
        f"probability {_probability(coverage.caught_one)}, a tenth of them forged with {_probability(coverage.caught_tenth)}"
    )


def by_kind(audit: Audit) -> dict[str, Counter[Result]]:
    """How many runs of each kind, and figures, came out how."""
    found: dict[str, Counter[Result]] = {}
    for replay in audit.replays:
        parts = Path(replay.name).parts
        kind = parts[3] if parts[2:3] == ("runs",) and len(parts) > 3 else "figures"
        found.setdefault(kind, Counter())[replay.result] += 1
    return found


def _probability(value: float) -> str:
    """Never rounded up: 0.999 is not 1."""
    return f"{math.floor(100 * value + 1e-9) / 100:g}"


def _counted(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"


def _printable(text: str) -> str:
    """Text without characters that steer a terminal."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)
