"""Jobs that claim GPUs, on devices that a made-up `nvidia-smi` lists."""

import os
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from convrfm.errors import ConfigError
from convrfm.replication.jobs import fits, training
from convrfm.replication.jobs.fits import note_backend
from convrfm.replication.jobs.training import prepare_torch
from convrfm.replication.record import session
from convrfm.replication.record.record import read_record
from convrfm.replication.record.session import asked_gpus, run_job, sign_of_gpu, visible_gpus

CLAIM = """
import os, sys, time
from pathlib import Path
from convrfm.replication.record.session import claim_gpus
devices = claim_gpus(int(sys.argv[3]), Path(sys.argv[1]))
Path(sys.argv[2]).write_text(f"{','.join(devices) or None} {os.environ.get('CUDA_VISIBLE_DEVICES')}")
time.sleep(600)
"""


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine with two GPUs, as far as `nvidia-smi` says."""
    program = tmp_path / "bin/nvidia-smi"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\nprintf '0, GPU-aa\\n1, GPU-bb\\n'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    for name in ("CUDA_VISIBLE_DEVICES", "SLURM_JOB_ID"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


class Jobs:
    """Processes that each claim a device and hold it."""

    def __init__(self, folder):
        self.folder, self.processes = folder, []

    def start(self, count=1, **environment):
        note = self.folder / f"claimed-{len(self.processes)}"
        command = [sys.executable, "-c", CLAIM, str(self.folder / "locks"), str(note), str(count)]
        self.processes.append(subprocess.Popen(command, env={**os.environ, **environment}))
        return note

    def stop(self):
        for process in self.processes:
            process.kill()
            process.wait()


@pytest.fixture
def jobs(machine):
    started = Jobs(machine)
    yield started
    started.stop()


def claimed(note):
    deadline = time.monotonic() + 60
    while not (note.exists() and note.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return note.read_text()


def test_two_jobs_never_share_and_a_third_waits_until_one_dies(jobs):
    first, second = jobs.start(), jobs.start()
    assert sorted([claimed(first), claimed(second)]) == ["GPU-aa GPU-aa", "GPU-bb GPU-bb"]
    third = jobs.start()
    time.sleep(3)
    assert not third.exists()
    jobs.processes[0].send_signal(signal.SIGKILL)
    assert claimed(third) == claimed(first)


def test_only_devices_that_may_be_seen_are_claimed(jobs):
    first = jobs.start(CUDA_VISIBLE_DEVICES="1")
    assert claimed(first) == "GPU-bb GPU-bb"
    # The same device by another name.
    second = jobs.start(CUDA_VISIBLE_DEVICES="GPU-bb")
    time.sleep(3)
    assert not second.exists()


def test_what_a_scheduler_gave_is_left_alone(jobs):
    notes = [jobs.start(SLURM_JOB_ID="7", CUDA_VISIBLE_DEVICES="0") for _ in range(2)]
    assert [claimed(note) for note in notes] == ["None 0"] * 2
    assert claimed(jobs.start(SLURM_JOB_ID="7")) == "None None"


def test_several_that_a_scheduler_gave_are_shared_out(jobs):
    notes = [jobs.start(SLURM_JOB_ID="7", CUDA_VISIBLE_DEVICES="0,1") for _ in range(2)]
    assert sorted(claimed(note) for note in notes) == ["GPU-aa GPU-aa", "GPU-bb GPU-bb"]


def test_a_job_that_asks_for_two_has_both_when_both_are_free(jobs):
    first = jobs.start()
    assert claimed(first) == "GPU-aa GPU-aa"
    both = jobs.start(count=2)
    time.sleep(3)
    # It waits with nothing in its hands.
    assert not both.exists()
    single = jobs.start()
    assert claimed(single) == "GPU-bb GPU-bb"
    jobs.processes[0].kill()
    jobs.processes[2].kill()
    assert claimed(both) == "GPU-aa,GPU-bb GPU-aa,GPU-bb"


def test_jobs_that_want_several_at_a_time_do_not_block_each_other(jobs):
    notes = [jobs.start(count=2) for _ in range(4)]
    for _ in notes:
        deadline = time.monotonic() + 60
        while not (done := [i for i, note in enumerate(notes) if note is not None and note.exists() and note.read_text()]):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert len(done) == 1
        assert notes[done[0]].read_text() == "GPU-aa,GPU-bb GPU-aa,GPU-bb"
        notes[done[0]] = None
        jobs.processes[done[0]].kill()


def test_several_that_a_scheduler_gave_are_all_of_a_job_that_asked_for_them(jobs):
    assert claimed(jobs.start(count=2, SLURM_JOB_ID="7", CUDA_VISIBLE_DEVICES="0,1")) == "GPU-aa,GPU-bb GPU-aa,GPU-bb"


def test_a_job_takes_what_there_is_if_it_asks_for_more(jobs):
    assert claimed(jobs.start(count=3)) == "GPU-aa,GPU-bb GPU-aa,GPU-bb"


@pytest.mark.parametrize(
    ("resources", "in_slurm", "elsewhere"),
    [
        ({}, None, None),
        ({"gpu": 0}, 0, 0),
        ({"gpu": 2}, 2, 2),
        ({"gres": "gpu:1"}, 1, None),
        ({"gpu": 0, "gres": "gpu:1"}, 1, 0),
        ({"gpu": 1, "gres": "gpu:h100:2"}, 2, 1),
        ({"gpu": 1, "gres": "gpu"}, 1, 1),
        ({"gpu": 0, "slurm_extra": "--gpus-per-node=a30:4 --mail-type=FAIL"}, 4, 0),
        ({"gpu": 0, "gres": "lscratch:20", "slurm_extra": "--nodes=1"}, 0, 0),
    ],
)
def test_gpus_that_a_site_asks_for_in_its_own_words_count_in_its_jobs(resources, in_slurm, elsewhere, machine, monkeypatch):
    assert asked_gpus(resources) == elsewhere
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    assert asked_gpus(resources) == in_slurm


def test_without_a_gpu_nothing_is_claimed(jobs, machine):
    (machine / "bin/nvidia-smi").write_text("#!/bin/sh\nexit 9\n")
    assert claimed(jobs.start()) == "None None"
    assert visible_gpus() == []
    assert visible_gpus({"PATH": str(machine / "nothing")}) == []


def test_no_device_is_visible_where_none_is_allowed(machine, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert visible_gpus() == []


@pytest.mark.parametrize(
    ("asked", "environment", "files", "sign"),
    [
        (1, {}, [], None),
        (1, {}, ["nvidia0", "nvidiactl"], "1 asked for, and {devices}/nvidia0"),
        (1, {}, ["nvidiactl"], None),
        (0, {}, ["nvidia0"], None),
        (1, {"CUDA_VISIBLE_DEVICES": "GPU-aa"}, [], "CUDA_VISIBLE_DEVICES=GPU-aa"),
        (1, {"SLURM_JOB_GPUS": "0", "CUDA_VISIBLE_DEVICES": "0"}, [], "SLURM_JOB_GPUS=0"),
        (0, {"SLURM_GPUS_ON_NODE": "2"}, [], "SLURM_GPUS_ON_NODE=2"),
        (0, {"SLURM_GPUS_ON_NODE": "0"}, [], None),
        # Hidden from this job, which has asked for none.
        (0, {"SLURM_JOB_GPUS": "0,1", "CUDA_VISIBLE_DEVICES": ""}, ["nvidia0"], None),
        (1, {"CUDA_VISIBLE_DEVICES": "NoDevFiles"}, [], None),
        (1, {"CUDA_VISIBLE_DEVICES": "-1"}, ["nvidia0"], None),
    ],
)
def test_what_says_that_there_is_a_gpu(asked, environment, files, sign, tmp_path):
    for name in files:
        (tmp_path / name).touch()
    expected = None if sign is None else sign.format(devices=tmp_path)
    assert sign_of_gpu(asked, environment, tmp_path) == expected


def begin(job):
    """What trainings and fits of the kernels do with a GPU, up to their record."""
    if "device" in job.settings:
        prepare_torch(job)
    if "backend" in job.settings:
        note_backend(job)
    job.write_record()


def run_with(tmp_path, monkeypatch, gpus, settings):
    """Run a job that writes its record, as Snakemake's script would; gives the record."""
    snakemake = SimpleNamespace(
        threads=1,
        log=[str(tmp_path / "log")],
        resources={} if gpus is None else {"gpu": gpus},
        params=SimpleNamespace(job="x:y", settings=settings, code="c0de"),
        input={},
        output={"record": str(tmp_path / "record.json")},
    )
    monkeypatch.setattr(session, "load_job", lambda _: begin)
    monkeypatch.setattr(session, "claim_gpus", lambda _: None)
    monkeypatch.setattr(session, "_logging_to", nullcontext)
    for name in ("environment_of", "_end_with_workflow"):
        monkeypatch.setattr(session, name, lambda *_: {})
    run_job(snakemake)
    return read_record(tmp_path / "record.json")


