"""What a figure is: the data and runs behind it, what it sees of the configuration, and the files that it reads and writes.

Every module of `convrfm.replication.figures` that draws a figure has its `FIGURE`, and the section of the preset and the judges
of the claims beside it. `figures()` finds them all.
"""

import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial, update_wrapper
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from matplotlib.figure import Figure

from convrfm.datasets.registry import find_entry
from convrfm.replication import figures as package
from convrfm.replication.claims.evidence import Evidence, Judges
from convrfm.replication.claims.verdicts import quoted
from convrfm.replication.config.models import Model
from convrfm.replication.figures.style import draw_skipped, fit_reasons, settle_layout
from convrfm.replication.record.data_states import read_state
from convrfm.replication.record.record import RUN_FILES, read_record, run_keys
from convrfm.replication.record.session import Job
from convrfm.system.storage import write_atomically, write_bytes, write_table

if TYPE_CHECKING:
    from convrfm.replication.plan.plan import Plan
else:
    Plan = Any  # a plan knows the figures, which get it as an argument

__all__ = [
    "Drawn", "FigureFiles", "FigureSpec", "Plan", "figures", "read_recorded_runs", "read_runs", "run_inputs", "runs_with",
]  # fmt: skip

Drawn = tuple[pd.DataFrame, Figure, str]
"""The tidy table behind a figure, the figure, and its caption in Markdown."""

FigureFiles = Callable[[Plan, str], list[str]]
"""Gives files, relative to the project, for a protocol."""

# Nothing that changes from call to call: equal tables give equal bytes.
METADATA = {"png": {"Software": None}, "pdf": {"CreationDate": None, "ModDate": None, "Producer": None, "Creator": None}}


def run_inputs(runs: Callable[..., list[str]], *names: str) -> dict[str, FigureFiles]:
    """The inputs "metrics", "records" and "arrays" of a figure, or some of them, that are files of its runs, by name.

    Runs are given by a function that gives the `file` "metrics", "record" or "arrays" of each, for a plan and a protocol.
    """
    files = {"metrics": "metrics", "records": "record", "arrays": "arrays"}
    return {name: partial(runs, file=files[name]) for name in names}


@dataclass(frozen=True)
class FigureSpec:
    """A figure of the replication.

    Attributes:
        title: such as "Figure 5".
        subject: a few words, such as "local signal adaptivity".
        about: one or two sentences, shown below the picture in Snakemake's report.
        needs: names of the data sets with files that each part of the figure needs, by part.
        inputs: the files that it is drawn from, by name.
        section: the class of its section of the preset; None without one.
        seen: what drawing sees of the configuration beside protocol and needs.
        asked: whether the target `all` builds it.
        lacking: what the preset lacks for it, in a sentence; empty where it can be drawn, or skipped for want of data.
        only: the protocols that it is drawn for, whatever the configuration says; empty for those of the configuration.
        judges: of the claims that its table decides; its caption quotes their verdicts.
    """

    title: str
    subject: str
    about: str
    needs: Callable[[Plan], dict[str, list[str]]]
    inputs: Mapping[str, FigureFiles] = field(default_factory=dict)
    section: type[Model] | None = None
    seen: Callable[[Plan, str], Mapping[str, Any]] = lambda _, __: {}
    asked: Callable[[Plan], bool] = lambda _: True
    lacking: Callable[[Plan], str] = lambda _: ""
    only: tuple[str, ...] = ()
    judges: Judges | None = None

    def settings(self, plan: Plan, protocol: str) -> dict[str, Any]:
        """What drawing sees of the configuration, as plain values."""
        return {"protocol": protocol, "needs": self.needs(plan), **self.seen(plan, protocol)}

    def data(self, plan: Plan) -> list[str]:
        """Names of all data sets with files that the figure needs."""
        return sorted({name for names in self.needs(plan).values() for name in names})

    def drawn(self, draw: Callable[[Job, Mapping[str, str]], Drawn | None]) -> Callable[[Job], None]:
        """Make the job of a figure from a function that gives table, picture and caption.

        The function receives the job and the parts that are skipped with their reasons. Where every part is skipped it is not
        called, and where it gives None there is nothing to draw either: then all files say SKIPPED and why.
        """

        def run(job: Job) -> None:
            skipped, absent = _skipped_parts(job)
            needs = job.settings["needs"]
            drawn = None if needs and len(skipped) == len(needs) else draw(job, skipped)
            table, figure, caption = drawn or _skipped_figure(self.title, skipped)
            if drawn is not None and self.judges is not None:
                caption += quoted(job.settings["claims"], self.judges, Evidence(table, skipped=skipped))
            write_figure(job, table, figure, caption + "".join(f"\n- {reason}\n" for reason in absent.values()))

        # Its annotations stay its own: it takes less than the function, and gives nothing.
        update_wrapper(run, draw, assigned=("__module__", "__name__", "__qualname__", "__doc__"))
        return run


