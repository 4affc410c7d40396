"""The settings, data and results of a training."""

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from convrfm.errors import InputError

__all__ = ["TrainingData", "TrainingResult", "TrainingSettings"]

Loss = Literal["mse", "cross-entropy"]
Optimizer = Literal["adam", "sgd", "adadelta"]
Augmentation = Literal["none", "crop-flip"]
Keep = Literal["last", "best"]


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
        for name, allowed in (("optimizer", Optimizer), ("loss", Loss), ("augmentation", Augmentation), ("keep", Keep)):
            self._check(name, getattr(self, name) in get_args(allowed), f"one of {', '.join(get_args(allowed))}")
        for name in ("epochs", "batch_size", "evaluate_every"):
            self._check(name, getattr(self, name) >= 1, "at least 1")
        for name in ("learning_rate", "decay"):
            self._check(name, getattr(self, name) > 0, "positive")
        for name in ("weight_decay", "stop_below"):
            self._check(name, getattr(self, name) >= 0, "0 or positive")
        milestones = _rising(self.milestones) and min(self.milestones, default=1) >= 1
        self._check("milestones", milestones, "rising epochs from 1")
        reached = _rising(self.snapshots) and min(self.snapshots, default=0) >= 0
        self._check(
            "snapshots", reached and max(self.snapshots, default=0) <= self.epochs,
            f"rising epochs from 0 to {self.epochs}, the number of epochs",
        )  # fmt: skip

    def _check(self, name: str, holds: bool, expected: str) -> None:
        if not holds:
            value: Any = getattr(self, name)
            msg = f"{name} must be {expected}, but it is {value!r}."
            raise InputError(msg)

    def rate(self, epoch: int) -> float:
        """The learning rate of an epoch, counted from 1."""
        return self.learning_rate * self.decay ** sum(milestone < epoch for milestone in self.milestones)


def _rising(epochs: tuple[int, ...]) -> bool:
    return all(a < b for a, b in pairwise(epochs))


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
