"""Figure 11, edges that the eigenvectors of Laplace-ConvRFM pick in natural images."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure

from convrfm.replication.figures import features
from convrfm.replication.figures.feature_measurements import eigenvectors_on, measure_data_sets, natural_images
from convrfm.replication.figures.fig12 import edge_sentences
from convrfm.replication.figures.figure import Drawn, FigureSpec
from convrfm.replication.figures.style import figure_style, in_sentence, with_stand_ins
from convrfm.replication.record.session import Job

__all__ = ["FIGURE", "Fig11", "caption", "draw", "draw_figure"]

SHOWN = 3


class Fig11(features.FeatureFigure):
    """Figure 11, of one data set."""

    most = 1


def draw(table: pd.DataFrame, sheet: features.Sheet) -> Figure:
    """Draw the figure from a table of one data set, and the sheet of its first seed."""
    first = features.first_seed(table)
    dataset, source, kernel = (first[name].iloc[0] for name in ("dataset", "source", "kernel"))
    with figure_style():
        figure = Figure(figsize=(7.2, 1.3 + 1.12 * len(sheet.images)), layout="constrained")
        features.draw_sheet(figure, sheet, first)
        title = (
            f"Eigenvectors of {features.KERNELS[kernel]} on {in_sentence(dataset)}, and {in_sentence(source)} filtered by each"
        )
        figure.suptitle(with_stand_ins(title, [dataset, source], separator="\n"), fontsize=8)
    return figure


def caption(table: pd.DataFrame, skipped: Mapping[str, str]) -> str:
    """Write the caption in Markdown; every number in it is computed from the table. Arguments as for `draw`."""
    kernel, dataset, source = (table[name].iloc[0] for name in ("kernel", "dataset", "source"))
    rest = (
        f"Top eigenvectors u of the metric of {features.KERNELS[kernel]} ({table['patch_size'].iloc[0]} pixels wide) on "
        f"{in_sentence(dataset)}, and {in_sentence(source)} with every pixel replaced by |u u^T x|, x the patch around it. "
        "Under an eigenvector: the orientation of the edge it looks like, by its structure tensor, and that of the edges it "
        "responds to; 90 degrees is upright. Under a picture: the Pearson correlation of its pixels with the Sobel "
        "magnitude, and that of random filters."
    )
    name = "Figure 11, edges that eigenvectors pick in natural images"
    return features.caption_of(name, rest, table, skipped, [edge_sentences(table)])


judges = features.feature_judges("fig11")
judges("A8")(features.edge_detectors)


FIGURE = FigureSpec(
    title="Figure 11",
    subject="edges that eigenvectors pick in natural images",
    about="Top eigenvectors of the metric of Laplace-ConvRFM, natural images filtered by each, and the orientation of each "
    "eigenvector beside that of the edges it picks.",
    judges=judges,
    **features.feature_figure(Fig11, ["laplace"], networks=False, natural=True),
)


@FIGURE.drawn
def draw_figure(job: Job, skipped: Mapping[str, str]) -> Drawn:
    """Give table, picture and caption of the one data set, without which the whole figure is SKIPPED."""
    images, source = natural_images(job), job.settings["natural"]
    assert images is not None  # the data set needs them, and the figure is skipped without
    table, sheets = measure_data_sets(
        job, lambda job, run: eigenvectors_on(job, run, "laplace", images, source=source, shown=SHOWN)
    )
    (sheet,) = sheets.values()
    return table, draw(table, sheet), caption(table, skipped)
