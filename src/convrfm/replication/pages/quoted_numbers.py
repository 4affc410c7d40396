"""What pages say of results: numbers that README and docs quote, and the pages of published builds.

A page marks a number by `<!-- generated: NAME -->` and `<!-- /generated -->`; what lies between is written from

- `benchmarks/times.json`: minutes of commands and figures;
- `benchmarks/quick.json`: accuracies and other results of the preset `quick` (`benchmarks/quick.py`);
- `audit/audit.json` and tables of the published results: verdicts, and numbers on real data (`benchmarks/publish.py`);
- tables of `docs/benchmarks.md`, `docs/benchmarks_ansatz.md` and `docs/beyond.md`.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Any

import pandas as pd

from convrfm.errors import ConfigError
from convrfm.replication.claims.verdicts import Verdict
from convrfm.replication.figures.accuracies import Estimate, estimate_cell
from convrfm.replication.figures.style import markdown_table

__all__ = ["published_builds", "published_judgements", "quoted", "results_page", "verdict_rows"]

_BLOCK = re.compile(r"(<!-- generated: (?P<name>[^>]+?) -->)(?P<content>(?:(?!<!--).)*)(<!-- /generated -->)", re.DOTALL)

_FIGURES = (
    ("1, the ansatz in trained networks", "fig01", "stand-in",
     "correlation of filter covariance and AGOP: {fig01_lowest:.2f} to {fig01_highest:.2f}, beside two controls"),
    ("2, images through both matrices", "fig02", "stand-in",
     "a pair of pictures for each layer of VGG11; random matrices do nearly as well in the first layers"),
    ("3 and 10, first-layer features", "fig03 fig10", "stand-in",
     "edges among the top eigenvectors of ConvRFM's metric; images through it, through the network and through random controls",
    ),
    ("4, layer by layer", "fig04", "bars real",
     "on noisy bars, first-layer pictures correlate at {fig04_first_layer:.2f}, random ones at {fig04_first_layer_random:.2f}"),
    ("5, local signal adaptivity", "fig05", "bars real",
     "on noisy bars, ConvRFM gains {gain} points over the CNTK; Deep ConvRFM and networks beside it"),
    ("6, many data sets", "fig06", "bars real", "on noisy bars, ConvRFM gains {points06:.1f} points over the CNTK"),
    ("7, before and after training", "fig07", "stand-in", "the correlation by network, layer, epoch and power of the AGOP"),
    ("8, the ansatz in SimpleNet", "fig08", "stand-in",
     "mean correlation {fig08_trained:.2f} after training, {fig08_initial:.2f} before, {fig08_null:.2f} with rotated gradients",
    ),
    ("9, patch size and pooling", "fig09", "stand-in", "neither claim of the paper shows on the stand-ins"),
    ("11 and 12, eigenvectors as filters", "fig11 fig12", "stand-in",
     "photographs and training images filtered by each eigenvector, with their orientation"),
    ("Theorem 1", "theorem1", "none needed",
     "1 - correlation at most {theorem1_largest:.0e} where the theorem applies, at least {theorem1_controls:.2f} in controls"),
    ("[beyond the paper](docs/beyond.md)", "beyond", "bars real",
     "accuracy against images in the AGOP and in training, and the effect of each choice of the protocol"),
    ("the authors' printed numbers", "--config preset=workstation -- printed", "downloads SVHN, MNIST",
     "accuracy and squared error of each round beside the printed ones"),
)  # fmt: skip
"""Rows of the README's table: figure, arguments of Snakemake, by which times.json knows it, data, what one should see."""

_METHODS = ("ConvRFM", "Deep ConvRFM, stage 1", "Deep ConvRFM, stage 2", "CNN (Adam)", "CNN (SGD)")


