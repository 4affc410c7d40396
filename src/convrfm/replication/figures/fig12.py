"""Figure 12, edge detectors of CNTK-ConvRFM on other data sets."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure, SubFigure

from convrfm.replication.figures import features
from convrfm.replication.figures.feature_measurements import eigenvectors_on, measure_data_sets
from convrfm.replication.figures.figure import Drawn, FigureSpec
from convrfm.replication.figures.style import in_sentence, with_stand_ins
from convrfm.replication.record.session import Job

__all__ = ["FIGURE", "Fig12", "caption", "draw", "draw_figure"]

SHOWN = 3


class Fig12(features.FeatureFigure):
    """Figure 12."""


def draw(table: pd.DataFrame, sheets: Mapping[str, features.Sheet], skipped: Mapping[str, str]) -> Figure:
    """Draw the figure from the sheets of the first seed, by data set."""
    return features.draw_data_sets(
        table, sheets, skipped, height=lambda sheet: 1.4 + 1.05 * len(sheet.images), draw=_draw_sheet
    )


def _draw_sheet(part: SubFigure, sheet: features.Sheet, rows: pd.DataFrame) -> None:
    dataset, kernel = rows["dataset"].iloc[0], rows["kernel"].iloc[0]
    features.draw_sheet(part, sheet, rows)
    title = f"Eigenvectors of {features.KERNELS[kernel]} on {in_sentence(dataset)}"
    part.suptitle(with_stand_ins(title, [dataset], separator="\n"), fontsize=8)


def caption(table: pd.DataFrame, skipped: Mapping[str, str]) -> str:
    """Write the caption in Markdown; every number in it is computed from the table. Arguments as for `draw`."""
    rest = (
        "Top eigenvectors u of the metric of CNTK-ConvRFM, and test images of the same data set with every pixel replaced by "
        "|u u^T x|, x the patch around it. Under an eigenvector: the orientation of the edge it looks like, by its structure "
        "tensor, and that of the edges it responds to; 90 degrees is upright. Under a picture: the Pearson correlation of its "
        "pixels with the Sobel magnitude, and that of random filters."
    )
    name = "Figure 12, edge detectors of other data sets"
    return features.caption_of(name, rest, table, skipped, features.by_data_set(table, edge_sentences))


def edge_sentences(rows: pd.DataFrame) -> str:
    """How much images filtered by one metric's eigenvectors look like edges, and whether edges lie as the eigenvectors do."""
    edges = features.proper_edges(rows)
    if len(edges) == 0:
        return "All top eigenvectors are constant: they find brightness, and no edges."
    sobel, balanced = (features.excess(edges[edges["quantity"] == name]) for name in ("sobel", "sobel_zero_mean"))
    strongest = edges[edges["eigenvector"] == edges["eigenvector"].min()]
    share = 100 * strongest.loc[strongest["quantity"] == "share", "value"].mean()
    first = features.excess(strongest[strongest["quantity"] == "sobel"])
    return (
        f"Images filtered by one eigenvector that is not constant correlate with the Sobel magnitude with "
        f"{features.against_random(sobel)}. "
        f"Random filters without their mean, which answer to changes only, reach {balanced['control']:.3f}. "
        f"The strongest of them, with {share:.2g} % of the trace, by itself: {features.against_random(first)}. "
        f"{features.orientation_sentence(rows)}"
    )


judges = features.feature_judges("fig12")
judges("A8")(features.edge_detectors)


FIGURE = FigureSpec(
    title="Figure 12",
    subject="edge detectors of other data sets",
    about="Top eigenvectors of the metric of CNTK-ConvRFM, images of its data set filtered by each, and their correlation with "
    "the Sobel magnitude.",
    judges=judges,
    **features.feature_figure(Fig12, ["cntk"], networks=False, natural=False),
)


@FIGURE.drawn
def draw_figure(job: Job, skipped: Mapping[str, str]) -> Drawn:
    """Give table, picture and caption; data sets that are not there are SKIPPED with the reason."""
    table, sheets = measure_data_sets(
        job, lambda job, run: eigenvectors_on(job, run, "cntk", run.images, source=run.dataset, shown=SHOWN)
    )
    return table, draw(table, sheets, skipped), caption(table, skipped)
