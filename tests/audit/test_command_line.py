"""`convrfm` on the command line: exit status, summary, and errors in sentences."""

import dataclasses
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from audit import outcomes
from convrfm.replication.audit import auditing, cli
from convrfm.replication.audit.outcome import Finding, Replay, Result, State
from convrfm.replication.audit.replay import Choice

ROOT = Path(__file__).parents[2]
WRONG = Finding(
    State.TAMPERED, f"{outcomes.RUN}/metrics.parquet", "Its SHA-256 is 00.", "rm it\x1b[2J, and build it again."
)


@pytest.fixture
def project(tmp_path):
    outcomes.lay_out(tmp_path)
    (tmp_path / "config.yaml").write_text("preset: anchors\nprotocol: published\nseeds: [0]\n")
    presets = tmp_path / "workflow/presets"
    presets.mkdir(parents=True)
    for name in ("quick", "anchors"):
        (presets / f"{name}.yaml").write_bytes((ROOT / f"workflow/presets/{name}.yaml").read_bytes())
    return tmp_path


@pytest.fixture
def found(monkeypatch):
    """What the audit is to find, and what it was asked for."""
    asked = {"finds": outcomes.audit()}

    def audit(project, settings, choice, *, cores, place=None):
        asked.update(project=project, preset=settings.config.preset, choice=choice, cores=cores)
        return asked["finds"], {}

    monkeypatch.setattr(auditing, "audit", audit)
    return asked


def test_results_that_can_be_trusted(project, found, capsys):
    assert cli.main(["audit", str(project / "results/quick"), "--cores", "3"]) == 0
    assert found["project"] == project
    assert found["preset"] == "quick"
    assert (found["choice"], found["cores"]) == (Choice(), 3)
    printed = capsys.readouterr().out
    assert "1 REPRODUCED" in printed
    assert "Trusted" in printed
    folder = project / "results/quick"
    assert (folder / "audit/index.html").read_text().startswith("<!doctype html>")
    assert json.loads((folder / "audit/audit.json").read_text())["trusted"] is True
    assert "CreateAction" in (folder / "ro-crate-metadata.json").read_text()


def test_results_that_cannot(project, found, capsys):
    found["finds"] = outcomes.audit(findings=(WRONG,))
    assert cli.main(["audit", str(project / "results/quick")]) == 1
    printed = capsys.readouterr().out
    assert f"TAMPERED {WRONG.file}: {WRONG.found}" in printed
    assert "remedy: rm it\\x1b[2J, and build it again." in printed
    assert "\x1b" not in printed
    assert json.loads((project / "results/quick/audit/audit.json").read_text())["trusted"] is False


def test_a_replay_that_comes_out_otherwise_is_enough(project, found, capsys):
    found["finds"] = outcomes.audit(
        replays=(Replay(outcomes.RUN, Result.DIFFERENT, "metric/1[0, 0] is 2, not 1.", 3.0),)
    )
    assert cli.main(["audit", str(project / "results/quick")]) == 1
    assert "metric/1[0, 0] is 2, not 1." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("said", "choice"),
    [
        (["--replay", "3"], Choice(3)),
        (["--replay", "all"], Choice(None)),
        (["--replay", "claim", "A10", "A13"], Choice(claims=("A10", "A13"))),
        (["--replay", "2", "--beacon", "drand 4242"], Choice(2, beacon="drand 4242")),
    ],
)
def test_what_is_computed_again(project, found, said, choice):
    assert cli.main(["audit", str(project / "results/quick"), *said]) == 0
    assert found["choice"] == choice


@pytest.mark.parametrize("said", [["-1"], ["some"], ["claim"], ["all", "A10"], ["1", "2"], []])
def test_what_is_no_choice(project, found, said, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["audit", str(project / "results/quick"), "--replay", *said])
    assert stop.value.code == 2
    assert "--replay" in capsys.readouterr().err


def test_a_claim_that_the_paper_does_not_make(project, found, capsys):
    assert cli.main(["audit", str(project / "results/quick"), "--replay", "claim", "A99"]) == 2
    assert "There is no claim A99: the claims are A1, " in capsys.readouterr().err


def test_verdicts_alone_do_not_count(project, found):
    found["finds"] = outcomes.audit(judgements=(outcomes.judgement(verdict=outcomes.Verdict.NOT_REPRODUCED),))
    assert cli.main(["audit", str(project / "results/quick")]) == 0


