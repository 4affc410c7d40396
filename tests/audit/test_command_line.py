"""`convrfm` on the command line: exit status, summary, and errors in sentences."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace

import pytest

from audit import outcomes
from audit.tiny import RECORD, RESULTS, RUN
from convrfm.replication.audit import auditing, cli
from convrfm.replication.audit.outcome import Finding, Replay, Result, State
from convrfm.replication.audit.records import find_products
from convrfm.replication.audit.replay import Choice
from convrfm.replication.claims.verdicts import Verdict

WRONG = Finding(State.TAMPERED, f"{RUN}/metrics.parquet", "Its SHA-256 is 00.", "rm it\x1b[2J, and build it again.")
DIFFERENT = Replay(RUN, Result.DIFFERENT, "metric/1[0, 0] is 2, not 1.", 3.0)


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
    ("finds", "status", "printed"),
    [
        ({}, 0, "1 REPRODUCED"),
        # Verdicts alone do not count.
        ({"judgements": (outcomes.judgement(verdict=Verdict.NOT_REPRODUCED),)}, 0, "\nTrusted"),
        ({"findings": (WRONG,)}, 1, f"TAMPERED {WRONG.file}: {WRONG.found}\n  remedy: rm it\\x1b[2J, and build it again."),
        ({"replays": (DIFFERENT,)}, 1, "metric/1[0, 0] is 2, not 1."),
    ],
)  # fmt: skip
def test_what_is_printed_and_written(project, found, capsys, finds, status, printed):
    found["finds"] = outcomes.audit(**finds)
    assert run(project, "--cores", "3") == status
    assert (found["project"], found["choice"], found["cores"]) == (project, Choice(), 3)
    said = capsys.readouterr().out
    assert printed in said
    assert "\x1b" not in said
    folder = project / RESULTS
    page = (folder / "audit/index.html").read_text()
    assert page.startswith("<!doctype html>")
    assert json.loads((folder / "audit/audit.json").read_text())["trusted"] is (status == 0)
    assert "CreateAction" in (folder / "ro-crate-metadata.json").read_text()
    assert (folder / "codecheck.yml").is_file()
    # A second audit sees the same.
    run(project)
    pages = [re.sub("made at .* UTC", "", each) for each in (page, (folder / "audit/index.html").read_text())]
    assert pages[0] == pages[1]


@pytest.mark.parametrize(
    ("said", "choice"),
    [
        (["3"], Choice(3)),
        (["all"], Choice(None)),
        (["claim", "A10", "A13"], Choice(claims=("A10", "A13"))),
        (["2", "--beacon", "drand 4242"], Choice(2, beacon="drand 4242")),
    ],
)
def test_what_is_computed_again(project, found, said, choice):
    assert run(project, "--replay", *said) == 0
    assert found["choice"] == choice


# Of a record with such a job nothing is taken, and one with such settings is in the crate as well.
@pytest.mark.parametrize("odd", [{"job": "\ud800:fit_task"}, {"settings": {"task": "\ud800"}}])
def test_names_and_records_that_are_no_text(project, found, capsys, odd):
    strange = os.fsdecode(b"results/quick/runs/rfm/published/seed=\xff\xfe")
    (project / strange).mkdir()
    record = json.loads((project / RECORD).read_text()) | odd
    (project / strange / "record.json").write_text(json.dumps(record))
    sources = (f"{strange}/record.json",)
    judged = outcomes.judgement(measurements=(outcomes.measurement(sources=sources),))
    finding = replace(WRONG, file=sources[0], found="\ud800")
    found["finds"] = outcomes.audit(findings=(finding,), judgements=(judged,))
    assert run(project) == 1
    assert "seed=\\udcff\\udcfe/record.json: \\ud800" in capsys.readouterr().out
    page = (project / RESULTS / "audit/index.html").read_text("utf-8")
    assert "seed=??/record.json" in page
    assert "../runs/rfm/published/seed=%FF%FE/record.json" in page
    assert "seed=??" in (project / RESULTS / "audit/audit.json").read_text("utf-8")
    crate = (project / RESULTS / "ro-crate-metadata.json").read_text("utf-8")
    assert ("seed=??" in crate) == ("settings" in odd)
    assert "udcff" not in crate


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["audit", "results/none"], "is not a folder"),
        (["audit", "results"], "is not results/<preset> of a project"),
        (["audit", "results/quick/runs"], "is not results/<preset> of a project"),
        (["audit", "results/strange"], "preset: must be one of paper, quick, workstation, not 'strange'"),
        (["audit", "results/quick", "--replay", "claim", "A99"], "There is no claim A99: the claims are A1, "),
        (["import-results", "nowhere"], "nowhere is not a folder"),
        *((content, "config.yaml") for content in ("- a\n- b\n", "a: [", "preset: quick\nprotocl: published\nseeds: [0]\n")),
    ],
)
def test_wrong_folders_claims_and_configurations(project, found, capsys, monkeypatch, arguments, sentence):
    monkeypatch.chdir(project)
    (project / "results/strange").mkdir()
    if isinstance(arguments, str):
        (project / "config.yaml").write_text(arguments)
        arguments = ["audit", RESULTS]
    assert cli.main(arguments) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("error: ")
    assert sentence in printed


@pytest.mark.parametrize(("findings", "status"), [((), 0), ((WRONG,), 1)])
def test_results_of_another_machine(project, tmp_path_factory, monkeypatch, capsys, findings, status):
    imported = outcomes.audit(judgements=(), findings=findings, checked={"taken in": 5})
    monkeypatch.setattr(auditing, "_imported", lambda folder, home, choice, cores: imported)
    folder = tmp_path_factory.mktemp("elsewhere")
    monkeypatch.chdir(folder)
    assert cli.main(["import-results", str(folder)]) == 2
    assert "run this in the folder of the project" in capsys.readouterr().err
    monkeypatch.chdir(project)
    assert cli.main(["import-results", str(folder)]) == status
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


@pytest.mark.parametrize(
    "start", [["-m", "convrfm"], ["-c", "import sys; from convrfm.replication.audit.cli import main; sys.exit(main())"]]
)
def test_help_is_there_without_waiting(start):
    code = [*start, "audit", "--help"]
    done = subprocess.run([sys.executable, "-X", "importtime", *code], capture_output=True, text=True, check=True)
    assert "Exit status: 0 if the results can be trusted" in done.stdout
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert not loaded & {"numpy", "torch", "pydantic", "jinja2", "rocrate"}
