"""Figure 6: the methods over many data sets, and accuracy against the number of layers that learn features."""

import math
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from operator import attrgetter
from typing import Annotated, Any, Literal, Self

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pydantic import Field, model_validator

from convrfm.datasets.registry import IMAGE_SETS, PAIRED_CLASSES, class_pairs
from convrfm.replication.claims.evidence import Condition, Evidence, Judges, Number, Reading, Rule, spoken_of
from convrfm.replication.config.images import check_classes, check_counts, check_patches
from convrfm.replication.config.models import Model, Positive, each_once, one_of
from convrfm.replication.figures import accuracies, style
from convrfm.replication.figures.figure import Drawn, FigureSpec, Plan, Run, read_runs, run_inputs
from convrfm.replication.record.session import Job
from convrfm.replication.runs.fits import RFMSection
from convrfm.replication.runs.protocols import selection_score

__all__ = ["FIGURE", "Fig06", "ImageTask", "PairTask", "caption", "counts_of", "draw", "draw_figure", "runs_of", "tidy"]


DATASETS = tuple(entry.name for entry in IMAGE_SETS if entry.obtained != "generated")


class ImageNetwork(Model):
    """The plain convolutional network on a data set."""

    width: Positive = Field(64, description="filters of each convolution")
    batch_size: Positive = Field(128, description="images per step")
    optimizer: Literal["adam", "sgd"] = Field("adam", description="how it is trained")
    learning_rate: float = Field(5e-4, gt=0, description="step size")
    epochs: Positive = Field(500, description="passes over the training images; 500 in the paper")


class ImageTask(Model):
    """One data set with its kernels and its network."""

    dataset: Annotated[str, one_of(DATASETS)] = Field(
        description="which one of docs/datasets.md; digits are scikit-learn's, a stand-in"
    )
    n_train: Positive = Field(description="training images; the paper's number is lost")
    n_test: Positive = Field(description="test images")
    size: Positive | None = Field(32, description="pixels of each side; null keeps the size")
    colour: Literal["native", "grey", "rgb", "grey-rgb"] = Field(
        "native", description="rgb where some images are grey; grey-rgb: luma in three channels"
    )
    depth: Positive = Field(3, description="convolutions of kernels and network, L")
    patch_size: Positive = Field(3, description="patch size q")
    seeds: Positive = Field(
        3, description="how many of the seeds are run, the first ones of the list; one where the protocol fixes the images"
    )
    rfm: RFMSection = Field(default_factory=RFMSection, description="the kernels that learn")
    cnn: ImageNetwork = Field(default_factory=ImageNetwork, description="the network to compare with")

    @property
    def class_sets(self) -> list[str]:
        """What `prepare` chooses of the classes: all."""
        return ["all"]

    @model_validator(mode="after")
    def _parts_fit_together(self) -> Self:
        self.rfm.check(self.depth)
        check_patches(self.depth, self.patch_size, self.size, self.dataset)
        check_counts(self.dataset, self.n_train, self.n_test)
        return self


class PairTask(ImageTask):
    """Pairs of classes of one data set, each a binary task of its own."""

    first_classes: Annotated[int, Field(ge=2)] = Field(
        PAIRED_CLASSES, description="all pairs among the first so many classes; 20 give 190 pairs"
    )
    only: list[Annotated[str, Field(pattern=r"^\d+-\d+$")]] = Field(
        default=[], description="some of these pairs, such as 3-8; all without any"
    )

    @property
    def class_sets(self) -> list[str]:
        """The pairs, as `prepare` writes them: "0-1" and so on."""
        return self.only or [f"{first}-{second}" for first, second in class_pairs(self.first_classes)]

    @model_validator(mode="after")
    def _pairs_are_among_the_first_classes(self) -> Self:
        check_classes("first_classes", self.first_classes, self.dataset)
        known = {f"{first}-{second}" for first, second in class_pairs(self.first_classes)}
        wrong = [pair for pair in self.only if pair not in known]
        if wrong or len(set(self.only)) < len(self.only):
            msg = (
                f"only must name pairs a-b with a < b < first_classes, {self.first_classes}, each once, but it is "
                f"{', '.join(self.only)}"
            )
            raise ValueError(msg)
        return self


