"""Results from elsewhere are taken in whole or not at all, and Snakemake takes them for its own."""

import base64
import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from workflow.conftest import copy_project

from audit.conftest import change
from audit.test_forgeries import ALWAYS, forge
from audit.test_hostile_files import KINDS, device
from audit.tiny import DRAW, FIGURES, RESULTS, RUN, configure
from convrfm.errors import InputError, StorageError
from convrfm.replication.audit import auditing
from convrfm.replication.audit.outcome import Audit, Result, State
from convrfm.replication.audit.replay import Choice
from convrfm.system.storage import sha256

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


def nothing_changed(project: Path) -> bool:
    return content(project / "results") == {} and not list(project.rglob(".tmp-*"))


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


def a_linked_part(project, elsewhere):
    (elsewhere / "figures").rename(project / "figures")
    (elsewhere / "figures").symlink_to(project / "figures")


@pytest.mark.parametrize(
    ("harm", "state"),
    [
        (lambda project, elsewhere: (elsewhere / FIT / "arrays.safetensors").write_bytes(b"x"), State.TAMPERED),
        (a_linked_part, State.TAMPERED),
        (lambda project, elsewhere: (elsewhere / "runs/link").symlink_to(project), State.TAMPERED),
        (lambda project, elsewhere: (elsewhere / "runs/notes.txt").write_text("x"), State.ORPHANED),
        (lambda project, elsewhere: configure(project, protocol="corrected"), State.ORPHANED),
        (lambda project, elsewhere: elsewhere.rename(elsewhere.with_name("away")), State.MISSING),
    ],
)
def test_harm_is_refused(project, elsewhere, harm, state):
    harm(project, elsewhere)
    found = import_results(elsewhere, project)
    assert not found.trusted
    assert {finding.state for finding in found.findings} == {state}
    assert nothing_changed(project)


@pytest.mark.parametrize("spoil", KINDS)
@pytest.mark.parametrize("suffix", ["json", "parquet"])
def test_nothing_is_copied_before_all_has_been_looked_at(project, elsewhere, monkeypatch, suffix, spoil):
    monkeypatch.setattr(auditing, "_copy", None)
    spoil(elsewhere / f"figures/published/theorem1.{suffix}")
    assert {finding.state for finding in import_results(elsewhere, project).findings} == {State.TAMPERED}
    assert nothing_changed(project)


@pytest.mark.parametrize(("free", "found"), [(1000, r"The files in .* MB are free"), (1e15, "It is a symbolic link")])
def test_nothing_is_copied_without_room_nor_what_is_put_in_the_place_of_a_file_meanwhile(
    project, elsewhere, monkeypatch, free, found
):
    table = elsewhere / "figures/published/theorem1.parquet"
    monkeypatch.setattr("shutil.disk_usage", lambda _: device(table) or SimpleNamespace(free=free))
    with pytest.raises(StorageError, match=found):
        import_results(elsewhere, project)
    assert nothing_changed(project)


@pytest.mark.forged
def test_well_hashed_harm_is_refused(project, tmp_path, monkeypatch):
    """What comes out otherwise when it is computed again is not taken in, whatever its hashes say."""
    forge(project, ALWAYS["less noise in a draw"])
    (project / RESULTS).rename(tmp_path / "elsewhere")
    monkeypatch.chdir(project)
    found = auditing.import_folder(tmp_path / "elsewhere", Choice(), 2)
    assert found.findings == ()
    assert [replay.name for replay in found.replays if replay.result is Result.DIFFERENT] == [DRAW]
    assert nothing_changed(project)


def test_other_files_of_the_same_name_are_not_replaced(project, elsewhere):
    mine = project / FIGURES / "fig05.md"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    (found,) = import_results(elsewhere, project).findings
    assert found.file == f"{FIGURES}/fig05.md"
    assert "nothing was replaced" in found.found
    assert content(project / "results") == {"quick/figures/published/fig05.md": sha256(mine)}


def test_the_preset_is_that_of_the_results(project, elsewhere):
    """Whatever config.yaml says, and whatever the folder is called; everything else that config.yaml says counts."""
    change(project / "config.yaml", "preset: quick", "preset: workstation")
    quick = project / "workflow/presets/quick.yaml"
    quick.rename(project / "aside")
    with pytest.raises(InputError, match="are of the preset 'quick', but this project has paper, workstation"):
        import_results(elsewhere, project)
    (project / "aside").rename(quick)
    found = import_results(elsewhere, project)
    assert (found.trusted, found.preset, found.results) == (True, "quick", "results/quick")
    assert content(project / RESULTS) == content(elsewhere)
    assert not (project / "results/workstation").exists()
    for record in [*elsewhere.rglob("record.json"), *(elsewhere / "figures").rglob("*.json")]:
        record.write_text("{}")
    with pytest.raises(InputError, match=r"No record in .* names its preset"):
        import_results(elsewhere, project)


def test_remedies_are_for_the_machine_that_it_came_from(project, elsewhere):
    """Where the files are that they name: here is nothing to be removed or built again."""
    (elsewhere / FIT / "arrays.safetensors").unlink()
    (elsewhere / "runs/it's mine.txt").write_text("x")
    note, *others = [finding.remedy for finding in import_results(elsewhere, project).findings]
    assert note.startswith("On the machine that computed it: rm -r 'results/quick/runs/it'")
    assert len(others) > 1  # the fit, and what was made from it
    for remedy in others:
        assert remedy.startswith("On the machine that computed it: snakemake -c2 --force --config preset=quick")
        assert remedy.endswith("json. Then import it again.")


def test_snakemake_takes_them_for_its_own(project, elsewhere, tmp_path):
    """Of what was imported nothing is planned, though Snakemake remembers an earlier file; what is taken away is."""
    there = copy_project(tmp_path / "checkout")
    shutil.copy(project / "config.yaml", there.root)
    remembered = base64.b64encode(f"{FIGURES}/fig05.png".encode()).decode()
    (there.root / auditing.METADATA).mkdir(parents=True)
    metadata = {"code": "other", "params": ["other"], "input": []}
    (there.root / auditing.METADATA / remembered).write_text(json.dumps(metadata))
    assert import_results(elsewhere, there.root).trusted
    assert there.planned("fig05") == {}
    (there.root / FIGURES / "fig05.png").unlink()
    assert there.planned("fig05") == {"draw_fig05": 1}
