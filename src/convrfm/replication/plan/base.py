"""What all parts of a plan share: the configuration, where results lie, and the states of data."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from convrfm.datasets.registry import REGISTRY, files_behind
from convrfm.replication.config.presets import Settings
from convrfm.replication.config.sections.beyond import StudyTask
from convrfm.replication.config.sections.fig05 import LocalSignalPanel
from convrfm.replication.config.sections.fig06 import ImageTask, PairTask
from convrfm.replication.config.sections.fig08 import SimpleNetPanel
from convrfm.replication.record.data_states import STATE, read_state
from convrfm.replication.record.paths import RUN_FILES, run_name

__all__ = [
    "FIGURE_FORMATS", "FILE_SETS", "Keys", "Plan", "absent_data", "data_needs", "figure_file", "figure_settings", "image_seeds",
    "ready", "recorded_state", "run_file", "split_parts", "state_file",
]  # fmt: skip

Keys = Mapping[str, str]
"""The keys of a run, its protocol among them: the wildcards of its rule, or what its folder is called."""

FIGURE_FORMATS = ("png", "pdf", "parquet", "csv", "md")
"""The files of a figure, beside its record."""

FILE_SETS = tuple(name for name, entry in REGISTRY.items() if entry.has_files)
"""Data that can be fetched, or looked for in the folder where a user has to put them."""


@dataclass(frozen=True)
class Plan:
    """A checked configuration, with what it takes to say what it asks for.

    Attributes:
        settings: the configuration with its preset.
        state_of: gives the state of a data set by its name: `state` and `digest` of `convrfm.replication.record.data_states`.
    """

    settings: Settings
    state_of: Callable[[str], Mapping[str, Any]]

    @property
    def results(self) -> str:
        """The folder of all results, relative to the project."""
        return f"results/{self.settings.config.preset}"

    @cached_property
    def panels(self) -> dict[str, LocalSignalPanel]:
        """Panels of Figure 5 by task."""
        return {panel.task: panel for panel in self.settings.preset.fig05.panels}

    @cached_property
    def images(self) -> dict[str, ImageTask]:
        """Tasks of Figure 6 by data set."""
        return {task.dataset: task for task in self.settings.preset.fig06.datasets}

    @cached_property
    def pairs(self) -> dict[str, PairTask]:
        """Tasks of Figure 6 on pairs of classes, by data set."""
        return {task.dataset: task for task in self.settings.preset.fig06.pairs}

    @cached_property
    def studies(self) -> dict[str, StudyTask]:
        """Tasks beyond the paper, by name."""
        return {task.task: task for task in self.settings.preset.beyond.tasks}

    @cached_property
    def simplenets(self) -> dict[str, SimpleNetPanel]:
        """Panels of Figure 8 by data set."""
        return {panel.dataset: panel for panel in self.settings.preset.fig08.panels}

    @cached_property
    def fits_in_steps(self) -> dict[tuple[str, ...], Any]:
        """What `convrfm.replication.plan.steps` has found out about fits, by experiment, protocol and run."""
        return {}


def recorded_state(settings: Settings, root: Path) -> Callable[[str], Mapping[str, Any]]:
    """Give what says the state of data as it was last written, without looking for them; absent where nothing was."""

    def state_of(dataset: str) -> Mapping[str, Any]:
        path = root / settings.config.data_dir / dataset / STATE
        return read_state(path) if path.exists() else {"state": "absent", "digest": ""}

    return state_of


def run_file(plan: Plan, experiment: str, protocol: str, file: str, **keys: object) -> str:
    """One file of one run: "metrics", "arrays" or "record"."""
    return f"{plan.results}/runs/{experiment}/{protocol}/{run_name(keys)}/{RUN_FILES[file]}"


def figure_file(plan: Plan, figure: str, protocol: str, form: str) -> str:
    """One file of one figure; `form` is "json" for its record."""
    return f"{plan.results}/figures/{protocol}/{figure}.{form}"


def state_file(plan: Plan, dataset: str) -> str:
    """Where the state of a data set is written."""
    return f"{plan.settings.config.data_dir}/{dataset}/{STATE}"


def split_parts(plan: Plan, settings: Mapping[str, Any]) -> int:
    """Jobs that fill the kernel matrices of each round of a fit with these settings; 0 where the fit is in one piece."""
    split = plan.settings.preset.split
    if split is None or plan.settings.config.backend != "cpu" or settings["n_train"] <= split.above:
        return 0
    return split.parts if not split.tasks or settings["task"] in split.tasks else 0


def data_needs(tasks: Iterable[str]) -> dict[str, list[str]]:
    """Names of the data that each task needs and that have to be fetched."""
    return {task: list(files_behind(task)) for task in tasks}


def figure_settings(protocol: str, tasks: Iterable[str]) -> dict[str, Any]:
    """What the drawing of a figure sees of the configuration: what each of its tasks needs, beside the protocol."""
    return {"protocol": protocol, "needs": data_needs(tasks)}


def image_seeds(plan: Plan, dataset: str, protocol: str, count: int) -> list[int]:
    """The seeds that models are fitted with to images of a data set: the first ones; a single one where the draw is fixed."""
    return plan.settings.config.seeds[: 1 if REGISTRY[dataset].is_fixed_draw(protocol) else count]


def absent_data(plan: Plan, tasks: Iterable[str]) -> list[str]:
    """State files of the data that tasks need and that are not present."""
    needed = sorted({name for task in tasks for name in files_behind(task)})
    return [state_file(plan, name) for name in needed if plan.state_of(name)["state"] != "present"]


def ready(plan: Plan, tasks: Iterable[str]) -> list[str]:
    """The tasks whose data are present, or need not be fetched."""
    return [task for task in tasks if not absent_data(plan, [task])]
