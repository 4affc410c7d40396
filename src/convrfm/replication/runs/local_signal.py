"""Draws of the local-signal tasks: signals, positions, labels and noise frames."""

from typing import TYPE_CHECKING

from convrfm.datasets.registry import files_behind
from convrfm.replication.runs.kinds import Keys, RunKind, RunSettings

if TYPE_CHECKING:
    from convrfm.replication.plan.plan import Plan

__all__ = ["KINDS", "DrawSettings"]


class DrawSettings(RunSettings):
    """What a draw sees of the configuration."""

    task: str
    n_train: int
    n_test: int


def _of_panel(plan: "Plan", w: Keys) -> DrawSettings:
    panel = plan.panels[w["task"]]
    return DrawSettings(task=w["task"], protocol=w["protocol"], seed=int(w["seed"]), n_train=panel.n_train, n_test=panel.n_test)


def _of_size(_: "Plan", w: Keys) -> DrawSettings:
    counts = {key: int(w[key]) for key in ("n_train", "n_test", "seed")}
    return DrawSettings(task=w["task"], protocol=w["protocol"], **counts)


def _images(plan: "Plan", w: Keys, settings: DrawSettings) -> list[str]:
    """The images of a fetched data set that a draw needs: grey, in their own size."""
    counts = (settings.n_train, settings.n_test)
    return [plan.prepared(w["protocol"], "arrays", name, counts, w["seed"], colour="grey") for name in files_behind(w["task"])]


JOB = "local_signal:draw_task"

KINDS = (
    RunKind("draw", JOB, ("task", "seed"), {"images": lambda plan, w: _images(plan, w, _of_panel(plan, w))}, _of_panel),
    RunKind(
        "sized-draw",
        JOB,
        ("task", "n_train", "n_test", "seed"),
        {"images": lambda plan, w: _images(plan, w, _of_size(plan, w))},
        _of_size,
    ),
)
