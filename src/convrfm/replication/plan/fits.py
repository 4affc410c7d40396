"""Fits of the kernels: their memory, minutes and threads; and large fits in steps, what the jobs of each step read and see.

See `convrfm.replication.jobs.fits`. The keys of a step are `experiment`, `protocol`, `run` (its own keys), `stage` and `round`,
and for a job that fills kernel matrices also `part` and `parts`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from convrfm.datasets.local_signal import SHAPES
from convrfm.datasets.registry import REGISTRY
from convrfm.replication.cluster.fits import FitSize, Step, Work, fit_minutes, fit_work
from convrfm.replication.config.costs import Rates, is_pair
from convrfm.replication.plan.plan import RUNS, Plan
from convrfm.replication.record.record import STEP_MATRICES, run_keys, run_name
from convrfm.replication.runs import Keys

__all__ = [
    "FITS", "STEPPED", "expected_minutes", "fit_memory", "fit_size", "fit_threads", "part_pattern", "round_pattern",
    "rounds_of_fit", "step_draw", "step_parts", "step_rounds", "step_settings",
]  # fmt: skip

STEPPED = ("rfm", "variant", "printed-rfm")
"""Experiments whose fits may be in steps: those of the local-signal tasks."""

SEPARATOR = "/"
"""What separates the keys of a run in the paths of its steps: Snakemake hands wildcards with commas to no scheduler."""

FOLDER = "steps/{experiment}/{protocol}/{run}"
ROUND = f"{FOLDER}/round-{{stage}}-{{round}}.safetensors"
PART = f"{FOLDER}/{{stage}}-{{round}}-{{matrix}}.part-{{part}}-of-{{parts}}.npz"


def round_pattern(results: str) -> str:
    """The file of a round, with wildcards."""
    return f"{results}/{ROUND}"


def part_pattern(results: str, matrix: str) -> str:
    """The file of a part of one kernel matrix, with wildcards."""
    return f"{results}/{PART.replace('{matrix}', matrix)}"


class _Fit(NamedTuple):
    """What all jobs of a fit's steps ask for."""

    size: FitSize
    draw: list[str]
    rounds: list[str]


def task_size(settings: Mapping[str, Any]) -> FitSize:
    """Size of a fit to a local-signal task, by its settings."""
    task = settings["task"]
    return FitSize(settings, settings["n_train"], settings["n_test"], (1, *SHAPES[task]), REGISTRY[task].classes)


def _fit_of(plan: Plan, w: Keys) -> _Fit:
    """Find out about a fit, once: it has many jobs."""
    where = {name: w[name] for name in ("experiment", "protocol", "run")}
    known: dict[tuple[str, ...], _Fit] = plan.fits_in_steps
    key = tuple(where.values())
    if key not in known:
        kind = RUNS[w["experiment"]]
        keys = run_keys(Path(w["experiment"], w["protocol"], w["run"].replace(SEPARATOR, ",")))
        settings = kind.settings(plan, keys)
        rounds = [
            round_pattern(plan.results).format(**where, stage=stage, round=t)
            for stage in range(settings["rfm"]["stages"])
            for t in range(settings["rfm"]["rounds"])
        ]
        known[key] = _Fit(task_size(settings), kind.inputs["draw"](plan, keys), rounds)
    return known[key]


def rounds_of_fit(plan: Plan, experiment: str, w: Keys) -> list[str]:
    """The rounds that the job of a fit reads; none where the fit is in one piece."""
    if not plan.settings.preset.split:
        return []
    if not plan.split_parts(RUNS[experiment].settings(plan, w)):
        return []
    run = run_name({key: w[key] for key in RUNS[experiment].keys}).replace(",", SEPARATOR)
    return _fit_of(plan, {"experiment": experiment, "protocol": w["protocol"], "run": run}).rounds


def step_draw(plan: Plan, w: Keys) -> list[str]:
    """The draw that a fit is fitted to."""
    return _fit_of(plan, w).draw


def step_rounds(plan: Plan, w: Keys) -> list[str]:
    """The round before a step.

    Earlier ones are there, too: this one was made from them, and the job of the fit has not read them yet.
    """
    fit = _fit_of(plan, w)
    number = int(w["stage"]) * fit.size.settings["rfm"]["rounds"] + int(w["round"])
    return fit.rounds[max(number - 1, 0) : number]


def step_parts(plan: Plan, w: Keys) -> list[str]:
    """All parts of the kernel matrices of a step."""
    count = plan.split_parts(_fit_of(plan, w).size.settings)
    return [
        part_pattern(plan.results, matrix).format(**w, part=part, parts=count)
        for matrix in STEP_MATRICES
        for part in range(count)
    ]