def quoted(root: Path, **tables: str) -> dict[Path, str]:
    """Fill in the marked numbers, and tables, of README, CONTRIBUTING and docs: the whole content of each such page.

    Raises:
        ConfigError: a page marks an unknown name, or a number at the start of a line; or none marks one of the tables.
    """
    pages = [root / "README.md", root / "CONTRIBUTING.md", *sorted((root / "docs").rglob("*.md"))]
    texts = {page: page.read_text(encoding="utf-8") for page in pages if page.exists()}
    marked = {page: text for page, text in texts.items() if _BLOCK.search(text)}
    if missing := tables.keys() - {block["name"] for text in marked.values() for block in _BLOCK.finditer(text)}:
        msg = f"No generated block for {', '.join(sorted(missing))}: add one to the README or the docs."
        raise ConfigError(msg)
    numbers = _numbers(root) | tables if marked else {}
    return {page: _BLOCK.sub(partial(_filled, page, numbers), text) for page, text in marked.items()}


def _filled(page: Path, numbers: dict[str, str], block: re.Match[str]) -> str:
    """Fill in one marked place, on lines of its own where the mark has one."""
    if block["name"] not in numbers:
        msg = f"{page.name}: unknown number {block['name']!r}. Known: {', '.join(sorted(numbers))}."
        raise ConfigError(msg)
    alone = block["content"].startswith("\n")
    if not alone and block.string[: block.start()].endswith("\n"):
        msg = f"{page.name}: {block[1]} begins a line, which ends the paragraph in Markdown. Move a word before it."
        raise ConfigError(msg)
    content = numbers[block["name"]]
    return f"{block[1]}\n{content}\n{block[4]}" if alone else f"{block[1]}{content}{block[4]}"


def _numbers(root: Path) -> dict[str, str]:
    """All numbers that pages can quote, in words, by name."""
    times = {entry["name"]: entry for entry in json.loads((root / "benchmarks/times.json").read_text())}
    quick = json.loads((root / "benchmarks/quick.json").read_text())
    judged = published_judgements(root)
    measured = [each for each in judged if each["verdict"] in MEASURED]
    told = {each["claim"] for each in measured}
    speed = _table(root / "docs/benchmarks.md", "work")
    ansatz = (root / "docs/benchmarks_ansatz.md").read_text(encoding="utf-8")
    protocol = _table(root / "docs/beyond.md", "change")["all of the protocol `corrected`"]
    agop, first = (row["ratio"] for name, row in speed.items() if "20 points" in name or "first round" in name)
    lost, lowest, highest = _bars_range(quick["bars"])
    return {
        **{f"time {name}": _duration(entry["minutes"]) for name, entry in times.items()},
        "machine": times["make quick"]["machine"],
        "date": times["make quick"]["date"],
        "figures": "\n".join(_figure_rows(quick, times)),
        "verdicts": "\n".join(verdict_rows(measured)),
        "undecided": ", ".join(dict.fromkeys(each["claim"] for each in judged if each["claim"] not in told)),
        "builds": ", ".join(f"[{folder.name}](docs/results/{folder.name}/index.md)" for folder in published_builds(root)),
        "bars": "\n".join(_bars_rows(quick["bars"])),
        "bars lost": f"{lost:.0f}",
        "bars gain": f"{lowest:.1f} to {highest:.1f}",
        "corrected costs": protocol["ConvRFM"].removeprefix("-").partition(" ")[0],
        **dict(_real(root)),
        "speed gram": next(iter(speed.values()))["ratio"],
        "speed agop": f"{agop} to {first}",
        "probes": _found(r"probe mode with (\d+) probes", ansatz),
        "probes speed": _found(r"\*\*(\d+) times faster\*\*", ansatz),
        "probes error": _found(r"Largest error of a corrected correlation: \*\*([\d.]+)\*\*", ansatz),
    }


