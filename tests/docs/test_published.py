"""The published results: the files are those of their records, and page and README say what the audit says."""

import csv
import hashlib
import json
import re
import subprocess
import sys

import pytest

from convrfm.replication.claims.claims import load_claims
from convrfm.replication.pages.quoted_numbers import published_builds, published_judgements, results_page, verdict_rows
from convrfm.replication.record.record import seal_of
from docs.pages import ROOT

BUILDS = published_builds(ROOT)
RECORDS = sorted((ROOT / "docs/results").glob("*/figures/*/*.json"))


@pytest.fixture(params=BUILDS, ids=lambda folder: folder.name)
def folder(request):
    return request.param


@pytest.fixture
def records(folder):
    return sorted(folder.glob("figures/*/*.json"))


@pytest.fixture
def audit(folder):
    return json.loads((folder / "audit/audit.json").read_text())


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: f"{path.parts[-4]}-{path.stem}")
def test_files_are_those_of_the_record(path):
    record = json.loads(path.read_text())
    assert record["seal"] == seal_of(record)
    there = {form for form in record["outputs"] if path.with_suffix(f".{form}").exists()}
    assert {"png", "csv", "md"} <= there
    for form in there:
        content = path.with_suffix(f".{form}").read_bytes()
        assert hashlib.sha256(content).hexdigest() == record["outputs"][form]["sha256"]


def test_records_are_among_those_that_the_seal_holds(folder, records, audit):
    sealed = json.loads((folder / "seal.json").read_text())
    assert sealed["root"] == audit["root"]
    named = {f"results/{audit['preset']}/{path.relative_to(folder).as_posix()}" for path in records}
    assert named
    assert named <= set(sealed["leaves"])


def test_the_audit_trusts_them_and_decides_on_real_data(audit):
    assert audit["trusted"]
    assert [each["claim"] for each in audit["judgements"]] == [claim.id for claim in load_claims()]
    for each in audit["judgements"]:
        deciding = [m for m in each["measurements"] if m["comparable"] and not m["soft"] and m["holds"] is not None]
        decided = each["verdict"] in ("REPRODUCED", "PARTIAL", "NOT REPRODUCED")
        assert decided <= bool(deciding), each["claim"]
        assert decided <= bool(each["number"]), each["claim"]


def test_nothing_in_them_names_a_machine(folder):
    text = [path.read_text() for path in folder.rglob("*") if path.suffix in (".json", ".md", ".csv")]
    assert text
    absolute = re.compile(r"(?<![\w.:/<>-])/[a-z]+/")
    assert absolute.search('data in "/data/mnist"')
    for each in text:
        assert not absolute.search(each)


def judged(**changes):
    values = {
        "claim": "A10", "title": "Local signals in noise", "protocol": "published", "verdict": "REPRODUCED", "data": "Noisy bars",
        "number": "Noisy bars: gain: 7.5 [4.7, 10.4] points", "reason": "4 of 4 hold. A decision takes more draws.",
    }  # fmt: skip
    return {**values, **changes}


def test_rows_say_what_decides_or_what_a_decision_takes():
    rows = list(verdict_rows([judged(), judged(verdict="UNKNOWN", number="", data="")]))
    assert rows[2] == "| A10, Local signals in noise | REPRODUCED | Noisy bars: gain: 7.5 [4.7, 10.4] points | Noisy bars |"
    assert rows[3] == "| A10, Local signals in noise | UNKNOWN | needs more draws | - |"


def test_protocols_are_told_apart_where_there_are_two():
    rows = list(verdict_rows([judged(), judged(protocol="corrected"), judged(claim="A6", protocol=None)]))
    assert rows[2].startswith("| A10, Local signals in noise (published) |")
    assert rows[3].startswith("| A10, Local signals in noise (corrected) |")
    assert rows[4].startswith("| A6, Local signals in noise |")


def test_the_page_shows_every_figure_with_its_caption(folder, records, audit):
    page = results_page(folder, "made by a test")
    for path in records:
        assert f"(figures/{path.parent.name}/{path.stem}.png)" in page
        paragraphs = path.with_suffix(".md").read_text().strip().split("\n\n")
        assert all(each in page for each in paragraphs if " is absent: " not in each)
        # Reasons and remedies are long, and the same for several claims.
        assert all(each.partition(": ")[0] in page for each in paragraphs)
    assert audit["root"] in page
    assert all(deviation["found"] in page for deviation in audit["deviations"])


def test_results_that_the_audit_does_not_trust_are_not_published(tmp_path):
    results = tmp_path / "workstation"
    (results / "audit").mkdir(parents=True)
    (results / "audit/audit.json").write_text(json.dumps({"trusted": False}))
    (results / "seal.json").write_text("{}")
    command = [sys.executable, ROOT / "benchmarks/publish.py", results]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "does not trust" in done.stderr
    assert published_builds(ROOT) == BUILDS


def test_tables_have_rows(folder):
    for path in folder.glob("figures/*/*.csv"):
        with path.open() as file:
            assert len(list(csv.reader(file))) > 1, path.stem


def test_a_claim_is_told_by_the_first_build_that_decides_it(tmp_path):
    verdicts = {
        "large": ["UNKNOWN", "PARTIAL", "UNKNOWN", "INCONCLUSIVE", "UNKNOWN", "PARTIAL"],
        "small": ["REPRODUCED", "REPRODUCED", "SKIPPED", "NOT REPRODUCED", "INCONCLUSIVE", "INCONCLUSIVE"],
    }
    for name, each in verdicts.items():
        folder = tmp_path / "docs/results" / name
        (folder / "audit").mkdir(parents=True)
        (folder / "build.json").write_text("{}")
        judgements = [judged(claim=f"A{i}", verdict=verdict) for i, verdict in enumerate(each)]
        (folder / "audit/audit.json").write_text(json.dumps({"judgements": judgements}))
    told = ["REPRODUCED", "PARTIAL", "UNKNOWN", "NOT REPRODUCED", "INCONCLUSIVE", "PARTIAL"]
    assert [each["verdict"] for each in published_judgements(tmp_path)] == told
