"""The sections of costs, which jobs request from a scheduler, and of large fits that are split over several jobs."""

import math
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from convrfm.errors import refuse
from convrfm.replication.config.models import Model, Positive

__all__ = ["LIMIT", "PAIRS", "PROGRAM", "SNAKEMAKE", "Cost", "Costs", "Rates", "Split", "is_pair"]

PAIRS = "pairs"  # the case of jobs on a pair of classes, whatever the data set
LIMIT, LEAST_LIMIT = 3, 10  # jobs request so many times the expected minutes, and at least so many minutes

PROGRAM = 3000
"""MiB of a fit of the kernels apart from its images and what is made of them (`convrfm.replication.cluster.fits`): the
libraries, with CUDA's on a GPU, and a draw as it is read."""

SNAKEMAKE = 400
"""MiB that a scheduler counts beside the process of a job, whose peak its record has: Snakemake in the job and again in its
step, 170 MiB each as measured, and `srun`."""


def is_pair(wildcards: Mapping[str, str]) -> bool:
    """Whether a job is about a pair of classes."""
    return wildcards.get("classes", "all") != "all"


class CostOfCase(Model):
    """The cost of some jobs of a rule that differs from the others."""

    of: str = Field(description="a task, data set or network; or pairs, for all jobs on a pair of classes")
    minutes: float | None = Field(None, gt=0, description="expected minutes; without a number those of the rule")
    memory_mb: Positive | None = Field(None, description="MiB; without a number those of the rule")


class Cost(Model):
    """The cost of one job of a rule."""

    minutes: float | None = Field(
        None,
        gt=0,
        description="expected minutes, of which a job requests three times as many; null: the rule's own, which for fits of "
        "the kernels are estimated from their size",
    )
    memory_mb: Positive | None = Field(
        None,
        description="MiB of the job's own process, to which some rules add what their images take, and all of them 400 for "
        "Snakemake; null: the rule's own",
    )
    gpu: Literal["never", "device", "backend"] | None = Field(
        None,
        description="the key of config.yaml that decides whether a job requests a GPU: unless it is cpu; null: the rule's own",
    )
    cases: list[CostOfCase] = Field(default=[], description="jobs that take more or less; the first that fits counts")


class Rates(Model):
    """How fast a machine does the work of a fit of the kernels, as `convrfm.replication.cluster.fits` counts it."""

    start: float = Field(ge=0, description="minutes until a fit begins: libraries, kernels compiled or loaded, images")
    by_thread: bool = Field(description="whether so many threads do so many times the work")
    maps: float = Field(
        gt=0, description="maps of a pair of images at a position of a layer, in units of 10^9 a second, as all that follow"
    )
    pixels: float = Field(gt=0, description="operations of products of pixels, in the first layer without a metric")
    patches: float = Field(gt=0, description="operations of products of patches, with a metric, and of filters")
    gradients: float = Field(gt=0, description="operations of the AGOP's products of gradients")
    solves: float = Field(gt=0, description="operations of the solver in float64")
    entries: float = Field(gt=0, description="entries of kernel matrices that are read or written")


def _cost(
    subject: str, minutes: float | None = None, memory_mb: int = PROGRAM, gpu: Literal["device", "backend"] | None = None
) -> Any:
    """The cost of a rule, as the default of its key."""
    return Field(Cost(minutes=minutes, memory_mb=memory_mb, gpu=gpu), description=subject)


