"""Results from elsewhere are taken in whole or not at all, and Snakemake takes them for its own."""

import base64
import os
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from workflow.conftest import copy_project

from audit.conftest import MISSING, ORPHANED, STALE, TAMPERED, change
from audit.test_forgeries import forge
from audit.test_hostile_files import KINDS
from audit.tiny import DRAW, FIGURES, RESULTS, RUN, configure
from convrfm.errors import InputError, StorageError
from convrfm.replication.audit import auditing
from convrfm.replication.audit.outcome import Audit, Result
from convrfm.replication.audit.replay import Choice
from convrfm.system.storage import sha256, write_bytes, write_json

FIT = RUN.removeprefix(f"{RESULTS}/")


@pytest.fixture
def elsewhere(project, tmp_path, monkeypatch) -> Path:
    """What came from elsewhere; the project has no results then. Nothing is computed again: this is about files."""
    monkeypatch.setattr(auditing, "replay", lambda *_: ())
    folder = tmp_path / "from the cluster"
    (project / RESULTS).rename(folder)
    (project / "results").rmdir()
    return folder


def import_results(folder: Path, project: Path) -> Audit:
    return auditing._imported(folder, project, Choice(), 2)


def content(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): sha256(path) for path in sorted(folder.rglob("*")) if path.is_file()}


def nothing_changed(project: Path, before=()) -> bool:
    return content(project / "results") == dict(before) and not list(project.rglob(".tmp-*"))


def test_clean_results_are_taken_in_and_what_stands_on_something_is_younger(project, elsewhere):
    for number, path in enumerate(sorted(elsewhere.rglob("*"), reverse=True)):
        os.utime(path, (1e9 + number, 1e9 + number))
    found = import_results(elsewhere, project)
    assert found.trusted, found.findings
    assert found.checked["taken in"] == len(content(elsewhere))
    assert content(project / RESULTS) == content(elsewhere)
    assert not list(project.rglob(".tmp-*"))
    files = (f"{DRAW}/arrays.safetensors", f"{RUN}/metrics.parquet", f"{FIGURES}/fig05.png")
    draw, fit, figure = ((project / file).stat().st_mtime for file in files)
    assert draw < fit < figure
    again = import_results(elsewhere, project)
    assert (again.trusted, again.checked["taken in"], again.checked["there already"]) == (True, 0, len(content(elsewhere)))


PUT, NEITHER = "Put the file itself in its place, or remove it.$", "neither of the folders"
THERE = "On the machine that computed it: {}\\. Then import it again\\.$"
BUILD = THERE.format("snakemake -c2 --force --config preset=quick .*json")
HARM = [
    *((f"figures/published/theorem1.{form}", spoil, TAMPERED, PUT) for spoil in KINDS.values() for form in ("json", "parquet")),
    ("figures", lambda path: path.symlink_to(path.rename(path.parents[1] / "part")), TAMPERED, PUT),
    ("runs/link", lambda path: path.symlink_to(path.parent), TAMPERED, PUT),
    (".", lambda path: path.rename(path.with_name("away")), MISSING, NEITHER),
    # What is found in a copy.
    (f"{FIT}/arrays.safetensors", lambda path: path.write_bytes(b"x"), TAMPERED, BUILD),
    (f"{FIT}/arrays.safetensors", Path.unlink, MISSING, BUILD),
    ("runs/it's mine.txt", Path.touch, ORPHANED, THERE.format("rm -r 'results/quick/runs/it'.*")),
    ("../project", lambda path: configure(path, protocol="corrected"), ORPHANED, THERE.format("rm -r .* configuration back")),
    ("../project", lambda path: write_bytes(path / FIGURES / "fig05.md", b"mine"), STALE, "fig05.md: .* nothing was replaced"),
]


@pytest.mark.parametrize(("file", "harm", "state", "told"), HARM)
def test_harm_is_refused(project, elsewhere, monkeypatch, file, harm, state, told):
    """Remedies are for the machine that it came from, where the files are that they name."""
    harm(elsewhere / file)
    before = content(project / "results")
    if told in (PUT, NEITHER):
        monkeypatch.setattr(auditing, "_copy", None)
    found = import_results(elsewhere, project)
    assert not found.trusted
    assert {finding.state for finding in found.findings} == {state}
    assert all(re.search(told, f"{finding.file}: {finding.found} {finding.remedy}") for finding in found.findings)
    assert nothing_changed(project, before)


@pytest.mark.parametrize(("free", "found"), [(1000, r"The files in .* MB are free"), (1e15, "It is a symbolic link")])
def test_nothing_is_copied_without_room_nor_a_link_put_in_place_meanwhile(project, elsewhere, monkeypatch, free, found):
    table = elsewhere / "figures/published/theorem1.parquet"
    monkeypatch.setattr("shutil.disk_usage", lambda _: KINDS["device"](table) and SimpleNamespace(free=free))
    with pytest.raises(StorageError, match=found):
        import_results(elsewhere, project)
    assert nothing_changed(project)


@pytest.mark.forged
def test_well_hashed_harm_is_refused(project, tmp_path, monkeypatch):
    """What comes out otherwise when it is computed again is not taken in, whatever its hashes say."""
    forge(project, "less noise in a draw")
    (project / RESULTS).rename(tmp_path / "elsewhere")
    monkeypatch.chdir(project)
    found = auditing.import_folder(tmp_path / "elsewhere", Choice(), 2)
    assert found.findings == ()
    assert [replay.name for replay in found.replays if replay.result is Result.DIFFERENT] == [DRAW]
    assert nothing_changed(project)


def test_the_preset_is_that_of_the_results(project, elsewhere):
    """Whatever config.yaml says, and whatever the folder is called; everything else that config.yaml says counts."""
    change(project / "config.yaml", "preset: quick", "preset: workstation")
    found = import_results(elsewhere, project)
    assert (found.trusted, found.preset, found.results) == (True, "quick", "results/quick")
    assert content(project / RESULTS) == content(elsewhere)
    assert not (project / "results/workstation").exists()
    (project / "workflow/presets/quick.yaml").unlink()
    with pytest.raises(InputError, match="are of the preset 'quick', but this project has paper, workstation"):
        import_results(elsewhere, project)
    for record in [*elsewhere.rglob("record.json"), *(elsewhere / "figures").rglob("*.json")]:
        record.write_text("{}")
    with pytest.raises(InputError, match=r"No record in .* names its preset"):
        import_results(elsewhere, project)


def test_snakemake_takes_them_for_its_own(project, elsewhere, tmp_path):
    """Of what was imported nothing is planned, though Snakemake remembered earlier files; if it still did, it would be."""
    there = copy_project(tmp_path / "checkout")
    shutil.copy(project / "config.yaml", there.root)
    memory = there.root / auditing.METADATA
    for path in (elsewhere / "figures/published").glob("fig05.*"):
        name = base64.b64encode(f"{FIGURES}/{path.name}".encode()).decode()
        write_json(memory / name, {"record_format_version": 6, "code": "other", "params": ["other"], "input": []})
    shutil.copytree(memory, tmp_path / "memory")
    assert import_results(elsewhere, there.root).trusted
    assert there.planned("fig05") == {}
    shutil.copytree(tmp_path / "memory", memory, dirs_exist_ok=True)
    assert there.planned("fig05") == {"draw_fig05": 1}
