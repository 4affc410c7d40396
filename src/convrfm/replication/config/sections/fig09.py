"""The section of Figure 9, robustness to patch size and pooling."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from convrfm.datasets.registry import IMAGE_SETS
from convrfm.replication.config.models import Model, Positive, check_each_once

__all__ = ["Fig09", "ShallowData"]

# Tasks with noise frames are composed, not prepared.
READABLE = sorted(entry.name for entry in IMAGE_SETS if entry.splits)


class ShallowData(Model):
    """One data set, and the form that its images are brought into."""

    dataset: str = Field(description="name of a data set, see docs/datasets.md")
    size: Annotated[int, Field(ge=4)] = Field(description="pixels of each side that images are resized to")
    colour: Literal["grey", "rgb", "grey-rgb"] = Field(description="one channel, three, or three equal ones")
    scaling: Literal["unit", "cifar10"] = Field(description="values in [0, 1], or SimpleNet's constants for CIFAR-10")
    n_train: Positive = Field(2000, description="training images; all where there are fewer")
    n_test: Positive = Field(2000, description="test images; all where there are fewer")

    @field_validator("dataset")
    @classmethod
    def _known(cls, dataset: str) -> str:
        if dataset not in READABLE:
            msg = f"it should be one of {', '.join(READABLE)}"
            raise ValueError(msg)
        return dataset


class Fig09(Model):
    """Figure 9, robustness to patch size and pooling."""

    datasets: list[ShallowData] = Field(min_length=1, description="what the similarities are averaged over")
    architectures: list[Literal["vanilla", "Myrtle5", "MyrtleMax"]] = Field(
        ["vanilla", "Myrtle5", "MyrtleMax"], min_length=1, description="no pooling, average pooling, maximum pooling"
    )
    patch_sizes: list[Positive] = Field([3, 5, 7], min_length=1, description="patch sizes q, odd")
    width: Positive = Field(64, description="filters of each convolution")
    first_std: float = Field(
        5e-3, gt=0, description="standard deviation of the initial weights of the first convolution"
    )
    later_std: float = Field(1e-2, gt=0, description="that of all other weights")
    learning_rate: float = Field(1e-3, gt=0, description="step size of Adam")
    batch_size: Positive = Field(128, description="images per step")
    epochs: Positive = Field(1000, description="most passes over the training images")
    evaluate_every: Positive = Field(5, description="epochs between evaluations, the best of which is kept")
    stop_below: float = Field(1e-5, ge=0, description="training loss at which training stops")
    seeds: Positive = Field(description="how many of the seeds train networks; the first ones of the list")

    @field_validator("datasets")
    @classmethod
    def _each_data_set_once(cls, datasets: list[ShallowData]) -> list[ShallowData]:
        check_each_once([entry.dataset for entry in datasets])
        return datasets

    @field_validator("architectures")
    @classmethod
    def _each_architecture_once(cls, architectures: list[str]) -> list[str]:
        if len(set(architectures)) < len(architectures):
            msg = "each architecture may stand there only once"
            raise ValueError(msg)
        return architectures

    @field_validator("patch_sizes")
    @classmethod
    def _odd_and_once(cls, patch_sizes: list[int]) -> list[int]:
        if len(set(patch_sizes)) < len(patch_sizes) or any(size % 2 == 0 for size in patch_sizes):
            msg = "patch sizes must be odd, so that zero padding keeps the size of an image, and each may stand there once"
            raise ValueError(msg)
        return patch_sizes
