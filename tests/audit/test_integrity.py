"""Every kind of harm to a results folder is found, told apart, and named by its file; a clean one is clean."""

import json
import os
import shutil
from collections import defaultdict

import pytest
from claims.made_up import cost, put_cost

from audit import tiny
from audit.conftest import change, commit
from audit.tiny import BUILT, DRAW, FIGURES, NETWORKS, RECORD, RESULTS, RUN, configure, plan_of, reseal
from convrfm.replication.audit import changes
from convrfm.replication.audit.integrity import check_integrity
from convrfm.replication.audit.outcome import State
from convrfm.replication.audit.records import rebuild
from convrfm.replication.plan.plan import FIGURE_FORMATS
from convrfm.replication.plan.plan import FIGURES as TABLE
from convrfm.replication.record import closure
from convrfm.replication.record.record import read_record

FIVE, TWELVE = (f"{FIGURES}/{name}.json" for name in ("fig05", "fig12"))
MODULE = TABLE["fig12"].job.partition(":")[0]
TAMPERED, STALE, ORPHANED, MISSING = State


def found_in(project) -> dict[tuple[State, str], str]:
    """What is said of each file that something is wrong with."""
    found = defaultdict(str)
    for each in check_integrity(project, plan_of(project)).findings:
        found[each.state, each.file] += each.found
    return found


def names(products) -> set[str]:
    return {product.name for product in products}


def test_a_clean_tree(pristine):
    checked = check_integrity(pristine, plan_of(pristine))
    assert checked.findings == ()
    runs = len(list((pristine / RESULTS / "runs").glob("*/*/*")))
    assert checked.checked["records"] == runs + len(BUILT)
    assert checked.checked["artefacts"] == 2 * runs + 5 * len(BUILT)
    assert checked.checked["inputs"] > 0
    assert names(checked.sound) == names(checked.products)


def test_results_beside_no_checkout_have_the_lock_of_the_code(project, tmp_path, monkeypatch):
    """As with `snakemake --directory`; an installed package has no lock at all."""
    shutil.rmtree(project / "envs")
    assert found_in(project) == {}
    monkeypatch.setattr(changes, "CHECKOUT", tmp_path)
    assert found_in(project) == {}
    (tmp_path / "envs").mkdir()
    (tmp_path / "envs/lock.txt").write_text("numpy==0.1\n")
    assert {state for state, _ in found_in(project)} == {STALE}


