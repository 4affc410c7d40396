"""Replay: which runs are drawn, and what that proves; in processes of their own, kept, interrupted, and gone on with."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from workflow.conftest import ROOT

from audit.outcomes import judgement, measurement
from audit.tiny import RESULTS, edit_record, plan_of
from convrfm.errors import AbsentDataError, ConfigError, MachineError
from convrfm.replication.audit import replay as replaying
from convrfm.replication.audit.integrity import check_integrity
from convrfm.replication.audit.outcome import Replay, Result, coverage_in_words
from convrfm.replication.audit.records import Product
from convrfm.replication.audit.replay import Choice, choose, coverage_of, kept_replays, replay
from convrfm.replication.record.record import Recorder, read_record


def product(kind: str, number: int, made_from=(), *, is_figure: bool = False) -> Product:
    place = f"{RESULTS}/figures/published/{kind}" if is_figure else f"{RESULTS}/runs/{kind}/published/seed={number}"
    files = {"parquet": f"{place}.parquet"} if is_figure else {"metrics": f"{place}/metrics.parquet"}
    record = SimpleNamespace(inputs={file: SimpleNamespace(path=file) for run in made_from for file in run.files.values()})
    return Product(f"{place}.json" if is_figure else f"{place}/record.json", kind, is_figure, {}, files, record)


DRAWS = [product("draw", seed) for seed in range(3)]
FITS = [product("rfm", seed, [DRAWS[seed % 3]]) for seed in range(20)]
NETWORKS = [product("cnn", seed, [DRAWS[seed % 3]]) for seed in range(5)]
FIVE = product("fig05", 0, [*FITS, *NETWORKS], is_figure=True)
SIX = product("fig06", 0, FITS, is_figure=True)
ALL = [*DRAWS, *FITS, *NETWORKS, FIVE, SIX]
TEN, TWELVE = (
    judgement(claim=claim, measurements=(measurement(sources=(figure.files["parquet"],)),))
    for claim, figure in (("A10", FIVE), ("A12", SIX))
)


def chosen(choice: Choice, root: str = "00", sound=ALL) -> list[str]:
    return [each.name for each in choose(choice, [TEN, TWELVE], ALL, sound, root)]


def fits(names):
    return [name for name in names if "/rfm/" in name]


def test_draws_and_figures_always_all_or_single_claims_and_nothing_that_is_not_sound():
    assert chosen(Choice()) == sorted(each.name for each in (*DRAWS, FIVE, SIX))
    assert len(chosen(Choice(None))) == len(chosen(Choice(claims=("A10",)))) == len(ALL)
    assert len(fits(chosen(Choice(claims=("A12",))))) == len(FITS)
    assert not any("/cnn/" in name for name in chosen(Choice(claims=("A12",))))
    sound = [each for each in ALL if each is not FITS[0]]
    assert all(FITS[0].name not in chosen(Choice(each), sound=sound) for each in (None, 20))
    # So many of each claim, which share runs where they can.
    for number in (1, 3, 7):
        drawn = set(chosen(Choice(number))) - set(chosen(Choice()))
        assert number <= len(drawn) <= 2 * number
        assert len(fits(drawn)) >= number


def test_the_draw_follows_from_root_and_beacon():
    first = chosen(Choice(3))
    assert chosen(Choice(3)) == first
    assert first not in [chosen(Choice(3), root=f"{i:02x}") for i in range(1, 9)]
    assert first not in [chosen(Choice(3, beacon=str(i))) for i in range(8)]
    # Each of 20 is among the 5 of its own claim in a quarter of the cases, and sometimes by the other claim.
    drawn = [name for i in range(400) for name in fits(chosen(Choice(5), root=str(i)))]
    assert min(drawn.count(each.name) for each in FITS) > 60


def replays(products, result=Result.EQUAL):
    return [Replay(each.name, result, "", 1.0) for each in products]


@pytest.mark.parametrize(("number", "told"), [(0, ("0", "0")), (1, ("0.05", "0.1")), (4, ("0.2", "0.36")), (20, ("1", "1"))])
def test_the_probability_is_that_of_all_ways_to_draw_and_never_rounded_up(number, told):
    """Forged runs among those that are drawn from, by listing every draw."""
    _, found = coverage_of([TEN, TWELVE], ALL, replays([*DRAWS, *FITS[:number]]))
    assert (found.runs, found.recomputed) == (23, 3 + number)
    assert found.caught_one == pytest.approx(number / 20)
    forged = {0, 1}  # a tenth of 20
    draws = list(combinations(range(20), number))
    assert found.caught_tenth == pytest.approx(sum(bool(forged & set(draw)) for draw in draws) / len(draws))
    assert coverage_in_words(found).endswith("with probability {}, a tenth of them forged with {}".format(*told))


def test_what_came_out_otherwise_and_claims_without_measurements_do_not_count():
    some = [*replays(DRAWS), *replays(FITS[:4], Result.CLOSE), *replays(FITS[4:], Result.IMPOSSIBLE)]
    found, none = coverage_of([TWELVE, judgement(measurements=())], ALL, some)
    assert (found.runs, found.recomputed) == (23, 7)
    assert (none.runs, none.recomputed, none.caught_one, none.caught_tenth) == (0, 0, 0.0, 0.0)
    assert coverage_in_words(none) == "no run behind it"


# In processes of their own.


def products(project: Path, *kinds: str):
    found = check_integrity(project, plan_of(project))
    return [product for product in found.sound if product.kind in kinds]


def task_of(project: Path, kind: str, cores: int = 1, **recorded):
    """The task of a run, with changes to its record."""
    (run,) = products(project, kind)
    edit_record(project / run.name, **recorded)
    return replaying._task(project, project, plan_of(project), run, cores, Recorder.surroundings())


def replayed(project: Path, *kinds: str):
    return list(replay(project, project, plan_of(project), products(project, *kinds), 2))


def test_runs_and_figures_in_processes_of_their_own(project):
    """To the bit, in another process; nothing of the results is written, and what came out is kept."""
    before = {path: path.stat().st_mtime_ns for path in (project / RESULTS).rglob("*")}
    found = replayed(project, "draw", "rfm", "fig05", "fig12")
    assert [each.replay.result for each in found] == [Result.EQUAL] * len(found)
    assert {path: path.stat().st_mtime_ns for path in (project / RESULTS).rglob("*")} == before
    pictures = {each.replay.name: each.picture for each in found if each.picture is not None}
    assert [(project / f"{name}.png").read_bytes() for name in pictures] == list(pictures.values())
    kept = [read_record(path)["result"] for path in kept_replays().glob("*.json")]
    assert (len(pictures), kept) == (2, ["equal"] * (len(found) - 2))


def test_what_came_out_is_kept_until_something_that_it_depends_on_changes(project, monkeypatch):
    names = []

    def computed(tasks, cores):
        names.extend(task.product.kind for task in tasks)
        return [(task, replaying.Replayed(Replay(task.product.name, Result.EQUAL, "", 1.0))) for task in tasks]

    monkeypatch.setattr(replaying, "_computed", computed)
    for expected in (["draw", "fig05", "rfm"], ["fig05"]):
        assert [each.replay.result for each in replayed(project, "draw", "rfm", "fig05")] == [Result.EQUAL] * 3
        assert sorted(names) == expected
        names.clear()
    (run,) = products(project, "rfm")
    task_of(project, "rfm", best_epoch=7)
    list(replay(project, project, plan_of(project), [run], 2))
    assert names == ["rfm"]


LACKING = (AbsentDataError("no data"), MachineError("no memory"), MemoryError(), ConfigError("no CUDA"))


@pytest.mark.parametrize("error", [*LACKING, ValueError("a table of other columns"), ZeroDivisionError()], ids=repr)
def test_what_cannot_be_computed_here_is_told_from_what_cannot_be_computed(project, monkeypatch, error):
    def job(_):
        raise error

    task = task_of(project, "draw")
    monkeypatch.setattr(replaying, "load_job", lambda _: job)
    monkeypatch.chdir(project)
    found = replaying._replayed(task).replay
    assert found.result is (Result.IMPOSSIBLE if error in LACKING else Result.DIFFERENT)
    assert str(error) in found.found
    # Nobody is accused for what the auditor lacks.
    found = replaying._replayed(replace(task, inputs={"state": [project / "data/mnist/state.json"]})).replay
    assert (found.result, found.found.endswith("mnist/state.json.")) == (Result.IMPOSSIBLE, True)


@pytest.mark.parametrize(("recorded", "threads"), [(2, 2), (64, 2), (True, 1), ("8", 1), (-1, 1), (None, 1)])
def test_threads_are_those_recorded_as_far_as_there_are_any_and_settings_those_of_the_plan(project, recorded, threads):
    """Whatever else the record says, which a finding would be about."""
    task = task_of(project, "draw", cores=2, threads=recorded, settings={})
    assert task.threads == threads
    assert task.expected.settings == task.product.record.settings != {}


@pytest.mark.forged
def test_an_audit_that_is_ended_leaves_no_process_and_goes_on_the_next_time(project):
    command = [sys.executable, "-m", "convrfm", "audit", "results/quick", "--replay", "all", "--cores", "1"]
    options = {"cwd": project, "env": {**os.environ, "PYTHONPATH": str(ROOT / "src")}, "text": True}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    kept: dict[Path, int] = {}
    for how, status in ((signal.SIGINT, 130), (signal.SIGKILL, -9)):
        process = subprocess.Popen(command, start_new_session=True, **options, **pipes)
        while len(list(kept_replays().glob("*.json"))) <= len(kept):
            assert process.poll() is None, process.communicate()
            time.sleep(0.1)
        workers = psutil.Process(process.pid).children()
        assert workers
        process.send_signal(how)
        _, said = process.communicate(timeout=60)
        assert process.returncode == status
        assert "Traceback" not in said
        _, alive = psutil.wait_procs(workers, timeout=60)
        assert not alive, "processes go on"
        now = {path: path.stat().st_mtime_ns for path in kept_replays().glob("*.json")}
        assert now.items() >= kept.items()
        kept = now
    done = subprocess.run(command, check=False, **options, **pipes)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
