"""What Figures 1, 2 and 7 share: the names of networks, and the means over layers that they are drawn from."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Literal, Self

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from pydantic import Field, model_validator

from convrfm.datasets.registry import CIFAR_WEIGHTS, REGISTRY, WEIGHTS, files_behind
from convrfm.replication.claims.evidence import with_interval
from convrfm.replication.config.images import check_count, check_counts
from convrfm.replication.config.models import Model, Positive, one_of
from convrfm.replication.figures.figure import Plan, read_recorded_runs
from convrfm.replication.figures.style import skipped_lines
from convrfm.replication.record.session import Job

__all__ = [
    "BEYOND_NOTE", "STAND_IN_NOTE", "Measurement", "Run", "StandIn", "Zoo", "ansatz_needs", "ansatz_runs",
    "caption_of_networks", "groups_of", "images_of", "is_beyond", "is_stand_in", "mean_over_layers", "measurements",
    "network_ticks", "note_of", "number_cell", "order", "title", "zoo_needs", "zoo_runs",
]  # fmt: skip

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

    network: Annotated[str, one_of(NETWORKS)] = Field(description="torchvision's name: " + ", ".join(NETWORKS))
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

    @model_validator(mode="after")
    def _enough_digits_and_epochs(self) -> Self:
        check_counts("digits", self.n_train, self.n_test)
        if self.snapshots != sorted(set(self.snapshots)) or max(self.snapshots, default=0) >= self.epochs:
            msg = f"snapshots must be increasing and below epochs, {self.epochs}, but they are {self.snapshots}"
            raise ValueError(msg)
        return self


class Zoo(Model):
    """The networks of Figures 1, 2 and 7."""

    weights: list[Annotated[str, one_of([entry.name for entry in (*WEIGHTS, *CIFAR_WEIGHTS)])]] = Field(
        default=[],
        description="pretrained networks, by the names of their weights in docs/datasets.md, such as vgg11-v1, or "
        "resnet20-cifar10, which is small and beyond the paper's list",
    )
    dataset: Literal["imagenet", "imagenette"] = Field(
        "imagenet",
        description="images for networks pretrained on ImageNet; Imagenette holds ten classes of it and needs no account",
    )
    standins: list[StandIn] = Field(default=[], description="small networks that stand in for pretrained ones")
    measurement: Measurement = Field(description="how their AGOPs are measured")

    @model_validator(mode="after")
    def _each_network_once_with_enough_images(self) -> Self:
        if not self.networks or len(set(self.networks)) < len(self.networks):
            msg = f"there must be at least one network, and each only once, but they are {self.networks}"
            raise ValueError(msg)
        for standin in self.standins:
            if standin.n_train < self.measurement.images:
                images, there = self.measurement.images, standin.n_train
                msg = f"measurement.images must be at most the n_train of {standin.network}, {there}, but it is {images}"
                raise ValueError(msg)
        for name in self.weights:
            natural = REGISTRY[name].trained_on == "imagenet"
            source, part = (self.dataset, "train") if natural else (REGISTRY[name].trained_on, "test")
            check_count("measurement.images", self.measurement.images, source, part)
        return self

    @property
    def networks(self) -> list[str]:
        """All networks by name: weights such as "vgg11-v1", stand-ins such as "vgg11-standin"."""
        return [*self.weights, *(f"{standin.network}-standin" for standin in self.standins)]


STAND_IN_NOTE = "stand-in: narrow nets on scikit-learn digits, not ImageNet"
"""What the figures say of networks that stand in for pretrained ones."""

BEYOND_NOTE = "beyond the paper's list: networks trained on CIFAR-10, not ImageNet"
"""What the figures say of pretrained networks that the paper does not have."""

Run = tuple[str, str, pd.DataFrame]
"""Name of a network, such as "vgg11-v1" or "vgg11-standin", the protocol, and its metrics."""

ORDER = ("alexnet", "vgg", "resnet")


def title(network: str) -> str:
    """The name in figures: "VGG11 BN" for "vgg11_bn-v1", "ResNet50 v2" for "resnet50-v2", "ResNet20 CIFAR-10"."""
    name, _, source = network.partition("-")
    spelled = name.replace("alexnet", "AlexNet").replace("vgg", "VGG").replace("resnet", "ResNet").replace("_bn", " BN")
    return spelled + {"v2": " v2", "cifar10": " CIFAR-10"}.get(source, "")


def network_ticks(axes: Axes, networks: Sequence[str]) -> None:
    """Write the names of networks below an axis, aslant if they are many; a data set in them has a line of its own."""
    many = len(networks) > 6
    names = [title(network).replace(" CIFAR", "\nCIFAR") for network in networks]
    axes.set_xticks(range(len(networks)), names, rotation=40 if many else 0, ha="right" if many else "center")


def is_stand_in(network: str) -> bool:
    """Whether a network stands in for a pretrained one."""
    return network.endswith("-standin")


def is_beyond(network: str) -> bool:
    """Whether a network is pretrained and not on the paper's list."""
    return network in {entry.name for entry in CIFAR_WEIGHTS}


