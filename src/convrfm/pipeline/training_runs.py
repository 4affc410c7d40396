"""What all jobs that train networks share: the device, reproducible arithmetic, checkpoints, and weights on disk."""

import hashlib
import json
import os
from pathlib import Path

import torch
from torch import nn

from convrfm.errors import ConfigError
from convrfm.pipeline.session import Job
from convrfm.storage import load_arrays, sha256, write_arrays
from convrfm.training import TrainingResult

__all__ = ["checkpoint_path", "load_weights", "prepare_torch", "remove_checkpoints", "weights_when", "write_weights"]


def prepare_torch(job: Job) -> str:
    """Set the threads of PyTorch and have it compute the same bits each time; gives the device to use.

    The setting `device` is "auto", "cpu" or "cuda".

    Raises:
        ConfigError: CUDA was asked for, and there is none.
    """
    # What cuBLAS wants for reproducible products; it is read when CUDA starts.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(job.threads)
    torch.use_deterministic_algorithms(mode=True)
    torch.backends.cudnn.allow_tf32 = False
    wanted, available = job.settings["device"], torch.cuda.is_available()
    if wanted == "cuda" and not available:
        msg = "device is 'cuda', but PyTorch finds no CUDA device here: use 'auto' or 'cpu'."
        raise ConfigError(msg)
    return "cuda" if available and wanted != "cpu" else "cpu"


def checkpoint_path(job: Job, *parts: object) -> Path:
    """Where the checkpoint of one network of a job lies; it is found again by what it depends on.

    Args:
        job: its code, settings and inputs are what the checkpoint depends on.
        parts: what tells the networks of one job apart, plain values.
    """
    inputs = {name: [sha256(path) for path in paths] for name, paths in job.inputs.items()}
    identity = [job.recorder.code, dict(job.settings), inputs, list(parts)]
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
    return job.outputs["record"].with_name(f"checkpoint-{key}.safetensors")


def remove_checkpoints(job: Job) -> None:
    """Remove all checkpoints of a job whose outputs are there."""
    for checkpoint in job.outputs["record"].parent.glob("checkpoint-*.safetensors"):
        checkpoint.unlink()


def write_weights(path: Path, result: TrainingResult) -> None:
    """Write the weights that a training leaves, as `initial/<name>`, `final/<name>` and `snapshot-<epoch>/<name>`.

    Raises:
        StorageError: see `convrfm.storage`.
    """
    groups = {"initial": result.initial, "final": result.final}
    groups |= {f"snapshot-{epoch}": weights for epoch, weights in result.snapshots.items()}
    write_arrays(path, {f"{group}/{name}": a for group, weights in groups.items() for name, a in weights.items()})


def weights_when(path: Path) -> dict[str, dict[str, torch.Tensor]]:
    """Read what `write_weights` wrote: weights by name, by when."""
    found: dict[str, dict[str, torch.Tensor]] = {}
    for key, array in load_arrays(path).items():
        when, name = key.split("/", 1)
        found.setdefault(when, {})[name] = torch.from_numpy(array)
    return found


def load_weights(network: nn.Module, weights: dict[str, torch.Tensor]) -> None:
    """Put weights from disk into a network, and the network into eval mode."""
    # Single numbers, such as the counters of batch norm, come back from disk as arrays of length one.
    shapes = {name: value.shape for name, value in network.state_dict().items()}
    network.load_state_dict({name: value.reshape(shapes[name]) for name, value in weights.items()})
    network.eval()
