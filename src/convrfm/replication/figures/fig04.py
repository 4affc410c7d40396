"""Figure 4, Deep ConvRFM against the network, layer by layer."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from pydantic import Field

from convrfm.replication.claims import evidence
from convrfm.replication.claims.evidence import Evidence, Judges, Number, Reading, Rule, counted, with_interval
from convrfm.replication.config.models import Model, Positive, check_among
from convrfm.replication.figures import style
from convrfm.replication.figures.accuracies import draw_of
from convrfm.replication.figures.figure import Drawn, FigureSpec, Plan, Run, read_recorded_runs, run_inputs
from convrfm.replication.record.record import run_keys
from convrfm.replication.record.session import Job
from convrfm.system.storage import load_arrays

__all__ = ["FIGURE", "Fig04", "caption", "draw", "draw_figure", "summary", "tidy"]


class Fig04(Model):
    """Figure 4, Deep ConvRFM against the network, layer by layer; its kernels and networks are those of Figures 5 and 6."""

    sigma: float = Field(1.0, ge=0, description="tasks of fig05.panels that have this noise level are shown, at that level")
    datasets: list[str] = Field(default=[], description="data sets of fig06.datasets that are shown as well")
    seeds: Positive = Field(3, description="how many of the seeds are measured, as far as there are networks of them")
    images: Positive = Field(20, description="test images that the correlations are averaged over; the first one is drawn")
    control_draws: Positive = Field(3, description="random matrices of the control, for each layer")

    def check(self, preset: Any) -> None:
        """Check against other sections; ValueError for a data set that fig06.datasets does not have."""
        check_among("datasets", self.datasets, "fig06.datasets", [task.dataset for task in preset.fig06.datasets])


judges = Judges("fig04", ("task", "draw"), ("seed", "layer", "pearson", "control", "excess"), ("stand_in",))


@judges("A9")
def layers_alike(claim: Rule, found: Evidence) -> Iterator[Reading]:
    """By how much pictures through metrics and through the network agree beyond random matrices; over draws or images."""
    for (task, layer), rows in found.rows.groupby(["task", "layer"], sort=False):
        number = Number(float("nan"))
        if evidence.none_missing(rows["excess"]):
            row = summary(rows).iloc[0]
            number = Number(float(row["excess"]), evidence.bounds(row))
        what = f"layer {layer}, pixel correlation beyond random matrices"
        yield found.reading(rows, evidence.with_room(claim, rows["control"]), style.short_title(str(task)), what, number)


Pictures = Mapping[str, np.ndarray]
"""`image` `(channels, height, width)`, and `kernel/<layer>`, `network/<layer>`, `random/<layer>` `(height, width)`."""


def tidy(runs: list[Run]) -> pd.DataFrame:
    """Bring the runs into one table, a row for each task, seed, layer and image.

    Returns:
        columns `task`, `stand_in`, `protocol`, `sigma` (NaN where there is none), `n_train`, `n_test`, `seed`, `draw` (hash of
        its images), `layer` (from 1), `round` (the best one of the stage from round 1 on), `followed` (whether it is the best
        of all), `image`, `pearson` of the pixels of both pictures, `control`, that with random matrices, and `excess`, their
        difference.
    """
    frames = []
    for keys, record, metrics in runs:
        settings = record["settings"]
        shared = {
            "task": keys["dataset"], "stand_in": style.is_stand_in(keys["dataset"]), "protocol": keys["protocol"],
            "sigma": float(settings.get("sigma", "nan")), "n_train": settings["n_train"], "n_test": settings["n_test"],
            "seed": int(keys["seed"]), "draw": draw_of(record),
        }  # fmt: skip
        frames.append(pd.DataFrame(shared, index=metrics.index).join(metrics))
    table = pd.concat(frames, ignore_index=True)
    return table.assign(excess=table["pearson"] - table["control"])


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Means by task and layer: `task`, `layer`, `pearson`, `control`, `excess`, and its 95 % interval `low`, `high`.

    The interval is over draws; of a single draw it is over its images.
    """
    rows = []
    for (task, layer), part in table.groupby(["task", "layer"], sort=False):
        unit = "draw" if part["draw"].nunique() > 1 else "image"
        mean, low, high = evidence.interval(part.groupby(unit)["excess"].mean().dropna().to_numpy())
        means = part[["pearson", "control"]].mean().to_dict()
        rows.append({"task": task, "layer": layer, **means, "excess": mean, "low": low, "high": high})
    return pd.DataFrame(rows)