def _real(root: Path) -> Iterator[tuple[str, str]]:
    """Numbers of the published Figures 4, 7, 8 and 10: correlations by power of the AGOP, by epoch, and of first layers."""
    tables = {path.stem: path for folder in published_builds(root) for path in folder.glob("figures/published/*.csv")}
    powers = pd.read_csv(tables["fig07"]).query("panel == 'C' and power in (0.5, 1)")
    for (when, power), values in powers.groupby(["when", "power"])["value"]:
        yield f"power {power:g} {when}", f"{values.min():.2f} to {values.max():.2f}"
    course = pd.read_csv(tables["fig08"]).query("quantity == 'mean_pearson'")
    for dataset, rows in course.groupby("dataset"):
        initial, *later = rows.groupby("epoch")["value"].mean()
        yield f"course {dataset}", f"{initial:.2f} before the first step, and {', '.join(f'{mean:.2f}' for mean in later)}"
    pictures = pd.read_csv(tables["fig04"]).query("layer == 1").assign(quantity="fig04")
    pictures = pictures.rename(columns={"task": "dataset", "pearson": "value"})
    first = pd.read_csv(tables["fig10"]).query("quantity in ('alike', 'alike_without_means')")
    for (dataset, quantity), rows in pd.concat([pictures, first]).groupby(["dataset", "quantity"])[["value", "control"]]:
        value, control = rows.mean()
        yield f"{quantity} {dataset}", f"{value:.2f}, against {control:.2f} at random"


