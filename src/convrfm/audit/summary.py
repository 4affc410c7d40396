"""The audit on a terminal, in a few lines."""

from collections import Counter
from collections.abc import Iterator

from convrfm.audit.outcome import Audit, State
from convrfm.claims.verdicts import Verdict

__all__ = ["summary", "trust"]

MOST_FINDINGS = 100
"""So many are printed; the page has all."""


def summary(audit: Audit, page: str | None) -> Iterator[str]:
    """Give the lines: each finding with its remedy, each spot check that fails, and everything by number.

    Args:
        audit: what was found.
        page: where the page lies; None where there is none, as claims were not judged.
    """
    counts = {verdict: len(list(audit.of_verdict(verdict))) for verdict in Verdict}
    # What may be long comes first, so that the last lines say all.
    for finding in audit.findings[:MOST_FINDINGS]:
        yield f"{finding.state.upper()} {_printable(finding.file)}: {_printable(finding.found)}"
        yield f"  remedy: {_printable(finding.remedy)}"
    if len(audit.findings) > MOST_FINDINGS:
        yield f"and {len(audit.findings) - MOST_FINDINGS} more findings{'' if page is None else ', on the page'}"
    for check in audit.spot_checks:
        if not check.holds:
            yield f"FAILS {_printable(check.file)}: {_printable(check.what)}"
            if check.entries:
                yield f"  deviation {check.deviation:.3g}, allowed {check.tolerance:.3g}"
    states = Counter(finding.state for finding in audit.findings)
    held = sum(check.holds for check in audit.spot_checks)
    yield f"Audit of {_printable(audit.results)}, preset {_printable(audit.preset)}"
    if page is not None:
        yield "  verdicts: " + (
            ", ".join(f"{number} {verdict}" for verdict, number in counts.items() if number) or "none"
        )
    yield "  looked at: " + (", ".join(f"{number} {kind}" for kind, number in audit.checked.items()) or "nothing")
    yield "  findings: " + (", ".join(f"{states[state]} {state}" for state in State if states[state]) or "none")
    yield f"  spot checks: {held} of {len(audit.spot_checks)} hold (seed {audit.seed})"
    if page is not None:
        yield f"  page: {_printable(page)}"
    yield trust(audit)


def trust(audit: Audit) -> str:
    """Say in a sentence whether the numbers can be trusted."""
    if audit.trusted:
        return "Trusted: nothing wrong was found in these files, and every spot check holds."
    failed = sum(not check.holds for check in audit.spot_checks)
    findings = f"{len(audit.findings)} finding{'' if len(audit.findings) == 1 else 's'} on the files"
    checks = f"{failed} spot check{' fails' if failed == 1 else 's fail'}"
    return f"Not trusted: {findings}, and {checks}. Verdicts rest on these files: follow the remedies, and audit again."


def _printable(text: str) -> str:
    """Text without characters that steer a terminal."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)
