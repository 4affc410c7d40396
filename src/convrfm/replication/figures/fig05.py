"""Figure 5, local signal adaptivity: accuracy against noise, and how the learned metric dims the background."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Annotated, Any, Literal, Self

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pydantic import Field, field_validator, model_validator

from convrfm.datasets.local_signal import TASKS, LocalSignalDraw
from convrfm.pictures.filtering import patch_magnitude
from convrfm.replication.claims.evidence import Evidence, Judges, Number, Reading, Rule, spoken_of
from convrfm.replication.config.images import check_task
from convrfm.replication.config.models import Model, Positive, each_once
from convrfm.replication.figures import accuracies, style
from convrfm.replication.figures.figure import Drawn, FigureSpec, Plan, run_inputs, runs_with
from convrfm.replication.record.record import RUN_FILES, read_record, run_name
from convrfm.replication.record.session import Job
from convrfm.replication.runs.fits import RFMSection
from convrfm.system.storage import load_arrays

__all__ = ["FIGURE", "Fig05", "LocalSignalPanel", "caption", "contrast", "draw", "draw_figure", "examples", "tidy"]


class OptimizerSettings(Model):
    """One optimizer of a network."""

    learning_rate: float = Field(gt=0, description="step size")
    epochs: Positive = Field(description="passes over the training images")
    seeds_in_most_noise: Positive | None = Field(
        None, description="how many of the seeds train at the highest noise level, where claims are decided; null: `seeds`"
    )


class CNNSettings(Model):
    """The plain convolutional network, trained with each optimizer."""

    width: Positive = Field(64, description="filters of each convolution")
    batch_size: Positive = Field(128, description="images per step")
    seeds: Positive = Field(description="how many of the seeds train networks; the first ones of the list")
    adam: OptimizerSettings = Field(description="settings of Adam")
    sgd: OptimizerSettings = Field(description="settings of plain SGD; the paper's values are lost")

    @model_validator(mode="after")
    def _most_noise_has_no_fewer_seeds(self) -> Self:
        for name in ("adam", "sgd"):
            more = getattr(self, name).seeds_in_most_noise
            if more is not None and more < self.seeds:
                msg = f"{name}.seeds_in_most_noise must be at least seeds, {self.seeds}, but it is {more}"
                raise ValueError(msg)
        return self


class LocalSignalPanel(Model):
    """One local-signal task with its kernels and networks."""

    task: Literal["bars", "noisy-digits", "noisy-mnist"] = Field(
        description="noisy bars; noisy digits with scikit-learn's embedded digits (a stand-in); or with MNIST"
    )
    n_train: Positive = Field(description="training images")
    n_test: Positive = Field(description="test images")
    sigmas: Annotated[list[Annotated[float, Field(ge=0)]], each_once(lambda sigma: run_name({"sigma": sigma}))] = Field(
        min_length=1, description="noise levels in the authors' parametrisation, see convrfm.datasets.local_signal"
    )
    depth: Positive = Field(3, description="convolutions of kernels and networks, L")
    patch_size: Positive = Field(3, description="patch size q")
    rfm: RFMSection = Field(default_factory=RFMSection, description="the kernels that learn")
    cnn: CNNSettings = Field(description="the networks to compare with")

    def networks(self, optimizer: str, sigma: float) -> int:
        """How many of the seeds train a network with an optimizer ("adam" or "sgd") at a noise level."""
        more: int | None = getattr(self.cnn, optimizer).seeds_in_most_noise
        return more if more is not None and sigma == max(self.sigmas) else self.cnn.seeds

    @model_validator(mode="after")
    def _parts_fit_together(self) -> Self:
        self.rfm.check(self.depth)
        check_task(self.task, self.n_train, self.n_test, self.depth, self.patch_size)
        return self

    @field_validator("sigmas")
    @classmethod
    def _some_noise(cls, sigmas: list[float]) -> list[float]:
        if max(sigmas) == 0:
            msg = "at least one noise level must be above 0"
            raise ValueError(msg)
        return sigmas


class Fig05(Model):
    """Figure 5, local signal adaptivity."""

    panels: Annotated[list[LocalSignalPanel], each_once(attrgetter("task"))] = Field(
        min_length=1, description="one panel for each task"
    )


def _runs(plan: Plan, protocol: str, file: str) -> list[str]:
    tasks = [(plan.panels[task], sigma) for task in plan.ready(plan.panels) for sigma in plan.panels[task].sigmas]
    fits = [
        plan.run_file("rfm", protocol, file, task=panel.task, sigma=sigma, seed=seed)
        for panel, sigma in tasks
        for seed in plan.seeds
    ]
    trainings = [
        plan.run_file("cnn", protocol, file, task=panel.task, sigma=sigma, optimizer=optimizer, seed=seed)
        for panel, sigma in tasks
        for optimizer in ("adam", "sgd")
        for seed in plan.seeds[: panel.networks(optimizer, sigma)]
    ]
    return fits + trainings


ROWS = (
    ("test accuracy (%)", "accuracy", ""),
    ("points gained\nover CNTK", "difference", "CNTK"),
    ("points gained\nover ConvRFM", "difference", "ConvRFM"),
)
"""Rows of panels: label, `quantity` and `against`."""

NETWORK_METHODS = {"adam": "CNN (Adam)", "sgd": "CNN (SGD)"}


def _methods(present: Iterable[str]) -> list[str]:
    """The methods that are there, in the order of the legend."""
    order = ("CNTK", "ConvRFM", "Deep", "CNN")
    return sorted(set(present), key=lambda method: (next(i for i, m in enumerate(order) if method.startswith(m)), method))


def tidy(runs: Sequence[accuracies.ScoredRun]) -> pd.DataFrame:
    """Bring fits and trainings into one table, with the accuracy of each method and what it gains, by task and noise level.

    Returns:
        columns `panel`, `task`, `stand_in`, `protocol`, `sigma`, `noise_std`, `n_train`, `n_test`; `quantity` ("run",
        "accuracy" or "difference"), `method`, `against`, `value`, `low`, `high`, `over`, `draws`, `images`, see
        `convrfm.replication.figures.accuracies.with_estimates`; and of single runs `stage`, `seed`, `draw` (hash of its
        images), `last_accuracy` (of the last round or epoch), `chosen` (the round or epoch that counts), `ridge`. Accuracies
        and differences are fractions.
    """
    rows = []
    for run in runs:
        keys, settings, sigma = run.keys, run.settings, float(run.keys["sigma"])
        shared = {
            "task": keys["task"], "stand_in": style.is_stand_in(keys["task"]), "protocol": keys["protocol"], "sigma": sigma,
            "noise_std": TASKS[keys["task"]](sigma), "n_train": settings["n_train"], "n_test": settings["n_test"],
            "seed": int(keys["seed"]), "draw": run.draw,
        }  # fmt: skip
        if keys["experiment"] == "rfm":
            rows += [{**shared, **row} for row in accuracies.kernel_rows(run)]
        else:
            rows.append({**shared, "method": NETWORK_METHODS[keys["optimizer"]], **accuracies.network_row(run)})
    table = pd.DataFrame(rows)
    order = {task: index for index, task in enumerate(TASKS)}
    table.insert(0, "panel", table["task"].map(order).rank(method="dense").astype(int).map(lambda i: style.LETTERS[i - 1]))
    table["method"] = pd.Categorical(table["method"], _methods(table["method"]), ordered=True)
    table = table.sort_values(["panel", "method", "sigma", "seed"], ignore_index=True).astype({"method": str})
    return accuracies.with_estimates(table, ["task", "sigma"], accuracies.over_cntk)


def contrast(magnitude: np.ndarray, inside: np.ndarray) -> float:
    """Mean magnitude inside the signal's box over the mean outside; both `(n, height, width)`."""
    return float(magnitude[inside].mean() / magnitude[~inside].mean())


