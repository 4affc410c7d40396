"""Fits of Deep ConvRFM, all stages, to a task; CNTK and ConvRFM are parts of them."""

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, TypeAdapter

from convrfm.replication.config.models import Model, Positive
from convrfm.replication.runs.kinds import Keys, RunKind, RunSettings

if TYPE_CHECKING:
    from convrfm.replication.plan.plan import Plan

__all__ = ["JOB", "KINDS", "FitSettings", "ImageFit", "RFMSection", "StepSettings", "TaskFit", "fit_settings", "of_kernel"]


class RFMSection(Model):
    """ConvRFM and Deep ConvRFM."""

    rounds: Positive = Field(5, description="rounds of ConvRFM, T")
    stages: Positive = Field(3, description="stages of Deep ConvRFM, at most the depth; stage 0 is ConvRFM")
    filters: Positive = Field(64, description="random filters of each stage of Deep ConvRFM")
    ridges: list[Annotated[float, Field(gt=0)]] = Field(
        default=[1e-8, 1e-5, 1e-3], min_length=1, description="ridges to try, for a kernel divided by its largest entry"
    )

    def check(self, depth: int) -> None:
        """Check the stages and rounds of a task that has this section as `rfm`.

        Args:
            depth: convolutions of the task's kernels, L.

        Raises:
            ValueError: more stages than convolutions, or fewer than two rounds.
        """
        if self.stages > depth:
            msg = f"rfm.stages is {self.stages}, but depth is {depth}: at most one stage per convolution"
            raise ValueError(msg)
        if self.rounds < 2:
            msg = "rfm.rounds must be at least 2: round 0 is the plain kernel that the others are compared with"
            raise ValueError(msg)


class StepSettings(Model):
    """Which step of a fit a job does, see `convrfm.replication.jobs.fit_steps`; `part` of `parts` where it fills matrices."""

    stage: int
    round: int
    part: int | None = None
    parts: int | None = None


class FitSettings(RunSettings):
    """What a fit sees of the configuration.

    Attributes:
        n_train, n_test: images.
        depth: L.
        patch_size: q.
        rfm: rounds, stages, filters and ridges.
        changes: choices of the protocol that this fit makes otherwise; fields of `convrfm.rfm.rounds.RFMSettings` and
            `convrfm.rfm.deep.DeepSettings`.
        backend, memory_mb: of the kernels.
    """

    n_train: int
    n_test: int
    depth: int
    patch_size: int
    rfm: RFMSection
    changes: dict[str, str | int | float]
    backend: str
    memory_mb: int | None


class TaskFit(FitSettings):
    """A fit to a local-signal task at one noise level."""

    task: str
    sigma: float


class TaskStep(TaskFit):
    """A step of such a fit, which is split over several jobs."""

    step: StepSettings


class ImageFit(FitSettings):
    """A fit to prepared images of a data set, or of a pair of its classes such as "3-8"."""

    dataset: str
    classes: str


def fit_settings(given: Any) -> TaskFit | ImageFit:
    """The settings of a fit's job, from plain values."""
    adapter: TypeAdapter[TaskFit | TaskStep | ImageFit] = TypeAdapter(TaskFit | TaskStep | ImageFit)
    return adapter.validate_python(dict(given))


def of_kernel(plan: "Plan") -> dict[str, Any]:
    """Settings of every fit of a kernel: `backend` and `memory_mb`."""
    return plan.settings.config.model_dump(include={"backend", "memory_mb"})


def _of_panel(plan: "Plan", w: Keys) -> TaskFit:
    panel = plan.panels[w["task"]]
    return TaskFit(
        **panel.model_dump(include={"task", "n_train", "n_test", "depth", "patch_size"}),
        protocol=w["protocol"], sigma=float(w["sigma"]), seed=int(w["seed"]), rfm=panel.rfm, changes={}, **of_kernel(plan),
    )  # fmt: skip


def _of_images(plan: "Plan", w: Keys) -> ImageFit:
    task = plan.image_task(w["dataset"], w["classes"])
    return ImageFit(
        **task.model_dump(include={"dataset", "n_train", "n_test", "depth", "patch_size"}),
        classes=w["classes"], protocol=w["protocol"], seed=int(w["seed"]), rfm=task.rfm, changes={}, **of_kernel(plan),
    )  # fmt: skip


JOB = "fits:fit_task"

KINDS = (
    RunKind(
        "rfm",
        JOB,
        ("task", "sigma", "seed"),
        {"draw": lambda plan, w: [plan.draw(w["protocol"], w["task"], w["seed"])]},
        _of_panel,
    ),
    RunKind("image-rfm", JOB, ("dataset", "classes", "seed"), {"images": lambda plan, w: plan.task_images(w)}, _of_images),
)
