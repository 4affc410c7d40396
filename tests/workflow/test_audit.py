"""`snakemake -c1 audit` on results of a tiny preset: it builds nothing, launders nothing, and says what is wrong."""

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence

import pytest

from convrfm.system.storage import sha256

pytestmark = pytest.mark.figures


def everything(project):
    """Hash and time of every file of the results that the audit does not write itself."""
    own = (
        project.results / "audit",
        project.results / "logs",
        project.results / "ro-crate-metadata.json",
        project.results / "codecheck.yml",
    )
    files = [path for path in project.results.rglob("*") if path.is_file()]
    mine = [path for path in files if not any(path.is_relative_to(place) for place in own)]
    return {path: (sha256(path), path.stat().st_mtime_ns) for path in mine}


def test_results_as_built_are_trusted_and_then_one_is_tampered_with(finished):
    before = everything(finished)
    printed = finished.snakemake("-c1", "audit")
    assert "\nTrusted" in printed
    assert everything(finished) == before
    document = finished.results / "audit/audit.json"
    assert json.loads(document.read_text())["trusted"] is True
    assert len(json.loads((finished.results / "ro-crate-metadata.json").read_text())["@graph"]) > 20
    # It would run again whenever it is asked for, and has made nothing stale.
    assert "Nothing to be done" not in finished.snakemake("-n", "audit")
    assert finished.planned("fig05") == {}

    # A file that Snakemake could draw again from its runs.
    path = finished.results / "figures/published/fig05.csv"
    path.write_bytes(path.read_bytes() + b"\n")
    before = everything(finished)
    printed = finished.snakemake("-c1", "audit", succeeds=False)
    assert f"TAMPERED {path.relative_to(finished.root)}: " in printed
    assert "remedy: " in printed
    assert "Not trusted: 1 finding on the files, and 0 of" in printed
    assert "error: results/quick cannot be trusted" in printed
    assert "Traceback" not in printed
    assert everything(finished) == before
    assert json.loads(document.read_text())["trusted"] is False
    page = (finished.results / "audit/index.html").read_text()
    assert "Not trusted." in page
    assert "figures/published/fig05.csv" in page


def test_every_remedy_works_as_it_is_printed(finished):
    """Followed to the letter, in a project whose `config.yaml` says another preset than that of the results."""
    configuration = finished.root / "config.yaml"
    configuration.write_text(configuration.read_text().replace("preset: quick", "preset: workstation"))
    audit = [sys.executable, "-m", "convrfm", "audit", "results/quick"]

    def run(command: Sequence[str]) -> str:
        done = subprocess.run(
            command, cwd=finished.root, env=finished.environment, text=True, check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=1800,
        )  # fmt: skip
        assert done.returncode == 0 or command == audit, done.stdout[-6000:]
        return done.stdout

    assert "\nTrusted" in run(audit)
    fits, figures = finished.results / "runs/rfm", finished.results / "figures"
    tampered, edited, gone = sorted((fits / "published").iterdir())[:3]
    (tampered / "metrics.parquet").write_bytes(b"other numbers")
    (edited / "record.json").write_text((edited / "record.json").read_text().replace('"wall_seconds": ', '"wall_seconds": 1'))
    (gone / "arrays.safetensors").unlink()
    (figures / "corrected/fig05.png").unlink()
    (fits / "corrected/it's mine.txt").write_text("a note")
    # Of a seed and of a figure that nothing asks for; and their records are those of others.
    shutil.copytree(tampered, tampered.with_name(tampered.name.replace("seed=0", "seed=7")))
    for path in (figures / "published").glob("fig05.*"):
        shutil.copy(path, path.with_stem("fig77"))
    printed = run(audit)
    states = {line.split()[0] for line in printed.splitlines() if line.split()[0].isupper()}
    assert {"TAMPERED", "MISSING", "ORPHANED"} <= states
    remedies = dict.fromkeys(line.partition("remedy: ")[2] for line in printed.splitlines() if "remedy: " in line)
    assert len(remedies) >= 7
    for remedy in remedies:
        # What may be done instead of the command is said after it.
        run(["bash", "-c", remedy.partition(", or ")[0]])
    assert "\nTrusted" in run(audit)
