"""Shallow and Myrtle networks, and Figure 9."""

from typing import Any

from convrfm.replication.config.sections.fig09 import ShallowData
from convrfm.replication.plan.base import Keys, Plan, ready, run_file

__all__ = ["fig09_data", "fig09_runs", "shallow_images", "shallow_settings"]


def fig09_data(plan: Plan) -> dict[str, ShallowData]:
    """The data sets of Figure 9."""
    return {entry.dataset: entry for entry in plan.settings.preset.fig09.datasets}


def shallow_images(plan: Plan, w: Keys) -> list[str]:
    """The images of one data set."""
    entry = fig09_data(plan)[w["dataset"]]
    appearance = {"size": entry.size, "fit": "stretch", "colour": entry.colour, "scaling": entry.scaling}
    counts = {"classes": "all", "n_train": entry.n_train, "n_test": entry.n_test, "seed": w["seed"]}
    return [run_file(plan, "resample", w["protocol"], "arrays", dataset=entry.dataset, **appearance, **counts)]


def shallow_settings(plan: Plan, w: Keys) -> dict[str, Any]:
    """What the training and measuring of one network sees of the configuration."""
    section = plan.settings.preset.fig09
    return {
        **section.model_dump(exclude={"datasets", "architectures", "patch_sizes", "seeds"}),
        "dataset": w["dataset"],
        "architecture": w["architecture"],
        "patch_size": int(w["patch_size"]),
        "protocol": w["protocol"],
        "seed": int(w["seed"]),
        "device": plan.settings.config.device,
    }


def fig09_runs(plan: Plan, protocol: str, file: str) -> list[str]:
    """One file of every network behind Figure 9."""
    section = plan.settings.preset.fig09
    return [
        run_file(
            plan, "shallow", protocol, file,
            dataset=dataset, architecture=architecture, patch_size=patch_size, seed=seed,
        )
        for dataset in ready(plan, fig09_data(plan))
        for architecture in section.architectures
        for patch_size in section.patch_sizes
        for seed in plan.settings.config.seeds[: section.seeds]
    ]  # fmt: skip
