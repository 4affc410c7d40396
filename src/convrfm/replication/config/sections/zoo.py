"""The section of the networks behind Figures 1, 2 and 7: pretrained ones, and small ones that stand in for them."""

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from convrfm.datasets.registry import WEIGHTS
from convrfm.replication.config.models import Model, Positive

__all__ = ["Measurement", "StandIn", "Zoo"]

NETWORKS = tuple(dict.fromkeys(entry.network for entry in WEIGHTS))


class Measurement(Model):
    """How the AGOPs of a network are measured."""

    images: Positive = Field(description="images; the authors' code takes 22 for VGG and 11 for ResNet")
    mode: Literal["exact", "probe"] = Field(
        "exact", description="exact: one backward pass for each class; probe: random combinations of all classes"
    )
    batch_size: Positive = Field(16, description="images at a time")
    probes: Positive = Field(16, description="random combinations for each image at first")
    tolerance: Annotated[float, Field(gt=0)] | None = Field(
        None, description="as many probes are added again until the standard error in every layer is below"
    )
    most_probes: Positive = Field(1024, description="for each image, after which the tolerance is given up")

    @model_validator(mode="after")
    def _tolerance_is_for_probes(self) -> Self:
        if self.mode == "exact" and self.tolerance is not None:
            msg = "tolerance is for the mode probe: the exact mode has no noise to bring down, so leave it out"
            raise ValueError(msg)
        return self


class StandIn(Model):
    """A narrow network of the zoo, trained on scikit-learn's digits."""

    network: str = Field(description="torchvision's name: " + ", ".join(NETWORKS))
    divisor: Positive = Field(4, description="what all widths are divided by")
    size: Positive = Field(64, description="pixels of each side")
    n_train: Positive = Field(1000, description="training images")
    n_test: Positive = Field(300, description="test images")
    learning_rate: float = Field(gt=0, description="step size of Adam")
    epochs: Positive = Field(description="passes over the training images")
    batch_size: Positive = Field(32, description="images per step")
    snapshots: list[Positive] = Field(
        default=[], description="epochs after which the weights are kept, beside the first and the last"
    )

    @field_validator("network")
    @classmethod
    def _network_is_known(cls, network: str) -> str:
        if network not in NETWORKS:
            msg = f"it must be one of {', '.join(NETWORKS)}"
            raise ValueError(msg)
        return network

    @model_validator(mode="after")
    def _snapshots_before_the_end(self) -> Self:
        if self.snapshots != sorted(set(self.snapshots)) or max(self.snapshots, default=0) >= self.epochs:
            msg = f"snapshots must be increasing and below epochs, {self.epochs}, but they are {self.snapshots}"
            raise ValueError(msg)
        return self


class Zoo(Model):
    """The networks of Figures 1, 2 and 7."""

    weights: list[str] = Field(
        default=[],
        description="pretrained networks, by the names of their weights in docs/datasets.md, such as vgg11-v1",
    )
    dataset: Literal["imagenet", "imagenette"] = Field(
        "imagenet",
        description="images for pretrained networks; Imagenette holds ten classes of ImageNet and needs no account",
    )
    standins: list[StandIn] = Field(default=[], description="small networks that stand in for pretrained ones")
    measurement: Measurement = Field(description="how their AGOPs are measured")

    @field_validator("weights")
    @classmethod
    def _weights_are_known(cls, weights: list[str]) -> list[str]:
        known = [entry.name for entry in WEIGHTS]
        for name in weights:
            if name not in known:
                msg = f"{name!r} is none of {', '.join(known)}"
                raise ValueError(msg)
        return weights

    @model_validator(mode="after")
    def _each_network_once(self) -> Self:
        if not self.networks or len(set(self.networks)) < len(self.networks):
            msg = f"there must be at least one network, and each only once, but they are {self.networks}"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _enough_images(self) -> Self:
        for standin in self.standins:
            if standin.n_train < self.measurement.images:
                images, there = self.measurement.images, standin.n_train
                msg = (
                    f"measurement.images must be at most the n_train of {standin.network}, {there}, but it is {images}"
                )
                raise ValueError(msg)
        return self

    @property
    def networks(self) -> list[str]:
        """All networks by name: weights such as "vgg11-v1", stand-ins such as "vgg11-standin"."""
        return [*self.weights, *(f"{standin.network}-standin" for standin in self.standins)]
