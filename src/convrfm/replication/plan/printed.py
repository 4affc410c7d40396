"""What is compared with the authors' printed numbers."""

from typing import Any

from convrfm.datasets.registry import files_behind
from convrfm.replication.cluster.fits import FitSize
from convrfm.replication.config.sections.printed import is_printed_fit
from convrfm.replication.figures.printed_runs import DEPTH, PATCH_SIZE, PRINTED, RIDGE, PrintedRun
from convrfm.replication.plan.base import Keys, Plan, ready, run_file
from convrfm.replication.plan.fig05 import task_size
from convrfm.replication.plan.fig06 import task_seeds

__all__ = [
    "printed_fit_draw", "printed_fit_settings", "printed_fit_size", "printed_runs", "printed_settings", "printed_tasks",
]  # fmt: skip


def printed_tasks(plan: Plan) -> list[str]:
    """The data of all printed runs that are repeated."""
    return [PRINTED[name].task for name in plan.settings.preset.printed.runs]


def printed_fit_settings(plan: Plan, w: Keys) -> dict[str, Any]:
    """What a fit of its own for printed numbers sees of the configuration."""
    counts = {key: int(w[key]) for key in ("n_train", "n_test", "seed")}
    (run,) = [
        run
        for run in PRINTED.values()
        if (run.task, run.n_train, run.n_test) == (w["task"], counts["n_train"], counts["n_test"])
    ]
    return {
        **counts,
        "task": w["task"],
        "protocol": w["protocol"],
        "sigma": float(w["sigma"]),
        "depth": DEPTH,
        "patch_size": PATCH_SIZE,
        "rfm": {"rounds": run.rounds, "ridges": [RIDGE], "stages": 1, "filters": 1},
        "changes": {},
        **plan.settings.config.model_dump(include={"backend", "memory_mb"}),
    }


def printed_fit_size(plan: Plan, w: Keys) -> FitSize:
    """Size of such a fit."""
    return task_size(printed_fit_settings(plan, w))


def printed_fit_draw(plan: Plan, w: Keys) -> list[str]:
    """The draw behind such a fit."""
    counts = {key: w[key] for key in ("n_train", "n_test", "seed")}
    return [run_file(plan, "sized-draw", w["protocol"], "arrays", task=w["task"], **counts)]


def _beside(plan: Plan, run: PrintedRun) -> list[tuple[str, dict[str, Any]]]:
    """One run for each seed that repeats a printed one: of Figure 6 or 5 where they have it, or its own."""
    seeds = plan.settings.config.seeds
    if run.sigma is None:
        keys: dict[str, Any] = {"dataset": run.task, "classes": "all"}
        return [("image-rfm", {**keys, "seed": seed}) for seed in task_seeds(plan, "published", plan.images[run.task])]
    keys = {"task": run.task, "sigma": run.sigma}
    if run.task in plan.panels and is_printed_fit(plan.panels[run.task], run):
        return [("rfm", {**keys, "seed": seed}) for seed in seeds]
    counts = {"n_train": run.n_train, "n_test": run.n_test}
    return [("printed-rfm", {**keys, **counts, "seed": seed}) for seed in seeds]


def printed_runs(plan: Plan, file: str) -> list[str]:
    """One file of every fit that is compared with printed numbers."""
    return [
        run_file(plan, experiment, "published", file, **keys)
        for name in plan.settings.preset.printed.runs
        if ready(plan, [PRINTED[name].task])
        for experiment, keys in _beside(plan, PRINTED[name])
    ]


def printed_settings(plan: Plan, protocol: str) -> dict[str, Any]:
    """What the drawing sees of the configuration."""
    runs = plan.settings.preset.printed.runs
    return {"protocol": protocol, "needs": {name: list(files_behind(PRINTED[name].task)) for name in runs}}