def examples(images: np.ndarray, inside: np.ndarray, metric: np.ndarray, patch_size: int) -> dict[str, Any]:
    """Give what the picture panel of one task shows.

    Args:
        images: `(n, 1, height, width)` at one noise level.
        inside: where the signal lies, of the same shape.
        metric: learned at that noise level `(d, d)`.
        patch_size: q.

    Returns:
        `image`, `identity` and `learned`: the first image whose signal stays clear of the border, over which patches
        wrap, and it transformed by I^{1/2} and M^{1/2} `(height, width)`;
        `contrast_identity`, `contrast_learned`: mean of the signal over mean of the background, over all images.
    """
    box = inside[:, 0]
    plain = patch_magnitude(images, np.eye(len(metric)), patch_size)
    learned = patch_magnitude(images, metric, patch_size)
    # Whole rows of signal, that is bars, in the two outermost rows are what wrapping would mix with the other side.
    near_border = np.asarray(box.all(axis=2))[:, [0, 1, -2, -1]].any(axis=1)
    shown = int(np.argmin(near_border))
    return {
        "image": images[shown, 0],
        "identity": plain[shown],
        "learned": learned[shown],
        "contrast_identity": contrast(plain, box),
        "contrast_learned": contrast(learned, box),
    }


def draw(table: pd.DataFrame, pictures: Mapping[str, Mapping[str, Any]], skipped: Mapping[str, str]) -> Figure:
    """Draw the figure from the table of one protocol; tasks that are skipped leave a panel with the reason.

    Pictures are from `examples`, by task, with the noise level as `sigma`.
    """
    tasks = list(dict.fromkeys(table["task"]))
    with style.figure_style():
        figure = Figure(figsize=(7.2, 8.4), layout="constrained")
        curves, strip = figure.subfigures(2, 1, height_ratios=(4.6, 1))  # type: ignore[misc]
        panels = curves.subplots(len(ROWS), len(skipped) + len(tasks), squeeze=False, sharex="col", height_ratios=(1.5, 1.2, 1))
        for column, (task, reason) in enumerate(skipped.items()):
            style.write_reason(panels[0, column], style.short_title(task), reason)
            for panel in panels[1:, column]:
                panel.remove()
        # To the right of what is skipped.
        axes = panels[:, len(skipped) :]
        methods = _methods(table["method"])
        for index, task in enumerate(tasks):
            rows = table[table["task"] == task]
            for panel, (label, quantity, against) in zip(axes[:, index], ROWS, strict=True):
                shown = rows[(rows["quantity"] == quantity) & (rows["against"] == against)]
                _draw_curves(panel, shown, methods, sorted(rows["sigma"].unique()))
                panel.set_ylabel(label if index == 0 else "")
            heading = style.with_stand_ins(f"{style.short_title(task)}, n = {rows['n_train'].iloc[0]}", [task], separator="\n")
            bottom, top = axes[0, index].get_ylim()
            axes[0, index].set(title=heading, ylim=(max(0, bottom), min(101, top)))
            axes[-1, index].set_xlabel(r"noise level $\sigma$")
            style.letter(axes[0, index], style.LETTERS[index])
        handles = [*axes[0, -1].get_legend_handles_labels()[0], *accuracies.interval_handles(table["over"])]
        curves.legend(handles=handles, loc="outside lower center", ncols=3, title=_draws(table))
        # Wider cells for wider images, with room for the titles of narrow ones.
        shapes = [pictures[task]["image"].shape for task in tasks]
        widths = [max(width / height, 1.3) for height, width in shapes for _ in range(3)]
        cells = strip.subplots(1, 3 * len(tasks), squeeze=False, width_ratios=widths)[0]
        for index, task in enumerate(tasks):
            _draw_pictures(cells[3 * index : 3 * index + 3], pictures[task])
            style.letter(cells[3 * index], style.LETTERS[len(tasks) + index], offset=-0.08)
    return figure