def _duration(minutes: float) -> str:
    """Minutes in words, such as "9 min 35 s"."""
    hours, rest = divmod(round(60 * minutes), 3600)
    parts = {"h": hours, "min": rest // 60, "s": rest % 60}
    return " ".join(f"{count} {unit}" for unit, count in parts.items() if count > 0)


def _found(pattern: str, text: str) -> str:
    if (match := re.search(pattern, text)) is None:
        msg = f"docs/benchmarks_ansatz.md: no text like {pattern!r}. Run benchmarks/ansatz.py, or adapt the pattern."
        raise ConfigError(msg)
    return match[1]


def _table(page: Path, first: str) -> dict[str, dict[str, str]]:
    """The Markdown table of a page whose first column is called `first`: cells by row and column."""
    lines = iter(page.read_text(encoding="utf-8").splitlines())
    header = next((cells for line in lines if (cells := _cells(line))[0] == first), None)
    if header is None:
        msg = f"{page.name}: no table whose first column is {first!r}."
        raise ConfigError(msg)
    _, *rows = map(_cells, takewhile(lambda line: line.startswith("|"), lines))
    return {cells[0]: dict(zip(header, cells, strict=True)) for cells in rows}


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def _figure_rows(quick: dict[str, Any], times: dict[str, Any]) -> list[str]:
    _, lowest, highest = _bars_range(quick["bars"])
    numbers = {**quick["figures"], "gain": f"{lowest:.1f} to {highest:.1f}", "points06": 100 * quick["figures"]["fig06_gain"]}
    minutes = {name: _duration(entry["minutes"]) for name, entry in times.items()} | {_FIGURES[-1][1]: "hours"}
    rows = (
        [title, f"`snakemake -c2 {arguments}`", seen.format(**numbers), minutes[arguments], data]
        for title, arguments, data, seen in _FIGURES
    )
    return markdown_table(["figure", "command", "what you should see", "time", "data"], rows)


def _bars_range(rows: list[dict[str, Any]]) -> tuple[float, float, float]:
    """Points that the CNTK loses to noise, and the least and most that ConvRFM gains over it, on noisy bars."""
    accuracies = {row["sigma"]: row["value"] for row in rows if row["quantity"] == "accuracy" and row["method"] == "CNTK"}
    gains = [row["value"] for row in rows if (row["method"], row["against"]) == ("ConvRFM", "CNTK")]
    return 100 * (accuracies[min(accuracies)] - accuracies[max(accuracies)]), 100 * min(gains), 100 * max(gains)


def _bars_rows(rows: list[dict[str, Any]]) -> list[str]:
    """Accuracy of the CNTK on noisy bars, and what each method gains over it."""
    cells = {}
    for row in rows:
        found = Estimate(row["value"], row["low"], row["high"], row["over"], draws=0, images=0)
        cells[row["method"], row["against"], row["sigma"]] = estimate_cell(found, gain=bool(row["against"]))
    sigmas = sorted({row["sigma"] for row in rows})
    table = [["CNTK, accuracy", *(cells["CNTK", "", sigma] for sigma in sigmas)]]
    table += [[f"{method}, over CNTK", *(cells[method, "CNTK", sigma] for sigma in sigmas)] for method in _METHODS]
    return markdown_table(["method", *(f"sigma = {sigma:g}" for sigma in sigmas)], table)


DECIDED = (Verdict.REPRODUCED, Verdict.PARTIAL, Verdict.NOT_REPRODUCED)
MEASURED = (*DECIDED, Verdict.INCONCLUSIVE)
"""Verdicts that rest on the paper's data."""


def published_builds(root: Path) -> list[Path]:
    """The folders of the builds whose results README and docs speak of, in a checkout."""
    return sorted(path.parent for path in (root / "docs/results").glob("*/build.json"))


def published_judgements(root: Path) -> list[dict[str, Any]]:
    """What audits of published builds say of each claim and protocol: the first that decides it, else the first measurement."""
    kept: dict[tuple[str, str | None], dict[str, Any]] = {}
    for folder in published_builds(root):
        for each in json.loads((folder / "audit/audit.json").read_text(encoding="utf-8"))["judgements"]:
            earlier = kept.setdefault((each["claim"], each["protocol"]), each)
            if any(each["verdict"] in better and earlier["verdict"] not in better for better in (DECIDED, MEASURED)):
                kept[each["claim"], each["protocol"]] = each
    return list(kept.values())


def verdict_rows(judgements: Sequence[Mapping[str, Any]]) -> list[str]:
    """A table in Markdown of judgements of `audit.json`: the verdict, the number that decides it, and what was measured."""
    both = len({each["protocol"] for each in judgements if each["protocol"]}) > 1
    rows = []
    for each in judgements:
        protocol = f" ({each['protocol']})" if both and each["protocol"] else ""
        needs = f"needs{each['reason'].rpartition('A decision takes')[2].rstrip('.')}"
        found = (each["number"], each["data"]) if each["verdict"] in MEASURED else (needs, "-")
        rows.append([f"{each['claim']}, {each['title']}{protocol}", each["verdict"], *found])
    lines = markdown_table(["claim", "verdict", "the number that decides, 95 % interval", "measured on"], rows)
    return [line.replace("\n", " ") for line in lines]


ABSENT = re.compile(r" is absent: .*?(\)$| Skipped, |$)", re.MULTILINE)
"""The reason why something was skipped, up to the end of its paragraph or to the next one."""


def results_page(folder: Path, header: str) -> str:
    """The page of one of the `published_builds`; a header says where it comes from."""
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
        "The conditions of each claim, and how they have changed: [claims](../../claims.md).",
        "",
        "## Deviations",
        "",
        f"From {audit['compared']}:",
        "",
        *(f"- {deviation['what']}: {deviation['found']}" for deviation in audit["deviations"]),
        "",
        "## Data",
        "",
        *markdown_table(["data", "images", "as published", "remark"], map(_data_row, build["data"])),
    ]
    for record in sorted(folder.glob("figures/*/*.md")):
        picture = record.with_suffix(".png").relative_to(folder).as_posix()
        # What is absent has its reason and its remedy in the file itself, once for each claim that it concerns.
        text = record.read_text(encoding="utf-8").strip()
        caption = ABSENT.sub(lambda found: f" is absent{'' if found[1] == ')' else '.'}{found[1]}", text)
        lines += ["", f"## {record.stem}, protocol {record.parent.name}", "", f"![{record.stem}]({picture})", "", caption]
    return "\n".join(lines) + "\n"


def _data_row(data: Mapping[str, Any]) -> tuple[str, ...]:
    splits = ", ".join(
        f"{split} {found['images']}" + (f" of {data['part'][split][1]}" if split in data["part"] else "")
        for split, found in data["splits"].items()
        if "images" in found
    )
    verified = "verified" if data["verified"] else "not verified"
    return data["dataset"], splits or "-", verified, data["note"] or "-"
