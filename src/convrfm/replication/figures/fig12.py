"""Figure 12, edge detectors of CNTK-ConvRFM on other data sets."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure, SubFigure

from convrfm.replication.figures.features import (
    KERNELS,
    Sheet,
    against_random,
    caption_of_data_sets,
    draw_data_sets,
    draw_sheet,
    excess,
    orientation_sentence,
    proper_edges,
)
from convrfm.replication.figures.names import in_sentence, with_stand_ins

__all__ = ["caption", "draw", "edge_sentences"]


def draw(table: pd.DataFrame, sheets: Mapping[str, Sheet], skipped: Mapping[str, str]) -> Figure:
    """Draw the figure.

    Args:
        table: from `convrfm.replication.figures.features.table_of`.
        sheets: of the first seed, by data set.
        skipped: data sets that are not there, with the reason.
    """
    return draw_data_sets(table, sheets, skipped, height=lambda sheet: 1.4 + 1.05 * len(sheet.images), draw=_draw_sheet)


def _draw_sheet(part: SubFigure, sheet: Sheet, rows: pd.DataFrame) -> None:
    """One data set."""
    dataset, kernel = rows["dataset"].iloc[0], rows["kernel"].iloc[0]
    draw_sheet(part, sheet, rows)
    title = f"Eigenvectors of {KERNELS[kernel]} on {in_sentence(dataset)}"
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
    return caption_of_data_sets(name, rest, table, skipped, edge_sentences)


def edge_sentences(rows: pd.DataFrame) -> str:
    """How much images filtered by eigenvectors look like edges, and whether the edges lie as the eigenvectors do.

    Args:
        rows: of the table, of one data set, kernel and source.
    """
    edges = proper_edges(rows)
    if len(edges) == 0:
        return "All top eigenvectors are constant: they find brightness, and no edges."
    sobel, balanced = (excess(edges[edges["quantity"] == name]) for name in ("sobel", "sobel_zero_mean"))
    strongest = edges[edges["eigenvector"] == edges["eigenvector"].min()]
    share = 100 * strongest.loc[strongest["quantity"] == "share", "value"].mean()
    first = excess(strongest[strongest["quantity"] == "sobel"])
    return (
        f"Images filtered by one eigenvector that is not constant correlate with the Sobel magnitude with "
        f"{against_random(sobel)}. "
        f"Random filters without their mean, which answer to changes only, reach {balanced['control']:.3f}. "
        f"The strongest of them, with {share:.2g} % of the trace, by itself: {against_random(first)}. "
        f"{orientation_sentence(rows)}"
    )
