"""`snakemake -c1 audit` on results of a tiny preset: it builds nothing, launders nothing, and says what is wrong."""

import json

from convrfm.storage import sha256


def everything(project):
    """Hash and time of every file of the results that the audit does not write itself."""
    own = (project.results / "audit", project.results / "logs", project.results / "ro-crate-metadata.json")
    files = [path for path in project.results.rglob("*") if path.is_file()]
    mine = [path for path in files if not any(path.is_relative_to(place) for place in own)]
    return {path: (sha256(path), path.stat().st_mtime_ns) for path in mine}


def test_results_as_built_are_trusted_and_then_one_is_tampered_with(finished):
    before = everything(finished)
    printed = finished.snakemake("-c1", "audit")
    assert "Trusted: " in printed
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
    assert "Not trusted: 1 finding on the files, and 0 spot checks fail." in printed
    assert "error: results/quick cannot be trusted" in printed
    assert "Traceback" not in printed
    assert everything(finished) == before
    assert json.loads(document.read_text())["trusted"] is False
    page = (finished.results / "audit/index.html").read_text()
    assert "Not trusted." in page
    assert "figures/published/fig05.csv" in page
