"""Replay in processes of their own: told of their threads, outside the results, kept, interrupted, and gone on with."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from workflow.conftest import ROOT

from audit.tiny import RESULTS, edit_record, plan_of
from convrfm.errors import AbsentDataError, ConfigError, MachineError
from convrfm.replication.audit import replay as replaying
from convrfm.replication.audit.integrity import check_integrity
from convrfm.replication.audit.outcome import Replay, Result
from convrfm.replication.audit.replay import kept_replays, replay
from convrfm.replication.record.record import Recorder


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
    kept = [json.loads(path.read_text())["result"] for path in kept_replays().glob("*.json")]
    assert (len(pictures), kept) == (2, ["equal"] * (len(found) - 2))


def test_what_came_out_is_kept_until_something_that_it_depends_on_changes(project, monkeypatch):
    names = []

    def computed(tasks, cores):
        for task in tasks:
            names.append(task.product.kind)
            yield task, replaying.Replayed(Replay(task.product.name, Result.EQUAL, "", 1.0))

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
    lacking = replace(task, inputs={"state": [project / "data/mnist/state.json"]})
    found = replaying._replayed(lacking).replay
    assert (found.result, found.found.endswith("mnist/state.json.")) == (Result.IMPOSSIBLE, True)


@pytest.mark.parametrize(("recorded", "threads"), [(2, 2), (64, 2), (True, 1), ("8", 1), (-1, 1), (None, 1)])
def test_threads_are_those_recorded_as_far_as_there_are_any(project, recorded, threads):
    assert task_of(project, "draw", cores=2, threads=recorded).threads == threads


def test_settings_are_those_of_the_plan(project):
    """Whatever the record says, which a finding would be about."""
    task = task_of(project, "rfm", settings={})
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
