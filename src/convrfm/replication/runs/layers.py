"""Images through the layers of Deep ConvRFM and of networks, for Figure 4."""

from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from convrfm.replication.runs.kinds import Files, Keys, RunKind, RunSettings

if TYPE_CHECKING:
    from convrfm.replication.plan.plan import Plan

__all__ = ["KINDS", "ImageLayers", "LayerSettings", "TaskLayers", "layer_settings"]


class LayerSettings(RunSettings):
    """What the transformation of images sees of the configuration.

    Attributes:
        n_train, n_test: images of the task.
        patch_size: q.
        images: test images that are transformed.
        control_draws: random matrices of the control, for each layer.
    """

    n_train: int
    n_test: int
    patch_size: int
    images: int
    control_draws: int


class TaskLayers(LayerSettings):
    """On a local-signal task at one noise level."""

    task: str
    sigma: float


class ImageLayers(LayerSettings):
    """On a data set."""

    dataset: str
    classes: str


def layer_settings(given: Any) -> TaskLayers | ImageLayers:
    """The settings of a job, from plain values."""
    adapter: TypeAdapter[TaskLayers | ImageLayers] = TypeAdapter(TaskLayers | ImageLayers)
    return adapter.validate_python(dict(given))


def _draw(plan: "Plan", w: Keys) -> list[str]:
    """The draw whose images are transformed; none for prepared images."""
    if w["dataset"] not in plan.panels:
        return []
    return [plan.draw(w["protocol"], w["dataset"], w["seed"])]


def _images(plan: "Plan", w: Keys) -> list[str]:
    """The prepared images that are transformed; none for a draw."""
    if w["dataset"] in plan.panels:
        return []
    return plan.task_images({**{key: w[key] for key in ("dataset", "protocol", "seed")}, "classes": "all"})


def _of_run(kind: str, file: str) -> Files:
    """One file of the fit ("rfm") or of the network ("cnn") whose layers are shown."""

    def files(plan: "Plan", w: Keys) -> list[str]:
        name, protocol, seed = w["dataset"], w["protocol"], w["seed"]
        if name not in plan.panels:
            return [plan.run_file(f"image-{kind}", protocol, file, dataset=name, classes="all", seed=seed)]
        sigma, trained = plan.settings.preset.fig04.sigma, {"optimizer": "adam"} if kind == "cnn" else {}
        return [plan.run_file(kind, protocol, file, task=name, sigma=sigma, **trained, seed=seed)]

    return files


def _settings(plan: "Plan", w: Keys) -> TaskLayers | ImageLayers:
    name, fig04 = w["dataset"], plan.settings.preset.fig04
    section = plan.panels[name] if name in plan.panels else plan.images[name]
    shared = {
        **section.model_dump(include={"n_train", "n_test", "patch_size"}),
        **fig04.model_dump(include={"images", "control_draws"}),
        "protocol": w["protocol"],
        "seed": int(w["seed"]),
    }
    if name in plan.panels:
        return TaskLayers(**shared, task=name, sigma=fig04.sigma)
    return ImageLayers(**shared, dataset=name, classes="all")


KINDS = (
    RunKind(
        "layers",
        "layers:transform_layers",
        ("dataset", "seed"),
        {
            "draw": _draw,
            "images": _images,
            "fit": _of_run("rfm", "arrays"),
            "history": _of_run("rfm", "metrics"),
            "network": _of_run("cnn", "arrays"),
        },
        _settings,
    ),
)
