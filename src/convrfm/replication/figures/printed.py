"""The authors' printed numbers beside ours: accuracy and squared error of ConvRFM, round by round."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pydantic import Field

from convrfm.datasets.registry import files_behind
from convrfm.replication.claims.evidence import Evidence, Judges, Reading, Rule, counted, interval, mean_of, with_interval
from convrfm.replication.config.models import Model, as_yaml, each_once, one_of
from convrfm.replication.figures.accuracies import draw_of
from convrfm.replication.figures.figure import Drawn, FigureSpec, Plan, Run, read_recorded_runs, run_inputs
from convrfm.replication.figures.style import figure_style, letter, markdown_table, short_title, skipped_lines, write_reason
from convrfm.replication.record.session import Job
from convrfm.replication.runs import Keys, RunKind
from convrfm.replication.runs.fits import JOB, RFMSection, TaskFit

__all__ = ["FIGURE", "KINDS", "PRINTED", "Printed", "PrintedRun", "caption", "draw", "draw_figure", "summary", "tidy"]


DEPTH, PATCH_SIZE, RIDGE, AGOP_SAMPLES = 3, 3, 1e-5, 20
"""Settings of all printed runs."""


@dataclass(frozen=True)
class PrintedRun:
    """One run whose numbers are printed.

    Attributes:
        task: data set, or local-signal task.
        n_train: training images.
        n_test: test images.
        size: pixels of each side.
        sigma: noise level of a local-signal task; None for a data set as it is.
        accuracy: per cent of the test images, by round from 0 on.
        squared_error: of the test images, by round: summed over classes, averaged over images; empty where none is
            printed.
        tolerance: points of accuracy within which a repetition counts as equal, by round. Ours, fixed beforehand. Round 0
            of a data set as it is has no randomness; later rounds depend on rounding through the AGOP; noise is drawn again.
    """

    task: str
    n_train: int
    n_test: int
    size: int
    sigma: float | None
    accuracy: tuple[float, ...]
    squared_error: tuple[float, ...]
    tolerance: tuple[float, ...]

    @property
    def rounds(self) -> int:
        """How many rounds are printed."""
        return len(self.accuracy)


PRINTED = {
    "svhn-1000": PrintedRun(
        task="svhn", n_train=1000, n_test=1000, size=32, sigma=None, accuracy=(53.0, 53.3, 54.8, 58.4, 60.5),
        squared_error=(0.7731, 0.7721, 0.7647, 0.7529, 0.7676), tolerance=(0.2, 1.0, 1.0, 1.0, 1.0),
    ),
    "noisy-mnist-4000": PrintedRun(
        task="noisy-mnist", n_train=4000, n_test=4000, size=42, sigma=1.0, accuracy=(52.03, 54.47, 57.28, 59.38),
        squared_error=(0.719, 0.703, 0.685, 0.672), tolerance=(2.0, 2.0, 2.0, 2.0),
    ),
    "noisy-mnist-200": PrintedRun(
        task="noisy-mnist", n_train=200, n_test=200, size=42, sigma=1.0, accuracy=(26.0, 28.5),
        squared_error=(), tolerance=(7.0, 7.0),
    ),
}  # fmt: skip
"""The runs by name."""


class Printed(Model):
    """The authors' printed numbers."""

    runs: Annotated[list[Annotated[str, one_of(list(PRINTED))]], each_once()] = Field(
        default=[],
        description="printed runs to compare with: svhn-1000 (of fig06.datasets), noisy-mnist-4000 (of fig05.panels if it is "
        "there) and noisy-mnist-200, see convrfm.replication.figures.printed",
    )

    def check(self, preset: Any) -> None:
        """Check against other sections; ValueError for a run on a data set without the fit of Figure 6 that repeats it."""
        for name in self.runs:
            run = PRINTED[name]
            if run.sigma is None and not any(is_printed_fit(task, run) for task in preset.fig06.datasets):
                msg = (
                    f"runs: {name!r} needs {run.task} in fig06.datasets with n_train {run.n_train}, n_test {run.n_test}, size "
                    f"{run.size}, rfm.ridges {as_yaml([RIDGE])} and at least {run.rounds} rfm.rounds"
                )
                raise ValueError(msg)