def draw(table: pd.DataFrame, pictures: Mapping[str, Pictures], skipped: Mapping[str, str]) -> Figure:
    """Draw for each task a row of the kernel's pictures and one of the network's, a column for each layer.

    The table is of one protocol; pictures are of the first image, by task, of its first seed; skipped are tasks without data.
    """
    tasks = list(dict.fromkeys(table["task"]))
    columns = 1 + int(table["layer"].max())
    with style.figure_style():
        tight = ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.02, wspace=0.01, hspace=0.02)
        shapes = [pictures[task]["image"].shape for task in tasks]
        # Inches of two pictures, as wide as their column but never higher than that, and of what stands beside them.
        heights = [2 * (min(1.0, height / width) * 6.4 / columns) + 0.75 for _, height, width in shapes]
        figure = Figure(figsize=(7.2, sum(heights) + 0.3), layout=tight)
        parts = figure.subfigures(len(tasks), 1, squeeze=False, height_ratios=heights)[:, 0]
        for name, part, task in zip(style.LETTERS, parts, tasks, strict=False):
            rows = table[table["task"] == task]
            cells = part.subplots(2, columns, squeeze=False)
            first = rows.iloc[0]
            level = "" if np.isnan(first["sigma"]) else rf", $\sigma$ = {first['sigma']:g}"
            part.suptitle(f"{style.title(task)}{style.star(task)}{level}, n = {first['n_train']}", fontsize=8.5)
            _draw_task(cells, rows, pictures[task])
            style.letter(cells[0, 0], name, offset=-0.1)
        notes = [style.starred_note(tasks), *(f"{style.short_title(task)}: SKIPPED, see the caption" for task in skipped)]
        if any(notes):
            figure.supxlabel("\n" + "\n".join(filter(None, notes)), fontsize=7)
    return figure


def _draw_task(cells: np.ndarray, rows: pd.DataFrame, pictures: Pictures) -> None:
    """The image, and of each layer both pictures with their correlation."""
    image = pictures["image"].transpose(1, 2, 0)
    cells[0, 0].imshow(image if image.shape[2] == 3 else image[..., 0], cmap="gray", interpolation="nearest")
    style.bare(cells[0, 0])
    cells[0, 0].set_title("image", fontsize=7.5)
    cells[1, 0].set_axis_off()
    shown = rows[(rows["image"] == 0) & (rows["seed"] == rows["seed"].iloc[0])].set_index("layer")
    for place in range(1, cells.shape[1]):
        top, bottom = cells[:, place]
        if place not in shown.index:
            top.set_axis_off()
            bottom.set_axis_off()
            continue
        style.show_picture(top, pictures[f"kernel/{place}"])
        style.show_picture(bottom, pictures[f"network/{place}"])
        top.set_title(f"layer {place}", fontsize=7.5)
        found = shown.loc[place]
        bottom.set_xlabel(f"r = {found['pearson']:.2f}, random {found['control']:.2f}", fontsize=7.5)
    cells[0, 1].set_ylabel("Deep ConvRFM", fontsize=7.5)
    cells[1, 1].set_ylabel("CNN", fontsize=7.5)


