"""What holds for all figures at once."""

import json

import pytest

from convrfm.storage import sha256

FIGURES = [*(f"fig{number:02d}" for number in range(1, 13)), "theorem1"]


@pytest.mark.parametrize("protocol", ["published", "corrected"])
def test_every_figure_is_built_and_nothing_else_is_left(built, protocol):
    for figure in FIGURES:
        for form in ("png", "pdf", "parquet", "csv", "md", "json"):
            assert (built.results / "figures" / protocol / f"{figure}.{form}").stat().st_size > 0
    assert not list(built.root.rglob(".tmp-*"))
    assert not list(built.results.rglob("checkpoint*"))


def test_a_second_call_does_nothing(built):
    assert built.planned() == {}
    assert "Nothing to be done" in built.snakemake("-c2")


def test_records_vouch_for_what_lies_there(built):
    records = [*built.results.glob("runs/*/*/*/record.json"), *built.results.glob("figures/*/*.json")]
    assert len(list(built.results.rglob("*.parquet"))) == len(records)
    for path in records:
        record = json.loads(path.read_text())
        for described in [*record["inputs"].values(), *record["outputs"].values()]:
            assert sha256(built.root / described["path"]) == described["sha256"]
