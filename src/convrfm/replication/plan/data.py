"""Prepared images, and draws of the local-signal tasks."""

from typing import Any

from convrfm.datasets.registry import files_behind
from convrfm.replication.plan.base import FILE_SETS, Keys, Plan, run_file, state_file

__all__ = [
    "draw_images",
    "draw_settings",
    "folders_of",
    "images_of_draw",
    "prepare_settings",
    "prepare_states",
    "resample_settings",
]


def folders_of(plan: Plan, dataset: str) -> dict[str, str]:
    """The folder elsewhere that holds a data set, by its name, if the configuration knows one."""
    return {name: path for name, path in plan.settings.config.data_folders.items() if name == dataset}


def prepare_states(plan: Plan, w: Keys) -> list[str]:
    """The state of the data to prepare."""
    if w["dataset"] not in FILE_SETS:
        return []
    # Asked for, so that the workflow looks for the data first.
    plan.state_of(w["dataset"])
    return [state_file(plan, w["dataset"])]


def prepare_settings(plan: Plan, w: Keys) -> dict[str, Any]:
    """What the preparation of images sees of the configuration."""
    name, size, classes = w["dataset"], w["size"], w["classes"]
    return {
        "data_dir": plan.settings.config.data_dir,
        "folders": folders_of(plan, name),
        "dataset": name,
        # Data that have changed make what was prepared from them stale.
        "digest": plan.state_of(name)["digest"] if name in FILE_SETS else "",
        "protocol": w["protocol"],
        "appearance": {
            "size": None if size == "native" else int(size),
            **{key: w[key] for key in ("fit", "colour", "scaling")},
        },
        "pair": None if classes == "all" else [int(label) for label in classes.split("-")],
        **{key: int(w[key]) for key in ("n_train", "n_test", "seed")},
        "resampled": False,
    }


def resample_settings(plan: Plan, w: Keys) -> dict[str, Any]:
    """The same for images chosen as the authors' code for Figure 9 does, see `convrfm.datasets.prepare.select`."""
    return {**prepare_settings(plan, w), "resampled": True}


def draw_settings(plan: Plan, w: Keys) -> dict[str, Any]:
    """What a draw sees of the configuration."""
    panel = plan.panels[w["task"]]
    return {
        "task": w["task"],
        "protocol": w["protocol"],
        "n_train": panel.n_train,
        "n_test": panel.n_test,
        "seed": int(w["seed"]),
    }


def images_of_draw(plan: Plan, w: Keys, n_train: object, n_test: object) -> list[str]:
    """The images that a draw stands on, where they are fetched: whole and grey, as they are."""
    appearance = {"size": "native", "fit": "stretch", "colour": "grey", "scaling": "unit", "classes": "all"}
    counts = {"n_train": n_train, "n_test": n_test, "seed": w["seed"]}
    return [
        run_file(plan, "prepare", w["protocol"], "arrays", dataset=name, **appearance, **counts)
        for name in files_behind(w["task"])
    ]


def draw_images(plan: Plan, w: Keys) -> list[str]:
    """The images behind a draw of a panel of Figure 5."""
    panel = plan.panels[w["task"]]
    return images_of_draw(plan, w, panel.n_train, panel.n_test)
