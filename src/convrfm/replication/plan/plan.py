"""The plan: a checked configuration, the states of data, where everything lies that follows from them, and what makes it.

`RUNS` and `FIGURES` list every kind of run and every figure. Nothing is computed; of files only the states of data are read.
"""

import pkgutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from convrfm.datasets.registry import REGISTRY, files_behind
from convrfm.replication import figures as rooms
from convrfm.replication import runs
from convrfm.replication.claims.claims import load_claims
from convrfm.replication.config.models import Model
from convrfm.replication.figures.figure import FigureFiles, FigureSpec, figures
from convrfm.replication.plan.presets import Settings
from convrfm.replication.record.data_states import STATE, read_state
from convrfm.replication.record.record import RUN_FILES, run_name
from convrfm.replication.runs import Files, Keys, RunKind

if TYPE_CHECKING:
    from convrfm.replication.figures.beyond import StudyTask
    from convrfm.replication.figures.features import FeatureTask
    from convrfm.replication.figures.fig05 import LocalSignalPanel
    from convrfm.replication.figures.fig06 import ImageTask, PairTask
    from convrfm.replication.figures.fig08 import SimpleNetPanel
    from convrfm.replication.figures.fig09 import ShallowData
    from convrfm.replication.figures.zoo import StandIn

__all__ = ["DRAWS", "FIGURES", "FIGURE_FORMATS", "FILE_SETS", "RUNS", "FigureKind", "Plan", "asked_figures", "recorded_state"]

FIGURE_FORMATS = ("png", "pdf", "parquet", "csv", "md")  # the files of a figure, beside its record

FILE_SETS = tuple(name for name, entry in REGISTRY.items() if entry.has_files)
"""Data sets with files: fetched, or put into their folder by the user."""

LARGEST_SMALL = (3, 32, 32)  # shape of images of various sizes, before they are resized

Section = TypeVar("Section", bound=Model)


