"""Every kind of harm to a results folder is found, told apart, and named by its file; a clean one is clean."""

import json
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest
from claims.made_up import cost, put_cost
from workflow.conftest import ROOT

from audit.tiny import BUILT, configure, plan_of, rehash, reseal, settings_of
from convrfm.replication.audit import currency, integrity
from convrfm.replication.audit.integrity import check_integrity
from convrfm.replication.audit.outcome import State
from convrfm.replication.record import closure
from convrfm.replication.record.record import read_record
from convrfm.system.storage import load_arrays, write_arrays, write_table

FIGURES = Path("results/quick/figures/published")
RUNS = Path("results/quick/runs")


def audit(project, settings=None):
    found = check_integrity(project, plan_of(project, settings))
    return {(finding.state, finding.file) for finding in found.findings}, found.findings, found


def only(findings, file) -> str:
    (found,) = [finding.found for finding in findings if finding.file == str(file)]
    return found


def a_run(project, experiment: str) -> Path:
    return min((project / RUNS / experiment / "published").iterdir()).relative_to(project)


def test_a_clean_tree(pristine):
    found, _, checked = audit(pristine)
    assert found == set()
    runs = len(list((pristine / RUNS).glob("*/*/*")))
    assert checked.checked["records"] == runs + len(BUILT)
    assert checked.checked["artefacts"] == 2 * runs + 5 * len(BUILT)
    assert checked.checked["inputs"] > 0
    assert {product.name for product in checked.sound} == {product.name for product in checked.products}


def test_results_beside_no_checkout_have_the_lock_of_the_code(project, monkeypatch):
    """As with `snakemake --directory`; an installed package has no lock at all."""
    shutil.rmtree(project / "envs")
    assert audit(project)[0] == set()
    versions = {"numpy": {"0.1"}}
    with monkeypatch.context() as patch:
        patch.setattr(integrity, "locked_versions", lambda lock: versions if lock == ROOT / "envs/lock.txt" else {})
        assert {state for state, _ in audit(project)[0]} == {State.STALE}
    monkeypatch.setattr(currency, "CHECKOUT", project)
    assert audit(project)[0] == set()


@pytest.mark.parametrize("form", ["png", "pdf", "parquet", "csv", "md"])
def test_one_byte_of_a_figure(project, form):
    path = project / FIGURES / f"fig12.{form}"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    found, _, _ = audit(project)
    assert found == {(State.TAMPERED, str(FIGURES / f"fig12.{form}"))}


def test_one_byte_of_a_run_is_found_there_and_nowhere_else(project):
    path = a_run(project, "rfm") / "arrays.safetensors"
    content = bytearray((project / path).read_bytes())
    content[-1] ^= 1
    (project / path).write_bytes(content)
    # Figure 5, which was drawn from it, is not blamed; but it cannot be drawn again from other bytes.
    found, _, checked = audit(project)
    assert found == {(State.TAMPERED, str(path))}
    assert not {str(path.parent), str(FIGURES / "fig05")} & {product.name for product in checked.sound}


def test_a_table_of_a_run_with_its_hashes_leaves_figures_behind(project):
    run = a_run(project, "rfm")
    table = pd.read_parquet(project / run / "metrics.parquet")
    table["test_accuracy"] = 1.0
    write_table(project / run / "metrics.parquet", table)
    rehash(project, project / run / "record.json")
    found, findings, _ = audit(project)
    assert (State.STALE, str(FIGURES / "fig05.json")) in found
    assert f"{run}/metrics.parquet" in [f.found.split()[4] for f in findings if f.file == str(FIGURES / "fig05.json")]


def test_files_of_two_runs_swapped(project):
    one, two = sorted((project / RUNS / "cnn" / "published").iterdir())[:2]
    for name in ("metrics.parquet",):
        first, second = (one / name).read_bytes(), (two / name).read_bytes()
        (one / name).write_bytes(second)
        (two / name).write_bytes(first)
    expected = {(State.TAMPERED, str((run / "metrics.parquet").relative_to(project))) for run in (one, two)}
    assert audit(project)[0] == expected


def test_folders_of_two_runs_swapped(project):
    one, two = sorted((project / RUNS / "cnn" / "published").iterdir())[:2]
    one.rename(one.with_name("aside"))
    two.rename(one)
    one.with_name("aside").rename(two)
    found, findings, _ = audit(project)
    for run in (one, two):
        assert (State.TAMPERED, str((run / "record.json").relative_to(project))) in found
    assert any("the record of another place" in finding.found for finding in findings)