def _draws(table: pd.DataFrame) -> str:
    """How many draws stand behind the points of kernels, and of networks."""
    estimates = table[table["quantity"] == "accuracy"]
    parts = []
    for name, networks in (("kernels", False), ("CNNs", True)):
        counts = estimates.loc[estimates["method"].str.startswith("CNN") == networks, "draws"]
        if len(counts):
            parts.append(f"{name} {' to '.join(str(count) for count in sorted({counts.min(), counts.max()}))}")
    return f"mean over draws, {', '.join(parts)}"


def _draw_curves(axes: Axes, rows: pd.DataFrame, methods: list[str], sigmas: list[float]) -> None:
    """One quantity against the noise level, methods side by side."""
    colours = style.palette("colorblind", len(methods))
    step = 0.02 * (sigmas[-1] - sigmas[0] or 1)
    for place, (method, colour, marker) in enumerate(zip(methods, colours, "osD^vPX*<>"[: len(methods)], strict=True)):
        own = rows[rows["method"] == method].sort_values("sigma")
        line = "--" if method.startswith("CNN") else "-"
        places = (own["sigma"] + step * (place - (len(methods) - 1) / 2)).tolist()
        accuracies.draw_estimates(axes, places, own, colour=colour, marker=marker, label=method, line=line)
    if (rows["quantity"] == "difference").any():
        axes.axhline(0, color="0.4", linewidth=0.8, zorder=1)
    if rows.empty:
        axes.text(0.5, 0.5, "no stage of Deep ConvRFM", transform=axes.transAxes, ha="center", fontsize=7)
    axes.set_xticks(sigmas)
    axes.grid(axis="y")


