"""Figure 3, what the first layer learns: eigenvectors, images beside those of a network, and natural images."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from matplotlib.figure import Figure, SubFigure

from convrfm.replication.claims.evidence import Evidence, Reading, Rule
from convrfm.replication.figures import features
from convrfm.replication.figures.feature_measurements import (
    FeatureRun,
    eigenvectors_on,
    natural_images,
    operators_on,
    read_runs,
)
from convrfm.replication.figures.fig10 import first_layers_of, pair_labels, pair_sentences
from convrfm.replication.figures.fig12 import edge_sentences
from convrfm.replication.figures.figure import Drawn, FigureSpec
from convrfm.replication.figures.style import figure_style, in_sentence, short_title, with_stand_ins, write_reason
from convrfm.replication.record.session import Job

__all__ = ["FIGURE", "Fig03", "caption", "draw", "draw_figure"]

SHOWN_NATURAL = 2


class Fig03(features.FeatureFigure):
    """Figure 3, of one data set."""

    most = 1


@dataclass(frozen=True)
class Pictures:
    """What the figure shows, of the first seed: top eigenvectors by kernel `(k, channels, q, q)`, and two strips of pictures.

    Pairs are test images with the rows of Figure 10; natural are large images with rows "cntk", "laplace" and "sobel", if any.
    """

    filters: Mapping[str, np.ndarray]
    pairs: features.Strip
    natural: features.Strip | None


def draw(table: pd.DataFrame, pictures: Pictures, skipped: Mapping[str, str]) -> Figure:
    """Draw the figure from a table of `table_of`; natural images that are skipped leave a panel with the reason."""
    first = features.first_seed(table)
    panels = {name: first[first["panel"] == name] for name in "ABC"}
    dataset = first["dataset"].iloc[0]
    with figure_style():
        heights = [2.6, 3.9, 0.9 if pictures.natural is None else 0.3 + 1.95 * len(pictures.natural.images)]
        figure = Figure(figsize=(7.2, sum(heights)), layout="constrained")
        top, middle, bottom = figure.subfigures(3, 1, squeeze=False, height_ratios=heights)[:, 0]
        _draw_filters(top, pictures.filters, panels["A"])
        top.suptitle(with_stand_ins(f"Top eigenvectors on {in_sentence(dataset)}", [dataset]), fontsize=8)
        features.draw_strip(middle, pictures.pairs, pair_labels(panels["B"], len(pictures.pairs.images)))
        middle.suptitle(f"{short_title(dataset)}: CNTK-ConvRFM and the first layer of the network", fontsize=8)
        if pictures.natural is None:
            ((name, reason),) = skipped.items()
            write_reason(bottom.subplots(), short_title(name), reason)
        else:
            _draw_natural(bottom, pictures.natural, panels["C"])
            source = panels["C"]["source"].iloc[0]
            title = f"The metrics of {in_sentence(dataset)} on {in_sentence(source)}"
            bottom.suptitle(with_stand_ins(title, [source]), fontsize=8)
        for part, name in zip((top, middle, bottom), "ABC", strict=True):
            features.letter_part(part, name)
    return figure


def _draw_filters(figure: SubFigure, filters: Mapping[str, np.ndarray], rows: pd.DataFrame) -> None:
    """A row for each kernel: patches, their share of the trace, and what they look like."""
    cells = figure.subplots(len(filters), max(len(windows) for windows in filters.values()), squeeze=False)
    for row, (kernel, windows) in zip(cells, filters.items(), strict=True):
        own = rows[rows["kernel"] == kernel]
        for i, (cell, window) in enumerate(zip(row, windows, strict=False)):
            features.show_filter(cell, window)
            of = own[(own["eigenvector"] == i + 1) & (own["image"] < 0)]
            values = of.set_index("quantity")["value"]
            cell.set_title(features.share_label(values["share"]), fontsize=7)
            oriented = f"{values['orientation']:.0f}°" if values["coherence"] >= features.COHERENT else "no orientation"
            cell.set_xlabel(
                "constant" if values["constant_share"] > features.CONSTANT else oriented, fontsize=6.5, labelpad=1.5
            )
        for cell in row[len(windows) :]:
            cell.set_axis_off()
        side = windows.shape[-1]
        row[0].set_ylabel(f"{features.KERNELS[kernel].split('-')[0]}\n{side}x{side}", fontsize=7)


def _draw_natural(figure: SubFigure, strip: features.Strip, rows: pd.DataFrame) -> None:
    """A row for each image: itself, its pictures under each metric, and its Sobel magnitude."""
    cells = figure.subplots(len(strip.images), 1 + len(strip.pictures), squeeze=False)
    for i, (row, image) in enumerate(zip(cells, strip.images, strict=True)):
        features.show(row[0], image)
        for cell, (name, pictures) in zip(row[1:], strip.pictures.items(), strict=True):
            features.show(cell, pictures[i])
            if i == 0:
                cell.set_title(features.KERNELS.get(name, "Sobel magnitude"), fontsize=7)
            if name in features.KERNELS:
                of = rows[(rows["kernel"] == name) & (rows["quantity"] == f"sobel_{name}") & (rows["image"] == i)]
                label = f"r = {of['value'].iloc[0]:.2f} (random {of['control'].iloc[0]:.2f})"
                cell.set_xlabel(label, fontsize=6.5, labelpad=1.5)


def caption(table: pd.DataFrame, skipped: Mapping[str, str]) -> str:
    """Write the caption in Markdown; every number in it is computed from the table. Arguments as for `draw`."""
    dataset = in_sentence(table["dataset"].iloc[0])
    rest = (
        f"A: top eigenvectors of the metrics of ConvRFM on {dataset}, with their share of the trace and the orientation of the "
        "edge that they look like. B: test images, with every pixel replaced by the norm of the patch around it times the "
        "metric of CNTK-ConvRFM, times (W - W_0)^T (W - W_0) of the first layer of the finite network, and times a random "
        "matrix; below each, the Pearson correlation of its pixels with those of ConvRFM's picture. C: natural images through "
        "the same metrics, with the correlation with their Sobel magnitude, and that of random matrices' pictures."
    )
    lines = []
    panels = {name: table[table["panel"] == name] for name in "ABC"}
    for kernel, rows in panels["A"].groupby("kernel", sort=False):
        lines.append(f"**A, {features.KERNELS[str(kernel)]}**, measured on test images: {edge_sentences(rows)}")
    lines.append(f"**B**: {pair_sentences(panels['B'])}")
    for kernel, rows in panels["C"].groupby("kernel", sort=False):
        found = features.excess(rows[rows["quantity"] == f"sobel_{kernel}"])
        on = f"{features.KERNELS[str(kernel)]}**, {in_sentence(rows['source'].iloc[0])}"
        lines.append(f"**C, {on}: correlation with the Sobel magnitude {features.against_random(found)}.")
    return features.caption_of("Figure 3, what the first layer learns", rest, table, skipped, lines)


judges = features.feature_judges("fig03")


@judges("A8")
def first_layer(claim: Rule, found: Evidence) -> Iterator[Reading]:
    """The same of panel A; of panel C whether metrics find edges in natural images."""
    yield from features.edge_detectors(claim, _panel(found, "A"))
    for on, rows in features.by_metric(_panel(found, "C").rows):
        what = f"correlation with Sobel beyond random matrices, {features.over_in_words(rows)}"
        own = rows[rows["quantity"] == f"sobel_{rows['kernel'].iloc[0]}"]
        yield found.reading(rows, "transfer", on, what, features.excess_number(own))


@judges("A9")
def one_data_set(claim: Rule, found: Evidence) -> Iterator[Reading]:
    """The same of panel B, which is a part of Figure 10 where both show the same data set."""
    yield from features.kernels_and_networks(claim, _panel(found, "B"))


def _panel(found: Evidence, name: str) -> Evidence:
    return replace(found, rows=found.rows[found.rows["panel"] == name])


FIGURE = FigureSpec(
    title="Figure 3",
    subject="what the first layer learns",
    about="Top eigenvectors of the metrics that ConvRFM learns, images through the metric and through the filter covariance of "
    "a network, and large natural images through the same metrics, each with its likeness in numbers.",
    judges=judges,
    **features.feature_figure(Fig03, list(features.KERNELS), networks=True, natural=True),
)


@FIGURE.drawn
def draw_figure(job: Job, skipped: Mapping[str, str]) -> Drawn | None:
    """Give table, picture and caption; without natural images panel C is SKIPPED, without the data set the whole figure."""
    measured = [_measure(job, run) for run in read_runs(job)]
    if not measured:
        return None
    table = features.table_of([part for parts, _ in measured for part in parts], job.settings["protocol"])
    return table, draw(table, measured[0][1], skipped), caption(table, skipped)


def _measure(job: Job, run: FeatureRun) -> tuple[list[pd.DataFrame], Pictures]:
    """The rows of all panels, and what they show, of one seed."""
    parts, filters = [], {}
    for kernel in features.KERNELS:
        rows, sheet = eigenvectors_on(job, run, kernel, run.images, source=run.dataset, shown=0)
        parts.append(rows.assign(panel="A"))
        filters[kernel] = sheet.filters
    rows, pairs = first_layers_of(job, run)
    parts.append(rows.assign(panel="B"))
    images, natural = natural_images(job), None
    if images is not None:
        found: dict[str, np.ndarray] = {}
        for kernel in features.KERNELS:
            rows, comparison = operators_on(job, run, kernel, images, source=job.settings["natural"])
            parts.append(rows.assign(panel="C"))
            found |= {name: comparison.pictures[name][:SHOWN_NATURAL] for name in (kernel, "sobel")}
        order = [*features.KERNELS, "sobel"]
        natural = features.Strip(images[:SHOWN_NATURAL], {name: found[name] for name in order})
    return parts, Pictures(filters, pairs, natural)
