"""Beyond the paper: what more images in the AGOP, more training images, and each choice of the protocol are worth."""

from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Annotated, Any, Literal, Self

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from pydantic import Field, model_validator

from convrfm.replication.claims.evidence import counted, with_interval
from convrfm.replication.config.images import check_task
from convrfm.replication.config.models import Model, Positive, each_once
from convrfm.replication.figures import accuracies, style
from convrfm.replication.figures.figure import Drawn, FigureSpec, Plan, Run, read_recorded_runs, run_inputs
from convrfm.replication.record.record import run_name
from convrfm.replication.record.session import Job
from convrfm.replication.runs import Keys, RunKind
from convrfm.replication.runs.fits import JOB, RFMSection, TaskFit
from convrfm.replication.runs.protocols import RFM_CHOICES, chosen

__all__ = [
    "FIGURE", "KINDS", "UNCHANGED", "Beyond", "StudyTask", "agop_curve", "caption", "draw", "draw_figure", "effects",
    "in_words", "size_curve", "tidy", "variants",
]  # fmt: skip


UNCHANGED = "unchanged"
"""Name of the variant that follows its protocol in everything."""


class Change(Model):
    """Choices of a protocol that a fit makes otherwise; fields as in `convrfm.rfm.rounds` and `convrfm.rfm.deep`."""

    selection: Literal["test", "validation"] | None = Field(None, description="what chooses ridge and round")
    agop_samples: Positive | Literal["all"] | None = Field(None, description="training images in the AGOP, or all")
    agop_draw: Literal["first", "random"] | None = Field(None, description="which ones, where they are not all")
    agop_ridge: Literal["selected", "last"] | None = Field(None, description="the predictor whose AGOP is taken")
    metric_power: Annotated[float, Field(gt=0)] | None = Field(None, description="p in M = G^p")
    eigenvalue_fraction: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None, description="share of the largest eigenvalues of the AGOP that is kept"
    )
    solver: Literal["cholesky", "pcg", "nystroem"] | None = Field(None, description="how the ridge regression is solved")
    landmarks: Positive | None = Field(None, description="training images that the solver nystroem takes")
    solver_dtype: Literal["float64", "float32"] | None = Field(None, description="arithmetic of the solver")
    nonlinearity: Literal["relu", "none"] | None = Field(None, description="between the stages of Deep ConvRFM")
    plain_filters: Literal["gaussian", "torch"] | None = Field(None, description="filters of a stage whose round 0 wins")

    @property
    def values(self) -> dict[str, str | int | float]:
        """What is changed, by field."""
        return self.model_dump(exclude_none=True)

    @model_validator(mode="after")
    def _something_changes(self) -> Self:
        if not self.values:
            msg = f"it must change at least one of {', '.join(type(self).model_fields)}"
            raise ValueError(msg)
        return self


def variant_name(changes: dict[str, str | int | float]) -> str:
    """Name of a variant in the names of its runs, such as `metric_power-2`; `unchanged` for none."""
    parts = [f"{key}-{value:g}" if isinstance(value, float) else f"{key}-{value}" for key, value in changes.items()]
    return "+".join(parts) or UNCHANGED


class StudyTask(Model):
    """One local-signal task at one noise level, with the numbers of training images that are compared."""

    task: Literal["bars", "noisy-digits", "noisy-mnist"] = Field(
        description="noisy bars; noisy digits with scikit-learn's embedded digits (a stand-in); or with MNIST"
    )
    sigma: float = Field(1.0, gt=0, description="noise level, as in fig05")
    n_train: Annotated[list[Positive], each_once(str)] = Field(
        min_length=1,
        description="training images; each number takes the first ones of the same draw. Memory grows as 48 bytes times its "
        "square: a fit that does not find that free stops before it starts",
    )
    n_test: Positive = Field(description="test images")
    depth: Positive = Field(3, description="convolutions of the kernels, L")
    patch_size: Positive = Field(3, description="patch size q")
    rfm: RFMSection = Field(default_factory=RFMSection, description="the kernels that learn")

    @model_validator(mode="after")
    def _parts_fit_together(self) -> Self:
        self.rfm.check(self.depth)
        check_task(self.task, max(self.n_train), self.n_test, self.depth, self.patch_size)
        return self


