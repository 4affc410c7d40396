"""Fits and networks on the local-signal tasks, and Figure 5."""

from collections.abc import Mapping
from typing import Any

from convrfm.datasets.local_signal import SHAPES
from convrfm.datasets.registry import REGISTRY
from convrfm.replication.cluster.fits import FitSize
from convrfm.replication.plan.base import Keys, Plan, ready, run_file

__all__ = [
    "draw_of_task", "fig05_draws", "fig05_fits", "fig05_trainings", "fit_settings", "fit_size", "task_size",
    "training_settings",
]  # fmt: skip


def draw_of_task(plan: Plan, w: Keys) -> list[str]:
    """The draw that kernels and networks are fitted to."""
    return [run_file(plan, "draw", w["protocol"], "arrays", task=w["task"], seed=w["seed"])]


def _task_settings(plan: Plan, w: Keys) -> dict[str, Any]:
    """What every fit to a local-signal task sees of the configuration."""
    panel = plan.panels[w["task"]]
    return {
        **panel.model_dump(include={"task", "n_train", "n_test", "depth", "patch_size"}),
        "protocol": w["protocol"],
        "sigma": float(w["sigma"]),
        "seed": int(w["seed"]),
    }


def fit_settings(plan: Plan, w: Keys) -> dict[str, Any]:
    """What a fit of the kernels sees of the configuration."""
    return {
        **_task_settings(plan, w),
        "rfm": plan.panels[w["task"]].rfm.model_dump(),
        "changes": {},
        **plan.settings.config.model_dump(include={"backend", "memory_mb"}),
    }


def task_size(settings: Mapping[str, Any]) -> FitSize:
    """Size of a fit to a local-signal task, from all that it sees of the configuration."""
    task = settings["task"]
    shape = (1, *SHAPES[task])
    return FitSize(settings, settings["n_train"], settings["n_test"], shape, REGISTRY[task].classes)


def fit_size(plan: Plan, w: Keys) -> FitSize:
    """Size of a fit of the kernels."""
    return task_size(fit_settings(plan, w))


def training_settings(plan: Plan, w: Keys) -> dict[str, Any]:
    """What the training of a network sees of the configuration."""
    cnn = plan.panels[w["task"]].cnn
    return {
        **_task_settings(plan, w),
        "width": cnn.width,
        "batch_size": cnn.batch_size,
        "optimizer": w["optimizer"],
        **getattr(cnn, w["optimizer"]).model_dump(include={"learning_rate", "epochs"}),
        "device": plan.settings.config.device,
    }


def fig05_fits(plan: Plan, protocol: str, file: str) -> list[str]:
    """One file of every fit of the kernels behind Figure 5."""
    return [
        run_file(plan, "rfm", protocol, file, task=task, sigma=sigma, seed=seed)
        for task in ready(plan, plan.panels)
        for sigma in plan.panels[task].sigmas
        for seed in plan.settings.config.seeds
    ]


def fig05_trainings(plan: Plan, protocol: str, file: str) -> list[str]:
    """One file of every network behind Figure 5."""
    return [
        run_file(plan, "cnn", protocol, file, task=task, sigma=sigma, optimizer=optimizer, seed=seed)
        for task in ready(plan, plan.panels)
        for sigma in plan.panels[task].sigmas
        for optimizer in ("adam", "sgd")
        for seed in plan.settings.config.seeds[: plan.panels[task].networks(optimizer, sigma)]
    ]


def fig05_draws(plan: Plan, protocol: str) -> list[str]:
    """The draws behind Figure 5."""
    return [
        run_file(plan, "draw", protocol, "arrays", task=task, seed=seed)
        for task in ready(plan, plan.panels)
        for seed in plan.settings.config.seeds
    ]
