"""Large fits in steps: which fits they are, and what the jobs of each step read, see, and take.

See `convrfm.replication.jobs.fit_steps`. The keys of a step are `experiment`, `protocol`, `run` (its own keys),
`stage` and `round`; those of a job that fills kernel matrices are `part` and `parts` besides.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from convrfm.datasets.local_signal import SHAPES
from convrfm.datasets.registry import REGISTRY
from convrfm.replication.cluster.fits import FitSize
from convrfm.replication.plan.plan import Plan
from convrfm.replication.plan.table import RUNS
from convrfm.replication.record.record import STEP_MATRICES, run_keys, run_name
from convrfm.replication.runs.kinds import Keys

__all__ = [
    "STEPPED", "part_pattern", "round_pattern", "rounds_of_fit", "step_draw", "step_parts", "step_rounds",
    "step_settings", "step_size", "task_size",
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

    @property
    def settings(self) -> Mapping[str, Any]:
        return self.size.settings


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
    number = int(w["stage"]) * fit.settings["rfm"]["rounds"] + int(w["round"])
    return fit.rounds[max(number - 1, 0) : number]


def step_parts(plan: Plan, w: Keys) -> list[str]:
    """All parts of the kernel matrices of a step."""
    count = plan.split_parts(_fit_of(plan, w).settings)
    return [
        part_pattern(plan.results, matrix).format(**w, part=part, parts=count)
        for matrix in STEP_MATRICES
        for part in range(count)
    ]


def step_settings(plan: Plan, w: Keys) -> dict[str, Any]:
    """What a job of a step sees of the configuration: what its fit sees, and which step it is."""
    # Snakemake's wildcards are a list of values with names, whose `in` asks for values.
    step = {name: int(w[name]) for name in ("stage", "round", "part", "parts") if w.get(name) is not None}
    return {**_fit_of(plan, w).settings, "step": step}


def step_size(plan: Plan, w: Keys) -> FitSize:
    """Size of the fit that a step belongs to."""
    return _fit_of(plan, w).size