class Choices(Model):
    """Which single choices are changed, on the first task."""

    n_train: Positive = Field(description="training images; one of the numbers of the first task")
    stages: Positive = Field(
        3,
        description="stages of Deep ConvRFM for changes that concern the features between stages, and for both protocols; "
        "other changes have the stages of the task",
    )
    agop_samples: list[Positive] = Field(
        min_length=1, description="numbers of images in the AGOP that are compared; all of them is added"
    )
    changes: Annotated[list[Change], each_once(lambda change: variant_name(change.values))] = Field(
        min_length=1, description="changes to the protocol `published`, each by itself"
    )


class Beyond(Model):
    """Beyond the paper: points of the AGOP, single choices, numbers of training images."""

    in_all: bool = Field(False, description="whether `snakemake` without a target builds it, too")
    seeds: Annotated[list[Annotated[int, Field(ge=0, lt=2**32)]], each_once(lambda seed: run_name({"seed": seed}))] = Field(
        min_length=1, description="seeds of the draws; small differences want more of them than figures do"
    )
    tasks: Annotated[list[StudyTask], each_once(attrgetter("task"))] = Field(
        min_length=1, max_length=3, description="a panel for each task"
    )
    choices: Choices = Field(description="which choices are changed, on the first task")

    @model_validator(mode="after")
    def _choices_are_of_the_first_task(self) -> Self:
        first = self.tasks[0]
        if self.choices.n_train not in first.n_train:
            known = ", ".join(str(n) for n in first.n_train)
            msg = f"choices.n_train must be among tasks.0.n_train, that is {known}, but it is {self.choices.n_train}"
            raise ValueError(msg)
        if max(self.choices.agop_samples) > self.choices.n_train:
            msg = f"choices.agop_samples must be at most choices.n_train, {self.choices.n_train}, but they are "
            msg += ", ".join(str(count) for count in self.choices.agop_samples)
            raise ValueError(msg)
        if self.choices.stages > first.depth:
            msg = f"choices.stages must be at most the depth of {first.task}, {first.depth}, but it is {self.choices.stages}"
            raise ValueError(msg)
        return self


OF_FEATURES = ("nonlinearity", "plain_filters")
"""Changes of the features between stages, which ConvRFM, the first stage, does not see."""


def _choices(plan: Plan) -> Choices:
    return plan.section(Beyond).choices


def _studied(plan: Plan) -> str:
    """The task on which single choices are changed."""
    return next(iter(plan.studies))


def _agop_changes(plan: Plan) -> list[dict[str, Any]]:
    return [{"agop_samples": count} for count in [*_choices(plan).agop_samples, "all"]]


def _single_changes(plan: Plan) -> list[dict[str, Any]]:
    return [change.values for change in _choices(plan).changes]


