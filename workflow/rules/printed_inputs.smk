"""What is compared with the authors' printed numbers."""

from convrfm.pipeline.sections.printed import is_printed_fit
from convrfm.printed import DEPTH, PATCH_SIZE, RIDGE

PRINTED_RUNS = {name: PRINTED[name] for name in SETTINGS.preset.printed.runs}
PRINTED_KEYS = ["task", "sigma", "n_train", "n_test", "seed"]


def printed_fit_settings(wildcards):
    """What a fit of its own for printed numbers sees of the configuration."""
    counts = {key: int(wildcards[key]) for key in ("n_train", "n_test", "seed")}
    (run,) = [
        run
        for run in PRINTED.values()
        if (run.task, run.n_train, run.n_test) == (wildcards.task, counts["n_train"], counts["n_test"])
    ]
    return {
        **counts,
        "task": wildcards.task,
        "protocol": wildcards.protocol,
        "sigma": float(wildcards.sigma),
        "depth": DEPTH,
        "patch_size": PATCH_SIZE,
        "rfm": {"rounds": run.rounds, "ridges": [RIDGE], "stages": 1, "filters": 1},
        "changes": {},
        **SETTINGS.config.model_dump(include={"backend", "memory_mb"}),
    }


def printed_fit_draw(wildcards):
    """The draw behind such a fit."""
    counts = {key: wildcards[key] for key in ("n_train", "n_test", "seed")}
    return run_file("sized-draw", wildcards.protocol, "arrays", task=wildcards.task, **counts)


def runs_beside(run):
    """One run for each seed that repeats a printed one: of Figure 6 or 5 where they have it, or its own."""
    if run.sigma is None:
        keys = {"dataset": run.task, "classes": "all"}
        return [("image-rfm", {**keys, "seed": seed}) for seed in image_seeds(IMAGE_TASKS[run.task])]
    keys = {"task": run.task, "sigma": run.sigma}
    if run.task in PANELS and is_printed_fit(PANELS[run.task], run):
        return [("rfm", {**keys, "seed": seed}) for seed in SETTINGS.config.seeds]
    counts = {"n_train": run.n_train, "n_test": run.n_test}
    return [("printed-rfm", {**keys, **counts, "seed": seed}) for seed in SETTINGS.config.seeds]


def printed_runs(file):
    """One file of every fit that is compared with printed numbers."""
    return [
        run_file(experiment, "published", file, **keys)
        for run in PRINTED_RUNS.values()
        if ready([run.task])
        for experiment, keys in runs_beside(run)
    ]


def printed_settings(protocol):
    """What the drawing sees of the configuration."""
    return {
        "protocol": protocol,
        "needs": {name: list(files_behind(run.task)) for name, run in PRINTED_RUNS.items()},
    }
