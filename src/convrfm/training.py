"""Training of classifiers by (S)GD on the squared error, resumable at every epoch."""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from convrfm.errors import ConvRFMError, InputError, StorageError
from convrfm.progress import track
from convrfm.seeding import generator
from convrfm.storage import write_bytes

__all__ = ["TrainingData", "TrainingResult", "TrainingSettings", "train"]


@dataclass(frozen=True)
class TrainingSettings:
    """How a network is trained; the defaults are the paper's settings for the toy tasks.

    Attributes:
        optimizer: "adam", or "sgd" without momentum.
        learning_rate: its step size.
        epochs: passes over the training images.
        batch_size: images per step.
        shuffle: whether each epoch takes the images in a new order; the authors' code does not shuffle.
    """

    optimizer: Literal["adam", "sgd"] = "adam"
    learning_rate: float = 5e-4
    epochs: int = 25
    batch_size: int = 128
    shuffle: bool = False

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            InputError: a value out of range.
        """
        if self.optimizer not in ("adam", "sgd"):
            msg = f"optimizer must be 'adam' or 'sgd', but it is {self.optimizer!r}."
            raise InputError(msg)
        if not self.learning_rate > 0 or self.epochs < 1 or self.batch_size < 1:
            msg = (
                f"learning_rate must be positive, epochs and batch_size at least 1, but these are the settings: {self}."
            )
            raise InputError(msg)


@dataclass(frozen=True)
class TrainingData:
    """Images `(n, c, h, w)` float32 and integer labels `(n,)` by split; `parts` are evaluated after every epoch.

    Attributes:
        images, labels: what is trained on.
        parts: other splits by name, such as "test" and "validation".
    """

    images: np.ndarray
    labels: np.ndarray
    parts: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)


@dataclass(frozen=True)
class TrainingResult:
    """What a training leaves.

    Attributes:
        history: a row for each epoch from 0 (before training): `epoch`, `train_loss` (mean squared error over the
            batches of the epoch, NaN at 0), and `<split>_accuracy` for every part.
        initial: weights before training, by parameter name.
        final: weights after the last epoch.
    """

    history: pd.DataFrame
    initial: dict[str, np.ndarray]
    final: dict[str, np.ndarray]


def train(
    network: nn.Module,
    data: TrainingData,
    settings: TrainingSettings,
    *,
    seed: int,
    checkpoint: Path | None = None,
    device: str = "cpu",
    description: str = "training",
    show: bool = False,
) -> TrainingResult:
    """Train on the mean squared error to one-hot targets, averaged over the batch and the outputs.

    With a checkpoint, the state is saved after every epoch, and a later call with the same network, data and settings goes on
    from there with the same result: the order of the images depends on the seed and the epoch alone.

    Raises:
        ConvRFMError: the checkpoint belongs to other data or settings, or the loss is not finite.
        StorageError: the checkpoint is damaged or cannot be written.
    """
    initial = _weights(network)
    network.to(device)
    optimizer = _optimizer(network, settings)
    images = torch.from_numpy(data.images).to(device)
    outputs = network(images[:1]).shape[1]
    targets = torch.from_numpy(np.eye(outputs, dtype=np.float32)[data.labels]).to(device)
    rows = [{"epoch": 0, "train_loss": float("nan"), **_accuracies(network, data, settings, device)}]
    identity = _identity(network, data, settings, seed)
    if checkpoint is not None and checkpoint.exists():
        initial, rows = _restore(checkpoint, network, optimizer, identity)
    first = len(rows)
    epochs = track(range(first, settings.epochs + 1), settings.epochs + 1 - first, f"{description}, epochs", show=show)
    for epoch in epochs:
        loss = _epoch(
            network, optimizer, images, targets, settings, generator(seed, "order of the training images", epoch)
        )
        if not np.isfinite(loss):
            msg = f"The training loss is {loss} in epoch {epoch}: use a smaller learning_rate than {settings.learning_rate}."
            raise ConvRFMError(msg)
        rows.append({"epoch": epoch, "train_loss": loss, **_accuracies(network, data, settings, device)})
        if checkpoint is not None:
            _save(checkpoint, network, optimizer, identity, initial, rows)
    return TrainingResult(pd.DataFrame(rows), initial, _weights(network))


def _optimizer(network: nn.Module, settings: TrainingSettings) -> torch.optim.Optimizer:
    if settings.optimizer == "adam":
        return torch.optim.Adam(network.parameters(), lr=settings.learning_rate)
    return torch.optim.SGD(network.parameters(), lr=settings.learning_rate)


def _epoch(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    images: torch.Tensor,
    targets: torch.Tensor,
    settings: TrainingSettings,
    rng: np.random.Generator,
) -> float:
    """One pass over the images; gives the mean loss over them."""
    order = torch.from_numpy(rng.permutation(len(images))) if settings.shuffle else torch.arange(len(images))
    total = 0.0
    for batch in order.to(images.device).split(settings.batch_size):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(network(images[batch]), targets[batch])
        loss.backward()
        optimizer.step()
        total += loss.item() * len(batch)
    return total / len(images)


@torch.no_grad()
def _accuracies(network: nn.Module, data: TrainingData, settings: TrainingSettings, device: str) -> dict[str, float]:
    found = {}
    for name, (images, labels) in data.parts.items():
        batches = torch.from_numpy(images).split(settings.batch_size)
        predicted = torch.cat([network(batch.to(device)).argmax(dim=1).cpu() for batch in batches])
        found[f"{name}_accuracy"] = float((predicted.numpy() == labels).mean())
    return found


def _weights(network: nn.Module) -> dict[str, np.ndarray]:
    return {name: value.detach().cpu().numpy().copy() for name, value in network.state_dict().items()}


def _identity(network: nn.Module, data: TrainingData, settings: TrainingSettings, seed: int) -> str:
    """What a checkpoint belongs to: settings, seed, shapes of the weights, and a hash of all data."""
    digest = hashlib.sha256()
    for images, labels in ((data.images, data.labels), *data.parts.values()):
        digest.update(np.ascontiguousarray(images).data)
        digest.update(np.ascontiguousarray(labels).data)
    shapes = {name: list(value.shape) for name, value in network.state_dict().items()}
    return json.dumps(
        {**asdict(settings), "seed": seed, "shapes": shapes, "data": digest.hexdigest()}, sort_keys=True
    )  # fmt: skip


def _save(
    path: Path,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    identity: str,
    initial: dict[str, np.ndarray],
    rows: list[dict[str, float]],
) -> None:
    tensors = {f"weight/{name}": value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    tensors |= {f"initial/{name}": torch.from_numpy(value) for name, value in initial.items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{index}/{name}": value.detach().cpu().contiguous() for name, value in state.items()}
    history = [{name: None if value != value else value for name, value in row.items()} for row in rows]
    write_bytes(path, save(tensors, {"identity": identity, "history": json.dumps(history)}))


def _restore(
    path: Path, network: nn.Module, optimizer: torch.optim.Optimizer, identity: str
) -> tuple[dict[str, np.ndarray], list[dict[str, float]]]:
    """Load a checkpoint into network and optimizer; gives the initial weights and the rows so far."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except SafetensorError as error:
        msg = f"The checkpoint {path} is damaged ({error}): delete it to start anew."
        raise StorageError(msg) from error
    if metadata["identity"] != identity:
        msg = f"The checkpoint {path} belongs to other data, settings or sizes: delete it to start anew."
        raise ConvRFMError(msg)
    groups: dict[str, dict[str, torch.Tensor]] = {"weight": {}, "initial": {}, "optimizer": {}}
    for name, tensor in tensors.items():
        group, rest = name.split("/", 1)
        groups[group][rest] = tensor
    network.load_state_dict(groups["weight"])
    state = optimizer.state_dict()
    state["state"] = {}
    for name, tensor in groups["optimizer"].items():
        index, entry = name.split("/", 1)
        state["state"].setdefault(int(index), {})[entry] = tensor
    optimizer.load_state_dict(state)
    rows = [
        {name: float("nan") if value is None else value for name, value in row.items()}
        for row in json.loads(metadata["history"])
    ]
    return {name: tensor.numpy().copy() for name, tensor in groups["initial"].items()}, rows
