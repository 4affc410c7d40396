"""Replay in processes of their own: told of their threads, outside the results, kept, interrupted, and gone on with."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from workflow.conftest import ROOT

from audit.tiny import configure, plan_of
from convrfm.errors import AbsentDataError, ConfigError, MachineError
from convrfm.replication.audit import replay as replaying
from convrfm.replication.audit.integrity import check_integrity
from convrfm.replication.audit.outcome import Result
from convrfm.replication.audit.replay import kept_replays, replay
from convrfm.replication.record.record import Recorder

RESULTS = Path("results/quick")


def products(project: Path, *kinds: str):
    found = check_integrity(project, plan_of(project))
    return [product for product in found.sound if product.kind in kinds]


def task_of(project: Path, run, settings=None, cores: int = 1):
    return replaying._task(project, project, plan_of(project, settings), run, cores, Recorder.surroundings())


def replayed(project: Path, *kinds: str):
    return list(replay(project, project, plan_of(project), products(project, *kinds), 2))


def test_runs_and_figures_in_processes_of_their_own(project):
    """To the bit, in another process; nothing of the results is written, and what came out is kept."""
    before = {path: path.stat().st_mtime_ns for path in (project / RESULTS).rglob("*")}
    found = replayed(project, "draw", "rfm", "fig05", "fig12")
    assert [each.replay.result for each in found] == [Result.EQUAL] * len(found)
    assert {path: path.stat().st_mtime_ns for path in (project / RESULTS).rglob("*")} == before
    pictures = {each.replay.name: each.picture for each in found if each.picture is not None}
    for name, picture in pictures.items():
        assert picture == (project / f"{name}.png").read_bytes()
    assert len(pictures) == 2
    kept = list(kept_replays().glob("*.json"))
    assert len(kept) == len(found) - len(pictures)
    assert {json.loads(path.read_text())["result"] for path in kept} == {"equal"}


@pytest.fixture
def here(monkeypatch):
    """What is computed, in this process; by name."""
    names = []

    def computed(tasks, cores):
        for task in tasks:
            names.append(task.name)
            yield task, replaying.Replayed(replaying.Replay(task.name, Result.EQUAL, "", 1.0))

    monkeypatch.setattr(replaying, "_computed", computed)
    return names


def test_what_came_out_is_kept_until_something_that_it_depends_on_changes(project, here):
    replayed(project, "draw", "rfm", "fig05")
    first = list(here)
    assert len(first) == 3
    here.clear()
    assert [each.replay.result for each in replayed(project, "draw", "rfm", "fig05")] == [Result.EQUAL] * 3
    assert [Path(name).name for name in here] == ["fig05"]
    here.clear()
    (run,) = products(project, "rfm")
    shutil.copy(project / run.record_file, project / "kept.json")
    record = json.loads((project / run.record_file).read_text())
    (project / run.record_file).write_text(json.dumps({**record, "best_epoch": 7}))
    list(replay(project, project, plan_of(project), [run], 2))
    assert here == [run.name]


@pytest.mark.parametrize(
    ("error", "result"),
    [
        (AbsentDataError("no data"), Result.IMPOSSIBLE),
        (MachineError("no memory"), Result.IMPOSSIBLE),
        (MemoryError(), Result.IMPOSSIBLE),
        (ConfigError("no CUDA"), Result.IMPOSSIBLE),
        (ValueError("a table of other columns"), Result.DIFFERENT),
        (ZeroDivisionError(), Result.DIFFERENT),
    ],
)
def test_what_cannot_be_computed_here_is_told_from_what_cannot_be_computed(project, monkeypatch, error, result):
    def job(_):
        raise error

    (run,) = products(project, "draw")
    task = task_of(project, run)
    monkeypatch.setattr(replaying, "load_job", lambda _: job)
    monkeypatch.chdir(project)
    found = replaying._replayed(task)
    assert found.replay.result is result
    assert str(error) in found.replay.found


def test_without_data_a_preparation_cannot_be_computed_here(project, monkeypatch):
    """Nobody is accused for what the auditor lacks."""
    monkeypatch.chdir(project)
    (run,) = products(project, "draw")
    task = task_of(project, run)
    lacking = replace(task, inputs={"state": [str(project / "data/mnist/state.json")]})
    found = replaying._replayed(lacking).replay
    assert (found.result, found.found.endswith("mnist/state.json.")) == (Result.IMPOSSIBLE, True)


@pytest.mark.parametrize(("recorded", "threads"), [(2, 2), (64, 2), (True, 1), ("8", 1), (-1, 1), (None, 1)])
def test_threads_are_those_recorded_as_far_as_there_are_any(project, recorded, threads):
    (run,) = products(project, "draw")
    record = json.loads((project / run.record_file).read_text())
    (project / run.record_file).write_text(json.dumps({**record, "threads": recorded}))
    assert task_of(project, run, cores=2).threads == threads


def test_settings_are_those_of_the_plan(project):
    """Whatever the record says, which a finding would be about."""
    (run,) = products(project, "rfm")
    settings = configure(project, overrides={})
    task = task_of(project, run, settings)
    recorded = json.loads((project / run.record_file).read_text())["settings"]
    assert task.settings == recorded
    record = json.loads((project / run.record_file).read_text())
    (project / run.record_file).write_text(json.dumps({**record, "settings": {}}))
    assert task_of(project, run, settings).settings == recorded


def children(of: int) -> list[int]:
    return [int(pid) for path in Path(f"/proc/{of}/task").glob("*/children") for pid in path.read_text().split()]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_audit_that_is_ended_leaves_no_process_and_goes_on_the_next_time(project, how):
    command = [sys.executable, "-m", "convrfm", "audit", "results/quick", "--replay", "all", "--cores", "1"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    process = subprocess.Popen(
        command, cwd=project, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    while not list(kept_replays().glob("*.json")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    workers = children(process.pid)
    assert workers
    process.send_signal(how)
    _, said = process.communicate(timeout=60)
    assert process.returncode == (130 if how is signal.SIGINT else -how)
    assert "Traceback" not in said
    deadline = time.monotonic() + 60
    while any(Path(f"/proc/{pid}").exists() for pid in workers):
        assert time.monotonic() < deadline, "processes go on"
        time.sleep(0.1)
    kept = {path: path.stat().st_mtime_ns for path in kept_replays().glob("*.json")}
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