def is_printed_fit(section: Any, run: PrintedRun) -> bool:
    """Whether a panel of Figure 5, or a data set of Figure 6, is fitted as a printed run was, under `published`."""
    if run.sigma is None:
        same_images = section.dataset == run.task and section.size == run.size
    else:
        same_images = section.task == run.task and run.sigma in section.sigmas
    return (
        same_images
        and (section.n_train, section.n_test) == (run.n_train, run.n_test)
        and (section.depth, section.patch_size, section.rfm.ridges) == (DEPTH, PATCH_SIZE, [RIDGE])
        and section.rfm.rounds >= run.rounds
    )


def _beside(plan: Plan, run: PrintedRun) -> list[tuple[str, dict[str, Any]]]:
    """One run for each seed that repeats a printed one: of Figure 6 or 5 where they have it, or its own."""
    if run.sigma is None:
        keys: dict[str, Any] = {"dataset": run.task, "classes": "all"}
        task = plan.images[run.task]
        return [("image-rfm", {**keys, "seed": seed}) for seed in plan.image_seeds(run.task, "published", task.seeds)]
    keys = {"task": run.task, "sigma": run.sigma}
    if run.task in plan.panels and is_printed_fit(plan.panels[run.task], run):
        return [("rfm", {**keys, "seed": seed}) for seed in plan.seeds]
    counts = {"n_train": run.n_train, "n_test": run.n_test}
    return [("printed-rfm", {**keys, **counts, "seed": seed}) for seed in plan.seeds]


def _runs(plan: Plan, _: str, file: str) -> list[str]:
    return [
        plan.run_file(kind, "published", file, **keys)
        for name in plan.section(Printed).runs
        if plan.ready([PRINTED[name].task])
        for kind, keys in _beside(plan, PRINTED[name])
    ]


def _fit(plan: Plan, w: Keys) -> TaskFit:
    n_train, n_test = int(w["n_train"]), int(w["n_test"])
    (run,) = [run for run in PRINTED.values() if (run.task, run.n_train, run.n_test) == (w["task"], n_train, n_test)]
    rfm = RFMSection(rounds=run.rounds, ridges=[RIDGE], stages=1, filters=1)
    sizes = {"depth": DEPTH, "patch_size": PATCH_SIZE, "n_train": n_train, "n_test": n_test}
    return TaskFit.of(plan, w, sigma=float(w["sigma"]), rfm=rfm, changes={}, **sizes)


def _draw(plan: Plan, w: Keys) -> list[str]:
    counts = {key: w[key] for key in ("n_train", "n_test", "seed")}
    return [plan.run_file("sized-draw", w["protocol"], "arrays", task=w["task"], **counts)]


KINDS = (RunKind("printed-rfm", JOB, ("task", "sigma", "n_train", "n_test", "seed"), {"draw": _draw}, _fit),)


QUANTITIES = {"accuracy": "test accuracy (%)", "squared error": "squared error"}
"""What is printed, with the labels of the axes."""


