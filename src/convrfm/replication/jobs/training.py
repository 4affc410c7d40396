"""What all jobs that train networks share: the device, reproducible arithmetic, checkpoints, and what they leave on disk."""

import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import nn

from convrfm.errors import ConfigError, refuse
from convrfm.replication.record.session import Job, checkpoint_path
from convrfm.system.machine import cuda_trouble
from convrfm.system.storage import load_arrays
from convrfm.training import TrainingData, TrainingResult, TrainingSettings, train

__all__ = [
    "load_weights", "prepare_torch", "prepared_data", "train_resumably", "weight_arrays", "weights_when", "write_training",
]  # fmt: skip


def prepare_torch(job: Job) -> str:
    """Set the threads of PyTorch and have it compute the same bits each time; gives the device to use.

    The setting `device` is "auto", "cpu" or "cuda".

    Raises:
        ConfigError: `device` is cuda, which cannot be used.
    """
    # What cuBLAS wants for reproducible products; it is read when CUDA starts.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(job.threads)
    torch.use_deterministic_algorithms(mode=True)
    torch.backends.cudnn.allow_tf32 = False
    wanted = job.settings["device"]
    trouble = None if wanted == "cpu" else cuda_trouble()
    if trouble is not None:
        refuse(wanted == "cuda", f"device is 'cuda', but {trouble}: use 'auto' or 'cpu'.", ConfigError)
        job.note_unusable_gpu(trouble)
    return "cpu" if wanted == "cpu" or trouble is not None else "cuda"


def prepared_data(arrays: Mapping[str, np.ndarray], border: np.ndarray | None = None) -> TrainingData:
    """All training images of what the job `prepare` has written, and its test images to evaluate on."""
    test = (arrays["test/images"], arrays["test/labels"])
    return TrainingData(arrays["train/images"], arrays["train/labels"], {"test": test}, border=border)


def train_resumably(
    job: Job, network: nn.Module, data: TrainingData, settings: TrainingSettings, *,
    device: str, description: str, part: str | None = None,
) -> TrainingResult:  # fmt: skip
    """Train a network with the seed of a job, from its checkpoint on if there is one; `part` tells those of one job apart.

    Raises:
        TrainingError, StorageError: see `convrfm.training.train`.
    """
    checkpoint, seed = checkpoint_path(job, *([] if part is None else [part])), job.settings["seed"]
    return train(network, data, settings, seed=seed, checkpoint=checkpoint, device=device, description=description, show=True)


def write_training(
    job: Job, result: TrainingResult, settings: TrainingSettings, device: str, *, chosen_by: str | None = None
) -> None:
    """Write history, weights and record of a training that is the whole of a job, and remove its checkpoints.

    The best epoch, by the column `chosen_by` of the history, is noted; None where the last one counts. Beside the weights,
    `correct` `(m,)` bool says of each test image whether it is classified correctly in that epoch.

    Raises:
        StorageError: see `convrfm.system.storage`.
    """
    trained = result.history[result.history["epoch"] > 0]
    best = trained.loc[trained[chosen_by].idxmax()] if chosen_by else trained.iloc[-1]
    if chosen_by is not None:
        job.recorder.notes |= {"best_epoch": int(best["epoch"]), "best_epoch_test_accuracy": float(best["test_accuracy"])}
    job.finish(
        result.history,
        {**weight_arrays(result), "correct": result.correct[int(best["epoch"])]["test"]},
        seed=job.settings["seed"],
        protocol=job.settings["protocol"],
        device=device,
        training=asdict(settings),
        last_epoch_test_accuracy=float(trained["test_accuracy"].iloc[-1]),
    )


def weight_arrays(result: TrainingResult) -> dict[str, np.ndarray]:
    """The weights that a training leaves, as `initial/<name>`, `final/<name>` and `snapshot-<epoch>/<name>`."""
    groups = {"initial": result.initial, "final": result.final}
    groups |= {f"snapshot-{epoch}": weights for epoch, weights in result.snapshots.items()}
    return {f"{group}/{name}": array for group, weights in groups.items() for name, array in weights.items()}


def weights_when(path: Path) -> dict[str, dict[str, torch.Tensor]]:
    """Read what `weight_arrays` gave, from its file: weights by name, by when."""
    found: dict[str, dict[str, torch.Tensor]] = {}
    for key, array in load_arrays(path).items():
        when, _, name = key.partition("/")
        if name:
            found.setdefault(when, {})[name] = torch.from_numpy(array)
    return found


def load_weights(network: nn.Module, weights: dict[str, torch.Tensor]) -> None:
    """Put weights from disk into a network, and the network into eval mode."""
    network.load_state_dict(weights)
    network.eval()