class Fig06(Model):
    """Figure 6, the methods over many data sets, and accuracy against the number of layers that learn features."""

    datasets: Annotated[list[ImageTask], each_once(attrgetter("dataset"))] = Field(
        min_length=1, description="data sets of panel A"
    )
    layers: list[str] = Field(default=[], description="those of them that panel B shows as well")
    sigma: float = Field(
        1.0, ge=0, description="tasks of fig05.panels that have this noise level are shown too, in both panels, at that level"
    )
    pairs: Annotated[list[PairTask], each_once(attrgetter("dataset"))] = Field(
        default=[], description="data sets whose pairs of classes make a table of their own"
    )

    @model_validator(mode="after")
    def _layers_are_shown(self) -> Self:
        known = [task.dataset for task in self.datasets]
        for name in self.layers:
            if name not in known:
                msg = f"layers must be among datasets, that is {', '.join(known)}, but there is {name!r}"
                raise ValueError(msg)
        return self


def _local(plan: Plan) -> list[str]:
    """The local-signal tasks that Figure 6 shares with Figure 5."""
    sigma = plan.section(Fig06).sigma
    return [task for task, panel in plan.panels.items() if sigma in panel.sigmas]


def runs_of(plan: Plan, protocol: str, file: str, tasks: "Mapping[str, ImageTask]") -> list[str]:
    """One file of every fit and training on data sets, or on pairs of their classes."""
    kinds = ("image-rfm", "image-cnn")
    return [plan.run_file(kind, protocol, file, **keys) for kind in kinds for keys in _draws(plan, protocol, tasks)]


def counts_of(plan: Plan, protocol: str, tasks: "Mapping[str, ImageTask]") -> list[str]:
    """The files that count the images of each class."""
    draws = _draws(plan, protocol, tasks)
    return [path for keys in draws for path in plan.task_images({**keys, "protocol": protocol}, "metrics")]


def _draws(plan: Plan, protocol: str, tasks: "Mapping[str, ImageTask]") -> list[dict[str, str]]:
    """Data set, classes and seed of all images that are drawn."""
    return [
        {"dataset": name, "classes": classes, "seed": str(seed)}
        for name in plan.ready(tasks)
        for classes in tasks[name].class_sets
        for seed in plan.image_seeds(name, protocol, tasks[name].seeds)
    ]


def _runs(plan: Plan, protocol: str, file: str) -> list[str]:
    """One file of every fit and training; those of the local-signal tasks are Figure 5's."""
    sigma, local = plan.section(Fig06).sigma, plan.ready(_local(plan))
    fits = [plan.run_file("rfm", protocol, file, task=name, sigma=sigma, seed=seed) for name in local for seed in plan.seeds]
    trainings = [
        plan.run_file("cnn", protocol, file, task=name, sigma=sigma, optimizer="adam", seed=seed)
        for name in local
        for seed in plan.seeds[: plan.panels[name].cnn.seeds]
    ]
    return runs_of(plan, protocol, file, plan.images) + fits + trainings