def tidy(runs: Sequence[Run]) -> pd.DataFrame:
    """Put each number of the runs beside the printed one.

    Returns:
        columns `run` (of `PRINTED`), `task`, `n_train`, `n_test`, `round`, `quantity` ("accuracy" in per
        cent, or "squared error", summed over classes and averaged over images), `seed`, `draw` (hash of its images), `ours`,
        `printed`, `difference` (ours minus printed), `tolerance` (in points; NaN for errors).

    Raises:
        KeyError: a run that no printed one belongs to.
    """
    rows = []
    names = {(run.task, run.n_train, run.n_test): name for name, run in PRINTED.items()}
    for keys, record, metrics in runs:
        settings = record["settings"]
        name = names[keys.get("dataset") or keys["task"], settings["n_train"], settings["n_test"]]
        run = PRINTED[name]
        history = metrics[(metrics["stage"] == 0) & np.isclose(metrics["ridge"], RIDGE)].set_index("round")
        ours = {"accuracy": 100 * history["test_accuracy"], "squared error": history["test_error"]}
        for quantity, printed in (("accuracy", run.accuracy), ("squared error", run.squared_error)):
            for number, value in enumerate(printed):
                rows.append({
                    "run": name, "task": run.task, "n_train": run.n_train, "n_test": run.n_test, "round": number,
                    "quantity": quantity, "seed": int(keys["seed"]), "draw": draw_of(record),
                    "ours": ours[quantity][number], "printed": value, "difference": ours[quantity][number] - value,
                    "tolerance": run.tolerance[number] if quantity == "accuracy" else np.nan,
                })  # fmt: skip
    return pd.DataFrame(rows)


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Mean over draws of each number.

    Returns:
        columns `run`, `quantity`, `round`, `ours`, `low`, `high` (95 % Student interval; NaN for one draw), `draws`,
        `printed`, `difference`, `tolerance` (NaN for errors).
    """
    rows = []
    for (run, quantity, number), part in table.groupby(["run", "quantity", "round"], sort=False):
        draws = part.groupby("draw")["ours"].mean().to_numpy()
        mean, low, high = interval(draws)
        printed, tolerance = part["printed"].iloc[0], part["tolerance"].iloc[0]
        rows.append({
            "run": run, "quantity": quantity, "round": number, "ours": mean, "low": low, "high": high, "draws": len(draws),
            "printed": printed, "difference": mean - printed, "tolerance": tolerance,
        })  # fmt: skip
    return pd.DataFrame(rows)


def draw(table: pd.DataFrame, skipped: Mapping[str, str]) -> Figure:
    """Draw a column for each printed run; of those that are skipped, a panel with the reason."""
    found = summary(table)
    runs = list(dict.fromkeys(table["run"]))
    with figure_style():
        columns = len(runs) + len(skipped)
        figure = Figure(figsize=(2.4 * max(columns, 2), 4.0), layout="constrained")
        cells = figure.subplots(len(QUANTITIES), columns, squeeze=False)
        letters = iter("ABCDEFGH")
        for row, (quantity, label) in enumerate(QUANTITIES.items()):
            for column, name in enumerate(runs):
                axes, part = cells[row, column], found[(found["run"] == name) & (found["quantity"] == quantity)]
                if part.empty:
                    axes.remove()
                    continue
                _draw_panel(axes, part)
                axes.set(ylabel=label, title=_title(PRINTED[name]) if row == 0 else "")
                letter(axes, next(letters), offset=-0.3)
        for column, (name, reason) in enumerate(skipped.items(), len(runs)):
            write_reason(cells[0, column], _title(PRINTED[name]), reason)
            cells[1, column].remove()
        handles, labels = cells[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2)
    return figure


def _draw_panel(axes: Axes, part: pd.DataFrame) -> None:
    axes.plot(part["round"], part["printed"], "s--", color="0.35", markerfacecolor="white", label="printed by the authors")
    axes.plot(part["round"], part["ours"], "o-", color="C0", label="ours, mean and 95 % interval over draws")
    axes.vlines(part["round"], part["low"], part["high"], color="C0", linewidth=1.2)
    axes.set(xticks=part["round"], xlabel="round")
    axes.grid(axis="y")


def _title(run: PrintedRun) -> str:
    level = "" if run.sigma is None else f", sigma = {run.sigma:g}"
    return f"{short_title(run.task)}{level}\nn = {run.n_train}/{run.n_test}"


def caption(table: pd.DataFrame, skipped: Mapping[str, str]) -> str:
    """Write the caption in Markdown; every number in it is computed from the table. Arguments as for `draw`."""
    found = summary(table)
    opening = (
        "**The authors' printed numbers** (protocol: published). Accuracy and squared error (summed over classes, averaged "
        "over test images) of each round of ConvRFM: CNTK of three 3x3 convolutions, ridge 1e-5, AGOP of the first 20 "
        "images. The authors solve in float32, we in float64; noise is drawn again."
    )
    lines = [opening]
    for name in dict.fromkeys(found["run"]):
        part = found[found["run"] == name]
        lines += [
            "",
            f"**{_title(PRINTED[name]).replace(chr(10), ', ')}**, {counted(part['draws'].iloc[0], 'draw')}:",
            "",
            *markdown_table(["round", "quantity", "ours", "printed", "difference", "tolerance"], map(_row, part.itertuples())),
        ]
    return "\n".join([*lines, *skipped_lines(skipped, lambda name: _title(PRINTED[name]).replace("\n", ", "))]) + "\n"


def _row(row: Any) -> tuple[object, ...]:
    form, unit = (".1f", " %") if row.quantity == "accuracy" else (".4f", "")
    ours = with_interval(row.ours, row.low, row.high, form)
    tolerance = "-" if np.isnan(row.tolerance) else f"{row.tolerance:.1f}"
    return row.round, row.quantity, f"{ours}{unit}", f"{row.printed:{form}}{unit}", f"{row.difference:+{form}}", tolerance


judges = Judges("printed", ("run", "task", "quantity", "draw"), ("round", "ours"))


@judges(*(f"P-{name}" for name in PRINTED))
def printed_numbers(claim: Rule, found: Evidence) -> Iterator[Reading]:
    """Difference of each round's accuracy, mean over draws, to the printed one; squared errors beside them."""
    assert claim.printed is not None
    run = PRINTED[claim.printed]
    rows = found.rows[found.rows["run"] == claim.printed]
    if rows.empty and run.task not in found.skipped and claim.printed not in found.skipped:
        found.problems.append(f"{found.path} has no rows of {claim.printed}")
    if rows.empty:
        return
    on = short_title(run.task)
    for condition, quantity, printed in (
        ("accuracy", "accuracy", run.accuracy),
        ("squared_error", "squared error", run.squared_error),
    ):
        for number, expected in enumerate(printed):
            ours = rows[(rows["quantity"] == quantity) & (rows["round"] == number)]
            # Seeds with equal images are one draw; a mean by NumPy is missing where a number is.
            draws = ours.groupby("draw")["ours"].agg(lambda own: own.to_numpy().mean())
            digits = ".1f" if condition == "accuracy" else ".4f"
            what = f"{quantity} of round {number}, ours minus the printed {expected:{digits}}"
            bound = run.tolerance[number] if condition == "accuracy" else None
            yield found.reading(rows, condition, on, what, mean_of(draws - expected, "draws"), bound)


LACKING = "The preset {} has none of the sizes at which the authors printed numbers: use --config preset=workstation."

FIGURE = FigureSpec(
    title="The authors' printed numbers",
    subject="",
    about="Accuracy and squared error of ConvRFM, round by round, beside the numbers that the authors have printed, and their "
    "differences.",
    section=Printed,
    needs=lambda plan: {name: list(files_behind(PRINTED[name].task)) for name in plan.section(Printed).runs},
    inputs=run_inputs(_runs, "metrics", "records"),
    lacking=lambda plan: "" if plan.section(Printed).runs else LACKING.format(plan.settings.config.preset),
    # What the authors printed is of this protocol.
    only=("published",),
    judges=judges,
)


@FIGURE.drawn
def draw_figure(job: Job, skipped: Mapping[str, str]) -> Drawn:
    """Give table, picture and caption; printed runs whose data are not there are SKIPPED with the reason."""
    table = tidy(read_recorded_runs(job.inputs["metrics"]))
    return table, draw(table, skipped), caption(table, skipped)
