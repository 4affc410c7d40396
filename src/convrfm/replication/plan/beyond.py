"""Fits that change single choices of their protocol, draws of any size, and what is shown beyond the paper."""

from collections.abc import Mapping
from typing import Any

from convrfm.replication.cluster.fits import FitSize
from convrfm.replication.config.sections.beyond import UNCHANGED, Choices, variant_name
from convrfm.replication.plan.base import Keys, Plan, figure_settings, ready, run_file
from convrfm.replication.plan.data import images_of_draw
from convrfm.replication.plan.fig05 import task_size
from convrfm.replication.runs.protocols import RFM_CHOICES

__all__ = [
    "beyond_runs", "beyond_settings", "sized_draw_images", "sized_draw_settings", "variant_draw", "variant_settings",
    "variant_size", "variants",
]  # fmt: skip

OF_FEATURES = ("nonlinearity", "plain_filters")
"""Changes that ConvRFM, which is the first stage, does not see."""


_Case = tuple[str, str, int, dict[str, Any]]
"""Protocol, task, training images and changes of fits that differ in their seeds."""


def _choices(plan: Plan) -> Choices:
    return plan.settings.preset.beyond.choices


def _studied(plan: Plan) -> str:
    """The task on which single choices are changed."""
    return next(iter(plan.studies))


def _agop_changes(plan: Plan) -> list[dict[str, Any]]:
    return [{"agop_samples": count} for count in [*_choices(plan).agop_samples, "all"]]


def _single_changes(plan: Plan) -> list[dict[str, Any]]:
    return [change.values for change in _choices(plan).changes]


def _less_chosen(protocol: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Changes, less those that the protocol has anyway."""
    return {key: value for key, value in changes.items() if RFM_CHOICES[protocol].get(key) != value}


def _variant_of(protocol: str, changes: Mapping[str, Any]) -> str:
    """Name of the variant with these changes."""
    return variant_name(_less_chosen(protocol, changes))


def variants(plan: Plan) -> dict[str, dict[str, Any]]:
    """The changes of every variant, by its name."""
    return {
        _variant_of(protocol, changes): _less_chosen(protocol, changes)
        for protocol in RFM_CHOICES
        for changes in [{}, *_agop_changes(plan), *_single_changes(plan)]
    }


def _stages(plan: Plan, w: Keys) -> int:
    """Stages of a fit: those of the task, or where features between stages are looked at, those of the choices."""
    choices, n_train, changes = _choices(plan), int(w["n_train"]), variants(plan)[w["variant"]]
    is_choice = w["task"] == _studied(plan) and n_train == choices.n_train
    wants_all = w["variant"] == UNCHANGED or any(key in OF_FEATURES for key in changes)
    return choices.stages if is_choice and wants_all else plan.studies[w["task"]].rfm.stages


def variant_settings(plan: Plan, w: Keys) -> dict[str, Any]:
    """What one such fit sees of the configuration."""
    study = plan.studies[w["task"]]
    return {
        **study.model_dump(include={"task", "n_test", "depth", "patch_size"}),
        "n_train": int(w["n_train"]),
        "sigma": float(w["sigma"]),
        "protocol": w["protocol"],
        "seed": int(w["seed"]),
        "rfm": {**study.rfm.model_dump(), "stages": _stages(plan, w)},
        "changes": variants(plan)[w["variant"]],
        **plan.settings.config.model_dump(include={"backend", "memory_mb"}),
    }


def variant_size(plan: Plan, w: Keys) -> FitSize:
    """Size of one such fit."""
    return task_size(variant_settings(plan, w))


def variant_draw(plan: Plan, w: Keys) -> list[str]:
    """The draw that one such fit takes its first images from, which is as large as the largest of its task."""
    study = plan.studies[w["task"]]
    counts = {"n_train": max(study.n_train), "n_test": study.n_test, "seed": w["seed"]}
    return [run_file(plan, "sized-draw", w["protocol"], "arrays", task=w["task"], **counts)]


def sized_draw_images(plan: Plan, w: Keys) -> list[str]:
    """The images behind a draw of a given size."""
    return images_of_draw(plan, w, w["n_train"], w["n_test"])


def sized_draw_settings(_: Plan, w: Keys) -> dict[str, Any]:
    """What a draw of a given size sees of the configuration."""
    counts = {key: int(w[key]) for key in ("n_train", "n_test", "seed")}
    return {"task": w["task"], "protocol": w["protocol"], **counts}


def beyond_runs(plan: Plan, protocol: str, file: str) -> list[str]:
    """One file of every fit behind the figure; single choices are changed in `published`, whatever the figure's protocol."""
    studied, n_train, known = _studied(plan), _choices(plan).n_train, ready(plan, plan.studies)
    curves: list[_Case] = [(protocol, name, n, {}) for name in known for n in plan.studies[name].n_train]
    points = [(protocol, studied, n_train, changes) for changes in _agop_changes(plan)]
    singles = [("published", studied, n_train, changes) for changes in [{}, *_single_changes(plan)]]
    wholes: list[_Case] = [("corrected", studied, n_train, {})]
    files = [
        run_file(
            plan, "variant", of, file,
            variant=_variant_of(of, changes), task=task, sigma=plan.studies[task].sigma, n_train=n, seed=seed,
        )
        for of, task, n, changes in curves + (points + singles + wholes if studied in known else [])
        for seed in plan.settings.preset.beyond.seeds
    ]  # fmt: skip
    return list(dict.fromkeys(files))


def beyond_settings(plan: Plan, protocol: str) -> dict[str, Any]:
    """What the drawing sees of the configuration."""
    return {
        **figure_settings(protocol, plan.studies),
        "choices": {
            "task": _studied(plan),
            "n_train": _choices(plan).n_train,
            "changes": [_variant_of("published", changes) for changes in _single_changes(plan)],
        },
    }