def tidy(runs: Sequence[accuracies.ScoredRun], counts: Sequence[Run]) -> pd.DataFrame:
    """Bring fits and trainings into one table, with the accuracy of each method and what it gains, for each task.

    Compared are each method with CNTK, and each number of layers with the one before. Of pairs, those draws are compared whose
    training images hold both classes: `counts`, the preparations of images, say so. Local-signal tasks have none.

    Returns:
        columns `task`, `classes` ("all", or a pair such as "0-1"), `stand_in`, `protocol`, `sigma` (NaN where there is none),
        `n_train`, `n_test`; `quantity`, `method` (one of `METHODS`, or ConvRFM in several layers), `against`, `value`,
        `low`, `high`, `over`, `draws`, `images`, see `convrfm.replication.figures.accuracies.with_estimates`; `layers` of the
        method that have learned features (0: CNTK, 1: ConvRFM, m: stage m - 1; NaN for the others); and of single runs `stage`
        (NaN for networks), `seed`, `draw` (hash of its images), `last_accuracy`, `chosen` (round or epoch), `ridge`,
        `train_classes` and `unseen_classes`: how many classes the training images hold, and how many of those tested they lack.
    """
    seen = {_identity(keys): _classes(sizes) for keys, _, sizes in counts}
    rows: list[dict[str, Any]] = []
    for run in runs:
        keys, settings = run.keys, run.settings
        task, classes, seed = _identity(keys)
        shared = {
            "task": task, "classes": classes, "stand_in": style.is_stand_in(task), "protocol": keys["protocol"], "seed": seed,
            "draw": run.draw, "sigma": float(keys.get("sigma", "nan")), "n_train": settings["n_train"],
            "n_test": settings["n_test"],
            **seen.get((task, classes, seed), {"train_classes": np.nan, "unseen_classes": np.nan}),
        }  # fmt: skip
        if keys["experiment"].endswith("cnn"):
            rows.append({**shared, "method": "CNN", "stage": np.nan, **accuracies.network_row(run)})
        else:
            rows += [{**shared, **row} for row in _kernel_rows(run)]
    table = pd.DataFrame(rows)
    tasks = list(dict.fromkeys(table["task"]))
    place = table["method"].map({name: index for index, name in enumerate(accuracies.METHODS)}).fillna(2.5)
    places = table[["classes", "stage", "seed"]].assign(task=table["task"].map(tasks.index), method=place)
    table = table.loc[places.sort_values(["task", "classes", "method", "stage", "seed"]).index]
    table = accuracies.with_estimates(
        table, ["task", "classes"], _pairs, (table["classes"] == "all") | (table["train_classes"] == 2)
    )
    layers = {accuracies.layer_name(number): float(number) for number in range(1 + len(set(table["method"])))}
    return table.assign(layers=table["method"].map(layers))


def _pairs(methods: Iterable[str]) -> list[tuple[str, str]]:
    there = list(methods)
    steps = [(accuracies.layer_name(number + 1), accuracies.layer_name(number)) for number in range(len(there))]
    return list(dict.fromkeys([*accuracies.over_cntk(there), *(step for step in steps if set(step) <= set(there))]))


def _identity(keys: Mapping[str, str]) -> tuple[str, str, int]:
    return keys.get("dataset") or keys["task"], keys.get("classes", "all"), int(keys["seed"])


def _classes(sizes: pd.DataFrame) -> dict[str, float]:
    parts = {name: set(part["label"]) for name, part in sizes.groupby("split")}
    train = parts.get("train", set())
    return {"train_classes": len(train), "unseen_classes": len(parts.get("test", set()) - train)}


def _kernel_rows(run: accuracies.ScoredRun) -> list[dict[str, Any]]:
    """CNTK, ConvRFM, more layers that learn, and the best stage of Deep ConvRFM."""
    rows, score = accuracies.kernel_rows(run, accuracies.layer_parts), selection_score(run.keys["protocol"])
    later = run.metrics[run.metrics["stage"] > 0]
    if len(later):
        stage = int(later.loc[later[score].idxmax(), "stage"])
        rows += [{**row, "method": "Deep ConvRFM"} for row in accuracies.kernel_rows(run) if row["stage"] == stage]
    return rows


def draw(table: pd.DataFrame, layers: Iterable[str], skipped: Mapping[str, str]) -> Figure:
    """Draw the figure from the table of one protocol; tasks that are skipped have a row with the reason.

    Panel B has the tasks among `layers` that are there.
    """
    tasks = list(dict.fromkeys(table["task"]))
    shown = [task for task in dict.fromkeys(layers) if task in tasks]
    estimates = table[table["quantity"] != "run"]
    with style.figure_style():
        figure = Figure(figsize=(7.2, max(5.0, 0.36 * (len(tasks) + len(skipped)) + 2.2)), layout="constrained")
        left, right = figure.subfigures(1, 2, width_ratios=(1.55, 1))  # type: ignore[misc]
        scores, gains = left.subplots(1, 2, sharey=True, width_ratios=(1, 1))
        _draw_tasks(scores, gains, estimates, tasks, skipped)
        style.letter(scores, "A", offset=-0.3)
        curves, steps = right.subplots(2, 1, sharex=True, height_ratios=(1.3, 1))
        _draw_layers(curves, steps, estimates, shown)
        style.letter(curves, "B", offset=-0.2)
        handles = [*scores.get_legend_handles_labels()[0], *accuracies.interval_handles(estimates["over"])]
        left.legend(handles=handles, loc="outside upper center", ncols=2, columnspacing=1, handletextpad=0.3)
        if note := style.starred_note(tasks):
            figure.supxlabel(note, fontsize=7)
    return figure


