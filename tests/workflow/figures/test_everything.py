"""What holds for all figures at once."""

import pytest

from convrfm.replication.figures.figure import figures
from convrfm.system.storage import sha256

BITS = ("metrics.parquet", "arrays.safetensors", "fig05.png", "fig05.parquet", "fig05.csv", "fig05.md", "fig05.pdf")
FIGURES = [*(f"fig{number:02d}" for number in range(1, 13)), "theorem1"]


@pytest.mark.parametrize("protocol", ["published", "corrected"])
def test_every_figure_is_built_and_nothing_else_is_left(built, protocol):
    built.check_built(FIGURES, protocol)


def test_a_second_call_does_nothing(built):
    assert built.planned() == {}
    assert "Nothing to be done" in built.snakemake("-c2")


def test_records_vouch_for_what_lies_there(built):
    records = [*built.results.glob("runs/*/*/*/record.json"), *built.results.glob("figures/*/*.json")]
    assert len(list(built.results.rglob("*.parquet"))) == len(records)
    built.check_records(records)


def test_the_report_of_snakemake_holds_every_figure_with_its_caption(built, tmp_path):
    # No proxy answers there: whoever asks the network for something fails.
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), "http://127.0.0.1:9")
    built.snakemake("--report", str(tmp_path / "report.html"), environment=nowhere)
    report = (tmp_path / "report.html").read_text()
    for figure in FIGURES:
        for protocol in ("published", "corrected"):
            assert f"{built.results.relative_to(built.root)}/figures/{protocol}/{figure}.png" in report
        caption = figures()[figure].about.split(".")[0]
        assert " ".join(caption.split()) in " ".join(report.replace("\\n", " ").split())


def test_after_a_kill_the_next_call_finishes_the_work_with_the_same_bits(built, project):
    # One job at a time: the killed one has only just started, and no other is between two of its outputs.
    project.kill_when(lambda: bool(list(project.results.glob("logs/rfm/*/*.log"))), "-c1", "--", "fig05")
    assert not list(project.results.glob("runs/rfm/*/*/*"))
    assert "--unlock" in project.snakemake("-c2", "--", "fig05", succeeds=False)
    project.snakemake("--unlock")
    project.snakemake("-c2", "--", "fig05")
    assert project.planned("fig05") == {}
    assert not list(project.root.rglob(".tmp-*"))
    compared = 0
    for name in BITS:
        for path in project.results.rglob(name):
            assert sha256(path) == sha256(built.results / path.relative_to(project.results)), path.name
            compared += 1
    assert compared == 2 * (2 + 3 + 6) + 5
