"""Verdicts: numbers that judges have read, held against the conditions of claims.

- A measurement holds if its value meets the bound and, where the condition asks for it, its 95 % interval lies above 0:
  "exceeds" means that a paired interval excludes 0; one that touches 0 does not.
- Where the condition asks for an interval, it fails if the whole interval falls short of the bound. In between, it is
  inconclusive.
- It is not decided where the value is missing, or where it needs an interval and there is none (a single draw), or
  one over something else than the condition asks for (test images, where it asks for draws).
- Only hard measurements on the paper's own data count. Soft ones, for which the paper's number is lost, and those on
  stand-in data are shown and decide nothing.

| hard measurements on the paper's data | verdict |
|---|---|
| a control among them, which shows that the check can fail, does not hold | UNKNOWN |
| all hold | REPRODUCED |
| some hold, others do not | PARTIAL |
| none holds, all fail | NOT REPRODUCED |
| none holds, some are inconclusive | INCONCLUSIVE |
| none holds, some are not decided | UNKNOWN |
| there are none, but data are absent | SKIPPED |
| there are none, but stand-ins were measured | NOT COMPARABLE |
| there is nothing | UNKNOWN |

A figure that is not built, or cannot be read, counts as a measurement that is not decided. Of a claim that speaks of one
case at least, a single measurement that holds is enough, and PARTIAL does not occur. Data sets of the paper that are
absent, and stand-ins, narrow the scope of a verdict and do not change it; the reason names them.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from convrfm.errors import DataError
from convrfm.replication.claims.evidence import (
    Condition,
    Evidence,
    Judges,
    Reading,
    Rule,
    basis_in_words,
    counted,
    with_interval,
)

__all__ = ["Decision", "Measurement", "Verdict", "decide", "quoted", "readings_of"]

ROUNDING = 1e-12
"""Sums of equal numbers differ by less: a mean of 0 that is -1e-17 is 0."""

SUBJECTS_SHOWN = 4


class Verdict(StrEnum):
    """What the results say of a claim."""

    REPRODUCED = "REPRODUCED"
    PARTIAL = "PARTIAL"
    NOT_REPRODUCED = "NOT REPRODUCED"
    INCONCLUSIVE = "INCONCLUSIVE"
    """Measured on the paper's data, with intervals too wide to tell."""
    NOT_COMPARABLE = "NOT COMPARABLE"
    """Measured on stand-in data, which says nothing about the paper."""
    SKIPPED = "SKIPPED"
    """Its data are not there; the reason says which, and how they are fetched."""
    UNKNOWN = "UNKNOWN"
    """Its results have not been built, or are too few to decide."""