@dataclass(frozen=True)
class Plan:
    """A checked configuration with the states of data."""

    settings: Settings  # the configuration with its preset
    # Gives the state of a data set by its name: `state` and `digest`, see `convrfm.replication.record.data_states`.
    state_of: Callable[[str], Mapping[str, Any]]

    @property
    def results(self) -> str:
        """The folder of all results, relative to the project."""
        return f"results/{self.settings.config.preset}"

    @property
    def seeds(self) -> list[int]:
        """The seeds of the configuration."""
        return self.settings.config.seeds

    def section(self, kind: type[Section]) -> Section:
        """The preset's section of a figure, by the class in the figure's module, whose name is the section's."""
        found: Section = getattr(self.settings.preset, kind.__module__.rpartition(".")[2])
        return found

    # Sections that several figures share.

    @cached_property
    def panels(self) -> "dict[str, LocalSignalPanel]":
        """Local-signal tasks of Figure 5, by name."""
        return {panel.task: panel for panel in self.settings.preset.fig05.panels}

    @cached_property
    def images(self) -> "dict[str, ImageTask]":
        """Data sets of Figure 6, by name."""
        return {task.dataset: task for task in self.settings.preset.fig06.datasets}

    @cached_property
    def pairs(self) -> "dict[str, PairTask]":
        """Data sets of Figure 6 whose pairs of classes are fitted, by name."""
        return {task.dataset: task for task in self.settings.preset.fig06.pairs}

    def image_task(self, dataset: str, classes: str) -> "ImageTask":
        """The section of a data set of Figure 6, or, where `classes` is a pair, that of its pairs."""
        return (self.images if classes == "all" else self.pairs)[dataset]

    @cached_property
    def studies(self) -> "dict[str, StudyTask]":
        """Tasks beyond the paper, by name."""
        return {task.task: task for task in self.settings.preset.beyond.tasks}

    @cached_property
    def simplenets(self) -> "dict[tuple[str, str], SimpleNetPanel]":
        """Panels of Figure 8, by the keys `dataset` and `width_divisor` of their runs."""
        return {(panel.dataset, str(panel.width_divisor)): panel for panel in self.settings.preset.fig08.panels}

    @property
    def shallow_data(self) -> "dict[str, ShallowData]":
        """Data sets of Figure 9, by name."""
        return {data.dataset: data for data in self.settings.preset.fig09.datasets}

    @cached_property
    def standins(self) -> "dict[str, StandIn]":
        """Stand-ins for pretrained networks, by name."""
        return {f"{standin.network}-standin": standin for standin in self.settings.preset.zoo.standins}

    @cached_property
    def feature_tasks(self) -> "dict[str, FeatureTask]":
        """Data sets of Figures 3, 10, 11 and 12, by name."""
        return {task.dataset: task for task in self.settings.preset.features.tasks}

    # Files.

    def run_file(self, kind: str, protocol: str, file: str, **keys: object) -> str:
        """One file of one run: "metrics", "arrays" or "record"."""
        return f"{self.results}/runs/{kind}/{protocol}/{run_name(keys)}/{RUN_FILES[file]}"

    def prepared(
        self, protocol: str, file: str, dataset: str, counts: tuple[object, object], seed: object, *,
        kind: str = "prepare", **appearance: object,
    ) -> str:  # fmt: skip
        """One file of the preparation of images: "metrics", "arrays" or "record"; the kind is "prepare" or "resample".

        Counts are of training and test images. The appearance is `size`, `fit`, `colour` and `scaling`, see
        `convrfm.datasets.transforms.Appearance`, and `classes`: "all", or a pair such as "3-8".
        """
        keys = {"size": "native", "fit": "stretch", "colour": "native", "scaling": "unit", "classes": "all", **appearance}
        keys["size"] = keys["size"] or "native"
        n_train, n_test = counts
        return self.run_file(kind, protocol, file, dataset=dataset, **keys, n_train=n_train, n_test=n_test, seed=seed)

    def task_images(self, w: Keys, file: str = "arrays") -> list[str]:
        """The prepared images of a data set of Figure 6, or of a pair of its classes, by the keys of a run."""
        task = self.image_task(w["dataset"], w["classes"])
        counts, looks = (task.n_train, task.n_test), {"colour": task.colour, "classes": w["classes"]}
        return [self.prepared(w["protocol"], file, task.dataset, counts, w["seed"], size=task.size, **looks)]

    def draw(self, protocol: str, task: str, seed: object) -> str:
        """The draw of a local-signal task of Figure 5."""
        return self.run_file("draw", protocol, "arrays", task=task, seed=seed)

    def feature_images(self, w: Keys) -> list[str]:
        """The images that the models of Figures 3, 10, 11 and 12 are fitted to, by the keys of a run."""
        task = self.feature_tasks[w["dataset"]]
        counts = (w.get("n_train", task.n_train), task.n_test)
        return [self.prepared(w["protocol"], "arrays", task.dataset, counts, w["seed"], size=task.size, colour=task.colour)]

    def figure_file(self, figure: str, protocol: str, form: str) -> str:
        """One file of one figure; `form` is "json" for its record."""
        return f"{self.results}/figures/{protocol}/{figure}.{form}"

    def state_file(self, dataset: str) -> str:
        """Where the state of a data set is written."""
        return f"{self.settings.config.data_dir}/{dataset}/{STATE}"

    # Data.

    def needs(self, tasks: Iterable[str]) -> dict[str, list[str]]:
        """The data sets with files that each task needs."""
        return {task: list(files_behind(task)) for task in tasks}

    def absent(self, names: Iterable[str]) -> list[str]:
        """State files of the data sets among these that are not present."""
        return [self.state_file(name) for name in sorted(set(names)) if self.state_of(name)["state"] != "present"]

    def ready(self, tasks: Iterable[str]) -> list[str]:
        """The tasks whose data are present, or that need none."""
        return [task for task in tasks if not self.absent(files_behind(task))]

    def folder_of(self, dataset: str) -> dict[str, str]:
        """The folder elsewhere that holds a data set, by its name, if the configuration names one."""
        return {name: path for name, path in self.settings.config.data_folders.items() if name == dataset}

    def state_of_input(self, dataset: str) -> list[str]:
        """The state file of a data set as an input of its run, which the workflow looks for first; none without files."""
        if dataset not in FILE_SETS:
            return []
        self.state_of(dataset)
        return [self.state_file(dataset)]

    def image_seeds(self, dataset: str, protocol: str, count: int) -> list[int]:
        """The seeds that models of a data set are fitted with: the first ones; one where the protocol fixes the images."""
        return self.seeds[: 1 if REGISTRY[dataset].is_fixed_draw(protocol) else count]

    def images_for(self, weights: str) -> str:
        """The data set that a pretrained network is measured on: the preset's for networks of ImageNet, else its own."""
        trained_on = REGISTRY[weights].trained_on
        return self.settings.preset.zoo.dataset if trained_on == "imagenet" else trained_on

    def image_shape(self, dataset: str, size: int | None, colour: str) -> tuple[int, int, int]:
        """Shape of one prepared image, `(channels, height, width)`."""
        channels, height, width = REGISTRY[dataset].fixed_shape or LARGEST_SMALL
        if colour != "native":
            channels = 1 if colour == "grey" else 3
        return (channels, size or height, size or width)

    # Large fits.

    @cached_property
    def fits_in_steps(self) -> dict[tuple[str, ...], Any]:
        """What `convrfm.replication.plan.fits` has found out about fits, by kind, protocol and run."""
        return {}

    def split_parts(self, settings: Mapping[str, Any]) -> int:
        """Jobs that fill the kernel matrices of each round of a fit with these settings; 0 where the fit is in one piece."""
        split = self.settings.preset.split
        if split is None or self.settings.config.backend != "cpu" or settings["n_train"] <= split.above:
            return 0
        return split.parts if not split.tasks or settings["task"] in split.tasks else 0


