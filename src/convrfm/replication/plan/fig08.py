"""SimpleNet and the ansatz in it, and Figure 8."""

from typing import Any

from convrfm.replication.plan.base import Keys, Plan, ready, run_file

__all__ = [
    "fig08_runs", "simplenet_ansatz", "simplenet_images", "simplenet_memory", "simplenet_training", "simplenet_weights",
]  # fmt: skip


def simplenet_images(plan: Plan, w: Keys) -> list[str]:
    """The prepared images of a data set, for one seed."""
    panel = plan.simplenets[w["dataset"]]
    appearance = {"size": 32, "fit": "stretch", "colour": "native", "scaling": panel.scaling, "classes": "all"}
    counts = {"n_train": panel.n_train, "n_test": panel.n_test, "seed": w["seed"]}
    return [run_file(plan, "prepare", w["protocol"], "arrays", dataset=w["dataset"], **appearance, **counts)]


def simplenet_weights(plan: Plan, w: Keys) -> list[str]:
    """The trained network."""
    return [run_file(plan, "simplenet", w["protocol"], "arrays", dataset=w["dataset"], seed=w["seed"])]


def simplenet_memory(plan: Plan, w: Keys) -> int:
    """MiB that the images take, with room for copies."""
    panel = plan.simplenets[w["dataset"]]
    return (panel.n_train + panel.n_test) * 3 * 32**2 * 4 * 4 // 2**20


def _settings(plan: Plan, w: Keys) -> dict[str, Any]:
    """What every job with a SimpleNet sees of the configuration."""
    panel = plan.simplenets[w["dataset"]]
    return {
        **panel.model_dump(include={"dataset", "n_train", "n_test", "scaling"}),
        "protocol": w["protocol"],
        "seed": int(w["seed"]),
        "network": panel.model_dump(include={"width_divisor", "init_std", "extra_pool"}),
        "epochs": panel.ansatz.epochs,
        "device": plan.settings.config.device,
    }


def simplenet_training(plan: Plan, w: Keys) -> dict[str, Any]:
    """What the training sees of the configuration."""
    return {**_settings(plan, w), "training": plan.simplenets[w["dataset"]].training.model_dump()}


def simplenet_ansatz(plan: Plan, w: Keys) -> dict[str, Any]:
    """What the measurement of the ansatz sees of the configuration."""
    panel = plan.simplenets[w["dataset"]]
    return {
        **_settings(plan, w),
        **panel.ansatz.model_dump(include={"images", "mode", "probes"}),
        "last_epoch": panel.training.epochs,
    }


def fig08_runs(plan: Plan, protocol: str, experiment: str, file: str) -> list[str]:
    """One file of every run of an experiment behind Figure 8."""
    return [
        run_file(plan, experiment, protocol, file, dataset=name, seed=seed)
        for name in ready(plan, plan.simplenets)
        for seed in plan.settings.config.seeds[: plan.simplenets[name].seeds]
    ]