class Costs(Model):
    """Costs by rule; keys that a preset leaves out are as here. `figures` holds for all rules `draw_<figure>`."""

    prepare: Cost = _cost("images of a data set", 5, 8000)
    resample: Cost = _cost("images of a data set, for Figure 9", 5, 8000)
    draw: Cost = _cost("images of a local-signal task", 2, 4000)
    fit_features: Cost = _cost("kernels of Figures 3 and 10 to 12", gpu="backend")
    train_feature_network: Cost = _cost("networks of Figures 3 and 10", 60, 4000, gpu="device")
    fit_rfm: Cost = _cost("kernels of a local-signal task", gpu="backend")
    fill_gram: Cost = _cost("a part of the kernel matrices of one round, see `split`")
    fit_round: Cost = _cost("one round of a fit that is split")
    train_cnn: Cost = _cost("network of a local-signal task", 10, 4000, gpu="device")
    fit_images: Cost = _cost("kernels of Figure 6", gpu="backend")
    train_images: Cost = _cost("networks of Figure 6", 60, 8000, gpu="device")
    transform_layers: Cost = _cost("images through layers, Figure 4", 10, 8000)
    train_simplenet: Cost = _cost("training of Figure 8", 600, 4000, gpu="device")
    measure_simplenet: Cost = _cost("ansatz of Figure 8", 60, 4000, gpu="device")
    train_shallow: Cost = _cost("training and ansatz of Figure 9", 30, 6000, gpu="device")
    train_standin: Cost = _cost("networks that stand in for pretrained ones", 10, 4000, gpu="device")
    measure_ansatz: Cost = _cost("ansatz of a pretrained network", 60, 16000, gpu="device")
    transform_images: Cost = _cost("images through layers, Figure 2", 10, 8000, gpu="device")
    draw_sized: Cost = _cost("images of a task, for single choices", 5, 4000)
    fit_variant: Cost = _cost("kernels that change single choices", gpu="backend")
    fit_printed: Cost = _cost("kernels of the authors' printed numbers", gpu="backend")
    fit_sized_features: Cost = _cost("kernels that a network's first layer is compared with", gpu="backend")
    train_sized_network: Cost = _cost("networks whose first layer is compared", 60, 4000, gpu="device")
    figures: Cost = _cost("drawing of a figure", 2, 4000)
    fits_on: Literal["cpu", "gpu"] = Field(
        "gpu",
        description="what fits of the kernels are expected to run on where backend is auto; with another backend that decides",
    )
    cpu: Rates = Field(
        Rates(start=0.2, by_thread=True, maps=1.65, pixels=40, patches=60, gradients=85, solves=20, entries=0.5),
        description="rates of one core, measured on an EPYC (Zen 4); see docs/benchmarks_minutes.md",
    )
    gpu: Rates = Field(
        Rates(start=3, by_thread=False, maps=50, pixels=4000, patches=8000, gradients=4000, solves=1000, entries=0.5),
        description="rates of a GPU of a data centre: estimated from its arithmetic, not measured",
    )
    most_threads: Positive = Field(
        16, description="threads of the largest fits of the kernels; those to a few thousand images have `threads`"
    )
    most_minutes: Positive = Field(
        2880,
        description="no job requests more, whatever it is expected to take; a training that ends there goes on from its "
        "checkpoint in the next attempt",
    )
    most_memory_mb: Positive = Field(
        256000, description="MiB; an attempt that ran out of memory is followed by one with more, up to this"
    )

    @model_validator(mode="before")
    @classmethod
    def _left_out_keys_are_as_here(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        own = {name: cls.model_fields[name].default.model_dump() for name in (*cls.rules(), "cpu", "gpu")}
        completed = {
            name: own[name] | {key: value for key, value in changes.items() if value is not None}
            for name, changes in given.items()
            if name in own and isinstance(changes, Mapping)
        }
        return {**given, **completed}

    @classmethod
    def rules(cls) -> list[str]:
        """Names of all rules that have a cost."""
        return [name for name, info in cls.model_fields.items() if info.annotation is Cost]

    def limit(self, minutes: float, growth: int) -> int:
        """Time limit of a job, in minutes, from its expected minutes; `growth` times that of its first attempt."""
        expected = math.ceil(min(LIMIT * minutes, self.most_minutes))
        return min(growth * max(LEAST_LIMIT, expected), self.most_minutes)

    def memory_limit(self, memory_mb: int, growth: int) -> int:
        """Memory limit of a job, in MiB, from its expected memory; `growth` times that of its first attempt, up to the most."""
        return max(memory_mb, min(growth * memory_mb, self.most_memory_mb))

    def cost(self, rule: str) -> Cost:
        """The cost of a rule.

        Raises:
            ValueError: it has none.
        """
        fields = self.rules()
        name = "figures" if rule.startswith("draw_") and rule not in fields else rule
        refuse(name not in fields, f"{rule} has no cost. Add a field to Costs in convrfm.replication.config.costs.", ValueError)
        found: Cost = getattr(self, name)
        return found

    def demand(self, rule: str, wildcards: Mapping[str, str]) -> Cost:
        """What a job takes, Snakemake included, by its rule and the task, data set, network or pair in its wildcards.

        Returns:
            minutes, or none if they follow from its size, see `convrfm.replication.plan.fits`, and memory.

        Raises:
            ValueError: see `cost`.
        """
        cost = self.cost(rule)
        about = {wildcards.get(key) for key in ("task", "dataset", "network")}
        if "run" in wildcards:  # that a step belongs to
            about |= {part.partition("=")[2] for part in wildcards["run"].split("/")}
        if is_pair(wildcards):
            about.add(PAIRS)
        assert cost.memory_mb is not None  # every rule has one above
        case = next((case for case in cost.cases if case.of in about), CostOfCase(of=""))
        memory_mb = (case.memory_mb or cost.memory_mb) + SNAKEMAKE
        return Cost(minutes=case.minutes or cost.minutes, memory_mb=memory_mb)


class Split(Model):
    """Large fits over several jobs, and so over several nodes, where kernels run on CPUs."""

    above: Positive = Field(description="fits to a local-signal task with more training images than this are split")
    tasks: list[Literal["bars", "noisy-digits", "noisy-mnist"]] = Field(
        default=[], description="of these tasks alone; of all, if none is named"
    )
    parts: Positive = Field(
        description="jobs that fill the kernel matrices of each round; a further one fits it. Bits do not depend on it"
    )
