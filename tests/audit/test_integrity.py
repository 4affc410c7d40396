"""Every kind of harm to a results folder is found, told apart, and named by its file; a clean one is clean. And its seal."""

import hashlib
import json
import os
import shutil

import pytest
from claims.made_up import cost, put_cost

from audit import tiny
from audit.conftest import CODE, MISSING, ORPHANED, STALE, TAMPERED, change, git, said
from audit.tiny import BUILT, DRAW, FIGURES, NETWORKS, RECORD, RESULTS, RUN, configure, plan_of, rehash, reseal
from convrfm.replication.audit import changes
from convrfm.replication.audit.cli import main
from convrfm.replication.audit.integrity import SEAL_FILE, Hashes, check_integrity, check_seal, merkle_root, record_hashes
from convrfm.replication.audit.records import makers, rebuild
from convrfm.replication.plan.plan import FIGURE_FORMATS
from convrfm.replication.record.record import read_record
from convrfm.system.storage import write_bytes, write_json

FIVE, SIX, TWELVE = (f"{FIGURES}/{name}.json" for name in ("fig05", "fig06", "fig12"))
FITS = "convrfm.replication.jobs.fits"
HALF = {"features": {**tiny.OVERRIDES["features"], "exponent": 0.5}}
COST = cost((1, 1, 1))


def found_in(project):
    return said(check_integrity(project, plan_of(project)).findings)


def test_a_clean_tree(pristine):
    checked = check_integrity(pristine, plan_of(pristine))
    assert checked.findings == ()
    runs = len(list((pristine / RESULTS / "runs").glob("*/*/*")))
    assert checked.checked["records"] == runs + len(BUILT)
    assert checked.checked["artefacts"] == 2 * runs + 5 * len(BUILT)
    assert checked.checked["inputs"] > 0
    assert checked.sound == checked.products


def test_results_beside_no_checkout_have_the_lock_of_the_code(project, tmp_path, monkeypatch):
    """As with `snakemake --directory`; an installed package has no lock at all."""
    shutil.rmtree(project / "envs")
    assert found_in(project) == {}
    monkeypatch.setattr(changes, "CHECKOUT", tmp_path)
    assert found_in(project) == {}
    write_bytes(tmp_path / "envs/lock.txt", b"numpy==0.1\n")
    assert {state for state, _ in found_in(project)} == {STALE}


