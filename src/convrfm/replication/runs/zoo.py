"""The networks of Figures 1, 2 and 7: training of stand-ins, the ansatz in each network, and images through its layers."""

from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from convrfm.datasets.registry import REGISTRY
from convrfm.replication.runs import Keys, RunKind, RunSettings

if TYPE_CHECKING:
    from convrfm.replication.plan.plan import Plan

__all__ = ["KINDS", "AnsatzSettings", "StandInSettings", "TransformSettings", "ZooSettings"]


class StandInSettings(RunSettings):
    """What the training of a stand-in sees of the configuration; names as in `convrfm.replication.figures.zoo.StandIn`."""

    network: str
    divisor: int
    learning_rate: float
    epochs: int
    batch_size: int
    snapshots: list[int]
    device: str


class ZooSettings(RunSettings):
    """Which network a job loads, and from where."""

    network: str  # its name in `convrfm.networks.zoo`
    weights: str  # name of pretrained weights; empty for a stand-in
    divisor: int  # of all widths
    epochs: int  # of the training; 0 where it is not known
    device: str  # "auto", "cpu" or "cuda"
    data_dir: str  # where pretrained weights lie
    folders: dict[str, str]  # where pretrained weights lie
    digest: str  # of pretrained weights; changed weights make what was measured stale
    dataset: str  # of the images

    @property
    def part(self) -> str:
        """Which part of the prepared images is measured: test images of CIFAR-10, training images of all others."""
        return "test" if self.dataset == "cifar10" else "train"


class AnsatzSettings(ZooSettings):
    """What a measurement sees of the configuration; names as in `convrfm.replication.figures.zoo.Measurement`."""

    images: int
    mode: Literal["exact", "probe"]
    batch_size: int
    probes: int
    tolerance: float | None
    most_probes: int


class TransformSettings(ZooSettings):
    """What the transformation of images sees of the configuration; names as in `convrfm.replication.figures.fig02.Fig02`."""

    images: int
    control_draws: int


ACCURACY_IMAGES = 1000  # test images of CIFAR-10 on which the accuracy is measured before anything else


LIKE_IMAGENET = {"fit": "crop", "colour": "rgb", "scaling": "imagenet"}
"""How images for networks of ImageNet are prepared."""


def _is_standin(plan: "Plan", w: Keys) -> bool:
    return w["network"] in plan.standins


def _standin_images(plan: "Plan", w: Keys) -> list[str]:
    """The digits that a stand-in is trained on."""
    standin = plan.standins[w["network"]]
    counts, looks = (standin.n_train, standin.n_test), {**LIKE_IMAGENET, "fit": "stretch"}
    return [plan.prepared(w["protocol"], "arrays", "digits", counts, w["seed"], size=standin.size, **looks)]


def _images(plan: "Plan", w: Keys) -> list[str]:
    """The images that a network is measured on, and, of CIFAR-10, more for its accuracy.

    ImageNet lies class by class, and the authors shuffle it: both protocols draw the images, stratified by class. Networks
    for CIFAR-10 have seen all training images, and get official test images, in their own size.
    """
    if _is_standin(plan, w):
        return _standin_images(plan, w)
    zoo, dataset = plan.settings.preset.zoo, plan.images_for(w["network"])
    if dataset == "cifar10":
        counts = (0, max(zoo.measurement.images, ACCURACY_IMAGES))
        return [plan.prepared("corrected", "arrays", dataset, counts, w["seed"], scaling="imagenet")]
    return [plan.prepared("corrected", "arrays", dataset, (zoo.measurement.images, 0), w["seed"], size=224, **LIKE_IMAGENET)]


def _transformed_images(plan: "Plan", w: Keys) -> list[str]:
    """The images that are transformed: those of the network; a stand-in gets scikit-learn's photographs as well."""
    images = _images(plan, w)
    if not _is_standin(plan, w):
        return images
    size = plan.standins[w["network"]].size
    return [*images, plan.prepared(w["protocol"], "arrays", "photographs", (2, 0), w["seed"], size=size, **LIKE_IMAGENET)]


def _states(plan: "Plan", w: Keys) -> list[str]:
    return [] if _is_standin(plan, w) else plan.state_of_input(w["network"])


def _of_run(plan: "Plan", w: Keys, kind: str) -> list[str]:
    return [plan.run_file(kind, w["protocol"], "arrays", network=w["network"], seed=w["seed"])]


def _training(plan: "Plan", w: Keys) -> list[str]:
    return _of_run(plan, w, "standin") if _is_standin(plan, w) else []


def _network(plan: "Plan", w: Keys) -> dict[str, Any]:
    """Values of `ZooSettings` that are not those of `config.yaml`."""
    name = w["network"]
    if _is_standin(plan, w):
        of_standin = plan.standins[name].model_dump(include={"network", "divisor", "epochs"})
        return {**of_standin, "weights": "", "folders": {}, "digest": "", "dataset": "digits"}
    weights = {"weights": name, "folders": plan.folder_of(name), "digest": plan.state_of(name)["digest"]}
    return {**weights, "network": REGISTRY[name].network, "divisor": 1, "epochs": 0, "dataset": plan.images_for(name)}


KINDS = (
    RunKind(
        "standin", "zoo:train_standin", ("network", "seed"), {"images": _standin_images},
        lambda plan, w: StandInSettings.of(plan, w, plan.standins[w["network"]]),
    ),
    RunKind(
        "ansatz", "ansatz:measure_network", ("network", "seed"),
        {"images": _images, "states": _states, "training": _training},
        lambda plan, w: AnsatzSettings.of(plan, w, plan.settings.preset.zoo.measurement, **_network(plan, w)),
    ),
    RunKind(
        "transformed", "transformed:transform_images", ("network", "seed"),
        {"images": _transformed_images, "measured": partial(_of_run, kind="ansatz"), "states": _states, "training": _training},
        lambda plan, w: TransformSettings.of(plan, w, plan.settings.preset.fig02, **_network(plan, w)),
    ),
)  # fmt: skip
