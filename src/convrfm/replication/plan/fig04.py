"""Images through the layers of kernels and networks, and Figure 4."""

from typing import Any

from convrfm.replication.plan.base import Keys, Plan, ready, run_file
from convrfm.replication.plan.fig06 import counts_of_task, task_seeds

__all__ = ["fig04_runs", "fig04_tasks", "layer_draw", "layer_images", "layer_run", "layer_settings"]


def fig04_tasks(plan: Plan) -> list[str]:
    """All tasks of Figure 4."""
    section = plan.settings.preset.fig04
    return [task for task, panel in plan.panels.items() if section.sigma in panel.sigmas] + section.datasets


def layer_draw(plan: Plan, w: Keys) -> list[str]:
    """The draw whose images are transformed; none for prepared images."""
    if w["dataset"] not in plan.panels:
        return []
    return [run_file(plan, "draw", w["protocol"], "arrays", task=w["dataset"], seed=w["seed"])]


def layer_images(plan: Plan, w: Keys) -> list[str]:
    """The prepared images that are transformed; none for a draw."""
    if w["dataset"] in plan.panels:
        return []
    return [counts_of_task(plan, w["protocol"], "arrays", plan.images[w["dataset"]], "all", w["seed"])]


def layer_run(plan: Plan, w: Keys, kind: str, file: str) -> list[str]:
    """One file of the fit ("rfm") or of the network ("cnn") whose layers are shown."""
    name, protocol, seed = w["dataset"], w["protocol"], w["seed"]
    if name not in plan.panels:
        return [run_file(plan, f"image-{kind}", protocol, file, dataset=name, classes="all", seed=seed)]
    sigma, trained = plan.settings.preset.fig04.sigma, {"optimizer": "adam"} if kind == "cnn" else {}
    return [run_file(plan, kind, protocol, file, task=name, sigma=sigma, **trained, seed=seed)]


def layer_settings(plan: Plan, w: Keys) -> dict[str, Any]:
    """What the transformation of images sees of the configuration."""
    name, fig04 = w["dataset"], plan.settings.preset.fig04
    task = {"task": name, "sigma": fig04.sigma} if name in plan.panels else {"dataset": name, "classes": "all"}
    section = plan.panels[name] if name in plan.panels else plan.images[name]
    return {
        **task,
        **section.model_dump(include={"n_train", "n_test", "patch_size"}),
        **fig04.model_dump(include={"images", "control_draws"}),
        "protocol": w["protocol"],
        "seed": int(w["seed"]),
    }


def _seeds(plan: Plan, protocol: str, task: str) -> list[int]:
    """The seeds of which there is both a fit and a network."""
    trained = (
        plan.settings.config.seeds[: plan.panels[task].cnn.seeds]
        if task in plan.panels
        else task_seeds(plan, protocol, plan.images[task])
    )
    return trained[: plan.settings.preset.fig04.seeds]


def fig04_runs(plan: Plan, protocol: str, file: str) -> list[str]:
    """One file of every run behind Figure 4."""
    return [
        run_file(plan, "layers", protocol, file, dataset=name, seed=seed)
        for name in ready(plan, fig04_tasks(plan))
        for seed in _seeds(plan, protocol, name)
    ]
