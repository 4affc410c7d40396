"""Results from elsewhere are taken in whole or not at all, and Snakemake takes them for its own."""

import base64
import json
import os
import shutil
from pathlib import Path

import pytest
from workflow.conftest import copy_project

from audit.tiny import configure, follow, plan_of, rehash
from convrfm.errors import InputError
from convrfm.replication.audit import importing
from convrfm.replication.audit.auditing import METADATA, import_folder
from convrfm.replication.audit.integrity import check_integrity
from convrfm.replication.audit.outcome import Audit, Result, State
from convrfm.replication.audit.replay import Choice
from convrfm.system.storage import load_arrays, sha256, write_arrays

RESULTS = Path("results/quick")


def import_results(folder: Path, project: Path) -> Audit:
    """Without computing anything again: these tests are about files."""

    def audited(settings, place):
        checked = check_integrity(project, plan_of(project, settings), place=place)
        return Audit("quick", RESULTS.as_posix(), (), (), checked.findings, (), (), "HEAD", checked.checked, "", "")

    return importing.import_results(folder, project, audited)


@pytest.fixture
def elsewhere(project, tmp_path) -> Path:
    """What came from elsewhere; the project has no results then."""
    folder = tmp_path / "from the cluster"
    (project / RESULTS).rename(folder)
    (project / "results").rmdir()
    return folder


def content(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): sha256(path) for path in sorted(folder.rglob("*")) if path.is_file()}


def nothing_changed(project: Path) -> bool:
    return content(project / "results") == {} and not list(project.rglob(".tmp-*"))


def test_clean_results_are_taken_in(project, elsewhere):
    found = import_results(elsewhere, project)
    assert found.trusted, found.findings
    assert found.checked["taken in"] == len(content(elsewhere))
    assert content(project / RESULTS) == content(elsewhere)
    assert not list(project.rglob(".tmp-*"))
    again = import_results(elsewhere, project)
    assert (again.trusted, again.checked["taken in"]) == (True, 0)


def test_what_stands_on_something_is_younger(project, elsewhere):
    for number, path in enumerate(sorted(elsewhere.rglob("*"), reverse=True)):
        os.utime(path, (1e9 + number, 1e9 + number))
    assert import_results(elsewhere, project).trusted
    runs = project / RESULTS / "runs"
    (draw,) = runs.glob("draw/*/*/arrays.safetensors")
    (fit,) = runs.glob("rfm/*/*/metrics.parquet")
    figure = project / RESULTS / "figures/published/fig05.png"
    assert draw.stat().st_mtime < fit.stat().st_mtime < figure.stat().st_mtime


def test_harm_is_refused(project, elsewhere):
    path = next((elsewhere / "runs/rfm").rglob("arrays.safetensors"))
    path.write_bytes(path.read_bytes() + b"x")
    found = import_results(elsewhere, project)
    assert not found.trusted
    assert [finding.state for finding in found.findings] == [State.TAMPERED]
    assert nothing_changed(project)


def test_well_hashed_harm_is_refused(project, tmp_path, monkeypatch):
    """What comes out otherwise when it is computed again is not taken in, whatever its hashes say."""
    draw = min((project / RESULTS / "runs/draw/published").iterdir())
    arrays = load_arrays(draw / "arrays.safetensors")
    write_arrays(draw / "arrays.safetensors", {**arrays, "train/frame": arrays["train/frame"] / 2})
    rehash(project, draw / "record.json")
    follow(project, draw)
    (project / RESULTS).rename(tmp_path / "elsewhere")
    monkeypatch.chdir(project)
    found = import_folder(tmp_path / "elsewhere", Choice(), 2)
    assert found.findings == ()
    different = [replay.name for replay in found.replays if replay.result is Result.DIFFERENT]
    assert different == [draw.relative_to(project).as_posix()]
    assert nothing_changed(project)


def test_other_files_of_the_same_name_are_not_replaced(project, elsewhere):
    mine = project / RESULTS / "figures/published/fig05.md"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    found = import_results(elsewhere, project)
    assert [finding.file for finding in found.findings] == ["results/quick/figures/published/fig05.md"]
    assert "nothing was replaced" in found.findings[0].found
    assert content(project / "results") == {"quick/figures/published/fig05.md": sha256(mine)}