def test_missing_files(project):
    run = a_run(project, "draw")
    (project / run / "arrays.safetensors").unlink()
    (project / FIGURES / "fig05.png").unlink()
    assert audit(project)[0] == {
        (State.MISSING, str(run / "arrays.safetensors")), (State.MISSING, str(FIGURES / "fig05.png")),
    }  # fmt: skip


def test_a_run_without_a_record(project):
    run = a_run(project, "rfm")
    (project / run / "record.json").unlink()
    found, _, _ = audit(project)
    assert {(State.ORPHANED, str(run / name)) for name in ("arrays.safetensors", "metrics.parquet")} <= found
    assert (State.MISSING, str(run / "record.json")) in found  # Figure 5 was drawn from it


def test_leftovers_and_strangers(project):
    run = a_run(project, "cnn")
    names = (".tmp-abc-arrays.safetensors", "checkpoint-0123.safetensors", "notes.txt")
    for name in names:
        (project / run / name).write_text("x")
    found, findings, _ = audit(project)
    assert found == {(State.ORPHANED, str(run / name)) for name in names}
    assert "killed" in only(findings, run / names[0])


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda record: record["settings"]["rfm"].update(rounds=9), "rfm.rounds was 9, and is 2"),
        (lambda record: record["settings"].update(extra=1), "extra was 1, and is no longer there"),
        (lambda record: record["code"].update(closure="0" * 64, commit=None), "code of convrfm.replication.jobs.fits"),
        (lambda record: record["packages"].update(numpy="1.0.0"), "numpy was 1.0.0, and is locked to"),
        (lambda record: record.update(job="convrfm.replication.jobs.fits:other"), "was made by convrfm.replication.jobs.fits:other"),
    ],
)  # fmt: skip
def test_a_record_of_another_day(project, change, named):
    """A record that is whole, and says other things than the project of today."""
    run = a_run(project, "rfm")
    record = read_record(project / run / "record.json")
    change(record)
    reseal(project / run / "record.json", record)
    found, findings, _ = audit(project)
    # Figure 5 has the hash of the record, too.
    assert found == {(State.STALE, str(run / "record.json")), (State.STALE, str(FIGURES / "fig05.json"))}
    assert named in only(findings, run / "record.json")


def test_a_record_edited_without_its_seal(project):
    record_file = FIGURES / "fig12.json"
    record = read_record(project / record_file)
    record["wall_seconds"] = 0.001
    (project / record_file).write_text(json.dumps(record))
    found, findings, _ = audit(project)
    assert found == {(State.TAMPERED, str(record_file))}
    assert "edited after it was written" in only(findings, record_file)
    del record["seal"]
    (project / record_file).write_text(json.dumps(record))
    assert audit(project)[0] == {(State.STALE, str(record_file))}


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "{}", "null", '{"job": 3}', "\xff", "[" * 100_000, '{"a": NaN}'], ids=range(9)
)
def test_what_is_no_record(project, content):
    run = a_run(project, "cnn")
    (project / run / "record.json").write_text(content)
    found, _, _ = audit(project)
    assert (State.TAMPERED, str(run / "record.json")) in found


def test_inputs_that_lead_out_of_the_project(project):
    run = a_run(project, "rfm")
    record = read_record(project / run / "record.json")
    record["inputs"]["draw/0"]["path"] = "../../etc/passwd"
    reseal(project / run / "record.json", record)
    _, findings, _ = audit(project)
    assert any("outside the project" in finding.found for finding in findings)


def test_a_changed_configuration_names_key_and_values(project):
    settings = configure(project, threads=2, overrides={"features": {**_features(project), "exponent": 0.5}})
    found, findings, _ = audit(project, settings)
    assert found == {(State.STALE, str(FIGURES / "fig12.json"))}
    assert only(findings, FIGURES / "fig12.json") == "The configuration has changed: exponent was 1.0, and is 0.5."


def _features(project) -> dict:
    return settings_of(project).preset.features.model_dump(exclude_unset=True)