@pytest.mark.parametrize("file", [f"{RUN}/arrays.safetensors", *(f"{FIGURES}/fig12.{form}" for form in FIGURE_FORMATS)])
def test_one_byte_is_found_there_and_nowhere_else(project, file):
    """Figure 5, which was drawn from the run, is not blamed; but it cannot be drawn again from other bytes."""
    record, unsound = (RECORD, {RUN, f"{FIGURES}/fig05"}) if file.startswith(RUN) else (TWELVE, {f"{FIGURES}/fig12"})
    content = bytearray((project / file).read_bytes())
    content[len(content) // 2] ^= 1
    (project / file).write_bytes(content)
    checked = check_integrity(project, plan_of(project))
    (found,) = checked.findings
    assert (found.state, found.file) == (TAMPERED, file)
    assert found.remedy == f"snakemake -c2 --force --config preset=quick protocol=published -- {record}"
    assert {each.name for each in checked.products if each not in checked.sound} == unsound


def test_remedies_are_commands_whatever_a_folder_is_called():
    record = "results/a/runs/rfm/corrected/b c/record.json"
    assert rebuild(record).endswith(f"preset=a protocol=corrected -- '{record}'")


def recorded(edit, file=RECORD, write=reseal):
    """Edits a record, and seals it again."""

    def harm(project):
        record = read_record(project / file)
        edit(record)
        write(project / file, record)

    return harm


def made_from(path):
    edit = recorded(lambda record: record["inputs"]["draw/0"].update(path=path))
    return lambda project: (os.mkfifo(project / "pipe"), edit(project))


def nested(depth):
    deep = '{"a":' * depth + "1" + "}" * depth
    return lambda project: change(project / RECORD, '"settings": {', f'"settings": {{"deep": {deep},')


def too_deep(project):
    folder = (project / RESULTS / "runs/a/b/c").joinpath(*["d" * 20] * 100)
    folder.mkdir(parents=True)
    os.mkfifo(folder / "pipe")


def swapped(project):
    one, two = (project / run for run in NETWORKS)
    one.rename(project / "aside")
    two.rename(one)
    (project / "aside").rename(two)


def left_and_lost(project):
    for state, file in LEFT_AND_LOST:
        (project / file).touch() if state is ORPHANED else (project / file).unlink()


def unknown_figure(project):
    for form in FIGURE_FORMATS:
        shutil.copy(project / FIGURES / f"fig12.{form}", project / FIGURES / f"fig99.{form}")
    record = json.loads((project / TWELVE).read_text().replace("published/fig12", "published/fig99"))
    reseal(project / FIGURES / "fig99.json", record)


def of_run(state, words):
    """What is said of the record of a run; and Figure 5 was made from another one."""
    return {(state, RECORD): words, **BEHIND}


STRANGERS = (f"{NETWORKS[0]}/notes.txt", f"{RUN}/arrays.safetensors", f"{RUN}/metrics.parquet")
LEFT_AND_LOST = {
    **{(ORPHANED, f"{NETWORKS[0]}/{name}"): "killed" for name in (".tmp-abc", "checkpoint-0123.safetensors")},
    **{(ORPHANED, file): "nothing vouches for it" for file in STRANGERS},
    **{(MISSING, file): "" for file in (f"{DRAW}/arrays.safetensors", f"{FIGURES}/fig05.png", RECORD)},
}
CHANGED = "The configuration has changed: "
OTHER = {TAMPERED: "the record of another place", STALE: CHANGED}
SWAPPED = {(state, f"{run}/record.json"): OTHER[state] for run in NETWORKS for state in OTHER} | {(STALE, FIVE): ""}
BEHIND = {(STALE, FIVE): f"It was made from {RUN}/"}
NO_RECORDS = ["", "{", "[]", "{}", "null", '{"job": 3}', "\xff", "[" * 100_000, '{"a": NaN}', '{"machine": 7}']


@pytest.mark.parametrize(
    ("harm", "expected"),
    [
        # A table that was edited, or arrays of a later build than what stands on them.
        (lambda p: (tiny.edit_arrays(p / RUN, {"best_round/*": lambda array: array + 1}), rehash(p, p / RECORD)), BEHIND),
        (lambda p: (tiny.edit_table(p / RUN, {"test_accuracy": 1.0}), rehash(p, p / RECORD)), BEHIND),
        # A record that is whole, and says other things than the project of today.
        (recorded(lambda r: r["settings"]["rfm"].update(rounds=9)), of_run(STALE, "rfm.rounds was 9, and is 2")),
        (recorded(lambda r: r["settings"].update(extra=1)), of_run(STALE, "extra was 1, and is absent")),
        (recorded(lambda r: r["code"].update(closure="0" * 64, commit=None)), of_run(STALE, f"code of {FITS}")),
        (recorded(lambda r: r["packages"].update(numpy="1.0.0")), of_run(STALE, "numpy was 1.0.0, and is locked to")),
        # Anybody may have written a record: nothing of it is run.
        (recorded(lambda r: r.update(job="os:abort")), of_run(STALE, "It was made by os:abort")),
        (made_from("../../etc/passwd"), of_run(STALE, "It was made without ") | {(TAMPERED, RECORD): "outside the project"}),
        (made_from("pipe"), of_run(STALE, "from pipe as 'draw/0', which") | {(TAMPERED, "pipe"): "It is a pipe"}),
        *((lambda project, text=text: (project / RECORD).write_text(text), of_run(TAMPERED, "")) for text in NO_RECORDS),
        *((nested(depth), of_run(TAMPERED, "nested")) for depth in (40, 500, 900, 5000, 100_000)),
        # The seal of a record.
        (recorded(lambda r: r.update(wall_seconds=0), TWELVE, write_json), {(TAMPERED, TWELVE): "edited after it was written"}),
        (recorded(lambda r: r.pop("seal"), TWELVE, write_json), {(STALE, TWELVE): "It has no seal"}),
        (swapped, SWAPPED),
        (left_and_lost, LEFT_AND_LOST),
        (too_deep, {(TAMPERED, f"{RESULTS}/runs/a/b/c/{'d' * 20}"): "It is a folder"}),
        (unknown_figure, {(ORPHANED, f"{FIGURES}/fig99.json"): "The configuration no longer needs it"}),
        (
            lambda project: configure(project, threads=2, overrides=HALF),
            {(STALE, TWELVE): f"{CHANGED}exponent was 1.0, and is 0.5."},
        ),
        # A table of costs that was edited; one of older kernels leaves its claim undecided, and is nothing about the results.
        (lambda project: put_cost(project, COST), {}),
        (lambda project: change(put_cost(project, COST), "20.0", "30.0"), {(TAMPERED, "benchmarks/cost.csv"): "not the table"}),
        (lambda project: put_cost(project, COST).with_name("cost.py").write_text("pass"), {}),
    ],
)
def test_harm_is_found_there_and_nowhere_else(project, harm, expected):
    harm(project)
    checked = check_integrity(project, plan_of(project))
    found = said(checked.findings)
    assert found.keys() == expected.keys()
    assert all(words in found[each] for each, words in expected.items()), found
    assert not {file for _, file in found} & makers(checked.sound).keys()


def test_another_configuration(project):
    configure(project, seeds=[1])
    orphans = {(ORPHANED, path.relative_to(project).as_posix()) for path in project.rglob("record.json")}
    stale = {(STALE, f"{FIGURES}/{name}.json") for name in BUILT if name != "theorem1"}
    assert found_in(project).keys() == orphans | stale


def test_code_that_has_changed_is_named_by_the_history_of_its_checkout(project, checkout):
    """The results lie where there is none. Of what has changed, the job imports one module."""
    head = git(checkout, "rev-parse", "HEAD")
    recorded(lambda record: record["code"].update(closure="0" * 64, commit=head, dirty=True))(project)
    for file in CODE:
        change(checkout / file, "a = 1", "a = 2")
    named = f"Code has changed since commit {head[:8]}, beside changes that were not committed: convrfm.rfm.rounds."
    assert found_in(project)[STALE, RECORD] == named
    shutil.rmtree(checkout / ".git")
    changes.changed_modules.cache_clear()
    assert found_in(project)[STALE, RECORD] == f"The code of {FITS}, or what it imports, has changed."


# The seal: its root against a tree made by hand, and what it sees of a folder that was changed afterwards.

ODD = os.fsdecode(FIGURES.encode() + b"/fig\xff.json")
SEAL = f"{RESULTS}/{SEAL_FILE}"


def hashes_of(project):
    return record_hashes(Hashes(project), RESULTS)


def broken(project):
    return list(said(check_seal(project, RESULTS, hashes_of(project))))


@pytest.fixture
def sealed(project, capsys):
    """With a record whose name is no text."""
    (project / ODD).write_text("{}")
    assert broken(project) == []
    assert main(["seal", str(project / RESULTS)]) == 0
    root = capsys.readouterr().out.strip()
    assert root == read_record(project / SEAL)["root"] == merkle_root(hashes_of(project))
    assert broken(project) == []
    return project


def test_the_root_is_that_of_rfc_6962():
    def sha(*parts):
        return hashlib.sha256(b"".join(parts)).digest()

    a, b, c, d, e = (sha(b"\0", f"{letter * 64}  {letter}.json".encode()) for letter in "abcde")
    four = sha(b"\1", sha(b"\1", a, b), sha(b"\1", c, d))
    assert merkle_root({f"{letter}.json": letter * 64 for letter in "edcba"}) == sha(b"\1", four, e).hex()
    assert merkle_root({}) == sha().hex()


def test_records_that_were_changed_removed_or_added_are_named(sealed):
    content = (sealed / RECORD).read_text()
    change(sealed / RECORD, '"wall_seconds": ', '"wall_seconds": 1')
    assert broken(sealed) == [(TAMPERED, RECORD)]
    (sealed / RECORD).write_text(content)
    (sealed / FIVE).rename(sealed / SIX)
    (sealed / ODD).write_text("[]")
    assert broken(sealed) == [(MISSING, FIVE), (ORPHANED, SIX), (TAMPERED, ODD)]
    # Nor does a seal help that was edited to fit.
    write_json(sealed / SEAL, {**read_record(sealed / SEAL), "leaves": hashes_of(sealed)})
    assert broken(sealed) == [(TAMPERED, SEAL)]


NO_SEALS = ["", "[]", "{}", '{"leaves": 3}', '{"format": 1, "root": "00", "leaves": {"\\ud800": ""}}', "[" * 100_000]


@pytest.mark.parametrize("content", [*NO_SEALS, os.mkfifo, lambda path: path.symlink_to("/nowhere")], ids=range(8))
def test_a_seal_that_is_none(sealed, content):
    (sealed / SEAL).unlink()
    content(sealed / SEAL) if callable(content) else (sealed / SEAL).write_text(content)
    assert broken(sealed) == [(TAMPERED, SEAL)]
