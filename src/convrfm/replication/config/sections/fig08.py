"""The section of Figure 8, the ansatz in SimpleNet."""

from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from convrfm.replication.config.models import Model, Positive, check_each_once

__all__ = ["Fig08", "SimpleNetAnsatz", "SimpleNetPanel", "SimpleNetTraining"]


def _rising(epochs: list[int]) -> list[int]:
    if any(a >= b for a, b in pairwise(epochs)):
        msg = "the epochs must rise"
        raise ValueError(msg)
    return epochs


class SimpleNetTraining(Model):
    """Training by Adadelta (rho = 0.9, eps = 1e-3) on the cross-entropy; the defaults are SimpleNet's recipe."""

    epochs: Positive = Field(540, description="passes over the training images")
    batch_size: Positive = Field(100, description="images per step")
    learning_rate: float = Field(0.1, gt=0, description="learning rate of Adadelta at the start")
    milestones: list[Positive] = Field(
        default=[100, 190, 306, 390, 440, 540], description="after these epochs the rate is multiplied by decay"
    )
    decay: float = Field(0.1, gt=0, description="that factor")
    weight_decay: float = Field(
        1e-3, ge=0, description="L2 penalty; 0.002 in the logs of SimpleNet's best published runs"
    )
    augmentation: Literal["none", "crop-flip"] = Field(
        "crop-flip", description="random crops with a margin of 4 pixels and random flips, or none"
    )
    evaluate_every: Positive = Field(1, description="epochs from one measurement of the test accuracy to the next")
    mixed_precision: bool = Field(False, description="whether training steps run in bfloat16")

    _milestones_rise = field_validator("milestones")(_rising)


class SimpleNetAnsatz(Model):
    """The comparison of filters and average gradient outer product."""

    images: Positive = Field(description="training images that the AGOP is taken over, drawn at random")
    mode: Literal["exact", "probe"] = Field(
        "exact", description="exact: one backward pass for each class; probe: random directions, for many classes"
    )
    probes: Positive = Field(16, description="random directions for each image, in the mode probe")
    epochs: list[Positive] = Field(
        default_factory=list,
        description="epochs after which the correlation is taken as well; before training and the end belong to them anyway",
    )

    _epochs_rise = field_validator("epochs")(_rising)


class SimpleNetPanel(Model):
    """SimpleNet on one data set."""

    dataset: Literal["cifar10", "cifar100", "imagenet32", "svhn", "gtsrb", "digits"] = Field(
        description="which; digits are scikit-learn's, a stand-in"
    )
    n_train: Positive = Field(description="training images")
    n_test: Positive = Field(description="test images")
    scaling: Literal["unit", "cifar10", "cifar100", "imagenet"] = Field(
        description="mean and deviation that are taken out of the images, see convrfm.datasets.transforms"
    )
    seeds: Positive = Field(1, description="how many of the seeds train networks; the first ones of the list")
    width_divisor: Annotated[int, Field(ge=1, le=64)] = Field(
        1, description="divides the filters of every layer; above 1 the network is a stand-in"
    )
    init_std: float = Field(
        1e-2, gt=0, description="standard deviation of the initial weights of the convolutions; the paper's is lost"
    )
    extra_pool: bool = Field(
        True, description="whether there is a fifth pooling, as in the version that the authors imported"
    )
    training: SimpleNetTraining = Field(default_factory=SimpleNetTraining, description="how it is trained")
    ansatz: SimpleNetAnsatz = Field(description="how the ansatz is measured")

    @model_validator(mode="after")
    def _parts_fit_together(self) -> Self:
        if self.ansatz.epochs and self.ansatz.epochs[-1] > self.training.epochs:
            msg = (
                f"ansatz.epochs must end by training.epochs, {self.training.epochs}, but they are {self.ansatz.epochs}"
            )
            raise ValueError(msg)
        if self.ansatz.images > self.n_train:
            msg = f"ansatz.images must be at most n_train, {self.n_train}, but it is {self.ansatz.images}"
            raise ValueError(msg)
        if self.n_train % self.training.batch_size == 1:
            msg = (
                f"n_train, {self.n_train}, leaves a last batch of one image for batch_size {self.training.batch_size}, which "
                "batch norm cannot train on"
            )
            raise ValueError(msg)
        if self.dataset == "digits" and self.scaling != "unit":
            msg = f"scaling must be 'unit' for digits, which are grey, but it is {self.scaling!r}"
            raise ValueError(msg)
        return self


class Fig08(Model):
    """Figure 8, the ansatz in SimpleNet."""

    panels: list[SimpleNetPanel] = Field(min_length=1, description="one panel for each data set")

    @field_validator("panels")
    @classmethod
    def _one_panel_for_each_dataset(cls, panels: list[SimpleNetPanel]) -> list[SimpleNetPanel]:
        names = [panel.dataset for panel in panels]
        check_each_once(names, "each data set may have one panel only, but they are")
        return panels
