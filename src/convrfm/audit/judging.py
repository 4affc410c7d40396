"""Verdicts: each claim of the paper against what lies in a folder of results.

A judge reads numbers; here they are held against the conditions of the claim, which were fixed beforehand.

- A measurement holds if its value meets the bound and, where the condition asks for it, its 95 % interval lies above 0:
  "exceeds" means that a paired interval excludes 0; one that touches 0 does not.
- It is not decided where the value is missing, or where it needs an interval and there is none (a single draw).
- Only hard measurements on the paper's own data count. Soft ones, for which the paper's number is lost, and those on
  stand-in data are shown and decide nothing.

| hard measurements on the paper's data | verdict |
|---|---|
| a control among them, which shows that the check can fail, does not hold | UNKNOWN |
| all hold | REPRODUCED |
| some hold, others fail or are not decided | PARTIAL |
| none holds, all are decided | NOT REPRODUCED |
| none holds, some are not decided | UNKNOWN |
| there are none, but data are absent | SKIPPED |
| there are none, but stand-ins were measured | NOT COMPARABLE |
| there is nothing | UNKNOWN |

A figure that is not built, or cannot be read, counts as a measurement that is not decided. Of a claim that speaks of one
case at least, a single measurement that holds is enough, and PARTIAL does not occur. Data sets of the paper that are
absent, and stand-ins, narrow the scope of a verdict and do not change it; the reason names them.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from convrfm.audit.claims import Claim, ClaimsError, Condition, load_claims, rebuild_command
from convrfm.audit.evidence import Bench, Reading
from convrfm.audit.judges import all_judges
from convrfm.audit.judges.registry import Judge
from convrfm.audit.outcome import Judgement, Measurement, Verdict
from convrfm.errors import DataError
from convrfm.plots.style import with_interval

__all__ = ["judge", "judge_claim", "matched", "measured"]

ROUNDING = 1e-12
"""Sums of equal numbers differ by less: a mean of 0 that is -1e-17 is 0."""


def judge(results: Path, preset: str, protocols: Sequence[str]) -> tuple[Judgement, ...]:
    """Judge every claim by what lies in a folder of results, which is only read.

    Args:
        results: of one preset, `results/<preset>`.
        preset: its name.
        protocols: which to judge, "published" or "corrected" or both.

    Returns:
        in the order of the claims, for each the protocols that make a difference to it; no claim is ever absent.

    Raises:
        ClaimsError: claims and judges do not belong together.
    """
    found = []
    for claim, function in matched(load_claims(), all_judges()):
        if not claim.protocols:
            found.append(_best_known(claim, function, results, preset, protocols))
            continue
        # What only one protocol knows is judged by it, whatever else is asked for.
        chosen = [protocol for protocol in claim.protocols if protocol in protocols] or claim.protocols[:1]
        found += [judge_claim(claim, function, Bench(results, protocol), preset) for protocol in chosen]
    return tuple(found)


def matched(claims: Sequence[Claim], functions: Mapping[str, Judge]) -> list[tuple[Claim, Judge]]:
    """Give each claim its judge.

    Raises:
        ClaimsError: a claim has no judge, or a judge no claim.
    """
    ids = [claim.id for claim in claims]
    unjudged, unclaimed = [name for name in ids if name not in functions], sorted(functions.keys() - set(ids))
    if unjudged or unclaimed:
        msg = (
            f"Every claim needs a judge and every judge a claim, but there is no judge of {', '.join(unjudged) or 'none'} "
            f"and no claim for {', '.join(unclaimed) or 'none'}: mend claims.yaml or convrfm.audit.judges."
        )
        raise ClaimsError(msg)
    return [(claim, functions[claim.id]) for claim in claims]


def _best_known(claim: Claim, function: Judge, results: Path, preset: str, protocols: Sequence[str]) -> Judgement:
    """A claim that no protocol changes: judged by the first one that has something on it."""
    found = [judge_claim(claim, function, Bench(results, protocol), preset) for protocol in protocols]
    return next((each for each in found if each.verdict is not Verdict.UNKNOWN), found[0])


def judge_claim(claim: Claim, function: Judge, bench: Bench, preset: str) -> Judgement:
    """Judge one claim under one protocol.

    Args:
        claim: the claim.
        function: its judge.
        bench: empty, of the results.
        preset: name of the preset.
    """
    readings: list[Reading] = []
    try:
        for reading in function(claim, bench):
            readings.append(reading)  # noqa: PERF402  what was read before a failure is kept
    except (ArithmeticError, AttributeError, DataError, LookupError, TypeError, ValueError) as error:
        bench.problems.append(f"a table behind it is malformed ({type(error).__name__}: {error}): build it anew")
    paired = [(each, claim.conditions[each.condition]) for each in readings]
    weighed = [Weighed(reading, condition, *measured(condition, reading)) for reading, condition in paired]
    verdict, reason = _verdict(claim, weighed, _relevant(claim, bench.skipped), bench.problems, preset)
    return Judgement(
        claim=claim.id,
        title=claim.title,
        sentence=f"{claim.sentence} ({claim.where})",
        figure=claim.figure,
        protocol=bench.protocol if claim.protocols else None,
        condition=claim.condition_in_words(),
        failure_means=claim.failure_means,
        verdict=verdict,
        reason=reason,
        measurements=tuple(each.measurement for each in weighed),
        command=rebuild_command(claim, preset, bench.protocol),
    )


@dataclass(frozen=True)
class Weighed:
    """A reading, its condition, what becomes of it, and why it is not decided, if it is not."""

    reading: Reading
    condition: Condition
    measurement: Measurement
    gap: str

    @property
    def counts(self) -> bool:
        """Whether it decides anything."""
        return self.measurement.comparable and not self.condition.soft and not self.condition.control

    @property
    def is_broken(self) -> bool:
        """Whether it is a control that does not do what it should."""
        return self.measurement.comparable and self.condition.control and self.measurement.holds is not True


def measured(condition: Condition, reading: Reading) -> tuple[Measurement, str]:
    """Hold a reading against its condition.

    Returns:
        the measurement, and why it is not decided, or nothing.
    """
    known = math.isfinite(reading.value)
    bound = condition.bound if reading.bound is None else reading.bound
    gap = reading.gap or ("" if known else "the number is missing")
    if not gap and condition.clear and reading.interval is None:
        gap = "there is no interval"
    if not gap and condition.clear and condition.over == "draws" and reading.over != condition.over:
        gap = f"its interval is over {reading.over or 'something else'}, and the claim asks for one over draws of the data"
    # A condition that needs a printed tolerance and has none asks for nothing.
    margin, holds = (None, None) if gap or isinstance(bound, str) else _weigh(condition, bound, reading)
    return Measurement(
        what=f"{reading.on}: {reading.what}",
        value=reading.value if known else None,
        unit=condition.unit,
        interval=reading.interval if known else None,
        required="reported only" if isinstance(bound, str) else condition.in_words(bound),
        margin=margin,
        holds=holds,
        soft=condition.soft,
        comparable=reading.comparable,
        sources=reading.sources,
        over=reading.over if known and reading.interval else "",
    ), gap


def _weigh(condition: Condition, bound: float, reading: Reading) -> tuple[float, bool]:
    """By how much the condition holds, of two demands the one that is harder to meet, and whether it does."""
    margins = {"at most": bound - reading.value, "within": bound - abs(reading.value)}
    margin = _rounded(margins.get(condition.relation, reading.value - bound))
    holds = margin > 0 if condition.relation == "above" else margin >= 0
    if condition.clear and reading.interval is not None:
        low = _rounded(reading.interval[0])
        margin, holds = min(margin, low), holds and low > 0
    return margin, holds


def _rounded(number: float) -> float:
    return 0.0 if abs(number) <= ROUNDING else float(number)


def _relevant(claim: Claim, skipped: Mapping[str, str]) -> dict[str, str]:
    """Of what was skipped, that which the claim speaks of."""
    spoken_of = [claim.printed] if claim.printed else claim.of
    return {part: reason for part, reason in skipped.items() if not spoken_of or part in spoken_of}


def _verdict(
    claim: Claim, weighed: Sequence[Weighed], skipped: Mapping[str, str], problems: Sequence[str], preset: str
) -> tuple[Verdict, str]:
    """The verdict and its reason; the rules are those of the table above."""
    hard = [each for each in weighed if each.counts]
    holding = [each for each in hard if each.measurement.holds]
    failing = [each for each in hard if each.measurement.holds is False]
    open_ones = [each for each in hard if each.measurement.holds is None]
    broken = [each for each in weighed if each.is_broken]
    enough = holding and claim.one_is_enough
    if broken:
        verdict = Verdict.UNKNOWN
    elif enough or (holding and not failing and not open_ones and not problems):
        verdict = Verdict.REPRODUCED
    elif holding:
        verdict = Verdict.PARTIAL
    elif hard:
        verdict = Verdict.UNKNOWN if open_ones or problems else Verdict.NOT_REPRODUCED
    elif skipped:
        verdict = Verdict.SKIPPED
    else:
        verdict = (
            Verdict.NOT_COMPARABLE
            if weighed and not any(e.measurement.comparable for e in weighed)
            else Verdict.UNKNOWN
        )
    sentences = [
        *(f"A control does not do what it should, so that nothing is proved: {_shown(each)}." for each in broken),
        *_counted(hard, holding, failing, open_ones),
        *_of_stand_ins(hard, weighed),
        *(f"Skipped, {part}: {reason}".rstrip(".") + "." for part, reason in skipped.items()),
        *(problem.rstrip(".") + "." for problem in dict.fromkeys(problems)),
        *_what_would_decide(claim, verdict, preset, enough_known=not open_ones and not problems),
    ]
    return verdict, " ".join(sentences)


def _counted(
    hard: Sequence[Weighed], holding: Sequence[Weighed], failing: Sequence[Weighed], open_ones: Sequence[Weighed]
) -> Iterator[str]:
    """How many measurements hold, where, and which do not."""
    if not hard:
        return
    subjects = list(dict.fromkeys(each.reading.on for each in hard))
    shown = "; ".join(subjects[:4]) + (f" and {len(subjects) - 4} more" if len(subjects) > 4 else "")
    yield f"{len(holding)} of {len(hard)} measurements on the paper's data hold ({shown})."
    if failing:
        worst = min(failing, key=lambda each: each.measurement.margin or 0.0)
        yield f"{_count(failing, 'fails', 'fail')}, furthest {_shown(worst)}."
    for gap in dict.fromkeys(each.gap for each in open_ones):
        alike = [each for each in open_ones if each.gap == gap]
        yield f"{_count(alike, 'is', 'are')} not decided, since {gap}: {'; '.join(map(_shown, alike[:3]))}."


def _count(those: Sequence[Weighed], one: str, many: str) -> str:
    return f"{len(those)} {one if len(those) == 1 else many}"


def _shown(each: Weighed) -> str:
    """A measurement with its value and interval."""
    found = each.measurement
    if found.value is None:
        return found.what
    bounds = (math.nan, math.nan) if found.interval is None else found.interval
    over = f"(interval over {found.over})" if found.over else ""
    return " ".join(filter(None, [f"{found.what}:", with_interval(found.value, *bounds, ".3g"), found.unit, over]))


def _of_stand_ins(hard: Sequence[Weighed], weighed: Sequence[Weighed]) -> Iterator[str]:
    """What was measured on other data than the paper's."""
    others = [each for each in weighed if not each.measurement.comparable and not each.condition.soft]
    if others and hard:
        yield f"{len(others)} more on stand-in data are not comparable and do not count."
    elif others:
        held = sum(each.measurement.holds is True for each in others)
        yield (
            f"Measured on stand-in data alone, which say nothing of the paper: of {len(others)} numbers, {held} would meet "
            "the condition."
        )


def _what_would_decide(claim: Claim, verdict: Verdict, preset: str, *, enough_known: bool) -> Iterator[str]:
    """What a decision takes, where there is none or not on everything."""
    decided = verdict in (Verdict.REPRODUCED, Verdict.NOT_REPRODUCED) or (verdict is Verdict.PARTIAL and enough_known)
    if decided:
        return
    presets = [name for name in claim.presets if name != preset]
    where = f" (preset {' or '.join(presets)})" if presets and preset not in claim.presets else ""
    yield f"A decision takes {claim.needs}{where}."
