"""The sections of Figures 3, 10, 11 and 12, what the first layer learns."""

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from convrfm.datasets.registry import REGISTRY
from convrfm.replication.config.models import Model, Positive, check_each_once

__all__ = ["FeatureFigure", "FeatureNetwork", "FeatureTask", "Features"]


class FeatureNetwork(Model):
    """The finite network whose first layer is compared with."""

    width: Positive = Field(64, description="filters of each convolution")
    batch_size: Positive = Field(128, description="images per step")
    optimizer: Literal["adam", "sgd"] = Field("adam", description="Adam, or plain SGD")
    learning_rate: float = Field(5e-4, gt=0, description="step size")
    epochs: Positive = Field(description="passes over the training images")


class FeatureTask(Model):
    """One data set with the models that are fitted to it."""

    dataset: str = Field(description="a data set of docs/datasets.md whose images are of small size")
    size: Positive = Field(32, description="pixels of each side")
    colour: Literal["grey", "rgb"] = Field("rgb", description="one channel or three")
    n_train: Positive = Field(description="training images")
    n_test: Positive = Field(description="test images")
    rounds: Positive = Field(5, description="rounds of ConvRFM, T")
    ridges: list[Annotated[float, Field(gt=0)]] = Field(
        default=[1e-8, 1e-5, 1e-3], min_length=1, description="ridges to try, for a kernel divided by its largest entry"
    )
    depth: Positive = Field(3, description="convolutions of CNTK and network, L")
    patch_size: Positive = Field(3, description="patch size q of CNTK and network")
    laplace_patch_size: Positive = Field(7, description="patch size q of the Laplace kernel")
    bandwidth: float = Field(10.0, gt=0, description="bandwidth of the Laplace kernel; the paper's is lost")
    network: FeatureNetwork = Field(description="the network to compare with")

    @field_validator("dataset")
    @classmethod
    def _data_set_is_known(cls, name: str) -> str:
        if name not in REGISTRY or not REGISTRY[name].classes:
            msg = f"{name!r} is no data set with classes; docs/datasets.md lists them"
            raise ValueError(msg)
        return name

    @model_validator(mode="after")
    def _metrics_are_learned(self) -> Self:
        if self.rounds < 2:
            msg = "rounds must be at least 2: round 0 has the identity for a metric, which shows no feature"
            raise ValueError(msg)
        if min(self.patch_size, self.laplace_patch_size) < 2:
            msg = "patches must have at least 2x2 pixels: a single pixel has no orientation"
            raise ValueError(msg)
        return self


class Features(Model):
    """What the first layer learns, for Figures 3, 10, 11 and 12."""

    tasks: list[FeatureTask] = Field(min_length=1, description="data sets with their models")
    seeds: Positive = Field(
        3,
        description="how many of the seeds are fitted, the first ones of the list; one where the protocol fixes the images",
    )
    natural: Literal["photographs", "imagenet", "imagenette"] = Field(
        description="large natural images: scikit-learn's two photographs (a stand-in), ImageNet, or ten classes of it, for "
        "which nobody needs an account"
    )
    natural_images: Positive = Field(description="how many of them; the authors' code takes 15")
    natural_size: Positive = Field(224, description="pixels of each side of natural images")
    images: Positive = Field(
        20, description="test images of each data set that are compared; those of highest contrast are shown"
    )
    eigenvectors: Annotated[int, Field(ge=2)] = Field(8, description="top eigenvectors that are shown and measured")
    exponent: float = Field(
        1.0,
        gt=0,
        description="power of the matrices that images pass: 1 for the full matrix, as the paper has it for SVHN",
    )
    control_draws: Positive = Field(10, description="random matrices and filters that each comparison is held against")

    @field_validator("tasks")
    @classmethod
    def _each_data_set_once(cls, tasks: list[FeatureTask]) -> list[FeatureTask]:
        check_each_once([task.dataset for task in tasks])
        return tasks

    @model_validator(mode="after")
    def _enough_images(self) -> Self:
        for task in self.tasks:
            if task.n_test < self.images:
                msg = f"images must be at most the n_test of {task.dataset}, {task.n_test}, but it is {self.images}"
                raise ValueError(msg)
        return self


class FeatureFigure(Model):
    """One figure of what the first layer learns."""

    datasets: list[str] = Field(
        min_length=1, description="data sets of the section features, in their order on the figure"
    )

    @field_validator("datasets")
    @classmethod
    def _each_once(cls, datasets: list[str]) -> list[str]:
        check_each_once(datasets)
        return datasets
