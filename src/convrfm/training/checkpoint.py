"""The state of a training on disk: written after each epoch, and read by the call that resumes.

The checkpoint before the last is kept in case the last one is damaged: each holds a hash of its tensors.
"""

import json
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from torch import nn

from convrfm.errors import ConvRFMError, ConvRFMWarning, StorageError
from convrfm.system.storage import digest_of, read_arrays, write_arrays

__all__ = ["FORMAT", "Progress", "latest_checkpoint", "previous_path", "weights_of", "write_checkpoint"]

Weights = dict[str, np.ndarray]

FORMAT = 3
"""Of checkpoints. Earlier ones are refused: 1 lacked `Progress.correct`, and 2 had another hash of its tensors."""


@dataclass
class Progress:
    """The progress of a training, beside the network and its optimizer."""

    rows: list[dict[str, float]]  # of the history, one for each epoch from 0
    initial: Weights  # weights before training
    snapshots: dict[int, Weights] = field(default_factory=dict)  # weights after chosen epochs
    best: Weights = field(default_factory=dict)  # weights of the best epoch so far; empty where they are not kept
    correct: dict[int, dict[str, np.ndarray]] = field(default_factory=dict)  # see `convrfm.training.TrainingResult`


def weights_of(network: nn.Module) -> Weights:
    """Copies of all parameters and buffers, by name."""
    return {name: value.detach().cpu().numpy().copy() for name, value in network.state_dict().items()}


def write_checkpoint(
    path: Path, network: nn.Module, optimizer: torch.optim.Optimizer, progress: Progress, identity: str
) -> None:
    """Write everything that training needs to resume; the present checkpoint becomes the previous one.

    Errors are those of `convrfm.system.storage.write_atomically`.
    """
    groups = {"weight": weights_of(network), "initial": progress.initial, "best": progress.best}
    groups |= {f"snapshot-{epoch}": weights for epoch, weights in progress.snapshots.items()}
    groups |= {f"correct-{epoch}": correct for epoch, correct in progress.correct.items()}
    for index, state in optimizer.state_dict()["state"].items():
        groups[f"optimizer/{index}"] = {name: value.detach().cpu().numpy() for name, value in state.items()}
    arrays = {f"{group}/{name}": value for group, values in groups.items() for name, value in values.items()}
    history = [{name: None if value != value else value for name, value in row.items()} for row in progress.rows]
    if path.exists():
        path.replace(previous_path(path))
    write_arrays(path, arrays, {"identity": identity, "history": json.dumps(history), "digest": digest_of({}, arrays)})


def previous_path(path: Path) -> Path:
    """The path of the checkpoint before the one at `path`."""
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def latest_checkpoint(path: Path, network: nn.Module, optimizer: torch.optim.Optimizer, identity: str) -> Progress | None:
    """Load the last undamaged checkpoint, with a warning if a later one is damaged; None if there is no checkpoint.

    Raises:
        ConvRFMError: it belongs to another training.
        StorageError: there are checkpoints, and all of them are damaged.
    """
    damage = None
    for candidate in (path, previous_path(path)):
        if not candidate.exists():
            continue
        try:
            progress = _loaded(candidate, network, optimizer, identity)
        except StorageError as error:
            damage = error
            continue
        if damage is not None:
            msg = f"{damage}: training goes on from the one before, after epoch {len(progress.rows) - 1}."
            warnings.warn(msg, ConvRFMWarning, stacklevel=2)
        return progress
    if damage is not None:
        msg = f"{damage}: delete it to start over."
        raise StorageError(msg) from damage
    return None


def _loaded(path: Path, network: nn.Module, optimizer: torch.optim.Optimizer, identity: str) -> Progress:
    """Load a checkpoint into network and optimizer, and give the rest; the caller adds what to do about a damaged one."""
    try:
        metadata, arrays = read_arrays(path)
    except SafetensorError as error:
        msg = f"The checkpoint {path} is damaged ({error})"
        raise StorageError(msg) from error
    if metadata.get("identity") != identity:
        msg = f"The checkpoint {path} belongs to other data, settings or sizes: delete it to start over."
        raise ConvRFMError(msg)
    if metadata.get("digest") != digest_of({}, arrays):
        msg = f"The checkpoint {path} is damaged (its content is not what was written)"
        raise StorageError(msg)
    groups: dict[str, Weights] = {"weight": {}, "initial": {}, "best": {}, "optimizer": {}}
    for name, array in arrays.items():
        group, rest = name.split("/", 1)
        groups.setdefault(group, {})[rest] = array
    network.load_state_dict({name: torch.from_numpy(array) for name, array in groups.pop("weight").items()})
    state: dict[int, dict[str, torch.Tensor]] = {}
    for name, array in groups.pop("optimizer").items():
        index, entry = name.split("/", 1)
        state.setdefault(int(index), {})[entry] = torch.from_numpy(array)
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    rows = [
        {name: float("nan") if value is None else value for name, value in row.items()}
        for row in json.loads(metadata["history"])
    ]
    initial, best = groups.pop("initial"), groups.pop("best")
    of_epochs: dict[str, dict[int, Weights]] = {"snapshot": {}, "correct": {}}
    for group, part in groups.items():
        kind, epoch = group.split("-")
        of_epochs[kind][int(epoch)] = part
    snapshots, correct = (dict(sorted(found.items())) for found in of_epochs.values())
    return Progress(rows, initial, snapshots, best, correct)
