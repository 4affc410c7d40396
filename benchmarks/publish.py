"""Publishes a finished build: copies its figures, tables, captions, records, audit and seal into docs/results/<name>.

    snakemake -c2 --config preset=workstation && convrfm seal results/workstation
    snakemake -c2 audit --config preset=workstation
    python benchmarks/publish.py results/workstation && make generated

Files are copied as they are, so that their hashes are those of the records. Only results that the audit trusts are taken.
"""

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import yaml

from convrfm.replication.record.data_states import read_state

ROOT = Path(__file__).parents[1]
SUFFIXES = (".png", ".csv", ".md", ".json")
LIMIT = 10_000_000
"""Bytes for all files of a build: they stay in the history of the repository for ever."""


def data_used(data_dir: Path, notes: dict[str, str]) -> list[dict[str, Any]]:
    """What the data were: images of each split, official numbers where a part is there, whether verified, and remarks.

    Args:
        data_dir: with the folders of data sets.
        notes: a remark by data set.
    """
    states = [read_state(path) for path in sorted(data_dir.glob("*/state.json"))]
    kept = ("dataset", "splits", "part", "verified", "digest")
    present = [state for state in states if state["state"] == "present"]
    return [{name: state[name] for name in kept} | {"note": notes.get(state["dataset"])} for state in present]


def main() -> None:
    """Check, and copy."""
    parser = argparse.ArgumentParser(description="Copy the results of a build into docs/results.")
    parser.add_argument("results", type=Path, help="folder of the preset, with a passed audit and a seal")
    parser.add_argument("--data", type=Path, default=ROOT / "data", help="data_dir of the build")
    parser.add_argument("--notes", type=Path, help="YAML: remarks on data sets, by name")
    parser.add_argument("--name", help="of the folder below docs/results; the preset's if left out")
    given = parser.parse_args()
    needed = [given.results / "audit/audit.json", given.results / "seal.json"]
    if missing := [path for path in needed if not path.is_file()]:
        parser.error(f"{missing[0]} is not there: seal the results and audit them first")
    if not json.loads(needed[0].read_text())["trusted"]:
        parser.error("the audit does not trust these results")
    codes = [json.loads(path.read_text())["code"] for path in given.results.glob("figures/*/*.json")]
    if len({code["commit"] for code in codes}) != 1 or any(code["dirty"] for code in codes):
        parser.error("the figures were not all drawn by the code of one commit: draw them again")
    notes = yaml.safe_load(given.notes.read_text()) if given.notes else {}
    chosen = [path for path in sorted(given.results.glob("figures/*/*")) if path.suffix in SUFFIXES]
    chosen += needed
    size = sum(path.stat().st_size for path in chosen)
    if size > LIMIT:
        parser.error(f"{size / 1e6:.1f} MB to publish, {LIMIT / 1e6:.0f} MB are allowed")
    seconds = [json.loads(path.read_text())["wall_seconds"] for path in given.results.rglob("record.json")]
    target = ROOT / "docs/results" / (given.name or given.results.name)
    shutil.rmtree(target, ignore_errors=True)
    for path in chosen:
        place = target / path.relative_to(given.results)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)
    build = {"runs": len(seconds), "run_seconds": round(sum(seconds)), "data": data_used(given.data, notes)}
    (target / "build.json").write_text(json.dumps(build, indent=1) + "\n")
    print(f"{len(chosen)} files, {size / 1e6:.1f} MB: {target}")


if __name__ == "__main__":
    main()
