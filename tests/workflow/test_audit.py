"""`snakemake -c1 audit` on results of a tiny preset: it builds nothing, launders nothing, and says what is wrong."""

import json

import pytest

from convrfm.storage import sha256


def everything(project):
    """Hash of every file of the results that the audit does not write itself."""
    own = (project.results / "audit", project.results / "logs", project.results / "ro-crate-metadata.json")
    files = [
        path for path in project.results.rglob("*") if path.is_file() and not any(path.is_relative_to(o) for o in own)
    ]
    return {path: (sha256(path), path.stat().st_mtime_ns) for path in files}


def test_results_as_they_were_built_are_trusted(finished):
    before = everything(finished)
    printed = finished.snakemake("-c1", "audit")
    assert "Trusted: " in printed
    assert everything(finished) == before
    assert (finished.results / "audit/index.html").stat().st_size > 10_000
    assert json.loads((finished.results / "audit/audit.json").read_text())["trusted"] is True
    assert len(json.loads((finished.results / "ro-crate-metadata.json").read_text())["@graph"]) > 20
    # It runs again whenever it is asked for, and leaves nothing to be built behind.
    assert "Nothing to be done" not in finished.snakemake("-c1", "audit")
    assert finished.planned("fig05") == {}


@pytest.mark.parametrize("tampered", ["figures/published/fig05.csv", "figures/published/fig05.png", "run"])
def test_a_file_that_was_tampered_with_is_found_and_kept(finished, tampered):
    path = finished.results / tampered
    if tampered == "run":
        path = next(finished.results.glob("runs/rfm/published/task=bars,sigma=2,*/metrics.parquet"))
    path.write_bytes(path.read_bytes() + b"\n")
    before = everything(finished)
    printed = finished.snakemake("-c1", "audit", succeeds=False)
    assert f"TAMPERED {path.relative_to(finished.root)}" in printed
    assert "remedy: " in printed
    assert "Not trusted" in printed
    assert "Traceback" not in printed
    assert everything(finished) == before
    page = (finished.results / "audit/index.html").read_text()
    assert "Not trusted." in page
    assert path.name in page


def test_a_folder_with_nothing_in_it(project):
    printed = project.snakemake("-c1", "audit")
    assert "0 of 0 hold" in printed
    assert not (project.results / "runs").exists()
    assert not (project.results / "figures").exists()


def test_the_report_of_snakemake_holds_every_figure(built):
    output = built.root / "report.html"
    try:
        built.snakemake("--report", output.name, "--", "fig05")
        report = output.read_text()
    finally:
        output.unlink(missing_ok=True)
    for protocol in ("published", "corrected"):
        assert f"figures/{protocol}/fig05.png" in report
    assert "Figure 5: local signal adaptivity" in report
    assert "Test accuracy against the noise level" in report