def note_of(networks: Iterable[str]) -> str:
    """What figures say of networks that are not the paper's; "" of those on its list."""
    given = list(networks)
    notes = {BEYOND_NOTE: is_beyond, STAND_IN_NOTE: is_stand_in}
    return next((note for note, applies in notes.items() if any(map(applies, given))), "")


def groups_of(networks: Iterable[str]) -> list[list[str]]:
    """The networks of the paper and their stand-ins, and those beyond its list, which have panels of their own."""
    given = list(networks)
    groups = [[network for network in given if is_beyond(network) == beyond] for beyond in (False, True)]
    return [group for group in groups if group]


def order(network: str) -> tuple[bool, int, int, str]:
    """Sorts networks by family, depth, and variant; those beyond the paper's list come last."""
    family = next(index for index, name in enumerate(ORDER) if network.startswith(name))
    digits = "".join(character for character in network.partition("-")[0] if character.isdigit())
    return is_beyond(network), family, int(digits or 0), network


def mean_over_layers(metrics: pd.DataFrame, quantity: str, when: str) -> dict[str, float]:
    """Mean `value` of a quantity over the paper's layers of one network, when "trained" or "initial", with `low` and `high`.

    Where the means themselves were measured, with intervals that know of all layers at once, these are given. Otherwise
    the bounds are the means of the layers' bounds, as if all layers erred alike, which is the widest that they can be.
    """
    rows = metrics[(metrics["quantity"] == quantity) & (metrics["when"] == when) & (metrics["power"] == 1)]
    of_mean = rows["layer"] == "mean"
    measured = rows[of_mean if of_mean.any() else rows["in_paper"]]
    # One layer without an interval leaves the mean without one.
    return {name: float(np.mean(measured[name])) for name in ("value", "low", "high")}


def images_of(metrics: pd.DataFrame) -> dict[str, int]:
    """How many images the AGOP of a network was measured on, as a column `images`."""
    return {"images": int(metrics.loc[metrics["quantity"] == "pearson", "images"].max())}


def caption_of_networks(networks: list[str], skipped: Mapping[str, str]) -> list[str]:
    """Sentences on what the networks are, and on what is missing."""
    lines = []
    if standing := ", ".join(title(network) for network in networks if is_stand_in(network)):
        lines.append(f"\n{standing}: {STAND_IN_NOTE}; trained on the spot, not comparable with the paper.")
    if beyond := ", ".join(title(network) for network in networks if is_beyond(network)):
        lines.append(
            f"\n{beyond}: {BEYOND_NOTE}; measured on test images of CIFAR-10, which they were not trained on, in the first "
            "convolution of each block. Claims on networks of ImageNet leave them out."
        )
    return [*lines, *skipped_lines(skipped, title)]


def number_cell(row: pd.Series, *, signed: bool) -> str:
    """The `value` of a row with its interval, `low` and `high`; differences are signed."""
    return with_interval(row["value"], row["low"], row["high"], "+.3f" if signed else ".3f")


def measurements(job: Job) -> list[Run]:
    """Network, protocol and numbers of each measurement among the inputs `metrics` of a figure's job."""
    return [(keys["network"], keys["protocol"], table) for keys, _, table in read_recorded_runs(job.inputs["metrics"])]


def zoo_needs(plan: Plan, networks: Iterable[str]) -> dict[str, list[str]]:
    """The data sets with files that networks need: weights and images of pretrained ones."""
    return {
        network: [] if network in plan.standins else [network, *files_behind(plan.images_for(network))] for network in networks
    }


def ansatz_needs(plan: Plan) -> dict[str, list[str]]:
    """The data sets with files that each network needs, for figures of all networks."""
    return zoo_needs(plan, plan.settings.preset.zoo.networks)


def ansatz_runs(plan: Plan, protocol: str, file: str) -> list[str]:
    """One file of what is measured of each network whose data are present."""
    return zoo_runs(plan, protocol, file, kind="ansatz", networks=plan.settings.preset.zoo.networks)


def zoo_runs(plan: Plan, protocol: str, file: str, *, kind: str, networks: Iterable[str]) -> list[str]:
    """One file of a run of each network whose data are present."""
    return [
        plan.run_file(kind, protocol, file, network=network, seed=plan.seeds[0])
        for network, needs in zoo_needs(plan, networks).items()
        if not plan.absent(needs)
    ]