def test_only_a_job_that_asks_for_none_on_purpose_sees_no_gpu(tmp_path, monkeypatch):
    for gpus, seen in ((None, "0"), (1, "0"), (0, "")):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
        run_with(tmp_path, monkeypatch, gpus, {})
        assert os.environ["CUDA_VISIBLE_DEVICES"] == seen


def test_a_gpu_that_cannot_be_used_is_an_error_where_it_is_insisted_on(tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_GPUS", "0")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setattr(training, "cuda_trouble", lambda: "PyTorch is for another driver")
    with pytest.raises(ConfigError, match="device is 'cuda', but PyTorch is for another driver"):
        run_with(tmp_path, monkeypatch, 1, {"device": "cuda"})


@pytest.mark.parametrize("key", ["device", "backend"])
def test_a_gpu_that_cannot_be_used_is_told_and_recorded(key, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("SLURM_JOB_GPUS", "0")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setattr(training, "cuda_trouble", lambda: "PyTorch is for another driver")
    monkeypatch.setattr(fits, "why_no_gpu", lambda: "numba-cuda finds none.")
    record = run_with(tmp_path, monkeypatch, 1, {key: "auto"})
    reason = {"device": "PyTorch is for another driver", "backend": "numba-cuda finds none."}[key]
    assert record["gpu_granted"] == "SLURM_JOB_GPUS=0"
    assert record["gpu_unusable"] == reason
    (told,) = [entry for entry in caplog.records if entry.levelname == "WARNING"]
    assert told.getMessage().startswith("THE GPU OF THIS JOB IS NOT USED (SLURM_JOB_GPUS=0): it continues on the CPU")
    assert told.getMessage().endswith(reason)


@pytest.mark.parametrize(
    ("gpus", "settings", "trouble"),
    [
        (1, {"device": "auto"}, None),
        (1, {"device": "cpu"}, "old"),
        (None, {"device": "auto"}, "old"),
        (1, {"backend": "auto"}, None),
        (1, {"backend": "cpu"}, "old"),
        (None, {"backend": "auto"}, "old"),
        (1, {}, "old"),
    ],
)
def test_nothing_is_said_of_a_gpu_that_is_used_or_not_wanted(gpus, settings, trouble, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("SLURM_JOB_GPUS", "0")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setattr(training, "cuda_trouble", lambda: trouble)
    monkeypatch.setattr(fits, "why_no_gpu", lambda: trouble)
    assert "gpu_unusable" not in run_with(tmp_path, monkeypatch, gpus, settings)
    assert "GPU" not in caplog.text