def _variant(protocol: str, changes: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Name and changes of a variant, without changes to what the protocol does anyway."""
    real = {key: value for key, value in changes.items() if RFM_CHOICES[protocol].get(key) != value}
    return variant_name(real), real


def variants(plan: Plan) -> dict[str, dict[str, Any]]:
    """The changes of every variant, by its name."""
    every = [{}, *_agop_changes(plan), *_single_changes(plan)]
    return dict(_variant(protocol, changes) for protocol in RFM_CHOICES for changes in every)


def _fit(plan: Plan, w: Keys) -> TaskFit:
    study, choices, changes, n_train = plan.studies[w["task"]], _choices(plan), variants(plan)[w["variant"]], int(w["n_train"])
    # Stages are those of the task, or of the choices where these concern the features between stages.
    is_choice = w["task"] == _studied(plan) and n_train == choices.n_train
    wants_all = w["variant"] == UNCHANGED or any(key in OF_FEATURES for key in changes)
    rfm = {**study.rfm.model_dump(), "stages": choices.stages if is_choice and wants_all else study.rfm.stages}
    return TaskFit.of(plan, w, study, n_train=n_train, sigma=float(w["sigma"]), rfm=rfm, changes=changes)


def _draw(plan: Plan, w: Keys) -> list[str]:
    """The draw of which a fit takes the first images: it is as large as the largest of its task."""
    study = plan.studies[w["task"]]
    counts = {"n_train": max(study.n_train), "n_test": study.n_test, "seed": w["seed"]}
    return [plan.run_file("sized-draw", w["protocol"], "arrays", task=w["task"], **counts)]


KINDS = (RunKind("variant", JOB, ("variant", "task", "sigma", "n_train", "seed"), {"draw": _draw}, _fit),)


def _runs(plan: Plan, protocol: str, file: str) -> list[str]:
    """One file of every fit; single choices are changed in `published`, whatever the figure's protocol."""
    studied, n_train, known = _studied(plan), _choices(plan).n_train, plan.ready(plan.studies)
    # Protocol, task, training images and changes of fits that differ in their seeds: first those of the curves.
    cases: list[tuple[str, str, int, dict[str, Any]]]
    cases = [(protocol, name, n, {}) for name in known for n in plan.studies[name].n_train]
    if studied in known:
        changed = [("published", changes) for changes in [{}, *_single_changes(plan)]]
        of_agop = [(protocol, changes) for changes in _agop_changes(plan)]
        cases += [(of, studied, n_train, changes) for of, changes in [*of_agop, *changed, ("corrected", {})]]
    files = [
        plan.run_file(
            "variant", of, file,
            variant=_variant(of, changes)[0], task=task, sigma=plan.studies[task].sigma, n_train=n, seed=seed,
        )
        for of, task, n, changes in cases
        for seed in plan.section(Beyond).seeds
    ]  # fmt: skip
    return list(dict.fromkeys(files))


CORRECTED = "all of the protocol `corrected`"
"""The change of every choice at once, in words."""

FIRST_ROUND = "ConvRFM, round 1"
"""ConvRFM with its metric updated once."""

WORDS = {
    "selection-validation": "ridge and round chosen on a validation split",
    "agop_ridge-selected": "AGOP of the chosen ridge's predictor",
    "agop_draw-random": "AGOP at 20 random images, not the first",
    "agop_samples-all": "AGOP at all training images",
    "metric_power-2": "metric = AGOP squared",
    "metric_power-0.5": "metric = square root of the AGOP",
    "eigenvalue_fraction-0.25": "top quarter of the AGOP's eigenvalues",
    "solver-pcg": "conjugate gradients",
    "solver-nystroem": "Nyström's approximation",
    "solver_dtype-float32": "solver in float32",
    "nonlinearity-none": "linear features between stages",
    "plain_filters-torch": "PyTorch's filters where round 0 wins",
}
"""Changes to the protocol `published` in words, by the name of the variant."""


def in_words(variant: str) -> str:
    """What a variant changes."""
    return WORDS.get(variant, variant.replace("_", " ").replace("-", " = ", 1))


def tidy(runs: Sequence[Run]) -> pd.DataFrame:
    """Bring the runs into one table, a row for each fit and method.

    Returns:
        columns `task`, `stand_in`, `protocol`, `variant` (what the fit changes of its protocol), `sigma`, `n_train`,
        `n_test`, `agop_images` (in the AGOP), `selection` ("test" or "validation"), `seed`, `draw` (hash of
        its images), `method` (CNTK, ConvRFM by its best round or after the first one, or a stage of Deep ConvRFM by itself),
        `accuracy` and `last_accuracy` (fractions of the test images), `chosen` (round), `ridge`.
    """
    rows = []
    for keys, record, metrics in runs:
        settings, rfm = record["settings"], record["rfm"]
        fitted = record["images_fitted"]
        shared = {
            "task": keys["task"], "stand_in": style.is_stand_in(keys["task"]), "protocol": keys["protocol"],
            "variant": keys["variant"], "sigma": settings["sigma"], "n_train": settings["n_train"],
            "n_test": settings["n_test"],
            "agop_images": fitted if rfm["agop_samples"] == "all" else min(rfm["agop_samples"], fitted),
            "selection": rfm["selection"], "seed": settings["seed"], "draw": accuracies.draw_of(record),
        }  # fmt: skip
        parts = accuracies.kernel_parts(metrics)
        # Later rounds can bring different choices to the same metric; the first one tells them apart.
        first = parts["ConvRFM"][parts["ConvRFM"]["round"] == 1]
        parts = {"CNTK": parts.pop("CNTK"), FIRST_ROUND: first, **parts}
        score = f"{rfm['selection']}_accuracy"
        rows += [{**shared, "method": method, **chosen(part, score)} for method, part in parts.items()]
    return pd.DataFrame(rows)


def studied(table: pd.DataFrame, choices: Mapping[str, Any]) -> pd.DataFrame:
    """The rows of the task and the number of training images whose choices are looked at."""
    return table[(table["task"] == choices["task"]) & (table["n_train"] == choices["n_train"])]


def agop_curve(table: pd.DataFrame, choices: Mapping[str, Any], protocol: str) -> pd.DataFrame:
    """Rows of the fits of one protocol that differ in nothing but the number of images in the AGOP."""
    rows = studied(table, choices)
    alike = rows["variant"].str.fullmatch(rf"{UNCHANGED}|agop_samples-[^+]+")
    return _of_whole_curves(rows[(rows["protocol"] == protocol) & alike], "agop_images")


def size_curve(table: pd.DataFrame, task: str, protocol: str) -> pd.DataFrame:
    """Rows of the fits to one task that follow one protocol in everything."""
    rows = table[(table["task"] == task) & (table["protocol"] == protocol) & (table["variant"] == UNCHANGED)]
    return _of_whole_curves(rows, "n_train")


def _of_whole_curves(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    """Rows of the methods that were run for every number; single fits have more stages than others."""
    numbers = rows.groupby("method")[column].nunique()
    return rows[rows["method"].map(numbers) == rows[column].nunique()]


def effects(table: pd.DataFrame, choices: Mapping[str, Any]) -> pd.DataFrame:
    """What each change to `published` does to each method, in points of accuracy, paired by draw.

    Returns:
        columns `change` (in words), `variant`, `method`, `accuracy` (mean, per cent), `mean`, `low`, `high` (of the
        difference to `published`; 95 %), `draws`, `draws_changed` (in how many the accuracy is another). Methods that a
        change was not run for are left out; the CNTK as well where no draw changes it, as it knows no AGOP.
    """
    rows = studied(table, choices)
    published = rows[rows["protocol"] == "published"]
    whole = rows[(rows["protocol"] == "corrected") & (rows["variant"] == UNCHANGED)]
    changed = {name: published[published["variant"] == name] for name in choices["changes"]} | {CORRECTED: whole}
    base = published[published["variant"] == UNCHANGED]
    found = []
    for name, part in changed.items():
        for method in dict.fromkeys(part["method"]):
            both = _of_one_method(method, changed=part, unchanged=base)
            estimate = accuracies.difference(both, "changed", "unchanged")
            changes = np.count_nonzero(accuracies.paired(both, "changed", "unchanged"))
            if estimate is None or (method == "CNTK" and changes == 0):
                continue
            found.append({
                "change": name if name == CORRECTED else in_words(name), "variant": name, "method": method,
                "accuracy": 100 * part.loc[part["method"] == method, "accuracy"].mean(), "mean": 100 * estimate.value,
                "low": 100 * estimate.low, "high": 100 * estimate.high, "draws": estimate.draws, "draws_changed": changes,
            })  # fmt: skip
    return pd.DataFrame(found)


def _of_one_method(method: str, **tables: pd.DataFrame) -> pd.DataFrame:
    """The rows of one method in several tables, as if these were the methods."""
    return pd.concat([rows[rows["method"] == method].assign(method=name) for name, rows in tables.items()])


def draw(table: pd.DataFrame, choices: Mapping[str, Any], protocol: str, skipped: Mapping[str, str]) -> Figure:
    """Draw the figure; tasks that are skipped leave a panel with the reason.

    Choices are `task` and `n_train`, whose choices are looked at, and `changes`, the names of the variants. The protocol is
    that of the curves; single choices are changes to `published` under each.
    """
    has_choices = choices["task"] in set(table["task"])
    methods = list(dict.fromkeys(table["method"]))
    looks = zip(methods, style.palette("colorblind", len(methods)), "os^Dv"[: len(methods)], strict=True)
    marks: dict[str, dict[str, Any]] = {method: {"color": colour, "marker": marker} for method, colour, marker in looks}
    letters = iter(style.LETTERS)
    with style.figure_style():
        figure = Figure(figsize=(7.2, 6.0 if has_choices else 2.8), layout="constrained")
        heights = (1, 1.25) if has_choices else (1,)
        parts = figure.subfigures(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
        panels = parts[0].subplots(1, has_choices + table["task"].nunique() + len(skipped), squeeze=False)[0]
        rest = iter(panels)
        if has_choices:
            axes = next(rest)
            _draw_curves(axes, agop_curve(table, choices, protocol), "agop_images", marks)
            sigma = table.loc[table["task"] == choices["task"], "sigma"].iloc[0]
            heading = rf"{style.short_title(choices['task'])}, $\sigma$ = {sigma:g}, n = {choices['n_train']}"
            axes.set(xlabel="images in the AGOP", title=heading)
        for task in dict.fromkeys(table["task"]):
            axes, rows = next(rest), size_curve(table, task, protocol)
            _draw_curves(axes, rows, "n_train", marks)
            heading = rf"{style.short_title(task)}, $\sigma$ = {rows['sigma'].iloc[0]:g}"
            axes.set(xlabel="training images", title=style.with_stand_ins(heading, [task], separator="\n", width=26))
        for axes in panels[: len(panels) - len(skipped)]:
            style.letter(axes, next(letters))
        for axes, (task, reason) in zip(rest, skipped.items(), strict=True):
            style.write_reason(axes, style.short_title(task), reason)
        panels[0].set_ylabel("test accuracy (%)")
        # One for all panels: some of them lack methods that others have.
        handles = [Line2D([], [], label=method, **mark) for method, mark in marks.items()]
        parts[0].legend(handles=handles, loc="outside lower center", ncols=len(handles), title="mean, 95 % interval over draws")
        for part in parts[1:]:
            axes = part.subplots()
            _draw_effects(axes, effects(table, choices), marks)
            style.letter(axes, next(letters), offset=-0.02)
    return figure


def _draw_curves(axes: Axes, table: pd.DataFrame, column: str, marks: Mapping[str, dict[str, Any]]) -> None:
    """Mean and interval of each method against a number of images, on a logarithmic scale."""
    for method, rows in table.groupby("method", sort=False):
        by_number = {number: 100 * np.array(accuracies.accuracy_of(part)[:3]) for number, part in rows.groupby(column)}
        summary = pd.DataFrame(by_number, index=["mean", "low", "high"]).T
        axes.plot(summary.index, summary["mean"], label=method, zorder=3, **marks[method])
        colour = marks[method]["color"]
        axes.fill_between(summary.index, summary["low"], summary["high"], color=colour, alpha=0.13, linewidth=0)
    numbers = sorted(table[column].unique())
    axes.set_xscale("log")
    axes.set_xticks(numbers, [f"{number:g}" for number in numbers])
    axes.minorticks_off()
    bottom, top = axes.get_ylim()
    axes.set_ylim(max(0, bottom), min(101, top))
    axes.grid(axis="y")


def _draw_effects(axes: Axes, found: pd.DataFrame, marks: Mapping[str, dict[str, Any]]) -> None:
    """A row for each change, a dot with its interval for each method."""
    changes = list(dict.fromkeys(found["change"]))
    methods = [method for method in marks if method in set(found["method"])]
    # A single wide interval would leave no room for the others: it is cut, and ends in an arrow.
    reach = 1.1 * max(found["mean"].abs().max() + 1, np.nanquantile(found[["mean", "low", "high"]].abs(), 0.9))
    for index, method in enumerate(methods):
        rows = found[found["method"] == method]
        heights = rows["change"].map(changes.index) + 0.17 * (index - (len(methods) - 1) / 2)
        colour = marks[method]["color"]
        axes.hlines(heights, rows["low"], rows["high"], color=colour, linewidth=1.1)
        axes.plot(rows["mean"], heights, linestyle="none", label=method, markersize=4, **marks[method])
        for side, ends, arrow in ((-1, rows["low"], "<"), (1, rows["high"], ">")):
            cut = side * ends > reach
            axes.plot([side * reach] * cut.sum(), heights[cut], arrow, color=colour, markersize=4, clip_on=False)
    axes.axvline(0, color="0.4", linewidth=0.8, zorder=0)
    axes.set_yticks(range(len(changes)), [change.replace("`", "") for change in changes])
    axes.grid(axis="y", alpha=0.5)
    xlabel = "points of test accuracy against the protocol published, mean and 95 % interval over draws"
    axes.set(xlim=(-reach, reach), ylim=(len(changes) - 0.4, -0.6), xlabel=xlabel)


def caption(table: pd.DataFrame, choices: Mapping[str, Any], protocol: str, skipped: Mapping[str, str]) -> str:
    """Write the caption in Markdown; every number in it is computed from the table. Arguments as for `draw`."""
    draws = table.groupby(["protocol", "task"])["draw"].nunique().max()
    tasks = list(dict.fromkeys(table["task"]))
    opening = (
        f"**Beyond the paper** (curves: protocol {protocol}, ridge and round chosen {accuracies.how_chosen(protocol)}). CNTK "
        "is the kernel without feature learning, ConvRFM its best round from round 1 on, and beside it round 1 alone; each "
        f"stage of Deep ConvRFM is by itself. {counted(draws, 'draw')}; intervals are 95 %, Student's; differences are paired "
        "by draw."
    )
    lines = [opening]
    letters = iter(style.LETTERS)
    if choices["task"] in tasks:
        lines += ["", *_of_agop(next(letters), agop_curve(table, choices, protocol), choices)]
    for task in tasks:
        lines += ["", *_of_sizes(next(letters), size_curve(table, task, protocol), task)]
    if choices["task"] in tasks:
        lines += ["", *_of_choices(next(letters), table, choices)]
    return "\n".join([*lines, *style.skipped_lines(skipped, style.short_title)]) + "\n"


def _of_agop(name: str, curve: pd.DataFrame, choices: Mapping[str, Any]) -> list[str]:
    """Accuracy by images in the AGOP, and what each number gains or loses against all of them."""
    methods = [method for method in dict.fromkeys(curve["method"]) if method != "CNTK"]
    most = curve["agop_images"].max()
    opening = (
        f"**{name}**, {style.in_sentence(choices['task'])}, {choices['n_train']} training images: accuracy against the number "
        "of images in the AGOP, and difference to all of them. The authors' code takes the first 20."
    )
    rows = []
    full = curve[curve["agop_images"] == most]
    for number, part in curve.groupby("agop_images"):
        cells = [str(number)]
        for method in methods:
            cells.append(_accuracy(part, method))
            both = _of_one_method(method, some=part, every=full)
            cells.append("-" if number == most else accuracies.estimate_cell(accuracies.difference(both, "some", "every")))
        rows.append(cells)
    header = ["images", *(title for method in methods for title in (method, f"against {most}"))]
    return [opening, "", *style.markdown_table(header, rows)]


def _of_sizes(name: str, curve: pd.DataFrame, task: str) -> list[str]:
    """Accuracy by training images, and what each method gains over the one before it."""
    first = curve.iloc[0]
    deep = [method for method in dict.fromkeys(curve["method"]) if method.startswith("Deep")]
    opening = (
        f"**{name}, {style.short_title(task)}**{style.reservation(task)}, sigma = {first['sigma']:g}: accuracy against the "
        f"number of training images; {first['n_test']} test images, the same for all."
    )
    header = ["training images", "CNTK", "ConvRFM", "ConvRFM over CNTK", *(f"{method}, over ConvRFM" for method in deep)]
    rows = []
    for number, part in curve.groupby("n_train"):
        cells = [
            _accuracy(part, "CNTK"),
            _accuracy(part, "ConvRFM"),
            accuracies.estimate_cell(accuracies.difference(part, "ConvRFM", "CNTK")),
        ]
        cells += [accuracies.estimate_cell(accuracies.difference(part, method, "ConvRFM")) for method in deep]
        rows.append([number, *cells])
    return [opening, "", *style.markdown_table(header, rows)]


def _accuracy(table: pd.DataFrame, method: str) -> str:
    rows = table[table["method"] == method]
    if rows.empty:
        return "-"
    value, low, high, *_ = accuracies.accuracy_of(rows)
    return with_interval(100 * value, 100 * low, 100 * high, ".1f")


def _of_choices(name: str, table: pd.DataFrame, choices: Mapping[str, Any]) -> list[str]:
    """The ablation as a table: a row for each change, a column for each method."""
    found = effects(table, choices)
    methods = [method for method in dict.fromkeys(table["method"]) if method in set(found["method"])]
    cells = {
        (row.change, row.method): with_interval(row.mean, row.low, row.high, "+.1f")
        if row.draws_changed
        else "no change in any draw"
        for row in found.itertuples()
    }
    opening = (
        f"**{name}, single choices**, {style.in_sentence(choices['task'])}, {choices['n_train']} training images: one change "
        "at a time to the protocol `published`, and `corrected` as a whole. Points of accuracy gained, each method chosen as "
        "the change says; a dash where a method was not run, or does not depend on the change."
    )
    rows = ([change, *(cells.get((change, method), "-") for method in methods)] for change in dict.fromkeys(found["change"]))
    return [opening, "", *style.markdown_table(["change", *methods], rows), "", _verdict(found)]


def _verdict(found: pd.DataFrame) -> str:
    """How many effects are clear, and how many would be by chance."""
    tried = found[(found["draws_changed"] > 0) & found["low"].notna()]
    clear = tried[(tried["low"] > 0) | (tried["high"] < 0)]
    named = ", ".join(f"{row.change} ({row.method}, {row.mean:+.1f})" for row in clear.itertuples())
    sentence = f"Of {len(tried)} differences, {len(clear)} exclude 0 by their interval"
    sentence += f": {named}." if named else "."
    return f"{sentence} Chance alone would make {0.05 * len(tried):.1f} of them do so."


FIGURE = FigureSpec(
    title="Beyond the paper",
    subject="",
    about="Accuracy of ConvRFM against the number of images in the AGOP and against the number of training images, and what "
    "each choice of the protocol is worth by itself.",
    section=Beyond,
    needs=lambda plan: plan.needs(plan.studies),
    inputs=run_inputs(_runs, "metrics", "records"),
    seen=lambda plan, _: {
        "choices": {
            "task": _studied(plan),
            "n_train": _choices(plan).n_train,
            "changes": [_variant("published", changes)[0] for changes in _single_changes(plan)],
        }
    },
    asked=lambda plan: plan.section(Beyond).in_all,
)


@FIGURE.drawn
def draw_figure(job: Job, skipped: Mapping[str, str]) -> Drawn:
    """Give table, picture and caption; tasks whose data are not there are SKIPPED with the reason."""
    table = tidy(read_recorded_runs(job.inputs["metrics"]))
    shown = job.settings["choices"], job.settings["protocol"], skipped
    return table, draw(table, *shown), caption(table, *shown)
