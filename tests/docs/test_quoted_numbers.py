"""Numbers in README and docs are those of the files in which they were measured."""

import json
import re
import shutil

import pytest

from convrfm.errors import ConfigError
from convrfm.replication.pages.generate import generated_files
from convrfm.replication.pages.quoted_numbers import quoted
from docs.pages import PAGES, ROOT, name_of

BUILD = "docs/results/workstation"

SOURCES = (
    "benchmarks/times.json", "benchmarks/quick.json", f"{BUILD}/build.json", f"{BUILD}/audit/audit.json", "docs/benchmarks.md",
    "docs/benchmarks_ansatz.md", "docs/beyond.md",
    *(f"{BUILD}/figures/published/{figure}.csv" for figure in ("fig04", "fig07", "fig08", "fig10")),
)  # fmt: skip


@pytest.fixture
def checkout(tmp_path):
    """A folder with the sources of the numbers, and a README of its own."""
    for file in SOURCES:
        (tmp_path / file).parent.mkdir(exist_ok=True, parents=True)
        shutil.copy(ROOT / file, tmp_path / file)
    (tmp_path / "README.md").write_text("It takes <!-- generated: time make quick -->1 min<!-- /generated -->.\n")
    return tmp_path


def test_pages_are_up_to_date():
    filled = {path: text for path, text in generated_files(ROOT).items() if path.suffix == ".md"}
    assert {ROOT / "README.md", ROOT / "docs/tutorial.md"} <= set(filled)
    for page, text in filled.items():
        assert page.read_text() == text, f"{name_of(page)}: make generated"


def test_a_new_measurement_reaches_the_page(checkout):
    times = json.loads((checkout / "benchmarks/times.json").read_text())
    next(entry for entry in times if entry["name"] == "make quick")["minutes"] = 7.25
    (checkout / "benchmarks/times.json").write_text(json.dumps(times))
    text = quoted(checkout)[checkout / "README.md"]
    assert text == "It takes <!-- generated: time make quick -->7 min 15 s<!-- /generated -->.\n"


def test_a_block_keeps_its_lines(checkout):
    (checkout / "README.md").write_text("<!-- generated: bars -->\nold\n<!-- /generated -->\n")
    lines = quoted(checkout)[checkout / "README.md"].splitlines()
    assert lines[0] == "<!-- generated: bars -->"
    assert lines[-1] == "<!-- /generated -->"
    assert [line.split(" | ")[0] for line in lines[1:5]] == ["| method", "|---|---|---|---|", "| CNTK, accuracy", "| ConvRFM, over CNTK"]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("a <!-- generated: gone -->1<!-- /generated -->", "README.md: unknown number 'gone'"),
        ("a\n<!-- generated: bars lost -->1<!-- /generated --> b", "begins a line"),
    ],
)
def test_wrong_marks_are_found(checkout, text, fault):
    (checkout / "README.md").write_text(text)
    with pytest.raises(ConfigError, match=re.escape(fault)):
        quoted(checkout)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_mark_has_an_end(page):
    text = page.read_text()
    assert text.count("<!-- generated: ") == text.count("<!-- /generated -->")


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150