# Figure 5, which was drawn from the run, is not blamed; but it cannot be drawn again from other bytes.
@pytest.mark.parametrize(
    ("file", "record", "unsound"),
    [
        *((f"{FIGURES}/fig12.{form}", TWELVE, {f"{FIGURES}/fig12"}) for form in FIGURE_FORMATS),
        (f"{RUN}/arrays.safetensors", RECORD, {RUN, f"{FIGURES}/fig05"}),
    ],
)
def test_one_byte_is_found_there_and_nowhere_else(project, file, record, unsound):
    content = bytearray((project / file).read_bytes())
    content[len(content) // 2] ^= 1
    (project / file).write_bytes(content)
    checked = check_integrity(project, plan_of(project))
    (found,) = checked.findings
    assert (found.state, found.file) == (TAMPERED, file)
    assert found.remedy == f"snakemake -c2 --force --config preset=quick protocol=published -- {record}"
    assert names(checked.products) - names(checked.sound) == unsound


def test_remedies_are_commands_whatever_a_folder_is_called():
    record = "results/a/runs/rfm/corrected/b c/record.json"
    assert rebuild(record).endswith(f"preset=a protocol=corrected -- '{record}'")


@pytest.mark.parametrize(
    "edit",
    [
        lambda run: tiny.edit_arrays(run, {"best_round/*": lambda array: array + 1}),
        lambda run: tiny.edit_table(run, lambda table: table.assign(test_accuracy=1.0)),
    ],
)
def test_a_run_that_changed_with_its_hashes_leaves_figures_behind(project, edit):
    """A table that was edited, or arrays of a later build than what stands on them."""
    edit(project / RUN)
    tiny.rehash(project, project / RECORD)
    found = found_in(project)
    assert found.keys() == {(STALE, FIVE)}
    assert f"made from {RUN}/" in found[STALE, FIVE]


def test_folders_of_two_runs_swapped(project):
    one, two = (project / run for run in NETWORKS)
    one.rename(project / "aside")
    two.rename(one)
    (project / "aside").rename(two)
    found = found_in(project)
    for run in NETWORKS:
        assert "the record of another place" in found[TAMPERED, f"{run}/record.json"]


def test_missing_files_leftovers_and_strangers(project):
    leftovers = [f"{NETWORKS[0]}/{name}" for name in (".tmp-abc", "checkpoint-0123.safetensors", "notes.txt")]
    for file in leftovers:
        (project / file).write_text("x")
    missing = [f"{DRAW}/arrays.safetensors", f"{FIGURES}/fig05.png", RECORD]
    for file in missing:
        (project / file).unlink()
    found = found_in(project)
    orphans = [*leftovers, f"{RUN}/arrays.safetensors", f"{RUN}/metrics.parquet"]
    assert found.keys() == {*((ORPHANED, file) for file in orphans), *((MISSING, file) for file in missing)}
    assert "killed" in found[ORPHANED, leftovers[0]]


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
    record = read_record(project / RECORD)
    edit(record)
    reseal(project / RECORD, record)
    found = found_in(project)
    # Figure 5 has the hash of the record, too.
    assert found.keys() == {(STALE, RECORD), (STALE, FIVE)}
    assert named in found[STALE, RECORD]
    assert RUN not in names(check_integrity(project, plan_of(project)).sound)


def test_a_record_edited_without_its_seal(project):
    record = {**read_record(project / TWELVE), "wall_seconds": 0.001}
    (project / TWELVE).write_text(json.dumps(record))
    found = found_in(project)
    assert found.keys() == {(TAMPERED, TWELVE)}
    assert "edited after it was written" in found[TAMPERED, TWELVE]
    del record["seal"]
    (project / TWELVE).write_text(json.dumps(record))
    assert found_in(project).keys() == {(STALE, TWELVE)}


NO_RECORDS = ["", "{", "[]", "{}", "null", '{"job": 3}', "\xff", "[" * 100_000, '{"a": NaN}', '{"machine": 7}']


@pytest.mark.parametrize("content", NO_RECORDS, ids=range(len(NO_RECORDS)))
def test_what_is_no_record(project, content):
    (project / RECORD).write_text(content)
    assert (TAMPERED, RECORD) in found_in(project)


@pytest.mark.parametrize(("path", "named"), [("../../etc/passwd", "outside the project"), ("pipe", "It is a")])
def test_inputs_that_lead_out_of_the_project_or_are_no_plain_files(project, path, named):
    os.mkfifo(project / "pipe")
    (described,) = read_record(project / RECORD)["inputs"].values()
    tiny.edit_record(project / RUN, inputs={"draw/0": {**described, "path": path}})
    assert any(state is TAMPERED and named in found for (state, _), found in found_in(project).items())


def test_another_configuration(project):
    features = plan_of(project).settings.preset.features.model_dump(exclude_unset=True)
    configure(project, threads=2, overrides={"features": {**features, "exponent": 0.5}})
    assert found_in(project) == {(STALE, TWELVE): "The configuration has changed: exponent was 1.0, and is 0.5."}
    configure(project, seeds=[1])
    found = found_in(project)
    assert {state for state, _ in found} == {ORPHANED, STALE}
    assert not any("figures" in file for state, file in found if state is ORPHANED)
    assert {(ORPHANED, RECORD), (STALE, FIVE)} <= found.keys()


def test_the_table_of_costs(project):
    """One that was edited is found; one of older kernels leaves its claim undecided, and is nothing about the results."""
    path = put_cost(project, cost((1, 1, 1)))
    assert found_in(project) == {}
    change(path, "20.0", "30.0")
    assert found_in(project).keys() == {(TAMPERED, "benchmarks/cost.csv")}
    put_cost(project, cost((1, 1, 1)))
    (project / "benchmarks/cost.py").write_text("pass")
    assert found_in(project) == {}


def test_a_figure_that_nobody_knows(project):
    for form in FIGURE_FORMATS:
        shutil.copy(project / FIGURES / f"fig12.{form}", project / FIGURES / f"fig99.{form}")
    record = json.loads((project / TWELVE).read_text().replace("published/fig12", "published/fig99"))
    reseal(project / FIGURES / "fig99.json", record)
    assert found_in(project).keys() == {(ORPHANED, f"{FIGURES}/fig99.json")}


def test_code_that_has_changed_is_named_by_the_history_of_its_checkout(project, tmp_path, monkeypatch):
    """The code lies in a checkout of its own; the results lie where there is none."""
    root = tmp_path / "src" / "convrfm"
    shutil.copytree(closure.ROOT, root, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(closure, "ROOT", root)
    monkeypatch.setattr(changes, "CHECKOUT", tmp_path)
    record = read_record(project / TWELVE)
    record["code"] |= {"commit": commit(tmp_path, "src"), "dirty": True}
    reseal(project / TWELVE, record)
    with (root.parent / f"{MODULE.replace('.', os.sep)}.py").open("a") as source:
        source.write("\n# changed\n")
    closure._source_of.cache_clear()
    try:
        (found,) = found_in(project).items()
        assert found[0] == (STALE, TWELVE)
        assert found[1].endswith(f", beside changes that were not committed: {MODULE}.")
        shutil.rmtree(tmp_path / ".git")
        changes.changed_modules.cache_clear()
        assert found_in(project) == {(STALE, TWELVE): f"The code of {MODULE}, or what it imports, has changed."}
    finally:
        closure._source_of.cache_clear()
