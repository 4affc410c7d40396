"""Every kind of harm to a results folder is found, told apart, and named by its file; a clean one is clean."""

import json
import os
import shutil
from pathlib import Path

import pandas as pd
import pytest
from claims.made_up import cost, put_cost

from audit.conftest import change, git
from audit.tiny import BUILT, configure, plan_of, rehash, reseal, settings_of
from convrfm.replication.audit import changes
from convrfm.replication.audit.integrity import check_integrity
from convrfm.replication.audit.outcome import State
from convrfm.replication.audit.records import rebuild
from convrfm.replication.plan.plan import FIGURE_FORMATS
from convrfm.replication.plan.plan import FIGURES as TABLE
from convrfm.replication.record import closure
from convrfm.replication.record.record import read_record
from convrfm.system.storage import load_arrays, write_arrays, write_table

FIGURES, RUNS = Path("results/quick/figures/published"), Path("results/quick/runs")
FIVE, TWELVE = str(FIGURES / "fig05.json"), str(FIGURES / "fig12.json")
MODULE = TABLE["fig12"].job.partition(":")[0]
TAMPERED, STALE, ORPHANED, MISSING = State


def audit(project, settings=None):
    found = check_integrity(project, plan_of(project, settings))
    return {(finding.state, finding.file) for finding in found.findings}, found


def states(project, settings=None):
    return audit(project, settings)[0]


def only(checked, file) -> str:
    (found,) = [finding.found for finding in checked.findings if finding.file == str(file)]
    return found


def a_run(project, experiment: str, number: int = 0) -> Path:
    return sorted((project / RUNS / experiment / "published").iterdir())[number].relative_to(project)


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def test_a_clean_tree(pristine):
    found, checked = audit(pristine)
    assert found == set()
    runs = len(list((pristine / RUNS).glob("*/*/*")))
    assert checked.checked["records"] == runs + len(BUILT)
    assert checked.checked["artefacts"] == 2 * runs + 5 * len(BUILT)
    assert checked.checked["inputs"] > 0
    assert {product.name for product in checked.sound} == {product.name for product in checked.products}


def test_results_beside_no_checkout_have_the_lock_of_the_code(project, tmp_path, monkeypatch):
    """As with `snakemake --directory`; an installed package has no lock at all."""
    shutil.rmtree(project / "envs")
    assert states(project) == set()
    monkeypatch.setattr(changes, "CHECKOUT", tmp_path)
    assert states(project) == set()
    (tmp_path / "envs").mkdir()
    (tmp_path / "envs/lock.txt").write_text("numpy==0.1\n")
    assert {state for state, _ in states(project)} == {STALE}