def _draw_tasks(scores: Axes, gains: Axes, estimates: pd.DataFrame, tasks: list[str], skipped: Mapping[str, str]) -> None:
    """Panel A: a row for each task, a mark for each method, and beside it what each gains over CNTK."""
    marks = accuracies.method_marks()
    for place, method in enumerate(accuracies.METHODS):
        colour, marker = marks[method]
        for axes, against in ((scores, ""), (gains, "CNTK")):
            rows = estimates[(estimates["method"] == method) & (estimates["against"] == against)]
            heights = [tasks.index(task) + 0.16 * (place - 1.5) for task in rows["task"]]
            accuracies.draw_estimates(axes, heights, rows, colour=colour, marker=marker, label=method, horizontal=True)
    for row, reason in enumerate(skipped.values(), start=len(tasks)):
        lines = textwrap.wrap(f"SKIPPED: {reason}", 26, max_lines=2, placeholder=" ...")
        text = "\n".join(lines).replace("$", r"\$")
        note = scores.text(0.02, row, text, transform=scores.get_yaxis_transform(), fontsize=6.5, va="center")
        note.set_in_layout(False)
    names = [_row_label(estimates, task) for task in tasks] + [style.short_title(task) for task in skipped]
    scores.set_yticks(range(len(names)), names)
    left, right = scores.get_xlim()
    scores.set(ylim=(len(names) - 0.5, -0.5), xlim=(max(0, left), min(101, right)), xlabel="test accuracy (%)")
    gains.axvline(0, color="0.4", linewidth=0.8, zorder=1)
    gains.tick_params(axis="y", length=0)
    gains.set_xlabel("points gained over CNTK")
    for axes in (scores, gains):
        axes.grid(axis="x")


def _row_label(table: pd.DataFrame, task: str) -> str:
    rows = table[table["task"] == task]
    sigma = rows["sigma"].iloc[0]
    level = "" if np.isnan(sigma) else rf", $\sigma$ = {sigma:g}"
    return f"{style.short_title(task)}{level}{style.star(task)}\nn = {rows['n_train'].iloc[0]}"


def _draw_layers(curves: Axes, steps: Axes, estimates: pd.DataFrame, shown: list[str]) -> None:
    """Panel B: a curve for each task, and below it the step from each number of layers to the next."""
    colours = style.palette("Dark2", max(len(shown), 1))
    for place, (colour, marker, task) in enumerate(zip(colours, "osD^vPX*<>" * len(shown), shown, strict=False)):
        rows = estimates[(estimates["task"] == task) & estimates["layers"].notna()].sort_values("layers")
        shift = 0.06 * (place - (len(shown) - 1) / 2)
        before = [accuracies.layer_name(int(number) - 1) if number else "" for number in rows["layers"]]
        for axes, part, line in (
            (curves, rows[rows["quantity"] == "accuracy"], "-"),
            (steps, rows[(rows["quantity"] == "difference") & (rows["against"] == before)], "none"),
        ):
            places = (part["layers"] + shift).tolist()
            label = style.short_title(task) + style.star(task)
            accuracies.draw_estimates(axes, places, part, colour=colour, marker=marker, label=label, line=line)
    most = int(estimates.loc[estimates["task"].isin(shown), "layers"].max()) if shown else 0
    bottom, top = curves.get_ylim()
    curves.set(ylabel="test accuracy (%)", ylim=(max(0, bottom), min(101, top)))
    steps.axhline(0, color="0.4", linewidth=0.8, zorder=1)
    xlabel = "layers that learn features\n(0: CNTK, 1: ConvRFM, then Deep)"
    steps.set(xticks=range(most + 1), xlabel=xlabel, ylabel="points gained over\none layer less")
    for axes in (curves, steps):
        axes.grid(axis="y")
    if shown:
        curves.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, columnspacing=1, handletextpad=0.4)


