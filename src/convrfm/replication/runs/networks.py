"""Networks: plain ones on tasks and prepared images, shallow ones (Figure 9), and SimpleNet with its ansatz (Figure 8)."""

from typing import TYPE_CHECKING, Any, Literal

from pydantic import TypeAdapter

from convrfm.replication.config.models import Model
from convrfm.replication.runs import Keys, RunKind, RunSettings

if TYPE_CHECKING:
    from convrfm.replication.figures.fig08 import SimpleNetPanel
    from convrfm.replication.plan.plan import Plan

__all__ = [
    "KINDS", "FeatureNetworkSettings", "ImageNetworkSettings", "NetworkSettings", "ShallowSettings", "SimpleNetAnsatzSettings",
    "SimpleNetSettings", "SimpleNetTrainingSettings", "TaskNetworkSettings", "network_settings",
]  # fmt: skip


class NetworkSettings(RunSettings):
    """What the training of a plain network sees of the configuration."""

    depth: int  # convolutions
    patch_size: int  # q
    width: int  # filters of each convolution
    batch_size: int  # images per step
    optimizer: str  # Adam, or plain SGD
    learning_rate: float  # its step size
    epochs: int  # passes over the training images
    device: str  # "auto", "cpu" or "cuda"


class TaskNetworkSettings(NetworkSettings):
    """A network on a local-signal task at one noise level."""

    task: str
    sigma: float
    n_train: int
    n_test: int


class ImageNetworkSettings(NetworkSettings):
    """A network on prepared images of a data set, or of a pair of its classes such as "3-8"."""

    dataset: str
    classes: str
    n_train: int
    n_test: int


class FeatureNetworkSettings(NetworkSettings):
    """What the training of the network sees of the configuration."""

    dataset: str


_OfNetwork = TaskNetworkSettings | ImageNetworkSettings
network_settings = TypeAdapter[_OfNetwork](_OfNetwork).validate_python
"""The settings of a training's job, from plain values."""


def _of_panel(plan: "Plan", w: Keys) -> TaskNetworkSettings:
    panel = plan.panels[w["task"]]
    return TaskNetworkSettings.of(plan, w, panel, panel.cnn, getattr(panel.cnn, w["optimizer"]), sigma=float(w["sigma"]))


def _of_images(plan: "Plan", w: Keys) -> ImageNetworkSettings:
    task = plan.image_task(w["dataset"], w["classes"])
    return ImageNetworkSettings.of(plan, w, task, task.cnn)


def _of_features(plan: "Plan", w: Keys) -> FeatureNetworkSettings:
    task = plan.feature_tasks[w["dataset"]]
    return FeatureNetworkSettings.of(plan, w, task, task.network)


class ShallowSettings(RunSettings):
    """What the training and measuring of one network sees; names as in `convrfm.replication.figures.fig09.Fig09`."""

    dataset: str
    architecture: Literal["vanilla", "Myrtle5", "MyrtleMax"]
    patch_size: int
    width: int
    first_std: float
    later_std: float
    learning_rate: float
    batch_size: int
    epochs: int
    evaluate_every: int
    stop_below: float
    device: str


def _shallow_images(plan: "Plan", w: Keys) -> list[str]:
    data = plan.shallow_data[w["dataset"]]
    counts, appearance = (data.n_train, data.n_test), data.model_dump(include={"size", "colour", "scaling"})
    return [plan.prepared(w["protocol"], "arrays", data.dataset, counts, w["seed"], kind="resample", **appearance)]


class NetworkChoices(Model):
    """Arguments of `convrfm.networks.simplenet.SimpleNet`."""

    width_divisor: int
    init_std: float
    extra_pool: bool


class SimpleNetSettings(RunSettings):
    """What every job with a SimpleNet sees of the configuration."""

    dataset: str
    n_train: int  # images
    n_test: int  # images
    scaling: str  # of the images
    network: NetworkChoices  # its shape and initialisation
    epochs: list[int]  # after which weights are kept and measured, beside the first and the last
    device: str  # "auto", "cpu" or "cuda"


class SimpleNetTrainingSettings(SimpleNetSettings):
    """What the training sees: its recipe, fields of `convrfm.training.TrainingSettings`."""

    training: dict[str, Any]


class SimpleNetAnsatzSettings(SimpleNetSettings):
    """What the measurement of the ansatz sees."""

    images: int
    mode: Literal["exact", "probe"]
    probes: int
    last_epoch: int


SIMPLENET_KEYS = ("dataset", "width_divisor", "seed")


def _panel(plan: "Plan", w: Keys) -> "SimpleNetPanel":
    return plan.simplenets[w["dataset"], w["width_divisor"]]


def _simplenet_images(plan: "Plan", w: Keys) -> list[str]:
    panel = _panel(plan, w)
    counts = (panel.n_train, panel.n_test)
    return [plan.prepared(w["protocol"], "arrays", w["dataset"], counts, w["seed"], size=32, scaling=panel.scaling)]


def _weights(plan: "Plan", w: Keys) -> list[str]:
    return [plan.run_file("simplenet", w["protocol"], "arrays", **{key: w[key] for key in SIMPLENET_KEYS})]


def _of_simplenet(plan: "Plan", w: Keys, kind: type[SimpleNetSettings], **given: Any) -> SimpleNetSettings:
    panel = _panel(plan, w)
    network = panel.model_dump(include=set(NetworkChoices.model_fields))
    return kind.of(plan, w, panel, panel.ansatz, network=network, **given)


JOB = "networks:train_task"

KINDS = (
    RunKind(
        "cnn", JOB, ("task", "sigma", "optimizer", "seed"),
        {"draw": lambda plan, w: [plan.draw(w["protocol"], w["task"], w["seed"])]}, _of_panel,
    ),
    RunKind("image-cnn", JOB, ("dataset", "classes", "seed"), {"images": lambda plan, w: plan.task_images(w)}, _of_images),
    RunKind(
        "feature-network", "networks:train_feature_network", ("dataset", "seed"),
        {"images": lambda plan, w: plan.feature_images(w)}, _of_features,
    ),
    RunKind(
        "shallow", "shallow:train_and_measure", ("dataset", "architecture", "patch_size", "seed"),
        {"images": _shallow_images},
        lambda plan, w: ShallowSettings.of(plan, w, plan.settings.preset.fig09, patch_size=int(w["patch_size"])),
    ),
    RunKind(
        "simplenet", "simplenet:train_network", SIMPLENET_KEYS, {"images": _simplenet_images},
        lambda plan, w: _of_simplenet(plan, w, SimpleNetTrainingSettings),
    ),
    RunKind(
        "simplenet-ansatz", "ansatz:measure_simplenet", SIMPLENET_KEYS, {"images": _simplenet_images, "weights": _weights},
        lambda plan, w: _of_simplenet(plan, w, SimpleNetAnsatzSettings, last_epoch=_panel(plan, w).training.epochs),
    ),
)  # fmt: skip