def test_the_table_of_costs(project):
    """One that was edited is found; one of older kernels leaves its claim undecided, and is nothing about the results."""
    path = put_cost(project, cost((1, 1, 1)))
    assert audit(project)[0] == set()
    path.write_text(path.read_text().replace("20.0", "30.0"))
    assert audit(project)[0] == {(State.TAMPERED, "benchmarks/cost.csv")}
    put_cost(project, cost((1, 1, 1)))
    (project / "benchmarks/cost.py").write_text("pass")
    assert audit(project)[0] == set()


def test_a_seed_that_is_no_longer_asked_for(project):
    found, _, _ = audit(project, configure(project, seeds=[1]))
    assert all(state in (State.ORPHANED, State.STALE) for state, _ in found)
    orphans = {file for state, file in found if state is State.ORPHANED}
    assert str(a_run(project, "rfm") / "record.json") in orphans
    assert not any("figures" in file for file in orphans)
    assert (State.STALE, str(FIGURES / "fig05.json")) in found


def test_another_protocol(project):
    found, _, _ = audit(project, configure(project, protocol="corrected"))
    assert {state for state, _ in found} == {State.ORPHANED}
    assert (State.ORPHANED, str(FIGURES / "theorem1.json")) in found


def test_the_job_of_a_record_is_not_run(project):
    """Anybody may have written a record: another name than that of the plan is found, and nothing of it is computed."""
    file = project / FIGURES / "fig12.json"
    reseal(file, {**read_record(file), "job": "os:abort"})
    found, findings, checked = audit(project)
    assert found == {(State.STALE, str(FIGURES / "fig12.json"))}
    assert "It was made by os:abort" in only(findings, FIGURES / "fig12.json")
    assert str(FIGURES / "fig12") not in {product.name for product in checked.sound}


def test_a_figure_that_nobody_knows(project):
    for form in ("png", "pdf", "parquet", "csv", "md"):
        shutil.copy(project / FIGURES / f"fig12.{form}", project / FIGURES / f"fig99.{form}")
    record = read_record(project / FIGURES / "fig12.json")
    for described in record["outputs"].values():
        described["path"] = described["path"].replace("fig12", "fig99")
    reseal(project / FIGURES / "fig99.json", record)
    assert audit(project)[0] == {(State.ORPHANED, str(FIGURES / "fig99.json"))}


@pytest.fixture
def changed_code(tmp_path, monkeypatch):
    """A copy of the sources of the package, in a folder without history, and a module of it that Figure 12 is drawn with."""
    root = tmp_path / "src" / "convrfm"
    shutil.copytree(closure.ROOT, root, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(closure, "ROOT", root)
    monkeypatch.setattr(currency, "CHECKOUT", tmp_path)
    closure._source_of.cache_clear()
    yield root / "plots" / "fig12.py"
    closure._source_of.cache_clear()


def change(source: Path) -> None:
    source.write_text(source.read_text(encoding="utf-8") + "\n# changed\n", encoding="utf-8")


def test_code_that_has_changed(project, changed_code):
    change(changed_code)
    found, findings, _ = audit(project)
    assert found == {(State.STALE, str(FIGURES / "fig12.json"))}
    assert "convrfm.replication.figures.fig12" in only(findings, FIGURES / "fig12.json")


def test_the_modules_that_have_changed_are_named(project, changed_code, tmp_path):
    """By the history of the checkout that the code lies in; the results lie where there is none."""

    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=tests", "-c", "user.email=tests@localhost"]
        done = subprocess.run(
            ["git", "-C", tmp_path, *identity, *arguments], capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    git("init", "--quiet")
    git("add", "src")
    git("commit", "--quiet", "--message", "sources")
    file = project / FIGURES / "fig12.json"
    record = read_record(file)
    record["code"] |= {"commit": git("rev-parse", "HEAD"), "dirty": True}
    reseal(file, record)
    change(changed_code)
    sentence = only(audit(project)[1], FIGURES / "fig12.json")
    assert sentence.endswith(", beside changes that were not committed: convrfm.replication.figures.fig12.")
    assert not (project / ".git").exists()


def test_an_input_that_was_built_again(project):
    """A run whose arrays and record are of a later build than what stands on it."""
    run = a_run(project, "rfm")
    arrays = load_arrays(project / run / "arrays.safetensors")
    write_arrays(project / run / "arrays.safetensors", {**arrays, "extra": arrays["best_round/0"]})
    rehash(project, project / run / "record.json")
    found, _, _ = audit(project)
    assert found == {(State.STALE, str(FIGURES / "fig05.json"))}