def caption(table: pd.DataFrame, skipped: Mapping[str, str]) -> str:
    """Write the caption in Markdown; every number in it is computed from the table. Arguments as for `draw`."""
    means, protocol = summary(table), table["protocol"].iloc[0]
    draws = table.groupby("task")["draw"].nunique()
    unit = "draws" if (draws > 1).all() else "the images of the draw" if (draws == 1).all() else "draws, or images of one"
    opening = (
        f"**Figure 4, Deep ConvRFM against the network, layer by layer** (protocol: {protocol}). Features of a test image, "
        "with every pixel replaced by the norm of the patch around it times a matrix. Above: the metric M of each stage of "
        "Deep ConvRFM, of its best round from round 1 on, on the random features of that stage. Below: the filter covariance "
        "of what training has added to the filters of the network, (W - W0)^T (W - W0), on the network's features. Both are "
        "taken in full, not by their square roots; patches wrap around the border. Under each pair: the Pearson correlation "
        "of its pixels, and that of the lower picture with a random positive matrix in place of M."
    )
    number = table["image"].nunique()
    said = f"Means over {number} test images and {counted(draws.max(), 'draw')}, with 95 % intervals of the excess over {unit}:"
    cells = (
        [style.title(r.task), r.layer, f"{r.pearson:.3f}", f"{r.control:.3f}", with_interval(r.excess, r.low, r.high, "+.3f")]
        for r in means.itertuples()
    )
    rows = style.markdown_table(["task", "layer", "correlation", "random", "excess"], cells)
    lines = [opening, *style.starred_reservation(table["task"]), "", said, "", *rows, *_plain_stages(table)]
    return "\n".join([*lines, *style.skipped_lines(skipped, style.title)]) + "\n"


def _plain_stages(table: pd.DataFrame) -> list[str]:
    """Stages whose round 0 was better than all that had learned."""
    plain = table[~table["followed"]].drop_duplicates(["task", "seed", "layer"])
    found = [f"{style.title(row.task)}, layer {row.layer} (seed {row.seed})" for row in plain.itertuples()]
    if not found:
        return []
    reason = "the plain kernel of the stage is at least as good, and the random filters of the next stage follow the identity"
    return ["", f"In {'; '.join(found)}, {reason}."]


def _tasks(plan: Plan) -> list[str]:
    section = plan.section(Fig04)
    return [task for task, panel in plan.panels.items() if section.sigma in panel.sigmas] + section.datasets


def _seeds(plan: Plan, protocol: str, task: str) -> list[int]:
    """The seeds of which there is both a fit and a network."""
    if task in plan.panels:
        trained = plan.seeds[: plan.panels[task].cnn.seeds]
    else:
        trained = plan.image_seeds(task, protocol, plan.images[task].seeds)
    return trained[: plan.section(Fig04).seeds]


def _runs(plan: Plan, protocol: str, file: str) -> list[str]:
    return [
        plan.run_file("layers", protocol, file, dataset=name, seed=seed)
        for name in plan.ready(_tasks(plan))
        for seed in _seeds(plan, protocol, name)
    ]


FIGURE = FigureSpec(
    title="Figure 4",
    subject="layer by layer",
    about="A test image through the metrics of Deep ConvRFM and through the filter covariances of a finite network, layer by "
    "layer, with the correlation of the pixels of both pictures and that of a random matrix.",
    section=Fig04,
    needs=lambda plan: plan.needs(_tasks(plan)),
    inputs=run_inputs(_runs, "metrics", "records", "arrays"),
    judges=judges,
)


@FIGURE.drawn
def draw_figure(job: Job, skipped: Mapping[str, str]) -> Drawn:
    """Give table, picture and caption; tasks whose data are not there are SKIPPED with the reason."""
    table = tidy(read_recorded_runs(job.inputs["metrics"]))
    # The first seed comes first.
    pictures = {run_keys(path.parent)["dataset"]: load_arrays(path) for path in reversed(job.inputs["arrays"])}
    return table, draw(table, pictures, skipped), caption(table, skipped)