def recorded_state(settings: Settings, root: Path) -> Callable[[str], Mapping[str, Any]]:
    """Give what returns the last recorded state of data, without looking for the data; absent where none is recorded."""

    def state_of(dataset: str) -> Mapping[str, Any]:
        path = root / settings.config.data_dir / dataset / STATE
        return read_state(path) if path.exists() else {"state": "absent", "digest": ""}

    return state_of


DRAWS = ("prepare", "resample", "draw", "sized-draw")
"""Kinds of runs that draw images by their seed, on which all others rest."""


def _run_kinds() -> dict[str, RunKind]:
    found = [
        import_module(f"{package.__name__}.{module.name}")
        for package in (runs, rooms)
        for module in pkgutil.iter_modules(package.__path__)
    ]
    return {kind.name: kind for module in found for kind in getattr(module, "KINDS", ())}


RUNS = _run_kinds()  # every kind of run, by its name


@dataclass(frozen=True)
class FigureKind:
    """A figure as the workflow and the audit see it: with the interface of a kind of run, whose only key is the protocol."""

    name: str  # such as "fig05"
    spec: FigureSpec

    @property
    def job(self) -> str:
        """The function that draws it, `module:function`."""
        return f"{rooms.__name__}.{self.name}:draw_figure"

    @property
    def inputs(self) -> Mapping[str, Files]:
        """The files that it is drawn from, by name; `states` are the state files of data that are absent."""

        def by_keys(of: FigureFiles) -> Files:
            return lambda plan, w: of(plan, w["protocol"])

        inputs = {name: by_keys(of) for name, of in self.spec.inputs.items()}
        return {"states": lambda plan, _: plan.absent(self.spec.data(plan)), **inputs}

    def settings(self, plan: Plan, w: Keys) -> dict[str, Any]:
        """What drawing sees of the configuration, as plain values.

        The rules of the claims that the caption quotes are among it: an edited threshold makes the figure stale.
        """
        rules = {claim.id: claim.rule() for claim in load_claims() if self.name in claim.tables}
        return {**self.spec.settings(plan, w["protocol"]), **({"claims": rules} if rules else {})}


FIGURES = {name: FigureKind(name, spec) for name, spec in figures().items()}  # every figure, by its name


def asked_figures(plan: Plan, *, by_name: bool = False) -> Iterator[tuple[str, str]]:
    """Figure and protocol of everything that the target `all` builds, or `by_name` of all that can be built by its name."""
    for name, figure in FIGURES.items():
        protocols = figure.spec.only or plan.settings.protocols
        asked = (by_name or figure.spec.asked(plan)) and not figure.spec.lacking(plan)
        yield from ((name, protocol) for protocol in protocols if asked)
