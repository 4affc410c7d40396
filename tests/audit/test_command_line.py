"""`convrfm` on the command line: exit status, summary, and errors in sentences."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from audit import outcomes
from audit.tiny import RECORD, RESULTS, RUN
from convrfm.replication.audit import auditing, cli
from convrfm.replication.audit.integrity import SEAL_FILE
from convrfm.replication.audit.outcome import Finding, Replay, Result, State
from convrfm.replication.audit.records import find_products
from convrfm.replication.audit.replay import Choice
from convrfm.replication.claims.verdicts import Verdict
from convrfm.replication.record.record import read_record
from convrfm.system.storage import write_json

WRONG = Finding(State.TAMPERED, f"{RUN}/metrics.parquet", "Its SHA-256 is 00.", "rm it\x1b[2J, and build it again.")
NO_RECORD = "no record of a run or figure to seal"
TAMPERED = f"TAMPERED {WRONG.file}: {WRONG.found}\n  remedy: rm it\\x1b[2J, and build it again."


@pytest.fixture
def found(monkeypatch):
    """What the audit is to find, and what it was asked for."""
    asked = {"finds": outcomes.audit()}

    def audit(project, settings, choice, *, cores, place=None):
        asked.update(project=project, choice=choice, cores=cores)
        return asked["finds"], find_products(place or project, RESULTS), {}

    monkeypatch.setattr(auditing, "audit", audit)
    return asked


def run(project, *more):
    return cli.main(["audit", str(project / RESULTS), *more])


@pytest.mark.parametrize(
    ("finds", "status", "printed", "replay", "choice"),
    [
        ({}, 0, "1 REPRODUCED", "3", Choice(3)),
        # Verdicts alone do not count.
        ({"judgements": (outcomes.judgement(verdict=Verdict.NOT_REPRODUCED),)}, 0, "\nTrusted", "all", Choice(None)),
        ({"findings": (WRONG,)}, 1, TAMPERED, "claim A10 A13", Choice(claims=("A10", "A13"))),
        ({"replays": (Replay(RUN, Result.DIFFERENT, "2, not 1", 1.0),)}, 1, "2, not 1", "2 --beacon me", Choice(2, beacon="me")),
    ],
)  # fmt: skip
def test_what_is_computed_again_printed_and_written(project, found, capsys, finds, status, printed, replay, choice):
    found["finds"] = outcomes.audit(**finds)
    assert run(project, "--cores", "3", "--replay", *replay.split()) == status
    assert (found["project"], found["choice"], found["cores"]) == (project, choice, 3)
    said = capsys.readouterr().out
    assert printed in said
    assert "\x1b" not in said
    folder = project / RESULTS
    page = (folder / "audit/index.html").read_text()
    assert page.startswith("<!doctype html>")
    assert read_record(folder / "audit/audit.json")["trusted"] is (status == 0)
    assert "CreateAction" in (folder / "ro-crate-metadata.json").read_text()
    assert (folder / "codecheck.yml").is_file()
    # A second audit sees the same.
    run(project)
    assert found["choice"] == Choice()
    pages = [re.sub("made at .* UTC", "", each) for each in (page, (folder / "audit/index.html").read_text())]
    assert pages[0] == pages[1]


# Of a record with such a job nothing is taken, and one with such settings is in the crate as well.
@pytest.mark.parametrize("odd", [{"job": "\ud800:fit_task"}, {"settings": {"task": "\ud800"}}])
def test_hostile_names_stay_names_and_what_is_no_text_is_told(project, found, capsys, odd):
    strange = os.fsdecode(RUN.encode().replace(b"bars", b"<img src=x onerror=alert(7)>") + b"\"'\xff\xfe")
    write_json(project / strange / "record.json", read_record(project / RECORD) | odd)
    measured = outcomes.measurement(sources=(f"{strange}/metrics.parquet",))
    finding = Finding(State.TAMPERED, f"{strange}/record.json", "\ud800")
    found["finds"] = outcomes.audit(findings=(finding,), judgements=(outcomes.judgement(measurements=(measured,)),))
    assert run(project) == 1
    assert "seed=0\"'\\udcff\\udcfe/record.json: \\ud800" in capsys.readouterr().out
    files = ("audit/index.html", "audit/audit.json", "ro-crate-metadata.json")
    page, document, crate = ((project / RESULTS / file).read_text("utf-8") for file in files)
    assert "<img" not in page
    assert "task=&lt;img src=x onerror=alert(7)&gt;,sigma=2,seed=0&#34;&#39;??/metrics.parquet" in page
    assert "../runs/rfm/published/task=%3Cimg%20src=x%20onerror=alert%287%29%3E,sigma=2,seed=0%22%27%FF%FE/record.json" in page
    assert "'??/record.json" in document
    assert ("'??" in crate) == ("settings" in odd)
    assert "udcff" not in crate


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("audit none", "is not a folder"),
        ("audit .", "is not results/<preset> of a project"),
        ("audit ../workflow/presets", "is not results/<preset> of a project"),
        ("audit strange", "preset: must be one of paper, quick, workstation, not 'strange'"),
        ("audit quick --replay claim A99", "There is no claim A99: the claims are A1, "),
        ("import-results nowhere", "nowhere is not a folder"),
        ("import-results quick", "run this in the folder of the project"),
        *((f"seal {at}", NO_RECORD) for at in ("..", ".", "quick/runs", "nowhere", "../envs/quick")),
        *((content, "config.yaml") for content in ("- a\n- b\n", "a: [", "preset: quick\nprotocl: published\nseeds: [0]\n")),
    ],
)
def test_wrong_folders_claims_and_configurations(project, found, capsys, monkeypatch, arguments, sentence):
    monkeypatch.chdir(project / "results")
    Path("strange").mkdir()
    if sentence == "config.yaml":
        (project / "config.yaml").write_text(arguments)
        arguments = "audit quick"
    assert cli.main(arguments.split()) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("error: ")
    assert sentence in printed
    assert not list(project.rglob(SEAL_FILE))


@pytest.mark.parametrize(("findings", "status"), [((), 0), ((WRONG,), 1)])
def test_results_of_another_machine(project, monkeypatch, capsys, findings, status):
    imported = outcomes.audit(judgements=(), findings=findings, checked={"taken in": 5})
    monkeypatch.setattr(auditing, "_imported", lambda folder, home, choice, cores: imported)
    monkeypatch.chdir(project)
    assert cli.main(["import-results", RESULTS]) == status
    printed = capsys.readouterr().out
    assert "5 taken in" in printed
    assert ("TAMPERED" in printed) == bool(findings)
    assert "verdicts" not in printed
    assert not (project / RESULTS / "audit").exists()


@pytest.mark.parametrize(
    "arguments", ["", "audit", "audit x --cores 0", "audit x --cores a", "judge"]
    + [f"audit x --replay {said}" for said in ("-1", "some", "claim", "all A10", "1 2", "")],
)  # fmt: skip
def test_wrong_use(arguments, capsys):
    with pytest.raises(SystemExit, match="2"):
        cli.main(arguments.split())
    said = capsys.readouterr().err
    assert "usage: convrfm" in said
    assert "--replay" in said.splitlines()[-1] or "--replay" not in arguments


def test_packages_that_are_missing_are_named(project, monkeypatch, capsys):
    for module in ("auditing", "crate"):
        monkeypatch.delitem(sys.modules, f"convrfm.replication.audit.{module}")
    monkeypatch.setitem(sys.modules, "rocrate.rocrate", None)
    assert run(project) == 2
    said = capsys.readouterr().err
    assert re.search(r'rocrate.rocrate is not installed, and audits need it: pip install .*"rocrate>=', said)


def test_help_is_there_without_waiting():
    command = [sys.executable, "-X", "importtime", "-m", "convrfm", "audit", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "Exit status: 0 if the results can be trusted" in done.stdout
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert not loaded & {"numpy", "torch", "pydantic", "jinja2", "rocrate"}
