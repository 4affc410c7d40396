"""The section of costs: what a job of each rule is expected to take, which is what a scheduler is asked for."""

import math
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from convrfm.pipeline.sections.base import Model, Positive

__all__ = ["PAIRS", "PROGRAM", "Cost", "CostOfCase", "Costs", "Demand"]

PAIRS = "pairs"
"""The case of jobs on a pair of classes, whatever the data set."""

LIMIT, LEAST_LIMIT = 3, 10
"""A scheduler is asked for so many times the expected minutes, and for at least so many minutes."""

PROGRAM = 3000
"""MiB of a fit of the kernels without its images and all that is made of them, which `convrfm.pipeline.fit_memory` adds: the
libraries, with CUDA's on a GPU, and a draw as it is read."""


class CostOfCase(Model):
    """Where some jobs of a rule take more, or less, than the others."""

    of: str = Field(description="a task, data set or network; or pairs, for all jobs on a pair of classes")
    minutes: float | None = Field(None, gt=0, description="expected minutes; without a number those of the rule")
    memory_mb: Positive | None = Field(None, description="MiB; without a number those of the rule")


class Cost(Model):
    """What one job of a rule takes."""

    minutes: float | None = Field(
        None,
        gt=0,
        description="expected minutes, of which a scheduler is asked for three times as many; null: the rule's own",
    )
    memory_mb: Positive | None = Field(
        None, description="MiB, to which some rules add what their images take; null: the rule's own"
    )
    gpu: Literal["never", "device", "backend"] | None = Field(
        None,
        description="which key of config.yaml decides whether a GPU is asked for, which is not if it says cpu; null: the "
        "rule's own",
    )
    cases: list[CostOfCase] = Field(default=[], description="jobs that take more or less; the first that fits counts")


class Demand(Model):
    """What one job is expected to take."""

    minutes: float
    memory_mb: int


class Costs(Model):
    """Costs by rule; keys that a preset leaves out are as here. `figures` holds for all rules `draw_<figure>`."""

    prepare: Cost = Field(Cost(minutes=5, memory_mb=8000), description="images of a data set")
    resample: Cost = Field(Cost(minutes=5, memory_mb=8000), description="images of a data set, for Figure 9")
    draw: Cost = Field(Cost(minutes=2, memory_mb=4000), description="images of a local-signal task")
    fit_features: Cost = Field(
        Cost(minutes=60, memory_mb=PROGRAM, gpu="backend"), description="kernels of Figures 3 and 10 to 12"
    )
    train_feature_network: Cost = Field(
        Cost(minutes=60, memory_mb=4000, gpu="device"), description="networks of Figures 3 and 10"
    )
    fit_rfm: Cost = Field(
        Cost(minutes=20, memory_mb=PROGRAM, gpu="backend"), description="kernels of a local-signal task"
    )
    train_cnn: Cost = Field(
        Cost(minutes=10, memory_mb=4000, gpu="device"), description="network of a local-signal task"
    )
    fit_images: Cost = Field(Cost(minutes=60, memory_mb=PROGRAM, gpu="backend"), description="kernels of Figure 6")
    train_images: Cost = Field(Cost(minutes=60, memory_mb=8000, gpu="device"), description="networks of Figure 6")
    transform_layers: Cost = Field(Cost(minutes=10, memory_mb=8000), description="images through layers, Figure 4")
    train_simplenet: Cost = Field(Cost(minutes=600, memory_mb=4000, gpu="device"), description="training of Figure 8")
    measure_simplenet: Cost = Field(Cost(minutes=60, memory_mb=4000, gpu="device"), description="ansatz of Figure 8")
    train_shallow: Cost = Field(
        Cost(minutes=30, memory_mb=6000, gpu="device"), description="training and ansatz of Figure 9"
    )
    train_standin: Cost = Field(
        Cost(minutes=10, memory_mb=4000, gpu="device"), description="networks that stand in for pretrained ones"
    )
    measure_ansatz: Cost = Field(
        Cost(minutes=60, memory_mb=16000, gpu="device"), description="ansatz of a pretrained network"
    )
    transform_images: Cost = Field(
        Cost(minutes=10, memory_mb=8000, gpu="device"), description="images through layers, Figure 2"
    )
    draw_sized: Cost = Field(Cost(minutes=5, memory_mb=4000), description="images of a task, for single choices")
    fit_variant: Cost = Field(
        Cost(minutes=30, memory_mb=PROGRAM, gpu="backend"), description="kernels that change single choices"
    )
    fit_printed: Cost = Field(
        Cost(minutes=30, memory_mb=PROGRAM, gpu="backend"), description="kernels of the authors' printed numbers"
    )
    figures: Cost = Field(Cost(minutes=2, memory_mb=4000), description="drawing of a figure")
    most_minutes: Positive = Field(
        2880,
        description="no job asks a scheduler for more, whatever it is expected to take; a training that ends there goes on "
        "from its checkpoint in the next attempt",
    )

    most_memory_mb: Positive = Field(
        256000, description="MiB; an attempt that ran out of memory is followed by one with more, up to this"
    )

    @model_validator(mode="before")
    @classmethod
    def _left_out_keys_are_as_here(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        return {
            name: {
                **cls.model_fields[name].default.model_dump(),
                **{key: value for key, value in changes.items() if value is not None},
            }
            if name in cls.rules() and isinstance(changes, Mapping)
            else changes
            for name, changes in given.items()
        }

    @classmethod
    def rules(cls) -> list[str]:
        """Names of all rules that have a cost."""
        return [name for name, info in cls.model_fields.items() if info.annotation is Cost]

    def limit(self, minutes: float, growth: int) -> int:
        """Minutes after which a scheduler may end a job that is expected to take so many; `growth` times what it got first."""
        return min(growth * max(LEAST_LIMIT, math.ceil(LIMIT * minutes)), self.most_minutes)

    def memory_limit(self, memory_mb: int, growth: int) -> int:
        """MiB that a job may take that is expected to take so many; `growth` times what it got first, but for the most."""
        return max(memory_mb, min(growth * memory_mb, self.most_memory_mb))

    def cost(self, rule: str) -> Cost:
        """The cost of a rule.

        Raises:
            ValueError: there is none of that name.
        """
        fields = self.rules()
        name = "figures" if rule.startswith("draw_") and rule not in fields else rule
        if name not in fields:
            msg = f"{rule} has no cost: give it a key in convrfm.pipeline.sections.costs."
            raise ValueError(msg)
        found: Cost = getattr(self, name)
        return found

    def demand(self, rule: str, wildcards: Mapping[str, str]) -> Demand:
        """What a job of a rule takes, by the task, data set, network or pair that it is about.

        Raises:
            ValueError: see `cost`.
        """
        cost = self.cost(rule)
        about = {wildcards.get(key) for key in ("task", "dataset", "network")}
        if wildcards.get("classes", "all") != "all":
            about.add(PAIRS)
        assert cost.minutes is not None  # the rule's own stand above
        assert cost.memory_mb is not None
        case = next((case for case in cost.cases if case.of in about), CostOfCase(of=""))
        return Demand(minutes=case.minutes or cost.minutes, memory_mb=case.memory_mb or cost.memory_mb)
