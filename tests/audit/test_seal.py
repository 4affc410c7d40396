"""The seal: its root against a tree made by hand, and what it sees of a folder that was changed afterwards."""

import hashlib
import json
import os

import pytest

from audit import outcomes
from convrfm.replication.audit.cli import main
from convrfm.replication.audit.integrity import SEAL_FILE, check_seal, merkle_root, record_hashes
from convrfm.replication.audit.outcome import State
from convrfm.replication.audit.records import Hashes

RECORD = f"{outcomes.RUN}/record.json"
FIGURE = f"{outcomes.RESULTS}/figures/published/fig05.json"


@pytest.fixture
def project(tmp_path):
    outcomes.lay_out(tmp_path)
    return tmp_path


@pytest.fixture
def sealed(project, capsys):
    assert main(["seal", str(project / outcomes.RESULTS)]) == 0
    root = capsys.readouterr().out.strip()
    assert root == json.loads((project / outcomes.RESULTS / SEAL_FILE).read_text())["root"]
    assert root == merkle_root(record_hashes(Hashes(project), outcomes.RESULTS))
    return project


def found_in(project):
    return [
        (each.state, each.file)
        for each in check_seal(project, outcomes.RESULTS, record_hashes(Hashes(project), outcomes.RESULTS))
    ]


def test_the_root_is_that_of_rfc_6962():
    def leaf(text):
        return hashlib.sha256(b"\0" + text.encode()).digest()

    def node(left, right):
        return hashlib.sha256(b"\1" + left + right).digest()

    a, b, c, d, e = (leaf(f"{letter * 64}  {letter}.json") for letter in "abcde")
    hashes = {f"{letter}.json": letter * 64 for letter in "edcba"}
    assert merkle_root(hashes) == node(node(node(a, b), node(c, d)), e).hex()
    assert merkle_root({}) == hashlib.sha256(b"").hexdigest()


def test_a_folder_that_is_as_it_was_sealed_has_no_finding(sealed):
    assert found_in(sealed) == []


def test_without_a_seal_there_is_no_finding(project):
    assert found_in(project) == []


def test_records_that_were_changed_removed_or_added_are_named(sealed):
    record = sealed / RECORD
    content = record.read_text()
    record.write_text(content.replace("7.9", "7.8"))
    assert found_in(sealed) == [(State.TAMPERED, RECORD)]
    record.write_text(content)
    (sealed / FIGURE).rename(sealed / FIGURE.replace("fig05", "fig06"))
    assert found_in(sealed) == [(State.MISSING, FIGURE), (State.ORPHANED, FIGURE.replace("fig05", "fig06"))]


def test_names_that_are_no_text_are_sealed_as_well(project, capsys):
    odd = project / outcomes.RESULTS / "figures/published" / os.fsdecode(b"fig\xff.json")
    odd.write_text("{}")
    assert main(["seal", str(project / outcomes.RESULTS)]) == 0
    assert found_in(project) == []
    odd.write_text("[]")
    assert [state for state, _ in found_in(project)] == [State.TAMPERED]


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"leaves": 3}', '{"format": 1, "root": "00", "leaves": {"\\ud800": ""}}', "[" * 100_000],
)
def test_a_seal_that_is_none(sealed, content):
    (sealed / outcomes.RESULTS / SEAL_FILE).write_text(content)
    assert found_in(sealed) == [(State.TAMPERED, f"{outcomes.RESULTS}/{SEAL_FILE}")]


def test_an_edited_seal_does_not_fit_its_own_root(sealed):
    path = sealed / outcomes.RESULTS / SEAL_FILE
    (sealed / RECORD).write_text("{}")
    content = json.loads(path.read_text())
    content["leaves"] = record_hashes(Hashes(sealed), outcomes.RESULTS)
    path.write_text(json.dumps(content))
    assert found_in(sealed) == [(State.TAMPERED, f"{outcomes.RESULTS}/{SEAL_FILE}")]


def test_a_seal_that_is_no_plain_file_is_not_read(project):
    path = project / outcomes.RESULTS / SEAL_FILE
    os.mkfifo(path)
    assert found_in(project) == [(State.TAMPERED, f"{outcomes.RESULTS}/{SEAL_FILE}")]
    path.unlink()
    path.symlink_to("/nowhere")
    assert found_in(project) == [(State.TAMPERED, f"{outcomes.RESULTS}/{SEAL_FILE}")]


@pytest.mark.parametrize("folder", ["", "results", "results/quick/runs", "nowhere"])
def test_what_holds_no_results_is_not_sealed(project, folder, capsys):
    assert main(["seal", str(project / folder)]) == 2
    assert "there is nothing to seal" in capsys.readouterr().err
    assert not list(project.rglob(SEAL_FILE))
