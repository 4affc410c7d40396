"""Fits and networks on data sets of images and on pairs of their classes, and Figure 6."""

import re
from typing import Any

from convrfm.datasets.registry import REGISTRY
from convrfm.replication.cluster.fits import FitSize
from convrfm.replication.config.sections.fig06 import ImageTask
from convrfm.replication.plan.base import Keys, Plan, figure_settings, image_seeds, ready, run_file

__all__ = [
    "counts_of_task", "fig06_counts", "fig06_pair_counts", "fig06_pair_runs", "fig06_runs", "fig06_settings", "fig06_tasks",
    "image_files", "image_fit_settings", "image_fit_size", "image_training_settings", "task_seeds",
]  # fmt: skip

LARGEST_SMALL = (3, 32, 32)
"""Shape of images that differ in theirs, before they are brought to one size."""


def _section(plan: Plan, w: Keys) -> ImageTask:
    """The section of a data set, or that of its pairs of classes."""
    return (plan.images if w["classes"] == "all" else plan.pairs)[w["dataset"]]


def _local(plan: Plan) -> list[str]:
    """The local-signal tasks that Figure 6 shares with Figure 5."""
    return [task for task, panel in plan.panels.items() if plan.settings.preset.fig06.sigma in panel.sigmas]


def fig06_tasks(plan: Plan) -> list[str]:
    """All tasks of Figure 6."""
    return [*plan.images, *_local(plan)]


def counts_of_task(plan: Plan, protocol: str, file: str, task: ImageTask, classes: str, seed: object) -> str:
    """One file of the preparation of a task's images."""
    appearance = {"size": task.size or "native", "fit": "stretch", "colour": task.colour, "scaling": "unit"}
    counts = {"classes": classes, "n_train": task.n_train, "n_test": task.n_test, "seed": seed}
    return run_file(plan, "prepare", protocol, file, dataset=task.dataset, **appearance, **counts)


def image_files(plan: Plan, w: Keys) -> list[str]:
    """The prepared images of a task."""
    return [counts_of_task(plan, w["protocol"], "arrays", _section(plan, w), w["classes"], w["seed"])]


def image_fit_size(plan: Plan, w: Keys) -> FitSize:
    """Size of a fit of the kernels; pairs of classes have a single output."""
    task = _section(plan, w)
    entry = REGISTRY[task.dataset]
    native = re.fullmatch(r"(\d+)x(\d+)x(\d+)", entry.shape)
    channels, height, width = map(int, native.groups()) if native else LARGEST_SMALL
    if task.colour != "native":
        channels = 1 if task.colour == "grey" else 3
    shape = (channels, task.size or height, task.size or width)
    outputs = entry.classes if w["classes"] == "all" else 1
    return FitSize(image_fit_settings(plan, w), task.n_train, task.n_test, shape, outputs)


def _image_settings(plan: Plan, w: Keys) -> dict[str, Any]:
    """What every fit to a task sees of the configuration."""
    return {
        **_section(plan, w).model_dump(include={"dataset", "n_train", "n_test", "depth", "patch_size"}),
        "classes": w["classes"],
        "protocol": w["protocol"],
        "seed": int(w["seed"]),
    }


def image_fit_settings(plan: Plan, w: Keys) -> dict[str, Any]:
    """What a fit of the kernels sees of the configuration."""
    return {
        **_image_settings(plan, w),
        "rfm": _section(plan, w).rfm.model_dump(),
        "changes": {},
        **plan.settings.config.model_dump(include={"backend", "memory_mb"}),
    }


def image_training_settings(plan: Plan, w: Keys) -> dict[str, Any]:
    """What the training of a network sees of the configuration."""
    return {
        **_image_settings(plan, w),
        **_section(plan, w).cnn.model_dump(),
        "device": plan.settings.config.device,
    }


def task_seeds(plan: Plan, protocol: str, task: ImageTask) -> list[int]:
    """The seeds that a task is run with."""
    return image_seeds(plan, task.dataset, protocol, task.seeds)


def fig06_runs(plan: Plan, protocol: str, file: str) -> list[str]:
    """One file of every fit and training behind Figure 6; those of the local-signal tasks are Figure 5's."""
    sigma = plan.settings.preset.fig06.sigma
    images = [
        run_file(plan, experiment, protocol, file, dataset=name, classes="all", seed=seed)
        for experiment in ("image-rfm", "image-cnn")
        for name in ready(plan, plan.images)
        for seed in task_seeds(plan, protocol, plan.images[name])
    ]
    fits = [
        run_file(plan, "rfm", protocol, file, task=name, sigma=sigma, seed=seed)
        for name in ready(plan, _local(plan))
        for seed in plan.settings.config.seeds
    ]
    trainings = [
        run_file(plan, "cnn", protocol, file, task=name, sigma=sigma, optimizer="adam", seed=seed)
        for name in ready(plan, _local(plan))
        for seed in plan.settings.config.seeds[: plan.panels[name].cnn.seeds]
    ]
    return images + fits + trainings


def fig06_counts(plan: Plan, protocol: str) -> list[str]:
    """How many images of each class the tasks have."""
    return [
        counts_of_task(plan, protocol, "metrics", plan.images[name], "all", seed)
        for name in ready(plan, plan.images)
        for seed in task_seeds(plan, protocol, plan.images[name])
    ]


def fig06_settings(plan: Plan, protocol: str) -> dict[str, Any]:
    """What the drawing of Figure 6 sees of the configuration."""
    layers = [*plan.settings.preset.fig06.layers, *_local(plan)]
    return {**figure_settings(protocol, fig06_tasks(plan)), "layers": layers}


def fig06_pair_runs(plan: Plan, protocol: str, file: str) -> list[str]:
    """One file of every fit and training of a pair of classes."""
    return [
        run_file(plan, experiment, protocol, file, dataset=name, classes=pair, seed=seed)
        for experiment in ("image-rfm", "image-cnn")
        for name in ready(plan, plan.pairs)
        for pair in plan.pairs[name].pairs
        for seed in task_seeds(plan, protocol, plan.pairs[name])
    ]


def fig06_pair_counts(plan: Plan, protocol: str) -> list[str]:
    """How many images of each class the pairs have."""
    return [
        counts_of_task(plan, protocol, "metrics", plan.pairs[name], pair, seed)
        for name in ready(plan, plan.pairs)
        for pair in plan.pairs[name].pairs
        for seed in task_seeds(plan, protocol, plan.pairs[name])
    ]