def step_settings(plan: Plan, w: Keys) -> dict[str, Any]:
    """What a job of a step sees of the configuration: what its fit sees, and which step it is."""
    # Snakemake's wildcards are a list of values with names, whose `in` asks for values.
    step = {name: int(w[name]) for name in ("stage", "round", "part", "parts") if w.get(name) is not None}
    return {**_fit_of(plan, w).size.settings, "step": step}


FITS = {
    "fit_features": "features",
    "fit_rfm": "rfm",
    "fit_images": "image-rfm",
    "fit_variant": "variant",
    "fit_printed": "printed-rfm",
    "fit_sized_features": "sized-features",
}
"""The rules that fit kernels, with their kinds of runs."""

STEPS = ("fill_gram", "fit_round")  # the rules of the steps of large fits, see `convrfm.replication.plan.fits`

FEW = 3000
"""Training images up to which a fit takes `threads` of the configuration: several such fits run side by side."""

IMAGES_PER_THREAD = {"cpu": 1000, "gpu": 4000}
"""Training images for each thread of larger fits; a GPU leaves little to the cores beside it."""


def fit_size(plan: Plan, kind: str, w: Keys) -> FitSize:
    """Size of a fit of a kind."""
    settings = RUNS[kind].settings(plan, w)
    if "task" in settings:
        return task_size(settings)
    of_features = kind in ("features", "sized-features")
    task = plan.feature_tasks[w["dataset"]] if of_features else plan.image_task(w["dataset"], w["classes"])
    shape = plan.image_shape(task.dataset, task.size, task.colour)
    # Pairs of classes have a single output.
    outputs = REGISTRY[task.dataset].classes if w.get("classes", "all") == "all" else 1
    return FitSize(settings, int(w.get("n_train", task.n_train)), task.n_test, shape, outputs)


def fit_memory(plan: Plan, rule: str, w: Keys) -> int:
    """MiB that a job takes for its images and what is made of them, beside the program; 0 for other rules than fits.

    The last job of a fit in steps reads its rounds, and fits nothing.
    """
    if rule in STEPS:
        return _fit_of(plan, w).size.memory_mb(filling=rule == "fill_gram")
    if rule not in FITS:
        return 0
    size = fit_size(plan, FITS[rule], w)
    return size.memory_mb(filling=_is_in_steps(plan, rule, size))


def expected_minutes(plan: Plan, rule: str, w: Keys, threads: int) -> float:
    """Minutes that a job of any rule is expected to take: as the section `costs` says, or by the size of a fit."""
    costs = plan.settings.preset.costs
    if minutes := costs.demand(rule, w).minutes:
        return minutes
    rates: Rates = getattr(costs, _runs_on(plan, rule, w))
    return fit_minutes(_work(plan, rule, w), rates, threads)


def _work(plan: Plan, rule: str, w: Keys) -> Work:
    if rule in STEPS:
        step = Step(int(w["stage"]), int(w["round"]), filling=rule == "fill_gram")
        work = fit_work(_fit_of(plan, w).size, step)
        return work.share(int(w["parts"])) if step.filling else work
    size = fit_size(plan, FITS[rule], w)
    return Work() if _is_in_steps(plan, rule, size) else fit_work(size)


def fit_threads(plan: Plan, rule: str, w: Keys) -> int:
    """Threads of a fit, between `threads` of the configuration and `costs.most_threads`.

    They are counted from the training images; Snakemake gives no more than its cores. Pairs of classes share a job, and keep
    to `threads`. Kernel matrices have the same bits with any number of threads. What goes through BLAS and LAPACK (solves, and
    metrics of many columns) may differ in the last bits: the record keeps the number under `machine`.
    """
    own, costs = plan.settings.config.threads, plan.settings.preset.costs
    n = (_fit_of(plan, w).size if rule in STEPS else fit_size(plan, FITS[rule], w)).n_train
    if n < FEW or is_pair(w):
        return own
    return max(own, min(n // IMAGES_PER_THREAD[_runs_on(plan, rule, w)], costs.most_threads))


def _is_in_steps(plan: Plan, rule: str, size: FitSize) -> bool:
    return FITS[rule] in STEPPED and plan.split_parts(size.settings) > 0


def _runs_on(plan: Plan, rule: str, w: Keys) -> str:
    """Whether a fit is expected to run on a "cpu" or a "gpu"; pairs travel in groups, which ask for none unless one must."""
    backend, costs = plan.settings.config.backend, plan.settings.preset.costs
    if backend == "cuda":
        return "gpu"
    return costs.fits_on if backend == "auto" and costs.cost(rule).gpu != "never" and not is_pair(w) else "cpu"
