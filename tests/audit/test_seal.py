"""The seal: its root against a tree made by hand, and what it sees of a folder that was changed afterwards."""

import hashlib
import json
import os

import pytest

from audit.tiny import FIGURES, RECORD, RESULTS
from convrfm.replication.audit.cli import main
from convrfm.replication.audit.integrity import SEAL_FILE, Hashes, check_seal, merkle_root, record_hashes
from convrfm.replication.audit.outcome import State

FIVE, SIX = (f"{FIGURES}/{name}.json" for name in ("fig05", "fig06"))
ODD = os.fsdecode(FIGURES.encode() + b"/fig\xff.json")
SEAL = f"{RESULTS}/{SEAL_FILE}"


def hashes_of(project):
    return record_hashes(Hashes(project), RESULTS)


def found_in(project):
    return [(each.state, each.file) for each in check_seal(project, RESULTS, hashes_of(project))]


@pytest.fixture
def sealed(project, capsys):
    """With a record whose name is no text."""
    (project / ODD).write_text("{}")
    assert found_in(project) == []
    assert main(["seal", str(project / RESULTS)]) == 0
    root = capsys.readouterr().out.strip()
    assert root == json.loads((project / SEAL).read_text())["root"] == merkle_root(hashes_of(project))
    assert found_in(project) == []
    return project


def test_the_root_is_that_of_rfc_6962():
    def leaf(text):
        return hashlib.sha256(b"\0" + text.encode()).digest()

    def node(left, right):
        return hashlib.sha256(b"\1" + left + right).digest()

    a, b, c, d, e = (leaf(f"{letter * 64}  {letter}.json") for letter in "abcde")
    hashes = {f"{letter}.json": letter * 64 for letter in "edcba"}
    assert merkle_root(hashes) == node(node(node(a, b), node(c, d)), e).hex()
    assert merkle_root({}) == hashlib.sha256(b"").hexdigest()


def test_records_that_were_changed_removed_or_added_are_named(sealed):
    content = (sealed / RECORD).read_text()
    (sealed / RECORD).write_text(content.replace('"wall_seconds": ', '"wall_seconds": 1'))
    assert found_in(sealed) == [(State.TAMPERED, RECORD)]
    (sealed / RECORD).write_text(content)
    (sealed / FIVE).rename(sealed / SIX)
    (sealed / ODD).write_text("[]")
    assert found_in(sealed) == [(State.MISSING, FIVE), (State.ORPHANED, SIX), (State.TAMPERED, ODD)]


NO_SEALS = ["", "[]", "{}", '{"leaves": 3}', '{"format": 1, "root": "00", "leaves": {"\\ud800": ""}}', "[" * 100_000]


@pytest.mark.parametrize("content", [*NO_SEALS, "edited", "pipe", "link"], ids=range(9))
def test_a_seal_that_is_none(sealed, content):
    if content == "edited":
        (sealed / RECORD).write_text("{}")
        content = json.dumps({**json.loads((sealed / SEAL).read_text()), "leaves": hashes_of(sealed)})
    (sealed / SEAL).unlink()
    if content == "pipe":
        os.mkfifo(sealed / SEAL)
    elif content == "link":
        (sealed / SEAL).symlink_to("/nowhere")
    else:
        (sealed / SEAL).write_text(content)
    assert found_in(sealed) == [(State.TAMPERED, SEAL)]


@pytest.mark.parametrize("folder", ["", "results", "results/quick/runs", "nowhere"])
def test_what_holds_no_results_is_not_sealed(project, folder, capsys):
    assert main(["seal", str(project / folder)]) == 2
    assert "no record of a run or figure to seal" in capsys.readouterr().err
    assert not list(project.rglob(SEAL_FILE))
