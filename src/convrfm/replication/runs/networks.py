"""Plain convolutional networks, trained on a task or on prepared images."""

from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from convrfm.replication.runs.kinds import Keys, RunKind, RunSettings

if TYPE_CHECKING:
    from convrfm.replication.plan.plan import Plan

__all__ = ["KINDS", "ImageNetworkSettings", "NetworkSettings", "TaskNetworkSettings", "network_settings"]


class NetworkSettings(RunSettings):
    """What the training of a plain network sees of the configuration.

    Attributes:
        depth: convolutions.
        patch_size: q.
        width: filters of each convolution.
        batch_size: images per step.
        optimizer: Adam, or plain SGD.
        learning_rate: its step size.
        epochs: passes over the training images.
        device: "auto", "cpu" or "cuda".
    """

    depth: int
    patch_size: int
    width: int
    batch_size: int
    optimizer: str
    learning_rate: float
    epochs: int
    device: str


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


def network_settings(given: Any) -> TaskNetworkSettings | ImageNetworkSettings:
    """The settings of a training's job, from plain values."""
    adapter: TypeAdapter[TaskNetworkSettings | ImageNetworkSettings] = TypeAdapter(TaskNetworkSettings | ImageNetworkSettings)
    return adapter.validate_python(dict(given))


def _of_panel(plan: "Plan", w: Keys) -> TaskNetworkSettings:
    panel = plan.panels[w["task"]]
    return TaskNetworkSettings(
        **panel.model_dump(include={"task", "n_train", "n_test", "depth", "patch_size"}),
        **panel.cnn.model_dump(include={"width", "batch_size"}),
        **getattr(panel.cnn, w["optimizer"]).model_dump(include={"learning_rate", "epochs"}),
        optimizer=w["optimizer"], protocol=w["protocol"], sigma=float(w["sigma"]), seed=int(w["seed"]),
        device=plan.settings.config.device,
    )  # fmt: skip


def _of_images(plan: "Plan", w: Keys) -> ImageNetworkSettings:
    task = plan.image_task(w["dataset"], w["classes"])
    return ImageNetworkSettings(
        **task.model_dump(include={"dataset", "n_train", "n_test", "depth", "patch_size"}),
        **task.cnn.model_dump(),
        classes=w["classes"], protocol=w["protocol"], seed=int(w["seed"]), device=plan.settings.config.device,
    )  # fmt: skip


JOB = "networks:train_task"

KINDS = (
    RunKind(
        "cnn",
        JOB,
        ("task", "sigma", "optimizer", "seed"),
        {"draw": lambda plan, w: [plan.draw(w["protocol"], w["task"], w["seed"])]},
        _of_panel,
    ),
    RunKind("image-cnn", JOB, ("dataset", "classes", "seed"), {"images": lambda plan, w: plan.task_images(w)}, _of_images),
)