@pytest.mark.parametrize("kind", ["file", "folder", "part", "pipe"])
def test_links_and_pipes_are_refused(project, elsewhere, tmp_path, kind):
    (tmp_path / "secret").write_text("secret")
    place = elsewhere / "runs" / "link"
    if kind == "file":
        place.symlink_to(tmp_path / "secret")
    elif kind == "folder":
        place.symlink_to(tmp_path)
    elif kind == "part":
        (elsewhere / "figures").rename(tmp_path / "figures")
        (elsewhere / "figures").symlink_to(tmp_path / "figures")
    else:
        os.mkfifo(place)
    found = import_results(elsewhere, project)
    assert {finding.state for finding in found.findings} == {State.TAMPERED}
    assert nothing_changed(project)


def test_strangers_are_refused(project, elsewhere):
    (elsewhere / "runs" / "notes.txt").write_text("x")
    assert [finding.state for finding in import_results(elsewhere, project).findings] == [State.ORPHANED]
    assert nothing_changed(project)


def test_results_of_another_configuration_are_refused(project, elsewhere):
    configure(project, seeds=[7])
    assert not import_results(elsewhere, project).trusted
    assert nothing_changed(project)


def say_another_preset(project: Path) -> None:
    path = project / "config.yaml"
    path.write_text(path.read_text().replace("preset: quick", "preset: anchors"))


def test_the_preset_is_that_of_the_results(project, elsewhere):
    """Whatever config.yaml says, and whatever the folder is called; everything else that config.yaml says counts."""
    say_another_preset(project)
    found = import_results(elsewhere, project)
    assert (found.trusted, found.preset, found.results) == (True, "quick", "results/quick")
    assert content(project / RESULTS) == content(elsewhere)
    assert not (project / "results/anchors").exists()


def test_a_preset_that_the_project_does_not_have(project, elsewhere):
    (project / "workflow/presets/quick.yaml").unlink()
    say_another_preset(project)
    with pytest.raises(InputError, match="are of the preset 'quick', but this project has anchors, paper"):
        import_results(elsewhere, project)
    for record in [*elsewhere.rglob("record.json"), *(elsewhere / "figures").rglob("*.json")]:
        record.write_text("{}")
    with pytest.raises(InputError, match=r"No record in .* says which preset"):
        import_results(elsewhere, project)
    assert nothing_changed(project)


def test_remedies_are_for_the_machine_that_it_came_from(project, elsewhere):
    """Where the files are that they name: here is nothing to be removed or built anew."""
    next((elsewhere / "runs/rfm").rglob("arrays.safetensors")).unlink()
    (elsewhere / "runs" / "it's mine.txt").write_text("x")
    note, *others = [finding.remedy for finding in import_results(elsewhere, project).findings]
    assert note.startswith("On the machine that computed it: rm -r 'results/quick/runs/it'")
    assert len(others) > 1  # the fit, and what was made from it
    for remedy in others:
        assert remedy.startswith("On the machine that computed it: snakemake -c2 --force --config preset=quick")
        assert remedy.endswith("json. Then import it again.")


def test_a_folder_that_is_none(project, elsewhere, tmp_path):
    for folder in (tmp_path / "nowhere", elsewhere / "runs"):
        assert [finding.state for finding in import_results(folder, project).findings] == [State.MISSING]
    assert nothing_changed(project)


def test_snakemake_takes_them_for_its_own(project, elsewhere, tmp_path):
    """Of what was imported nothing is planned, though Snakemake remembers an earlier file; what is taken away is."""
    there = copy_project(tmp_path / "checkout")
    shutil.copy(project / "config.yaml", there.root)
    remembered = base64.b64encode(b"results/quick/figures/published/fig05.png").decode()
    (there.root / METADATA).mkdir(parents=True)
    (there.root / METADATA / remembered).write_text(json.dumps({"code": "other", "params": ["other"], "input": []}))
    assert import_results(elsewhere, there.root).trusted
    assert there.planned("fig05") == {}
    (there.results / "figures/published/fig05.png").unlink()
    assert there.planned("fig05") == {"draw_fig05": 1}
