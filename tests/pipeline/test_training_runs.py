"""What jobs that train share: which checkpoint is whose, and weights on disk."""

from types import MappingProxyType

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from convrfm.errors import ConfigError
from convrfm.replication.jobs.training import load_weights, prepare_torch, weight_arrays, weights_when
from convrfm.replication.record.record import Recorder
from convrfm.replication.record.session import Job, checkpoint_path, remove_checkpoints
from convrfm.system.storage import write_arrays, write_bytes
from convrfm.training import TrainingResult
from convrfm.training.checkpoint import weights_of


def job(folder, code="c0de", content=b"images", **settings):
    write_bytes(folder / "images", content)
    given = {"seed": 0, "device": "cpu", **settings}
    outputs = {"record": folder / "run" / "record.json"}
    return Job({"images": [folder / "images"]}, outputs, MappingProxyType(given), 1, Recorder("x:y", code, given))


def test_a_checkpoint_is_found_by_what_it_depends_on_and_by_nothing_else(tmp_path):
    path = checkpoint_path(job(tmp_path), "a")
    assert path.parent == tmp_path / "run"
    assert checkpoint_path(job(tmp_path), "a") == path
    others = [
        checkpoint_path(job(tmp_path), "b"),
        checkpoint_path(job(tmp_path)),
        checkpoint_path(job(tmp_path, code="0ther"), "a"),
        checkpoint_path(job(tmp_path, seed=1), "a"),
        checkpoint_path(job(tmp_path, content=b"other images"), "a"),
    ]
    assert len({path, *others}) == 6


def test_a_record_names_the_checkpoints_that_its_job_continued_from(tmp_path):
    fresh = job(tmp_path)
    path = checkpoint_path(fresh, "a")
    # Of another part, other settings, and a writer that was killed.
    for other in (checkpoint_path(fresh, "b"), path.with_name("checkpoint-0.safetensors"), path.with_name(f".tmp-{path.name}")):
        write_bytes(other, b"")
    checkpoint_path(fresh, "a")
    assert "resumed_from" not in fresh.recorder.notes
    rounds = [path.with_name(f"{path.stem}-{end}") for end in ("0.safetensors", "1-train.npy")]
    for round_file in rounds:
        write_bytes(round_file, b"")
    checkpoint_path(fresh, "a")
    assert fresh.recorder.notes["resumed_from"] == [round_file.name for round_file in rounds]


def test_all_checkpoints_of_a_job_are_removed_and_nothing_else(tmp_path):
    given = job(tmp_path)
    for part in "ab":
        write_bytes(checkpoint_path(given, part), b"")
    write_bytes(tmp_path / "run" / f".tmp-x-{checkpoint_path(given).name}", b"")
    write_bytes(tmp_path / "run" / "arrays.safetensors", b"")
    remove_checkpoints(given)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["arrays.safetensors"]


def test_weights_come_back(tmp_path):
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    network(torch.ones(2, 1, 3, 3))
    weights = weights_of(network)
    blank = {name: np.zeros_like(value) for name, value in weights.items()}
    result = TrainingResult(pd.DataFrame(), blank, weights, 3, {0: blank, 2: weights}, {})
    write_arrays(tmp_path / "w", weight_arrays(result))
    found = weights_when(tmp_path / "w")
    assert set(found) == {"initial", "final", "snapshot-0", "snapshot-2"}
    other = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    load_weights(other, found["final"])
    assert not other.training
    assert other[1].num_batches_tracked.shape == ()
    for name, value in other.state_dict().items():
        assert torch.equal(value, network.state_dict()[name]), name


def test_the_device_that_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")
    threads = torch.get_num_threads()
    try:
        assert prepare_torch(job(tmp_path)) == "cpu"
        assert torch.are_deterministic_algorithms_enabled()
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        assert prepare_torch(job(tmp_path, device="auto")) == "cpu"
        with pytest.raises(ConfigError, match=r"device is 'cuda', but PyTorch .*: use 'auto' or 'cpu'"):
            prepare_torch(job(tmp_path, device="cuda"))
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        assert prepare_torch(job(tmp_path, device="auto")) == "cuda"
        assert prepare_torch(job(tmp_path, device="cpu")) == "cpu"
    finally:
        torch.use_deterministic_algorithms(mode=False)
        torch.set_num_threads(threads)
