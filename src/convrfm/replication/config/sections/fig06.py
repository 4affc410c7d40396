"""The section of Figure 6, the methods over many data sets, and of their pairs of classes."""

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from convrfm.datasets.registry import IMAGE_SETS, PAIRED_CLASSES, class_pairs
from convrfm.replication.config.models import Model, Positive, check_each_once
from convrfm.replication.config.sections.fig05 import RFMSection

__all__ = ["Fig06", "ImageNetwork", "ImageTask", "PairTask"]

DATASETS = tuple(entry.name for entry in IMAGE_SETS if entry.obtained != "generated")


class ImageNetwork(Model):
    """The plain convolutional network on a data set."""

    width: Positive = Field(64, description="filters of each convolution")
    batch_size: Positive = Field(128, description="images per step")
    optimizer: Literal["adam", "sgd"] = Field("adam", description="how it is trained")
    learning_rate: float = Field(5e-4, gt=0, description="step size")
    epochs: Positive = Field(500, description="passes over the training images; 500 in the paper")


class ImageTask(Model):
    """One data set with its kernels and its network."""

    dataset: str = Field(description="which one of docs/datasets.md; digits are scikit-learn's, a stand-in")
    n_train: Positive = Field(description="training images; the paper's number is lost")
    n_test: Positive = Field(description="test images")
    size: Positive | None = Field(32, description="pixels of each side; null keeps the size")
    colour: Literal["native", "grey", "rgb", "grey-rgb"] = Field(
        "native", description="rgb where some images are grey; grey-rgb: luma in three channels"
    )
    depth: Positive = Field(3, description="convolutions of kernels and network, L")
    patch_size: Positive = Field(3, description="patch size q")
    seeds: Positive = Field(
        3,
        description="how many of the seeds are run, the first ones of the list; one where the protocol fixes the images",
    )
    rfm: RFMSection = Field(default_factory=RFMSection, description="the kernels that learn")
    cnn: ImageNetwork = Field(default_factory=ImageNetwork, description="the network to compare with")

    @field_validator("dataset")
    @classmethod
    def _dataset_is_known(cls, dataset: str) -> str:
        if dataset not in DATASETS:
            msg = f"it must be one of {', '.join(DATASETS)}"
            raise ValueError(msg)
        return dataset

    @model_validator(mode="after")
    def _parts_fit_together(self) -> Self:
        self.rfm.check(self.depth)
        least = self.depth * (self.patch_size - 1) + 1
        if self.size is not None and self.size < least:
            sizes = f"depth {self.depth} and patch_size {self.patch_size}"
            msg = f"size must be at least {least} for {sizes}, but it is {self.size}"
            raise ValueError(msg)
        return self


class PairTask(ImageTask):
    """Pairs of classes of one data set, each a binary task of its own."""

    first_classes: Annotated[int, Field(ge=2)] = Field(
        PAIRED_CLASSES, description="all pairs among the first so many classes; 20 give 190 pairs"
    )
    only: list[Annotated[str, Field(pattern=r"^\d+-\d+$")]] = Field(
        default=[], description="some of these pairs, such as 3-8; all without any"
    )

    @property
    def pairs(self) -> list[str]:
        """The pairs, as `prepare` writes them: "0-1" and so on."""
        return self.only or [f"{first}-{second}" for first, second in class_pairs(self.first_classes)]

    @model_validator(mode="after")
    def _pairs_are_among_the_first_classes(self) -> Self:
        known = {f"{first}-{second}" for first, second in class_pairs(self.first_classes)}
        wrong = [pair for pair in self.only if pair not in known]
        if wrong or len(set(self.only)) < len(self.only):
            msg = (
                f"only must name pairs a-b with a < b < first_classes, {self.first_classes}, each once, but it is "
                f"{', '.join(self.only)}"
            )
            raise ValueError(msg)
        return self


class Fig06(Model):
    """Figure 6, the methods over many data sets, and accuracy against the number of layers that learn features."""

    datasets: list[ImageTask] = Field(min_length=1, description="data sets of panel A")
    layers: list[str] = Field(default=[], description="those of them that panel B shows as well")
    sigma: float = Field(
        1.0,
        ge=0,
        description="tasks of fig05.panels that have this noise level are shown too, in both panels, at that level",
    )
    pairs: list[PairTask] = Field(default=[], description="data sets whose pairs of classes make a table of their own")

    @field_validator("datasets", "pairs")
    @classmethod
    def _each_dataset_once(cls, tasks: list[ImageTask]) -> list[ImageTask]:
        check_each_once([task.dataset for task in tasks])
        return tasks

    @model_validator(mode="after")
    def _layers_are_shown(self) -> Self:
        known = [task.dataset for task in self.datasets]
        for name in self.layers:
            if name not in known:
                msg = f"layers must be among datasets, that is {', '.join(known)}, but there is {name!r}"
                raise ValueError(msg)
        return self
