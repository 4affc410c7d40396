"""The section of the studies beyond the paper: points of the AGOP, single choices, numbers of training images."""

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from convrfm.replication.config.models import Model, Positive, check_each_once
from convrfm.replication.config.sections.fig05 import RFMSection
from convrfm.replication.record.record import run_name

__all__ = ["UNCHANGED", "Beyond", "Change", "Choices", "StudyTask", "variant_name"]

UNCHANGED = "unchanged"
"""Name of the variant that follows its protocol in everything."""


class Change(Model):
    """Choices of a protocol that a fit makes otherwise; fields as in `convrfm.rfm.rounds` and `convrfm.rfm.deep`."""

    selection: Literal["test", "validation"] | None = Field(None, description="what chooses ridge and round")
    agop_samples: Positive | Literal["all"] | None = Field(None, description="training images in the AGOP, or all")
    agop_draw: Literal["first", "random"] | None = Field(None, description="which ones, where they are not all")
    agop_ridge: Literal["selected", "last"] | None = Field(None, description="the predictor whose AGOP is taken")
    metric_power: Annotated[float, Field(gt=0)] | None = Field(None, description="p in M = G^p")
    eigenvalue_fraction: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None, description="share of the largest eigenvalues of the AGOP that is kept"
    )
    solver_dtype: Literal["float64", "float32"] | None = Field(None, description="arithmetic of the solver")
    nonlinearity: Literal["relu", "none"] | None = Field(None, description="between the stages of Deep ConvRFM")
    plain_filters: Literal["gaussian", "torch"] | None = Field(
        None, description="filters of a stage whose round 0 wins"
    )

    @property
    def values(self) -> dict[str, str | int | float]:
        """What is changed, by field."""
        return self.model_dump(exclude_none=True)

    @model_validator(mode="after")
    def _something_changes(self) -> Self:
        if not self.values:
            msg = f"it must change at least one of {', '.join(type(self).model_fields)}"
            raise ValueError(msg)
        return self


def variant_name(changes: dict[str, str | int | float]) -> str:
    """Name of a variant in the names of its runs, such as `metric_power-2`; `unchanged` for none."""
    parts = [f"{key}-{value:g}" if isinstance(value, float) else f"{key}-{value}" for key, value in changes.items()]
    return "+".join(parts) or UNCHANGED


class StudyTask(Model):
    """One local-signal task at one noise level, with the numbers of training images that are compared."""

    task: Literal["bars", "noisy-digits", "noisy-mnist"] = Field(
        description="noisy bars; noisy digits with scikit-learn's embedded digits (a stand-in); or with MNIST"
    )
    sigma: float = Field(1.0, gt=0, allow_inf_nan=False, description="noise level, as in fig05")
    n_train: list[Positive] = Field(
        min_length=1,
        description="training images; each number takes the first ones of the same draw. Memory grows as 48 bytes times its "
        "square: a fit that does not find that free stops before it starts",
    )
    n_test: Positive = Field(description="test images")
    depth: Positive = Field(3, description="convolutions of the kernels, L")
    patch_size: Positive = Field(3, description="patch size q")
    rfm: RFMSection = Field(default_factory=RFMSection, description="the kernels that learn")

    @model_validator(mode="after")
    def _parts_fit_together(self) -> Self:
        self.rfm.check(self.depth)
        check_each_once(
            [str(n) for n in self.n_train], "each number of training images may stand there only once, but they are"
        )
        return self


class Choices(Model):
    """Which single choices are changed, on the first task."""

    n_train: Positive = Field(description="training images; one of the numbers of the first task")
    stages: Positive = Field(
        3,
        description="stages of Deep ConvRFM for changes that concern the features between stages, and for both protocols; "
        "other changes have the stages of the task",
    )
    agop_samples: list[Positive] = Field(
        min_length=1, description="numbers of images in the AGOP that are compared; all of them is added"
    )
    changes: list[Change] = Field(min_length=1, description="changes to the protocol `published`, each by itself")

    @field_validator("changes")
    @classmethod
    def _each_change_once(cls, changes: list[Change]) -> list[Change]:
        names = [variant_name(change.values) for change in changes]
        check_each_once(names, "each change may stand there only once, but they are")
        return changes


class Beyond(Model):
    """Beyond the paper: points of the AGOP, single choices, numbers of training images."""

    in_all: bool = Field(False, description="whether `snakemake` without a target builds it, too")
    seeds: list[Annotated[int, Field(ge=0, lt=2**32)]] = Field(
        min_length=1, description="seeds of the draws; small differences want more of them than figures do"
    )
    tasks: list[StudyTask] = Field(min_length=1, max_length=3, description="a panel for each task")
    choices: Choices = Field(description="which choices are changed, on the first task")

    @field_validator("tasks")
    @classmethod
    def _each_task_once(cls, tasks: list[StudyTask]) -> list[StudyTask]:
        check_each_once([task.task for task in tasks], "each task may stand there only once, but they are")
        return tasks

    @field_validator("seeds")
    @classmethod
    def _each_seed_once(cls, seeds: list[int]) -> list[int]:
        check_each_once([run_name({"seed": seed}) for seed in seeds], "a seed may stand there only once, but they are")
        return seeds

    @model_validator(mode="after")
    def _choices_are_of_the_first_task(self) -> Self:
        first = self.tasks[0]
        if self.choices.n_train not in first.n_train:
            known = ", ".join(str(n) for n in first.n_train)
            msg = f"choices.n_train must be among tasks.0.n_train, that is {known}, but it is {self.choices.n_train}"
            raise ValueError(msg)
        if max(self.choices.agop_samples) > self.choices.n_train:
            msg = f"choices.agop_samples must be at most choices.n_train, {self.choices.n_train}, but they are "
            msg += ", ".join(str(count) for count in self.choices.agop_samples)
            raise ValueError(msg)
        if self.choices.stages > first.depth:
            msg = f"choices.stages must be at most the depth of {first.task}, {first.depth}, but it is {self.choices.stages}"
            raise ValueError(msg)
        return self
