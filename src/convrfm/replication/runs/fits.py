"""Fits of kernels: Deep ConvRFM on tasks, of which CNTK and ConvRFM are parts; first layers; and images through their layers.

Tasks are local-signal tasks and data sets, for Figures 4 to 6; the first layers are for Figures 3, 10, 11 and 12.
"""

from functools import partial
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, TypeAdapter

from convrfm.errors import refuse
from convrfm.replication.config.models import Model, Positive
from convrfm.replication.runs import Keys, RunKind, RunSettings

if TYPE_CHECKING:
    from convrfm.replication.plan.plan import Plan

__all__ = [
    "JOB", "KINDS", "FeatureFitSettings", "FitSettings", "ImageFit", "ImageLayers", "RFMSection", "TaskFit", "TaskLayers",
    "fit_settings", "layer_settings",
]  # fmt: skip


class RFMSection(Model):
    """ConvRFM and Deep ConvRFM."""

    rounds: Positive = Field(5, description="rounds of ConvRFM, T")
    stages: Positive = Field(3, description="stages of Deep ConvRFM, at most the depth; stage 0 is ConvRFM")
    filters: Positive = Field(64, description="random filters of each stage of Deep ConvRFM")
    ridges: list[Annotated[float, Field(gt=0)]] = Field(
        default=[1e-8, 1e-5, 1e-3], min_length=1, description="ridges to try, for a kernel divided by its largest entry"
    )

    def check(self, depth: int) -> None:
        """Check the stages and rounds of a task that has this section as `rfm`, by the depth of its kernels, L.

        Raises:
            ValueError: more stages than convolutions, or fewer than two rounds.
        """
        too_many = f"rfm.stages is {self.stages}, but depth is {depth}: at most one stage per convolution"
        refuse(self.stages > depth, too_many, ValueError)
        too_few = "rfm.rounds must be at least 2: round 0 is the plain kernel that the others are compared with"
        refuse(self.rounds < 2, too_few, ValueError)


class FitSettings(RunSettings):
    """What a fit sees of the configuration."""

    n_train: int  # images
    n_test: int  # images
    depth: int  # L
    patch_size: int  # q
    rfm: RFMSection  # rounds, stages, filters and ridges
    # Choices of the protocol that this fit makes otherwise; fields of `convrfm.rfm.rounds.RFMSettings` and
    # `convrfm.rfm.deep.DeepSettings`.
    changes: dict[str, str | int | float]
    backend: str  # of the kernels
    memory_mb: int | None  # of the kernels


class TaskFit(FitSettings):
    """A fit to a local-signal task at one noise level."""

    task: str
    sigma: float


class ImageFit(FitSettings):
    """A fit to prepared images of a data set, or of a pair of its classes such as "3-8"."""

    dataset: str
    classes: str


fit_settings = TypeAdapter[TaskFit | ImageFit](TaskFit | ImageFit).validate_python
"""The settings of a fit's job, from plain values."""


class FeatureFitSettings(RunSettings):
    """What a fit sees of the configuration."""

    dataset: str
    kernel: str  # "cntk" or "laplace"
    rounds: int  # see `convrfm.rfm.rounds.RFMSettings`
    ridges: list[float]  # see `convrfm.rfm.rounds.RFMSettings`
    patch_size: int  # q
    depth: int | None = None  # L of the CNTK; None for the Laplace kernel
    bandwidth: float | None = None  # of the Laplace kernel; None for the CNTK
    backend: str  # of the kernels
    memory_mb: int | None  # of the kernels


def _of_features(plan: "Plan", w: Keys) -> FeatureFitSettings:
    task = plan.feature_tasks[w["dataset"]]
    if w["kernel"] == "cntk":
        return FeatureFitSettings.of(plan, w, task, bandwidth=None)
    return FeatureFitSettings.of(plan, w, task, depth=None, patch_size=task.laplace_patch_size)


class LayerSettings(RunSettings):
    """What the transformation of images sees of the configuration."""

    n_train: int  # images of the task
    n_test: int  # images of the task
    patch_size: int  # q
    images: int  # test images that are transformed
    control_draws: int  # random matrices of the control, for each layer


class TaskLayers(LayerSettings):
    """On a local-signal task at one noise level."""

    task: str
    sigma: float


class ImageLayers(LayerSettings):
    """On a data set."""

    dataset: str
    classes: str


layer_settings = TypeAdapter[TaskLayers | ImageLayers](TaskLayers | ImageLayers).validate_python
"""The settings of a job, from plain values."""


def _draw_of_layers(plan: "Plan", w: Keys) -> list[str]:
    """The draw whose images are transformed; none for prepared images."""
    return [plan.draw(w["protocol"], w["dataset"], w["seed"])] if w["dataset"] in plan.panels else []


def _images_of_layers(plan: "Plan", w: Keys) -> list[str]:
    """The prepared images that are transformed; none for a draw."""
    keys = {**{key: w[key] for key in ("dataset", "protocol", "seed")}, "classes": "all"}
    return [] if w["dataset"] in plan.panels else plan.task_images(keys)


def _of_run(plan: "Plan", w: Keys, kind: str, file: str) -> list[str]:
    """One file of the fit ("rfm") or of the network ("cnn") whose layers are shown."""
    name, protocol, seed = w["dataset"], w["protocol"], w["seed"]
    if name not in plan.panels:
        return [plan.run_file(f"image-{kind}", protocol, file, dataset=name, classes="all", seed=seed)]
    sigma, trained = plan.settings.preset.fig04.sigma, {"optimizer": "adam"} if kind == "cnn" else {}
    return [plan.run_file(kind, protocol, file, task=name, sigma=sigma, **trained, seed=seed)]


def _layers(plan: "Plan", w: Keys) -> TaskLayers | ImageLayers:
    name, fig04 = w["dataset"], plan.settings.preset.fig04
    if name in plan.panels:
        return TaskLayers.of(plan, w, plan.panels[name], fig04)
    return ImageLayers.of(plan, w, plan.images[name], fig04, classes="all")


JOB = "fits:fit_task"

KINDS = (
    RunKind(
        "rfm", JOB, ("task", "sigma", "seed"), {"draw": lambda plan, w: [plan.draw(w["protocol"], w["task"], w["seed"])]},
        lambda plan, w: TaskFit.of(plan, w, plan.panels[w["task"]], sigma=float(w["sigma"]), changes={}),
    ),
    RunKind(
        "image-rfm", JOB, ("dataset", "classes", "seed"), {"images": lambda plan, w: plan.task_images(w)},
        lambda plan, w: ImageFit.of(plan, w, plan.image_task(w["dataset"], w["classes"]), changes={}),
    ),
    RunKind(
        "features", "fits:fit_metric", ("dataset", "kernel", "seed"), {"images": lambda plan, w: plan.feature_images(w)},
        _of_features,
    ),
    RunKind(
        "layers", "transformed:transform_layers", ("dataset", "seed"),
        {
            "draw": _draw_of_layers, "images": _images_of_layers, "fit": partial(_of_run, kind="rfm", file="arrays"),
            "history": partial(_of_run, kind="rfm", file="metrics"), "network": partial(_of_run, kind="cnn", file="arrays"),
        },
        _layers,
    ),
)  # fmt: skip