def caption(table: pd.DataFrame, layers: Iterable[str], skipped: Mapping[str, str]) -> str:
    """Write the caption in Markdown; every number in it is computed from the table. Arguments as for `draw`."""
    protocol = table["protocol"].iloc[0]
    tasks = list(dict.fromkeys(table["task"]))
    gains = table[(table["quantity"] == "difference") & (table["against"] == "CNTK") & table["method"].isin(accuracies.METHODS)]
    cntk = table[(table["quantity"] == "accuracy") & (table["method"] == "CNTK")]
    opening = (
        f"**Figure 6, many data sets** (protocol: {protocol}). **A**: test accuracy of CNTK, the kernel without feature "
        "learning; ConvRFM, its best round from round 1 on; Deep ConvRFM, the best of its stages from stage 1 on; and the "
        f"network at its best epoch; beside it, what each gains over CNTK, paired by draw. Ridge, round, stage and epoch are "
        f"chosen {accuracies.how_chosen(protocol)}. Intervals: {accuracies.in_words(table['over'], 'open marks')}."
    )
    # As first images of data that lie class by class do.
    unseen = table.groupby("task", sort=False)["unseen_classes"].max()
    lacking = [
        f"\nThe training images of {style.title(task)} lack {missing:.0f} of the classes that are tested."
        for task, missing in unseen[unseen > 0].items()
    ]
    lines = [
        opening,
        *style.starred_reservation(tasks),
        "",
        f"Points gained over CNTK, mean and interval ({accuracies.in_words([*gains['over'], *cntk['over']])}), paired by draw:",
        "",
        *style.markdown_table(
            ["task", "training / test images", *accuracies.METHODS], (_gains_of(table[table["task"] == task]) for task in tasks)
        ),
        *lacking,
        *_of_layers(table, [task for task in dict.fromkeys(layers) if task in tasks]),
    ]
    return "\n".join([*lines, *style.skipped_lines(skipped, style.title)]) + "\n"


def _gains_of(rows: pd.DataFrame) -> list[str]:
    first = rows.iloc[0]
    level = "" if np.isnan(first["sigma"]) else f", sigma = {first['sigma']:g}"
    cells = [f"{style.title(first['task'])}{level}", f"{first['n_train']} / {first['n_test']}"]
    gained = [accuracies.cell_in(rows, method, "CNTK") for method in accuracies.METHODS[1:]]
    return [*cells, accuracies.cell_in(rows, "CNTK"), *gained]


def _of_layers(table: pd.DataFrame, shown: list[str]) -> list[str]:
    if not shown:
        return []
    rows = table[(table["quantity"] == "accuracy") & table["layers"].notna()]
    means = {task: part.set_index("layers")["value"] for task, part in rows.groupby("task", sort=False) if task in shown}
    most = max(int(found.index.max()) for found in means.values())
    opening = (
        "**B**: accuracy against the number of layers that learn features, each number by itself: 0 is CNTK, 1 ConvRFM, "
        "m stage m - 1 of Deep ConvRFM from round 1 on; below it, what each number of layers gains over the one before. Mean "
        "over draws:"
    )
    rows_of_table = []
    for task, found in means.items():
        cells = [f"{100 * found[number]:.1f} %" if number in found.index else "-" for number in range(most + 1)]
        rows_of_table.append([style.title(task), *cells, "yes" if found.is_monotonic_increasing else "no"])
    return ["", opening, "", *style.markdown_table(["task", *range(most + 1), "non-decreasing"], rows_of_table)]


judges = Judges("fig06", accuracies.ACCURACY_WORDS, (*accuracies.ACCURACY_NUMBERS, "layers", "unseen_classes"), ("stand_in",))

LEARNERS = ("ConvRFM", "Deep ConvRFM")


