"""Verdicts on all claims of the paper by a folder of results; see `convrfm.replication.claims.verdicts` for their rules."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from convrfm.replication.claims.claims import Claim, ClaimsError, load_claims, rebuild_command
from convrfm.replication.claims.evidence import Evidence, Judges, Number, Reading, Rule, bounds, runs_of
from convrfm.replication.claims.verdicts import Decision, Verdict, decide, readings_of
from convrfm.replication.figures.figure import figures
from convrfm.replication.record.received import cost_trouble, open_result, read_parquet, received_record

__all__ = ["Judgement", "all_judges", "check_matched", "judge", "judge_claim", "read_table"]


@dataclass(frozen=True)
class Judgement(Decision):
    """The verdict on one claim under one protocol, and what it rests on, see `Decision`.

    Attributes:
        claim: id, such as "A10".
        title: a few words.
        sentence: what the paper says, in our words, and where.
        figure: name of the figure that shows it, such as "fig05"; None where it has none.
        protocol: "published" or "corrected"; None where the claim knows none.
        condition: what has to hold for REPRODUCED.
        failure_means: what it would mean if it failed.
        command: the one command that builds what it rests on.
    """

    claim: str
    title: str
    sentence: str
    figure: str | None
    protocol: str | None
    condition: str
    failure_means: str
    command: str


COST = Judges("cost", ("quantity", "what", "machine"), ("ratio", "low", "high"), file="benchmarks/cost.csv")


@COST("A15")
def costs(claim: Rule, found: Evidence) -> Iterator[Reading]:
    """A15: what patch expansion and the AGOP class by class cost, the authors' way over the closed form.

    It belongs to no figure: `benchmarks/cost.py` leaves the table, a machine's numbers, see `cost_record`.
    """
    for quantity in claim.conditions:
        rows = found.rows[found.rows["quantity"] == quantity]
        if len(rows) != 1:
            found.problems.append(f"{found.path} has {len(rows)} rows of {quantity}, where one is due")
            continue
        row = rows.iloc[0]
        # What is counted, as the bytes are, has no interval.
        number = Number(float(row["ratio"]), bounds(row) if row["low"] < row["high"] else None)
        yield found.reading(rows, quantity, str(row["machine"]), str(row["what"]), number)


def all_judges() -> Mapping[str, Judges]:
    """The judges of each table, by figure: those of the figures, and that of the cost of kernels."""
    figures()
    return Judges.every


def check_matched(claims: Iterable[Claim], judges: Mapping[str, Judges]) -> None:
    """Check that each claim has a judge for each of its tables, and each judge its claim.

    Raises:
        ClaimsError: a claim has no judge, or a judge no claim.
    """
    due = {f"{claim.id} ({table})" for claim in claims for table in claim.tables}
    there = {f"{claim} ({table})" for table, of in judges.items() for claim in of.functions}
    if due != there:
        unjudged, unclaimed = sorted(due - there), sorted(there - due)
        lacking = f"{', '.join(unjudged) or 'none'} and no claim for {', '.join(unclaimed) or 'none'}"
        msg = f"claims.yaml and the judges in the figures' modules differ: no judge of {lacking}."
        raise ClaimsError(msg)


def judge(results: Path, preset: str, protocols: Sequence[str]) -> tuple[Judgement, ...]:
    """Judge every claim by what lies in `results/<preset>`, which is only read.

    Returns:
        in the order of the claims, for each the protocols that make a difference to it; no claim is ever absent.

    Raises:
        ClaimsError: claims and judges do not belong together.
    """
    check_matched(load_claims(), all_judges())
    found: list[Judgement] = []
    for claim in load_claims():
        # What only one protocol knows is judged by it, whatever is configured.
        chosen = [protocol for protocol in claim.protocols if protocol in protocols] or claim.protocols[:1]
        judged = [judge_claim(claim, results, protocol, preset) for protocol in chosen or protocols]
        # What no protocol changes is judged by the first one that has something on it.
        found += judged if chosen else [next((e for e in judged if e.verdict is not Verdict.UNKNOWN), judged[0])]
    return tuple(found)


def judge_claim(claim: Claim, results: Path, protocol: str, preset: str) -> Judgement:
    """Judge one claim under one protocol, by all of its tables."""
    readings: list[Reading] = []
    skipped: dict[str, str] = {}
    problems: list[str] = []
    for table in claim.tables:
        judges = all_judges()[table]
        evidence = read_table(judges, results, protocol)
        readings += readings_of(claim, judges, evidence)
        skipped |= evidence.skipped
        problems += evidence.problems
    where = f" (preset {' or '.join(claim.presets)})" if claim.presets and preset not in claim.presets else ""
    return Judgement(
        **vars(decide(claim, readings, skipped, problems, f"A decision takes {claim.needs}{where}.")),
        claim=claim.id,
        title=claim.title,
        sentence=f"{claim.sentence} ({claim.where})",
        figure=claim.figure,
        protocol=protocol if claim.protocols else None,
        condition=claim.condition_in_words(),
        failure_means=claim.failure_means,
        command=rebuild_command(claim, preset, protocol),
    )


def read_table(judges: Judges, results: Path, protocol: str) -> Evidence:
    """The table of a figure, which its judges know, as it lies in a folder of results.

    Returns:
        no rows where it is not there, holds nothing, or is not what it should be; then it says why.
    """
    project = results.absolute().parents[1]
    path = project / (judges.file or results.absolute() / "figures" / protocol / f"{judges.figure}.parquet")
    named = path.relative_to(project).as_posix()
    nothing = Evidence(pd.DataFrame(), named)
    if judges.file and (trouble := cost_trouble(project)) is not None:
        nothing.problems.append(f"{named} is {trouble[0]}: {trouble[1].rstrip('.')}")
        return nothing
    try:
        with open_result(project, named) as file:
            table = pd.read_csv(file) if judges.file else read_parquet(file)
    except FileNotFoundError:
        unbuilt = f"The table of {judges.figure} has not been built under the protocol {protocol}"
        nothing.problems.append(f"There is no {named}: it has not been measured" if judges.file else unbuilt)
        return nothing
    except (OSError, ValueError, KeyError, TypeError, AttributeError, pa.ArrowException) as error:
        nothing.problems.append(f"{named} cannot be read ({type(error).__name__}): build it again")
        return nothing
    record = {} if judges.file else _record(project, nothing)
    nothing.skipped.update({str(part): str(reason) for part, reason in record.get("skipped", {}).items()})
    words = {name for name in ("status", "part", "reason", "protocol") if _is(table, name, "words")}
    if {"status", "part", "reason"} <= words and set(table["status"]) == {"SKIPPED"}:
        # A skipped figure's table says so itself, whatever its record says.
        nothing.skipped.update({str(row["part"]): str(row["reason"]) for row in table.to_dict("records")})
        return nothing
    wrong = [f"{column} ({kind})" for column, kind in judges.columns.items() if not _is(table, column, kind)]
    if wrong or len(table) == 0:
        lacks = f"lacks {', '.join(wrong)}" if wrong else "has no rows"
        nothing.problems.append(f"{named} {lacks}: it is not the table of {judges.figure}, build it again")
        return nothing
    if "protocol" in table and ("protocol" not in words or set(table["protocol"]) != {protocol}):
        found = ", ".join(sorted(map(str, set(table["protocol"])))) if "protocol" in words else "no words"
        nothing.problems.append(f"{named} holds rows of the protocol {found}, not of {protocol} alone")
        return nothing
    inputs = [each["path"] for each in record.get("inputs", {}).values()]
    return Evidence(table, named, runs_of(inputs), nothing.skipped, nothing.problems)


def _record(project: Path, evidence: Evidence) -> Mapping[str, Any]:
    """The record of a figure; without a readable one nothing is known of runs and skipped parts."""
    named = f"{evidence.path.removesuffix('parquet')}json"
    try:
        record = received_record(project, named)
        inputs, skipped = record.get("inputs", {}), record.get("skipped", {})
        sound = all(isinstance(each["path"], str) for each in inputs.values()) and isinstance(skipped, dict)
    except (OSError, ValueError, AttributeError, KeyError, TypeError):
        sound = False
    if not sound:
        evidence.problems.append(f"{named} is missing or no record: its runs are not known")
        return {}
    return dict(record)


def _is(table: pd.DataFrame, column: str, kind: str) -> bool:
    """Whether a column is there and holds words, numbers or truth values."""
    types = pd.api.types
    fits = {"words": types.is_string_dtype, "numbers": types.is_any_real_numeric_dtype, "truth values": types.is_bool_dtype}
    return column in table and bool(fits[kind](table[column]))