@dataclass(frozen=True)
class Measurement:
    """One number that a verdict rests on.

    Attributes:
        what: the quantity, in words, with the case that it belongs to (task, network, noise level).
        value: measured; None where it is not there. Fractions are in 0-1.
        unit: "points", "cosine", "1 - rho", "seconds", or empty.
        interval: 95 %; None where there is none.
        required: the condition in words.
        margin: by how much the value meets its bound, in units of `value`; negative where it falls short; None where nothing
            is decided.
        holds: None where it is inconclusive or not decided.
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
class Decision:
    """A verdict, why it was found, and what it rests on.

    Attributes:
        verdict: the verdict.
        reason: why, in sentences.
        measurements: what it rests on.
        number: the hard measurement on the paper's data that tells the verdict, see `_telling`: name, value and interval in
            words; empty where there is none.
        data: what was measured, with noise levels, images and seeds, in words; empty where nothing was.
    """

    verdict: Verdict
    reason: str
    measurements: tuple[Measurement, ...]
    number: str
    data: str


def readings_of(rule: Rule, judges: Judges, evidence: Evidence) -> list[Reading]:
    """All that the judge of a claim reads in one table; nothing where there is none."""
    found: list[Reading] = []
    if len(evidence.rows) == 0:
        return found
    try:
        # What was read before a failure is kept.
        found.extend(judges.functions[rule.id](rule, evidence))
    except (ArithmeticError, AttributeError, DataError, LookupError, TypeError, ValueError) as error:
        evidence.problems.append(f"{evidence.path} is malformed ({type(error).__name__}: {error}): build it again")
    return found


def quoted(rules: Mapping[str, Any], judges: Judges, evidence: Evidence) -> str:
    """What the caption of a figure says of the claims by its table: paragraphs in Markdown, each behind an empty line.

    The rules are plain values by claim, as the settings of the figure carry them.
    """
    lines = []
    # A record sorts the keys of settings as words: A14 before A3.
    for name in sorted(rules, key=lambda name: (len(name), name)):
        rule, own = Rule.model_validate(rules[name]), replace(evidence, problems=[])
        found = decide(rule, readings_of(rule, judges, own), own.skipped, own.problems)
        lines.append(f"**{name}, {rule.title}**, by this figure's table alone: {found.verdict}. {found.reason}".rstrip())
    return "".join(f"\n{line}\n" for line in lines)


def decide(
    rule: Rule, readings: Iterable[Reading], skipped: Mapping[str, str], problems: Iterable[str], needs: str = ""
) -> Decision:
    """Give the verdict on a claim by the rules above.

    What two tables show alike, with equal subject, quantity and number, counts once. Parts of figures that were not built are
    skipped, with the reason; problems are what is not there or cannot be read. `needs` is a sentence on what a decision takes,
    for the reason of a verdict where something is not decided.
    """
    once = {(each.condition, each.on, each.what, repr(each.number)): each for each in reversed(list(readings))}
    weighed = [_weighed(rule.conditions[each.condition], each) for each in reversed(once.values())]
    spoken_of = [rule.printed] if rule.printed else rule.of
    skipped = {part: reason for part, reason in skipped.items() if not spoken_of or part in spoken_of}
    problems = list(dict.fromkeys(problems))
    hard = [each for each in weighed if each.counts]
    open_ones = [each for each in hard if each.measurement.holds is None]
    broken = [each for each in weighed if each.is_broken]
    lacking = bool(problems) or any(each.measurement.margin is None for each in open_ones)
    verdict = Verdict.UNKNOWN if broken else _verdict(rule, hard, weighed, lacking=lacking, skipped=bool(skipped))
    decided = verdict in (Verdict.REPRODUCED, Verdict.NOT_REPRODUCED)
    decided |= verdict in (Verdict.PARTIAL, Verdict.INCONCLUSIVE) and not lacking
    sentences = [
        *(f"A control does not do what it should, and nothing is proved: {_shown(each)}." for each in broken),
        *_counted(hard, open_ones, rule.data),
        *_of_stand_ins(hard, weighed),
        *(f"Skipped, {part}: {reason}".rstrip(".") + "." for part, reason in skipped.items()),
        *(problem.rstrip(".") + "." for problem in problems),
        *([needs] if needs and not decided else []),
    ]
    telling = _telling(hard, one_is_enough=rule.one_is_enough)
    number = "" if telling is None else _shown(telling)
    return Decision(verdict, " ".join(sentences), tuple(each.measurement for each in weighed), number, _scope(hard))


@dataclass(frozen=True)
class _Weighed:
    """A reading, its condition, what becomes of it, and why it is not decided, or nothing."""

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


def _weighed(condition: Condition, reading: Reading) -> _Weighed:
    """Hold a reading against its condition."""
    value, interval, gap, over, unclear = reading.number
    known = math.isfinite(value)
    bound = condition.bound if reading.bound is None else reading.bound
    gap = gap or ("" if known else "the number is missing")
    if not gap and condition.clear and interval is None:
        gap = "there is no interval, as of a single draw, seed or image"
    if not gap and condition.clear and condition.over == "draws" and over != condition.over:
        gap = f"its interval is over {over or 'something else'}, and the claim asks for one over draws of the data"
    # A condition that needs a printed tolerance and has none asks for nothing.
    margin, holds = (None, None) if gap or isinstance(bound, str) else _weigh(condition, bound, value, interval)
    if holds is False and unclear:
        holds, gap = None, unclear
    elif margin is not None and holds is None:
        gap = f"the interval contains {0 if _meets(condition, margin) else bound:g}"
    measurement = Measurement(
        what=f"{reading.on}: {reading.what}",
        value=value if known else None,
        unit=condition.unit,
        interval=interval if known else None,
        required="reported only" if isinstance(bound, str) else condition.in_words(bound),
        margin=margin,
        holds=holds,
        soft=condition.soft,
        comparable=reading.comparable,
        sources=reading.sources,
        over=over if known and interval else "",
    )
    return _Weighed(reading, condition, measurement, gap)


def _weigh(condition: Condition, bound: float, value: float, interval: tuple[float, float] | None) -> tuple[float, bool | None]:
    """By how much a value meets its bound, and whether the condition holds; None where the interval leaves that open."""
    margins = {"at most": bound - value, "within": bound - abs(value)}
    margin = _rounded(margins.get(condition.relation, value - bound))
    if not condition.clear or interval is None:
        return margin, _meets(condition, margin)
    if _meets(condition, margin) and _rounded(interval[0]) > 0:
        return margin, True
    return margin, None if _meets(condition, _rounded(interval[1] - bound)) else False


def _meets(condition: Condition, margin: float) -> bool:
    return margin > 0 if condition.relation == "above" else margin >= 0


def _rounded(number: float) -> float:
    return 0.0 if abs(number) <= ROUNDING else float(number)


def _verdict(rule: Rule, hard: Sequence[_Weighed], weighed: Sequence[_Weighed], *, lacking: bool, skipped: bool) -> Verdict:
    """The table above, but for controls."""
    holding = [each for each in hard if each.measurement.holds]
    if holding:
        whole = len(holding) == len(hard) and not lacking
        return Verdict.REPRODUCED if whole or rule.one_is_enough else Verdict.PARTIAL
    if hard:
        failing = all(each.measurement.holds is False for each in hard)
        return Verdict.UNKNOWN if lacking else Verdict.NOT_REPRODUCED if failing else Verdict.INCONCLUSIVE
    if skipped:
        return Verdict.SKIPPED
    standing = weighed and not any(each.measurement.comparable for each in weighed)
    return Verdict.NOT_COMPARABLE if standing else Verdict.UNKNOWN


def _counted(hard: Sequence[_Weighed], open_ones: Sequence[_Weighed], data: str) -> Iterator[str]:
    """How many measurements hold, where and on what, and which do not."""
    if not hard:
        return
    holding = sum(each.measurement.holds is True for each in hard)
    yield f"{holding} of {len(hard)} measurements on {data} hold ({_scope(hard)})."
    failing = [each for each in hard if each.measurement.holds is False]
    if failing:
        furthest = _shown(min(failing, key=_margin))
        yield f"1 fails: {furthest}." if len(failing) == 1 else f"{len(failing)} fail; the largest shortfall is {furthest}."
    for gap in dict.fromkeys(each.gap for each in open_ones):
        alike = [each for each in open_ones if each.gap == gap]
        yield f"{counted(len(alike), 'is', 'are')} not decided, since {gap}: {'; '.join(map(_shown, alike[:3]))}."


def _telling(hard: Sequence[_Weighed], *, one_is_enough: bool) -> _Weighed | None:
    """The one that is furthest from holding, among those that fail, else the inconclusive ones, else those that hold.

    Where one that holds is enough, the other way round.
    """
    for kind in (True, None, False) if one_is_enough else (False, None, True):
        if alike := [each for each in hard if each.measurement.margin is not None and each.measurement.holds is kind]:
            return (max if one_is_enough else min)(alike, key=_margin)
    return None


def _margin(each: _Weighed) -> float:
    """By how much a value meets its bound, negative where it falls short."""
    return each.measurement.margin or 0.0


def _scope(those: Sequence[_Weighed]) -> str:
    """What was measured: tasks, data sets or networks, each with the noise levels, images and seeds it rests on."""
    bases: dict[str, list[dict[str, tuple[str, ...]]]] = {}
    for each in those:
        bases.setdefault(each.reading.on, []).append(each.reading.basis)
    alike: dict[str, list[str]] = {}
    for subject in list(bases)[:SUBJECTS_SHOWN]:
        alike.setdefault(basis_in_words(bases[subject]), []).append(subject)
    shown = "; ".join("; ".join(subjects) + (f": {basis}" if basis else "") for basis, subjects in alike.items())
    return shown + (f"; and {len(bases) - SUBJECTS_SHOWN} more" if len(bases) > SUBJECTS_SHOWN else "")


def _shown(each: _Weighed) -> str:
    """A measurement with its value and interval."""
    found = each.measurement
    if found.value is None:
        return found.what
    ends = (math.nan, math.nan) if found.interval is None else found.interval
    over = f"(interval over {found.over})" if found.over else ""
    return " ".join(filter(None, [f"{found.what}:", with_interval(found.value, *ends, ".3g"), found.unit, over]))


def _of_stand_ins(hard: Sequence[_Weighed], weighed: Sequence[_Weighed]) -> Iterator[str]:
    """What was measured on other data than the paper's."""
    others = [each for each in weighed if not each.measurement.comparable and not each.condition.soft]
    if others and hard:
        yield f"{len(others)} more on stand-in data are not comparable and do not count."
    elif others:
        held = sum(each.measurement.holds is True for each in others)
        yield (
            f"Measured on stand-in data alone, which say nothing about the paper ({_scope(others)}): {held} of "
            f"{len(others)} numbers would meet the condition."
        )