@judges("A12")
def across_data_sets(claim: Rule, found: Evidence) -> Iterator[Reading]:
    """Shares of data sets on which methods that learn features exceed CNTK.

    Tasks with noise belong to Figure 5, and where training images lack classes that are tested nothing is compared.
    """
    images = found.rows[found.rows["sigma"].isna()]
    for stand_in, rows in images.groupby("stand_in"):
        unseen = rows.groupby("task")["unseen_classes"].max() > 0
        tasks = [task for task in dict.fromkeys(rows["task"]) if not unseen[task]]
        lacking = [style.short_title(task) for task in unseen.index[unseen]]
        gains = {
            task: {m: accuracies.gain(rows[rows["task"] == task], m, "CNTK") for m in (*LEARNERS, "CNN")} for task in tasks
        }
        kinds = sorted({number.over for of in gains.values() for number in of.values()} - {accuracies.NONE})
        by = f", by intervals over {' or '.join(kinds)}" if kinds else ""
        on = f"{len(tasks)} data set{'s' * (len(tasks) != 1)}" + " (stand-ins)" * bool(stand_in)
        few = f"{len(tasks)} of at least {claim.fewest} data sets" if len(tasks) < claim.fewest else ""
        if few and lacking:
            few += f", without {', '.join(lacking)}, whose training images lack classes that are tested"
        for method in LEARNERS:
            number = _share([gains[task][method] for task in tasks], claim.conditions["tasks"])
            what = f"share on which {method} exceeds CNTK{by}"
            yield found.reading(rows, "tasks", on, what, number._replace(gap=few or number.gap))
        of_cnn = {task: gains[task]["CNN"].interval for task in tasks}
        of_network = [task for task, interval in of_cnn.items() if interval is not None and interval[0] > 0]
        compared = [gains[task][method] for task in of_network for method in LEARNERS]
        number = _share(compared, claim.conditions["where_networks_gain"])
        unknown = [task for task, interval in of_cnn.items() if interval is None]
        gap = number.gap
        if unknown:
            gap = f"whether the network exceeds CNTK is not known on {', '.join(map(style.short_title, unknown))}"
        elif not of_network:
            gap = "the network exceeds CNTK by its interval on none"
        what = f"share of comparisons that hold where the network exceeds CNTK{by}"
        yield found.reading(rows, "where_networks_gain", on, what, number._replace(gap=few or gap))


def _share(gains: Sequence[Number], condition: Condition) -> Number:
    """The share of gains that are clear; it does not fail where those that are unclear could bring it to the bound."""
    intervals = [number.interval for number in gains if number.interval is not None]
    if len(intervals) < len(gains):
        return Number(math.nan, None, "a data set has a single draw, or accuracies are missing")
    if not intervals:
        return Number(math.nan, None, "there is nothing to compare")
    low, high = np.array(intervals).T
    possible = float(np.mean(high > 0))
    enough = isinstance(condition.bound, float) and possible >= condition.bound
    unclear = f"those whose intervals contain 0 could bring it to {possible:.3g}" if enough else ""
    return Number(float(np.mean(low > 0)), unclear=unclear)


@judges("A13")
def number_of_layers(claim: Rule, found: Evidence) -> Iterator[Reading]:
    """The smallest step of the mean accuracy from one number of feature-learning layers to the next."""
    rows = spoken_of(claim, found.rows, "task")
    for task, part in rows[rows["layers"].notna()].groupby("task", sort=False):
        numbers = sorted(int(layers) for layers in set(part["layers"]))
        if len(numbers) < 3:
            what = "smallest step from one number of layers to the next"
            number = Number(math.nan, None, "there is no stage of Deep ConvRFM")
        else:
            steps = {
                (a, b): accuracies.gain(part, accuracies.layer_name(b), accuracies.layer_name(a)) for a, b in pairwise(numbers)
            }
            # A step that is not known comes first, as nothing can be said without it.
            (a, b), number = min(steps.items(), key=lambda step: (math.isfinite(step[1].value), step[1].value))
            what = f"smallest step, from {a} to {b} layer{'s' * (b > 1)} that learn{'s' * (b == 1)}"
        yield found.reading(part, "step", style.short_title(str(task)), what, number)


FIGURE = FigureSpec(
    title="Figure 6",
    subject="many data sets",
    about="Test accuracy of the plain convolutional kernel (CNTK), ConvRFM, the best stage of Deep ConvRFM and finite networks "
    "over many data sets, and accuracy against the number of layers that learn features.",
    section=Fig06,
    needs=lambda plan: plan.needs([*plan.images, *_local(plan)]),
    inputs={
        **run_inputs(_runs, "metrics", "records", "arrays"),
        "counts": lambda plan, protocol: counts_of(plan, protocol, plan.images),
    },
    seen=lambda plan, _: {"layers": [*plan.section(Fig06).layers, *_local(plan)]},
    judges=judges,
)


@FIGURE.drawn
def draw_figure(job: Job, skipped: Mapping[str, str]) -> Drawn:
    """Give table, picture and caption; data sets that are not there are SKIPPED with the reason."""
    table = tidy(accuracies.read_scored_runs(job.inputs["metrics"]), read_runs(job.inputs["counts"]))
    layers = job.settings["layers"]
    return table, draw(table, layers, skipped), caption(table, layers, skipped)