@cache
def figures() -> dict[str, FigureSpec]:
    """Every figure by name: first those of the paper, in their order."""
    found = (module.name for module in pkgutil.iter_modules(package.__path__))
    names = sorted(found, key=lambda name: (not name.startswith("fig"), name))
    modules = {name: import_module(f"{package.__name__}.{name}") for name in names}
    return {name: module.FIGURE for name, module in modules.items() if hasattr(module, "FIGURE")}


def write_figure(job: Job, table: pd.DataFrame, figure: Figure, caption: str) -> None:
    """Write the outputs `png`, `pdf`, `parquet`, `csv`, `md` and `record` of a figure's job.

    Raises:
        StorageError: see `convrfm.system.storage`.
    """
    write_table(job.outputs["parquet"], table)
    write_table(job.outputs["csv"], table)
    write_bytes(job.outputs["md"], caption.encode())
    settle_layout(figure)
    fit_reasons(figure)
    for name, metadata in METADATA.items():
        save = partial(figure.savefig, format=name, metadata=metadata)
        write_atomically(job.outputs[name], save)
    job.write_record()


def _skipped_parts(job: Job) -> tuple[dict[str, str], dict[str, str]]:
    """What the skipped parts of a figure lack, and, by data set, why that is absent with the remedy; the record notes both."""
    states = [read_state(path) for path in job.inputs.get("states", [])]
    gone = {state["dataset"]: state for state in states if state["state"] != "present"}
    short = {name: f"{find_entry(name).title} is {state['state']}" for name, state in gone.items()}
    lacking = {part: [short[name] for name in names if name in gone] for part, names in job.settings["needs"].items()}
    skipped = {part: "; ".join(what) for part, what in lacking.items() if what}
    absent = {name: f"{state['reason']} {state['remedy']}" for name, state in gone.items()}
    job.recorder.notes |= {"skipped": skipped, "absent": absent}
    return skipped, absent


def _skipped_figure(title: str, skipped: Mapping[str, str]) -> Drawn:
    """Table, picture and caption of a figure without a part that can be drawn."""
    table = pd.DataFrame([{"part": part, "status": "SKIPPED", "reason": reason} for part, reason in skipped.items()])
    lines = [f"**{title}: SKIPPED**", *(f"\n{part}: SKIPPED ({reason})" for part, reason in skipped.items())]
    return table, draw_skipped(title, skipped), "\n".join(lines) + "\n"


Run = tuple[Mapping[str, str], Mapping[str, Any], pd.DataFrame]
"""Keys of a run, its settings or its whole record, and its metrics."""


def read_runs(metrics: Sequence[Path]) -> list[Run]:
    """Keys, settings and metrics of runs, given their files of metrics, in their order."""
    return [(keys, record["settings"], table) for keys, record, table in read_recorded_runs(metrics)]


def read_recorded_runs(metrics: Sequence[Path]) -> list[Run]:
    """Keys, record and metrics of runs, given their files of metrics, in their order."""
    return [
        (run_keys(path.parent), read_record(path.with_name(RUN_FILES["record"])), pd.read_parquet(path)) for path in metrics
    ]


def runs_with(files: Sequence[Path], **keys: str) -> list[Path]:
    """Those of the files, one of each run, whose runs have these keys."""
    return [path for path in files if keys.items() <= run_keys(path.parent).items()]
