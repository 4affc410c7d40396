"""The page of all claims, docs/claims.md."""

from collections.abc import Sequence

from convrfm.replication.claims.claims import Claim, rebuild_command
from convrfm.replication.claims.evidence import Condition
from convrfm.replication.figures.printed import PRINTED

__all__ = ["claims_page"]


def claims_page(claims: Sequence[Claim], header: str) -> str:
    """Write the page in Markdown.

    Args:
        claims: in their order.
        header: says where the page comes from.
    """
    lines = [
        "# Claims",
        "",
        f"<!-- {header} -->",
        "",
        "What the paper says, in our words, and what has to hold for each of its claims to count as reproduced. Conditions",
        "were fixed before anything was measured; they are kept in `src/convrfm/replication/claims/claims.yaml` and nowhere else. Soft ones",
        "are reported and decide nothing. [audit.md](audit.md) says how verdicts follow.",
        "",
        "| claim | title | figure | protocols | decidable with |",
        "|---|---|---|---|---|",
        *(_row(claim) for claim in claims),
    ]
    for claim in claims:
        lines += ["", *_section(claim)]
    return "\n".join(lines) + "\n"


def _row(claim: Claim) -> str:
    protocols = ", ".join(claim.protocols) or "no difference"
    return f"| {claim.id} | {claim.title} | {claim.figure or '-'} | {protocols} | {', '.join(claim.presets)} |"


def _section(claim: Claim) -> list[str]:
    """One claim in full."""
    lines = [
        f"## {claim.id}: {claim.title}",
        "",
        f"{claim.sentence} ({claim.where})",
        "",
        f"**Condition.** {claim.condition_in_words()}",
        "",
        "| measured | required | |",
        "|---|---|---|",
        *(_condition(each) for each in claim.conditions.values()),
        "",
        f"**If it fails.** {claim.failure_means}",
        "",
        f"A decision takes {claim.needs}. Built by `{_command(claim)}`.",
    ]
    if claim.printed:
        run = PRINTED[claim.printed]
        accuracy, tolerance = (
            " | ".join(f"{number:g}" for number in numbers) for numbers in (run.accuracy, run.tolerance)
        )
        rounds = " | ".join(str(number) for number in range(run.rounds))
        lines += ["", f"| round | {rounds} |", "|---|" + "---|" * run.rounds, f"| printed, % | {accuracy} |",
                  f"| tolerance, points | {tolerance} |"]  # fmt: skip
    return lines


def _condition(condition: Condition) -> str:
    required = "reported only" if condition.soft and condition.bound == "printed" else condition.in_words()
    return f"| {condition.quantity} | {required} | {'soft' if condition.soft else ''} |"


def _command(claim: Claim) -> str:
    """The command with the first preset that can decide the claim."""
    return rebuild_command(claim, claim.presets[0], None)