@pytest.mark.parametrize("form", FIGURE_FORMATS)
def test_one_byte_of_a_figure(project, form):
    path = FIGURES / f"fig12.{form}"
    flip(project / path, (project / path).stat().st_size // 2)
    found, checked = audit(project)
    assert found == {(TAMPERED, str(path))}
    assert checked.findings[0].remedy == f"snakemake -c2 --force --config preset=quick protocol=published -- {TWELVE}"


def test_one_byte_of_a_run_is_found_there_and_nowhere_else(project):
    path = a_run(project, "rfm") / "arrays.safetensors"
    flip(project / path, -1)
    # Figure 5, which was drawn from it, is not blamed; but it cannot be drawn again from other bytes.
    found, checked = audit(project)
    assert found == {(TAMPERED, str(path))}
    assert checked.findings[0].remedy == rebuild(str(path.parent / "record.json"))
    assert rebuild("results/a/runs/rfm/corrected/b c/record.json").endswith(
        "preset=a protocol=corrected -- 'results/a/runs/rfm/corrected/b c/record.json'"
    )
    assert not {str(path.parent), str(FIGURES / "fig05")} & {product.name for product in checked.sound}


def test_a_run_that_changed_with_its_hashes_leaves_figures_behind(project):
    """A table that was edited, or arrays of a later build than what stands on them."""
    run = a_run(project, "rfm")
    arrays = load_arrays(project / run / "arrays.safetensors")
    write_arrays(project / run / "arrays.safetensors", {**arrays, "extra": arrays["best_round/0"]})
    rehash(project, project / run / "record.json")
    assert states(project) == {(STALE, FIVE)}
    table = pd.read_parquet(project / run / "metrics.parquet")
    write_table(project / run / "metrics.parquet", table.assign(test_accuracy=1.0))
    rehash(project, project / run / "record.json")
    found, checked = audit(project)
    assert found == {(STALE, FIVE)}
    assert any(f"made from {run}/metrics.parquet of" in finding.found for finding in checked.findings)


def swap(one: Path, two: Path) -> None:
    one.rename(one.with_name("aside"))
    two.rename(one)
    one.with_name("aside").rename(two)


def test_files_or_folders_of_two_runs_swapped(project):
    one, two = (a_run(project, "cnn", number) for number in (0, 1))
    swap(project / one / "metrics.parquet", project / two / "metrics.parquet")
    assert states(project) == {(TAMPERED, str(run / "metrics.parquet")) for run in (one, two)}
    swap(project / one / "metrics.parquet", project / two / "metrics.parquet")
    swap(project / one, project / two)
    found, checked = audit(project)
    assert {(TAMPERED, str(run / "record.json")) for run in (one, two)} <= found
    assert any("the record of another place" in finding.found for finding in checked.findings)


def test_missing_files_leftovers_and_strangers(project):
    draw, fit, network = (a_run(project, kind) for kind in ("draw", "rfm", "cnn"))
    leftovers = [str(network / name) for name in (".tmp-abc", "checkpoint-0123.safetensors", "notes.txt")]
    for file in leftovers:
        (project / file).write_text("x")
    for file in (draw / "arrays.safetensors", FIGURES / "fig05.png", fit / "record.json"):
        (project / file).unlink()
    found, checked = audit(project)
    orphans = [*leftovers, *(str(fit / name) for name in ("arrays.safetensors", "metrics.parquet"))]
    missing = [str(draw / "arrays.safetensors"), str(FIGURES / "fig05.png"), str(fit / "record.json")]
    assert found == {*((ORPHANED, file) for file in orphans), *((MISSING, file) for file in missing)}
    assert "killed" in only(checked, leftovers[0])


@pytest.mark.parametrize(
    ("edit", "named"),
    [
        (lambda record: record["settings"]["rfm"].update(rounds=9), "rfm.rounds was 9, and is 2"),
        (lambda record: record["settings"].update(extra=1), "extra was 1, and is absent"),
        (lambda record: record["code"].update(closure="0" * 64, commit=None), "code of convrfm.replication.jobs.fits"),
        (lambda record: record["packages"].update(numpy="1.0.0"), "numpy was 1.0.0, and is locked to"),
        # Anybody may have written a record: nothing of it is run.
        (lambda record: record.update(job="os:abort"), "It was made by os:abort"),
    ],
)
def test_a_record_of_another_day(project, edit, named):
    """A record that is whole, and says other things than the project of today."""
    run = a_run(project, "rfm")
    record = read_record(project / run / "record.json")
    edit(record)
    reseal(project / run / "record.json", record)
    found, checked = audit(project)
    # Figure 5 has the hash of the record, too.
    assert found == {(STALE, str(run / "record.json")), (STALE, FIVE)}
    assert named in only(checked, run / "record.json")
    assert str(run) not in {product.name for product in checked.sound}


def test_a_record_edited_without_its_seal(project):
    record = {**read_record(project / TWELVE), "wall_seconds": 0.001}
    (project / TWELVE).write_text(json.dumps(record))
    found, checked = audit(project)
    assert found == {(TAMPERED, TWELVE)}
    assert "edited after it was written" in only(checked, TWELVE)
    del record["seal"]
    (project / TWELVE).write_text(json.dumps(record))
    assert states(project) == {(STALE, TWELVE)}


NO_RECORDS = ["", "{", "[]", "{}", "null", '{"job": 3}', "\xff", "[" * 100_000, '{"a": NaN}', '{"machine": 7}']


@pytest.mark.parametrize("content", NO_RECORDS, ids=range(len(NO_RECORDS)))
def test_what_is_no_record(project, content):
    run = a_run(project, "cnn")
    (project / run / "record.json").write_text(content)
    assert (TAMPERED, str(run / "record.json")) in states(project)


def test_inputs_that_lead_out_of_the_project_or_are_no_plain_files(project):
    run = a_run(project, "rfm")
    record = read_record(project / run / "record.json")
    os.mkfifo(project / "pipe")
    for path, named in (("../../etc/passwd", "outside the project"), ("pipe", "It is a")):
        record["inputs"]["draw/0"]["path"] = path
        reseal(project / run / "record.json", record)
        found = audit(project)[1].findings
        assert any(finding.state is TAMPERED and named in finding.found for finding in found)


def test_another_configuration(project):
    features = settings_of(project).preset.features.model_dump(exclude_unset=True)
    settings = configure(project, threads=2, overrides={"features": {**features, "exponent": 0.5}})
    found, checked = audit(project, settings)
    assert found == {(STALE, TWELVE)}
    assert only(checked, TWELVE) == "The configuration has changed: exponent was 1.0, and is 0.5."
    found = states(project, configure(project, seeds=[1]))
    assert {state for state, _ in found} == {ORPHANED, STALE}
    orphans = {file for state, file in found if state is ORPHANED}
    assert str(a_run(project, "rfm") / "record.json") in orphans
    assert not any("figures" in file for file in orphans)
    assert (STALE, FIVE) in found
    found = states(project, configure(project, protocol="corrected"))
    assert {state for state, _ in found} == {ORPHANED}
    assert (ORPHANED, str(FIGURES / "theorem1.json")) in found


def test_the_table_of_costs(project):
    """One that was edited is found; one of older kernels leaves its claim undecided, and is nothing about the results."""
    path = put_cost(project, cost((1, 1, 1)))
    assert states(project) == set()
    change(path, "20.0", "30.0")
    assert states(project) == {(TAMPERED, "benchmarks/cost.csv")}
    put_cost(project, cost((1, 1, 1)))
    (project / "benchmarks/cost.py").write_text("pass")
    assert states(project) == set()


def test_a_figure_that_nobody_knows(project):
    for form in FIGURE_FORMATS:
        shutil.copy(project / FIGURES / f"fig12.{form}", project / FIGURES / f"fig99.{form}")
    record = json.loads((project / TWELVE).read_text().replace("published/fig12", "published/fig99"))
    reseal(project / FIGURES / "fig99.json", record)
    assert states(project) == {(ORPHANED, str(FIGURES / "fig99.json"))}


def test_code_that_has_changed_is_named_by_the_history_of_its_checkout(project, tmp_path, monkeypatch):
    """The code lies in a checkout of its own; the results lie where there is none."""
    root = tmp_path / "src" / "convrfm"
    shutil.copytree(closure.ROOT, root, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(closure, "ROOT", root)
    monkeypatch.setattr(changes, "CHECKOUT", tmp_path)
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", "src")
    git(tmp_path, "commit", "--quiet", "--message", "sources")
    record = read_record(project / TWELVE)
    record["code"] |= {"commit": git(tmp_path, "rev-parse", "HEAD"), "dirty": True}
    reseal(project / TWELVE, record)
    with (root.parent / f"{MODULE.replace('.', os.sep)}.py").open("a") as source:
        source.write("\n# changed\n")
    closure._source_of.cache_clear()
    try:
        found, checked = audit(project)
        assert found == {(STALE, TWELVE)}
        assert only(checked, TWELVE).endswith(f", beside changes that were not committed: {MODULE}.")
        shutil.rmtree(tmp_path / ".git")
        changes.changed_modules.cache_clear()
        assert only(audit(project)[1], TWELVE) == f"The code of {MODULE}, or what it imports, has changed."
    finally:
        closure._source_of.cache_clear()
