"""The pages of published builds, and the table of verdicts in the README, from what `benchmarks/publish.py` has copied."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from convrfm.replication.claims.verdicts import Verdict

__all__ = ["DECIDED", "published_builds", "published_judgements", "results_page", "verdict_rows"]

DECIDED = (Verdict.REPRODUCED, Verdict.PARTIAL, Verdict.NOT_REPRODUCED)
"""Verdicts that say something of the paper."""


def published_builds(root: Path) -> list[Path]:
    """The folders of the builds whose results README and docs speak of, in a checkout."""
    return sorted(path.parent for path in (root / "docs/results").glob("*/build.json"))


def published_judgements(root: Path) -> list[dict[str, Any]]:
    """What the audits of the published builds say of each claim and protocol: the first that decides it, else the first.

    Args:
        root: of the checkout.
    """
    kept: dict[tuple[str, str | None], dict[str, Any]] = {}
    for folder in published_builds(root):
        for each in json.loads((folder / "audit/audit.json").read_text(encoding="utf-8"))["judgements"]:
            earlier = kept.setdefault((each["claim"], each["protocol"]), each)
            if earlier["verdict"] not in DECIDED and each["verdict"] in DECIDED:
                kept[each["claim"], each["protocol"]] = each
    return list(kept.values())


def verdict_rows(judgements: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """A table in Markdown: for each claim the verdict, the number that decides it, and what was measured.

    Args:
        judgements: of `audit.json`.
    """
    both = len({each["protocol"] for each in judgements if each["protocol"]}) > 1
    yield "| claim | verdict | the number that decides, 95 % interval | measured on |"
    yield "|---|---|---|---|"
    for each in judgements:
        protocol = f" ({each['protocol']})" if both and each["protocol"] else ""
        decided = each["verdict"] in DECIDED
        cells = (each["number"], each["data"]) if decided else (_why(each), "-")
        yield f"| {each['claim']}, {each['title']}{protocol} | {each['verdict']} | {cells[0]} | {cells[1]} |".replace("\n", " ")


def _why(judgement: Mapping[str, Any]) -> str:
    """What a decision would take."""
    return f"needs{judgement['reason'].rpartition('A decision takes')[2].rstrip('.')}"


def results_page(folder: Path, header: str) -> str:
    """The page of a published build.

    Args:
        folder: of `published_builds`.
        header: says where the page comes from.
    """
    audit, build = (json.loads((folder / name).read_text(encoding="utf-8")) for name in ("audit/audit.json", "build.json"))
    paths = sorted(folder.glob("figures/*/*.json"))
    records = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    (commit,) = {record["code"]["commit"] for record in records}
    machines = {record["machine"]["processor"] for record in records}
    built = sorted({path.stem for path in paths})
    lines = [
        f"# Published results: {folder.name}",
        "",
        f"<!-- {header} -->",
        "",
        f"Built by `snakemake -c2 --config preset={audit['preset']} -- {' '.join(built)}`",
        f"with the code of commit `{commit[:10]}`, on {', '.join(machines)}:",
        f"{build['runs']} runs, {build['run_seconds'] / 3600:.1f} hours of jobs. The audit of {audit['made'][:10]} trusts the",
        "results. [audit.json](audit/audit.json) has every measurement, [seal.json](seal.json) the hashes of all records.",
        "Beside each picture lie table, caption, and record with the hashes of what it was made of. The root of all records:",
        "",
        f"    {audit['root']}",
        "",
        "## Claims",
        "",
        *verdict_rows(audit["judgements"]),
        "",
        "What has to hold for each claim was fixed beforehand: [claims](../../claims.md).",
        "",
        "## Data",
        "",
        "| data | images | as published | remark |",
        "|---|---|---|---|",
        *map(_data_row, build["data"]),
    ]
    for record in sorted(folder.glob("figures/*/*.md")):
        picture = record.with_suffix(".png").relative_to(folder).as_posix()
        caption = record.read_text(encoding="utf-8").strip()
        lines += ["", f"## {record.stem}, protocol {record.parent.name}", "", f"![{record.stem}]({picture})", "", caption]
    return "\n".join(lines) + "\n"


def _data_row(data: Mapping[str, Any]) -> str:
    splits = ", ".join(
        f"{split} {found['images']}" + (f" of {data['part'][split][1]}" if split in data["part"] else "")
        for split, found in data["splits"].items()
        if "images" in found
    )
    verified = "verified" if data["verified"] else "not verified"
    return f"| {data['dataset']} | {splits or '-'} | {verified} | {data['note'] or '-'} |"
