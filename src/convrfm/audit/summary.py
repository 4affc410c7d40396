"""The audit on a terminal, in a few lines."""

from collections.abc import Iterator

from convrfm.audit.outcome import Audit, Verdict

__all__ = ["summary", "trust"]

MOST_FINDINGS = 100
"""So many are printed; the page has all."""


def summary(audit: Audit, page: str | None) -> Iterator[str]:
    """Give the lines: verdicts by number, what was looked at, each finding with its remedy, and the page.

    Args:
        audit: what was found.
        page: where the page lies; None where there is none, as claims were not judged.
    """
    counts = {verdict: len(list(audit.of_verdict(verdict))) for verdict in Verdict}
    yield f"Audit of {_printable(audit.results)}, preset {_printable(audit.preset)}"
    if page is not None:
        yield "  verdicts: " + (
            ", ".join(f"{number} {verdict}" for verdict, number in counts.items() if number) or "none"
        )
    yield "  looked at: " + (", ".join(f"{number} {kind}" for kind, number in audit.checked.items()) or "nothing")
    held = sum(check.holds for check in audit.spot_checks)
    yield f"  spot checks: {held} of {len(audit.spot_checks)} hold (seed {audit.seed})"
    for check in audit.spot_checks:
        if not check.holds:
            yield f"    FAILS {_printable(check.file)}: {_printable(check.what)}"
            yield f"      deviation {check.deviation:.3g}, allowed {check.tolerance:.3g}"
    yield f"  findings: {len(audit.findings) or 'none'}"
    for finding in audit.findings[:MOST_FINDINGS]:
        yield f"    {finding.state.upper()} {_printable(finding.file)}: {_printable(finding.found)}"
        yield f"      remedy: {_printable(finding.remedy)}"
    if len(audit.findings) > MOST_FINDINGS:
        yield f"    and {len(audit.findings) - MOST_FINDINGS} more"
    if page is not None:
        yield f"  page: {_printable(page)}"
    yield trust(audit)


def trust(audit: Audit) -> str:
    """Say in a sentence whether the numbers can be trusted."""
    if audit.trusted:
        return "Trusted: nothing wrong was found in these files, and every spot check holds."
    failed = sum(not check.holds for check in audit.spot_checks)
    return (
        f"Not trusted: {len(audit.findings)} finding(s) on the files, {failed} spot check(s) that fail. Verdicts rest on "
        "these files: follow the remedies, and audit again."
    )


def _printable(text: str) -> str:
    """Text without characters that steer a terminal."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)
