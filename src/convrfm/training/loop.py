"""Training of a classifier: settings, data and result, the loop over epochs and batches, random crops and flips."""

import hashlib
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import pairwise, takewhile
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import pandas as pd
import torch
from torch import nn

from convrfm.errors import ConvRFMError, InputError
from convrfm.numerics.inputs import generator, refuse_first, targets_of
from convrfm.system.terminal import track
from convrfm.training.checkpoint import FORMAT, Progress, latest_checkpoint, weights_of, write_checkpoint

__all__ = ["MARGIN", "CropFlip", "TrainingData", "TrainingResult", "TrainingSettings", "identity_of", "train"]

Loss = Literal["mse", "cross-entropy"]
Optimizer = Literal["adam", "sgd", "adadelta"]
Augmentation = Literal["none", "crop-flip"]
Keep = Literal["last", "best"]

log = logging.getLogger(__name__)

# SimpleNet's settings of Adadelta.
RHO, EPSILON = 0.9, 1e-3

MARGIN = 4
"""Pixels by which a crop may lie outside the image on each side."""


@dataclass(frozen=True)
class TrainingSettings:
    """How a network is trained; the defaults are the paper's settings for the toy tasks.

    Attributes:
        optimizer: "adam"; "sgd" without momentum; "adadelta" with rho = 0.9 and eps = 1e-3, as in SimpleNet's code.
        learning_rate: its step size.
        epochs: passes over the training images.
        batch_size: images per step.
        shuffle: whether each epoch takes the images in a new order; the authors' code for the toy tasks does not shuffle.
        loss: "mse" to one-hot targets, averaged over batch and outputs; or "cross-entropy", averaged over the batch.
        weight_decay: times the weights, is added to the gradient (L2 penalty, not decoupled).
        milestones: after each of these epochs the learning rate is multiplied by `decay`.
        decay: that factor.
        augmentation: "crop-flip" moves each image by up to 4 pixels each way, fills up with `TrainingData.border`, and
            mirrors it left to right with probability 1/2.
        evaluate_every: accuracies are measured after every so many epochs, and always after the last one.
        stop_below: training ends after an epoch whose loss is below this.
        keep: which weights are the final ones: of the "last" epoch, or of that with the "best" accuracy on the first of
            `TrainingData.parts`, the earliest of equals.
        snapshots: epochs whose weights are kept as well; 0 is before training.
        mixed_precision: whether the training steps run in bfloat16 where PyTorch holds that to be safe.
    """

    optimizer: Optimizer = "adam"
    learning_rate: float = 5e-4
    epochs: int = 25
    batch_size: int = 128
    shuffle: bool = False
    loss: Loss = "mse"
    weight_decay: float = 0.0
    milestones: tuple[int, ...] = ()
    decay: float = 0.1
    augmentation: Augmentation = "none"
    evaluate_every: int = 1
    stop_below: float = 0.0
    keep: Keep = "last"
    snapshots: tuple[int, ...] = ()
    mixed_precision: bool = False

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            InputError: a value out of range.
        """
        checks: dict[str, bool] = {}
        for name, allowed in (("optimizer", Optimizer), ("loss", Loss), ("augmentation", Augmentation), ("keep", Keep)):
            checks[f"{name} must be one of {', '.join(get_args(allowed))}"] = getattr(self, name) in get_args(allowed)
        for name in ("epochs", "batch_size", "evaluate_every"):
            checks[f"{name} must be at least 1"] = getattr(self, name) >= 1
        for name in ("learning_rate", "decay"):
            checks[f"{name} must be positive"] = getattr(self, name) > 0
        for name in ("weight_decay", "stop_below"):
            checks[f"{name} must be 0 or positive"] = getattr(self, name) >= 0
        checks["milestones must be rising epochs from 1"] = _rising(self.milestones, 1)
        reached = _rising(self.snapshots, 0) and max(self.snapshots, default=0) <= self.epochs
        checks[f"snapshots must be rising epochs from 0 to {self.epochs}, the number of epochs"] = reached
        refuse_first(self, checks)

    def rate(self, epoch: int) -> float:
        """The learning rate of an epoch, counted from 1."""
        return self.learning_rate * self.decay ** sum(milestone < epoch for milestone in self.milestones)


def _rising(epochs: tuple[int, ...], first: int) -> bool:
    return all(a < b for a, b in pairwise(epochs)) and min(epochs, default=first) >= first


@dataclass(frozen=True)
class TrainingData:
    """Images `(n, c, h, w)` float32 and integer labels `(n,)` by split.

    Attributes:
        images, labels: what is trained on.
        parts: other splits by name, such as "test" and "validation", whose accuracies are measured.
        border: value of each channel outside the images `(c,)`, for the augmentation; None stands for 0. In images whose
            mean was taken out, black is not 0.
    """

    images: np.ndarray
    labels: np.ndarray
    parts: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    border: np.ndarray | None = None


@dataclass(frozen=True)
class TrainingResult:
    """The result of a training. Weights are parameters and buffers, by name.

    Attributes:
        history: a row for each epoch from 0 (before training): `epoch`, `train_loss` (mean over the images of the epoch,
            NaN at 0), and `<split>_accuracy` for every part, NaN where it was not measured.
        initial: weights before training.
        final: weights after the last epoch, or after the best one.
        kept_epoch: which epoch that is.
        snapshots: weights after chosen epochs, as far as training has reached them.
        correct: of each epoch with accuracies and each part, whether its images are classified correctly, in their order,
            `(m,)` bool; the mean is the accuracy of the history.
    """

    history: pd.DataFrame
    initial: dict[str, np.ndarray]
    final: dict[str, np.ndarray]
    kept_epoch: int
    snapshots: dict[int, dict[str, np.ndarray]]
    correct: dict[int, dict[str, np.ndarray]]


class CropFlip:
    """Crops at random from images with a border of `MARGIN` pixels, and flips left to right with probability 1/2.

    The draws of an epoch are made at once, by image, and do not depend on the order and the size of the batches.

    Args:
        count: number of images.
        border: value of each channel outside the images `(c,)`.
        rng: makes the draws of one epoch.
    """

    def __init__(self, count: int, border: torch.Tensor, rng: np.random.Generator) -> None:
        self.border = border
        self.shifts = torch.from_numpy(rng.integers(-MARGIN, MARGIN + 1, (count, 2))).to(border.device)
        self.flips = torch.from_numpy(rng.integers(0, 2, count).astype(bool)).to(border.device)

    def __call__(self, images: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
        """Give the images `(b, c, h, w)` of the indices `(b,)`, moved and flipped."""
        height, width = images.shape[2:]
        shifts, flips = self.shifts[indices], self.flips[indices]
        down = torch.arange(height, device=images.device)
        along = torch.arange(width, device=images.device)
        rows = down + shifts[:, :1]  # (b, h): which row of the image each row of the crop is
        columns = torch.where(flips[:, None], along.flip(0), along) + shifts[:, 1:]  # (b, w)
        nearest_rows, nearest_columns = rows.clamp(0, height - 1), columns.clamp(0, width - 1)
        inside = (rows == nearest_rows)[:, None, :, None] & (columns == nearest_columns)[:, None, None, :]
        batch = torch.arange(len(images), device=images.device)[:, None, None]
        # Indices on both sides of the channel axis put it last: (b, h, w, c).
        moved = images[batch, :, nearest_rows[:, :, None], nearest_columns[:, None, :]]
        return torch.where(inside, moved.movedim(3, 1), self.border[:, None, None])


def train(
    network: nn.Module, data: TrainingData, settings: TrainingSettings, *, seed: int, checkpoint: Path | None = None,
    device: str = "cpu", description: str = "training", show: bool = False,
) -> TrainingResult:  # fmt: skip
    """Train a classifier; afterwards the network has the final weights and is in eval mode.

    With a checkpoint, the state is saved after every epoch, and a later call with the same network, data and settings resumes
    from there with the same result: the order of the images, their augmentation and dropout depend on the seed and the epoch
    alone. PyTorch's global generators are left unchanged.

    Raises:
        InputError: the best weights are to be kept, and there is no part to measure accuracy on.
        ConvRFMError: the checkpoint belongs to other data or settings, or the loss is not finite.
        StorageError: the checkpoint and the one before are damaged, or it cannot be written.
    """
    if settings.keep == "best" and not data.parts:
        msg = "keep is 'best', but the data have no part to choose the epoch by: give one, such as 'test'."
        raise InputError(msg)
    progress = Progress([], weights_of(network))
    network.to(device)
    optimizer = _optimizer(network, settings)
    images, targets = _on_device(network, data, settings, device)
    identity = identity_of(network, data, settings, seed)
    found = None if checkpoint is None else latest_checkpoint(checkpoint, network, optimizer, identity)
    if found is not None:
        progress = found
        log.info("%s goes on from its checkpoint, after epoch %d", description, len(progress.rows) - 1)
    else:
        _note(progress, network, data, settings, 0, float("nan"), device)
    first = len(progress.rows)
    left = takewhile(lambda _: not progress.rows[-1]["train_loss"] < settings.stop_below, range(first, settings.epochs + 1))
    for epoch in track(left, settings.epochs + 1 - first, f"{description}, epochs", show=show):
        for group in optimizer.param_groups:
            group["lr"] = settings.rate(epoch)
        with _dropout_of(seed, epoch, device):
            loss = _epoch(network, optimizer, images, targets, data, settings, seed=seed, epoch=epoch)
        if not np.isfinite(loss):
            msg = f"The training loss is {loss} in epoch {epoch}: use a smaller learning_rate than {settings.learning_rate}."
            raise ConvRFMError(msg)
        _note(progress, network, data, settings, epoch, loss, device)
        if checkpoint is not None:
            write_checkpoint(checkpoint, network, optimizer, progress, identity)
    return _result(network, data, settings, progress)


def identity_of(network: nn.Module, data: TrainingData, settings: TrainingSettings, seed: int) -> str:
    """What a checkpoint belongs to: settings, seed, shapes of the weights, and a hash of all data."""
    digest = hashlib.sha256()
    for images, labels in ((data.images, data.labels), *data.parts.values()):
        digest.update(np.ascontiguousarray(images).data)
        digest.update(np.ascontiguousarray(labels).data)
    if data.border is not None:
        digest.update(np.ascontiguousarray(data.border).data)
    shapes = {name: list(value.shape) for name, value in network.state_dict().items()}
    return json.dumps(
        {**asdict(settings), "seed": seed, "shapes": shapes, "data": digest.hexdigest(), "format": FORMAT}, sort_keys=True
    )  # fmt: skip


def _optimizer(network: nn.Module, settings: TrainingSettings) -> torch.optim.Optimizer:
    rate, weight_decay = settings.learning_rate, settings.weight_decay
    if settings.optimizer == "adam":
        return torch.optim.Adam(network.parameters(), lr=rate, weight_decay=weight_decay)
    if settings.optimizer == "adadelta":
        return torch.optim.Adadelta(network.parameters(), rate, RHO, EPSILON, weight_decay)
    return torch.optim.SGD(network.parameters(), lr=rate, weight_decay=weight_decay)


@torch.no_grad()
def _on_device(
    network: nn.Module, data: TrainingData, settings: TrainingSettings, device: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """The training images, and what the loss compares with: targets `(n, outputs)` or labels `(n,)`."""
    images = torch.from_numpy(data.images).to(device)
    if settings.loss == "cross-entropy":
        return images, torch.from_numpy(data.labels.astype(np.int64)).to(device)
    targets = targets_of(data.labels, network.eval()(images[:1]).shape[1])
    return images, torch.from_numpy(targets.astype(np.float32)).to(device)


@contextmanager
def _dropout_of(seed: int, epoch: int, device: str) -> Iterator[None]:
    """Seed the generators that dropout draws from, for one epoch; they are put back afterwards."""
    wanted = torch.device(device)
    start = int(generator(seed, "dropout", epoch).integers(2**63))
    with torch.random.fork_rng([wanted] if wanted.type == "cuda" else []):
        torch.default_generator.manual_seed(start)
        if wanted.type == "cuda":
            torch.cuda.manual_seed(start)
        yield


def _epoch(
    network: nn.Module, optimizer: torch.optim.Optimizer, images: torch.Tensor, targets: torch.Tensor,
    data: TrainingData, settings: TrainingSettings, *, seed: int, epoch: int,
) -> float:  # fmt: skip
    """One pass over the images; gives the mean loss over them."""
    rng = generator(seed, "order of the training images", epoch)
    order = torch.from_numpy(rng.permutation(len(images))) if settings.shuffle else torch.arange(len(images))
    change = None
    if settings.augmentation == "crop-flip":
        border = np.zeros(images.shape[1]) if data.border is None else data.border
        draws = generator(seed, "augmentation of the training images", epoch)
        change = CropFlip(len(images), torch.from_numpy(border.astype(np.float32)).to(images.device), draws)
    criterion = nn.functional.mse_loss if settings.loss == "mse" else nn.functional.cross_entropy
    total = 0.0
    network.train()
    for batch in order.to(images.device).split(settings.batch_size):
        optimizer.zero_grad()
        inputs = images[batch] if change is None else change(images[batch], batch)
        with torch.autocast(images.device.type, torch.bfloat16, enabled=settings.mixed_precision):
            outputs = network(inputs)
        loss = criterion(outputs.float(), targets[batch])
        loss.backward()
        optimizer.step()
        total += loss.item() * len(batch)
    return total / len(images)


def _note(
    progress: Progress, network: nn.Module, data: TrainingData, settings: TrainingSettings, epoch: int, loss: float,
    device: str,
) -> None:  # fmt: skip
    """Record an epoch: a row, the accuracies if they are due, and weights to keep."""
    last = epoch == settings.epochs or loss < settings.stop_below
    due = last or epoch % settings.evaluate_every == 0
    accuracies = {f"{name}_accuracy": float("nan") for name in data.parts}
    if due:
        progress.correct[epoch] = _correct(network, data, settings, device)
        accuracies = {f"{name}_accuracy": float(found.mean()) for name, found in progress.correct[epoch].items()}
    progress.rows.append({"epoch": epoch, "train_loss": loss, **accuracies})
    if epoch in settings.snapshots:
        progress.snapshots[epoch] = weights_of(network)
    if settings.keep == "best" and epoch > 0 and _best_epoch(progress, data) == epoch:
        progress.best = weights_of(network)


def _best_epoch(progress: Progress, data: TrainingData) -> int | None:
    """The earliest epoch with the best accuracy on the first part; None before one was measured."""
    name = f"{next(iter(data.parts))}_accuracy"
    measured = [row for row in progress.rows[1:] if row[name] == row[name]]
    return int(max(measured, key=lambda row: row[name])["epoch"]) if measured else None


@torch.no_grad()
def _correct(network: nn.Module, data: TrainingData, settings: TrainingSettings, device: str) -> dict[str, np.ndarray]:
    """Whether the images of each part are classified correctly, `(m,)` bool."""
    found = {}
    network.eval()
    for name, (images, labels) in data.parts.items():
        batches = torch.from_numpy(images).split(settings.batch_size)
        predicted = torch.cat([_decided(network(batch.to(device))).cpu() for batch in batches])
        found[name] = np.asarray(predicted.numpy() == labels)
    return found


def _decided(outputs: torch.Tensor) -> torch.Tensor:
    """Labels `(n,)`: where the largest output is; a single one says 1 above 1/2."""
    return (outputs[:, 0] > 0.5).long() if outputs.shape[1] == 1 else outputs.argmax(dim=1)


def _result(network: nn.Module, data: TrainingData, settings: TrainingSettings, progress: Progress) -> TrainingResult:
    network.eval()
    kept: int | None = int(progress.rows[-1]["epoch"])
    if settings.keep == "best":
        kept = _best_epoch(progress, data)
        network.load_state_dict({name: torch.from_numpy(value) for name, value in progress.best.items()})
    assert kept is not None  # the last epoch is always measured
    history = pd.DataFrame(progress.rows)
    return TrainingResult(history, progress.initial, weights_of(network), kept, progress.snapshots, progress.correct)