def _draw_pictures(cells: np.ndarray, picture: Mapping[str, Any]) -> None:
    """One image, its patch norms, and its patch norms under the learned metric."""
    top = max(float(picture[name].max() / picture[name].mean()) for name in ("identity", "learned"))
    bound = float(np.abs(picture["image"]).max())
    cells[0].imshow(picture["image"], cmap="gray", vmin=-bound, vmax=bound, interpolation="nearest")
    cells[0].set_title(rf"$\sigma$ = {picture['sigma']:g}", fontsize=7.5)
    for cell, name, title in zip(cells[1:], ("identity", "learned"), ("patch norm", "learned metric"), strict=True):
        # Each in units of its own mean, on one scale, so that the two can be compared.
        cell.imshow(picture[name] / picture[name].mean(), cmap="viridis", vmin=0, vmax=top, interpolation="nearest")
        cell.set_title(title, fontsize=7.5)
        cell.set_xlabel(f"contrast {picture[f'contrast_{name}']:.2f}", fontsize=7.5)
    for cell in cells:
        style.bare(cell)


def caption(table: pd.DataFrame, pictures: Mapping[str, Mapping[str, Any]], skipped: Mapping[str, str]) -> str:
    """Write the caption in Markdown; every number in it is computed from the table. Arguments as for `draw`."""
    protocol = table["protocol"].iloc[0]
    opening = (
        f"**Figure 5, local signal adaptivity** (protocol: {protocol}). Test accuracy against the noise level sigma. CNTK "
        "is the kernel without feature learning, ConvRFM its best round from round 1 on, each stage of Deep ConvRFM is taken "
        "by itself, and the networks are at their best epoch. Ridge, round and epoch are chosen "
        f"{accuracies.how_chosen(protocol)}. Below the accuracies: what each method gains over CNTK, and what the stages of "
        "Deep ConvRFM gain over ConvRFM."
    )
    lines = [opening]
    for task in dict.fromkeys(table["task"]):
        part = table[table["task"] == task]
        shown = part[(part["quantity"] == "difference") | ((part["quantity"] == "accuracy") & (part["method"] == "CNTK"))]
        first, name = part.iloc[0], f"{style.short_title(task)}**{style.reservation(task)}"
        opening = (
            f"**{first['panel']}, {name}: {first['n_train']} training and {first['n_test']} test images. Points gained, mean "
            f"and interval ({accuracies.in_words(shown['over'])}), paired by draw:"
        )
        lines += ["", opening, "", *_gains(part), "", _of_pictures(pictures[task])]
    return "\n".join([*lines, *style.skipped_lines(skipped, style.short_title)]) + "\n"


def _of_pictures(picture: Mapping[str, Any]) -> str:
    """What the pictures of one task show."""
    before, after = picture["contrast_identity"], picture["contrast_learned"]
    verb = "rises" if after > before else "does not rise:"
    return (
        f"Pictures: a test image at sigma = {picture['sigma']:g}, the norm of the patch around each pixel, and that norm "
        "under ConvRFM's metric, on one colour scale in units of the mean. The contrast (mean norm inside the signal's box "
        f"over that outside, all test images) {verb} from {before:.2f} to {after:.2f}."
    )


def _gains(table: pd.DataFrame) -> list[str]:
    """A Markdown table: rows are methods, columns noise levels."""
    sigmas = sorted(table["sigma"].unique())
    levels = [table[table["sigma"] == sigma] for sigma in sigmas]
    rows = []
    for method, against in [("CNTK", ""), *accuracies.over_cntk(_methods(table["method"]))]:
        cells = [accuracies.cell_in(level, method, against) for level in levels]
        rows.append([f"{method}, {f'over {against}' if against else 'accuracy'}", *cells])
    return style.markdown_table(["method", *(f"sigma = {sigma:g}" for sigma in sigmas)], rows)