def test_names_and_records_that_are_no_text(project, found, capsys):
    strange = os.fsdecode(b"results/quick/runs/rfm/published/seed=\xff\xfe")
    (project / strange).mkdir()
    record = (project / outcomes.RUN / "record.json").read_text().replace("a processor", "\\ud800 \\udcff")
    (project / strange / "record.json").write_text(record.replace("convrfm.replication", "\\ud800"))
    found["finds"] = outcomes.audit(
        findings=(dataclasses.replace(WRONG, file=f"{strange}/record.json", found="\ud800"),)
    )
    assert cli.main(["audit", str(project / "results/quick")]) == 1
    assert "seed=\\udcff\\udcfe/record.json: \\ud800" in capsys.readouterr().out
    page = (project / "results/quick/audit/index.html").read_text("utf-8")
    assert "seed=??/record.json" in page
    assert "../runs/rfm/published/seed=%FF%FE/record.json" in page
    assert "seed=??" in (project / "results/quick/audit/audit.json").read_text("utf-8")
    assert "udcff" not in (project / "results/quick/ro-crate-metadata.json").read_text("utf-8")


def test_a_second_audit_sees_the_same_and_changes_nothing_but_its_own_files(project, found):
    def others():
        files = (project / "results").rglob("*")
        return {path: path.read_bytes() for path in files if path.is_file() and "audit" not in path.parts}

    before = others()
    cli.main(["audit", str(project / "results/quick")])
    first = (project / "results/quick/audit/index.html").read_text()
    cli.main(["audit", str(project / "results/quick")])
    own = {project / "results/quick" / name for name in ("ro-crate-metadata.json", "codecheck.yml")}
    assert {path: content for path, content in others().items() if path not in own} == before
    second = (project / "results/quick/audit/index.html").read_text()
    strip = [line for line in first.splitlines() if "made at" not in line]
    assert strip == [line for line in second.splitlines() if "made at" not in line]


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("results/none", "is not a folder"),
        ("results", "is not results/<preset> of a project"),
        ("results/quick/runs", "is not results/<preset> of a project"),
        ("results/strange", "preset is 'strange', but must be one of anchors, quick"),
    ],
)
def test_wrong_folders(project, found, capsys, path, sentence):
    (project / "results/strange").mkdir()
    assert cli.main(["audit", str(project / path)]) == 2
    printed = capsys.readouterr()
    assert sentence in printed.err
    assert "Traceback" not in printed.err


@pytest.mark.parametrize("content", ["- a\n- b\n", "a: [", "preset: quick\nprotocl: published\nseeds: [0]\n"])
def test_a_wrong_configuration(project, found, capsys, content):
    (project / "config.yaml").write_text(content)
    assert cli.main(["audit", str(project / "results/quick")]) == 2
    assert capsys.readouterr().err.startswith("error: ")


@pytest.mark.parametrize(("findings", "status"), [((), 0), ((WRONG,), 1)])
def test_results_of_another_machine(project, tmp_path_factory, monkeypatch, capsys, findings, status):
    asked = []

    def import_results(folder, home, audit):
        asked.append((folder, home))
        return outcomes.audit(judgements=(), findings=findings, checked={"taken in": 5})

    monkeypatch.setattr(auditing, "import_results", import_results)
    monkeypatch.chdir(project)
    folder = tmp_path_factory.mktemp("elsewhere")
    assert cli.main(["import-results", str(folder)]) == status
    assert asked == [(folder, project)]
    printed = capsys.readouterr().out
    assert "5 taken in" in printed
    assert ("TAMPERED" in printed) == bool(findings)
    assert "verdicts" not in printed
    assert not (project / "results/quick/audit").exists()


def test_imports_that_cannot_be(project, tmp_path_factory, monkeypatch, capsys):
    monkeypatch.chdir(project)
    assert cli.main(["import-results", "nowhere"]) == 2
    assert "nowhere is not a folder" in capsys.readouterr().err
    monkeypatch.chdir(tmp_path_factory.mktemp("empty"))
    assert cli.main(["import-results", str(project)]) == 2
    assert "run this in the folder of the project" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [[], ["audit"], ["audit", "x", "--cores", "0"], ["audit", "x", "--cores", "a"], ["judge"]]
)
def test_wrong_use(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)
    assert stopped.value.code == 2
    assert "usage: convrfm" in capsys.readouterr().err


def test_packages_that_are_missing_are_named(project, monkeypatch, capsys):
    monkeypatch.delitem(sys.modules, "convrfm.replication.audit.auditing")
    monkeypatch.delitem(sys.modules, "convrfm.replication.audit.crate")
    monkeypatch.setitem(sys.modules, "rocrate.rocrate", None)
    assert cli.main(["audit", str(project / "results/quick")]) == 2
    assert re.search(
        r'rocrate.rocrate is not installed, and audits need it: pip install .*"rocrate>=', capsys.readouterr().err
    )


@pytest.mark.parametrize(
    "start", [["-m", "convrfm"], ["-c", "import sys; from convrfm.replication.audit.cli import main; sys.exit(main())"]]
)
def test_help_is_there_without_waiting(start):
    code = [*start, "audit", "--help"]
    done = subprocess.run([sys.executable, "-X", "importtime", *code], capture_output=True, text=True, check=True)
    assert "Exit status: 0 if the results can be trusted" in done.stdout
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert not loaded & {"numpy", "torch", "pydantic", "jinja2", "rocrate"}
