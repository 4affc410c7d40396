"""The section of Theorem 1."""

from typing import Self

from pydantic import Field, model_validator

from convrfm.replication.config.models import Model, Positive

__all__ = ["Theorem1", "TheoremSize"]


class TheoremSize(Model):
    """One size of images and network."""

    images: Positive = Field(description="standard normal images, with standard normal targets")
    channels: Positive = Field(description="their channels")
    height: Positive = Field(description="their height")
    width: Positive = Field(description="their width")
    patch_size: Positive = Field(description="patch size q of the convolution that is looked at")
    filters: Positive = Field(description="its filters, and those of every other convolution")

    @model_validator(mode="after")
    def _a_patch_fits(self) -> Self:
        if self.patch_size >= min(self.height, self.width):
            msg = f"patch_size must be below height and width, but these are {self.height} and {self.width}"
            raise ValueError(msg)
        return self


class Theorem1(Model):
    """Theorem 1, checked in float64."""

    draws: Positive = Field(description="draws of images, targets and weights, with the seeds 0, 1, ...")
    learning_rate: float = Field(0.5, gt=0, allow_inf_nan=False, description="size of the one step of gradient descent")
    sizes: list[TheoremSize] = Field(min_length=1, description="the first one is shown as matrices")