judges = Judges("fig05", accuracies.ACCURACY_WORDS, accuracies.ACCURACY_NUMBERS, ("stand_in",))

SOFT_NETWORK = "CNN (SGD)"
"""Its learning rate and epochs are lost in the paper's text: it is reported only."""

NEEDED = ("ConvRFM", "Deep ConvRFM, stage 1", "CNN (Adam)")
"""Methods of claim A10; one without rows is noted."""


@judges("A10")
def at_the_highest_noise(claim: Rule, found: Evidence) -> Iterator[Reading]:
    """Gains over CNTK at the highest noise level of each task."""
    for task, rows in spoken_of(claim, found.rows, "task").groupby("task", sort=False):
        sigma = rows["sigma"].max()
        top = rows[rows["sigma"] == sigma]
        for method in dict.fromkeys([*NEEDED, *top["method"]]):
            if method != "CNTK":
                condition = "network_by_sgd" if method == SOFT_NETWORK else "gain"
                what = f"{method} over CNTK, sigma = {sigma:g}"
                yield found.reading(top, condition, style.short_title(str(task)), what, accuracies.gain(top, method, "CNTK"))


@judges("A11")
def depth_against_noise(claim: Rule, found: Evidence) -> Iterator[Reading]:
    """Gains of the stages of Deep ConvRFM over ConvRFM at each noise level."""
    for task, rows in spoken_of(claim, found.rows, "task").groupby("task", sort=False):
        on, largest = style.short_title(str(task)), -math.inf
        for sigma, level in rows.groupby("sigma"):
            for method in [name for name in dict.fromkeys(level["method"]) if name.startswith("Deep")]:
                number = accuracies.gain(level, method, "ConvRFM")
                largest = max(largest, number.value) if math.isfinite(number.value) else largest
                yield found.reading(level, "gain", on, f"{method}, over ConvRFM, sigma = {sigma:g}", number)
        if math.isinf(largest):
            found.problems.append(f"{found.path} has no stage of Deep ConvRFM on {on}")
        else:
            what = "largest mean gain of Deep ConvRFM over ConvRFM"
            yield found.reading(rows, "size", on, what, Number(largest))


FIGURE = FigureSpec(
    title="Figure 5",
    subject="local signal adaptivity",
    about="Test accuracy against the noise level for the plain convolutional kernel (CNTK), ConvRFM, each stage of Deep "
    "ConvRFM and finite networks, and how the learned patch metric dims the background.",
    section=Fig05,
    needs=lambda plan: plan.needs(plan.panels),
    inputs={
        **run_inputs(_runs, "metrics", "records", "arrays"),
        "draws": lambda plan, protocol: [
            plan.draw(protocol, task, seed) for task in plan.ready(plan.panels) for seed in plan.seeds
        ],
    },
    judges=judges,
)


@FIGURE.drawn
def draw_figure(job: Job, skipped: Mapping[str, str]) -> Drawn:
    """Give table, picture and caption; tasks whose data are not there are SKIPPED with the reason."""
    table = tidy(accuracies.read_scored_runs(job.inputs["metrics"]))
    pictures = {task: _pictures(job, table[table["task"] == task]) for task in dict.fromkeys(table["task"])}
    return table, draw(table, pictures, skipped), caption(table, pictures, skipped)


def _pictures(job: Job, table: pd.DataFrame) -> dict[str, Any]:
    """The examples of one task: at its lowest noise level, where a reader sees the signal; first draw, ConvRFM."""
    fitted = table[(table["quantity"] == "run") & (table["method"] == "ConvRFM") & (table["sigma"] > 0)]
    fitted = fitted.sort_values(["sigma", "seed"]).iloc[0]
    task, sigma, seed = fitted["task"], float(fitted["sigma"]), int(fitted["seed"])
    (drawn,) = runs_with(job.inputs["draws"], task=task, seed=str(seed))
    (fit,) = runs_with(job.inputs["arrays"], experiment="rfm", task=task, seed=str(seed), sigma=f"{sigma:g}")
    patch_size = read_record(fit.with_name(RUN_FILES["record"]))["settings"]["patch_size"]
    metric = load_arrays(fit)[f"metric/0/{fitted['chosen']}"]
    split = LocalSignalDraw.from_arrays(load_arrays(drawn)).test
    found = examples(split.images(TASKS[task](sigma)), split.inside, metric, patch_size)
    return {**found, "sigma": sigma}
