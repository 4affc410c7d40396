"""Figure 11, edges that the eigenvectors of Laplace-ConvRFM pick in natural images."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure

from convrfm.replication.figures.features import (
    KERNELS,
    Sheet,
    draw_sheet,
    first_seed,
    headline,
    notes,
)
from convrfm.replication.figures.fig12 import edge_sentences
from convrfm.replication.figures.names import in_sentence, with_stand_ins
from convrfm.replication.figures.style import figure_style

__all__ = ["caption", "draw"]


def draw(table: pd.DataFrame, sheet: Sheet) -> Figure:
    """Draw the figure.

    Args:
        table: from `convrfm.replication.figures.features.table_of`, of one data set.
        sheet: of the first seed.
    """
    first = first_seed(table)
    dataset, source, kernel = (first[name].iloc[0] for name in ("dataset", "source", "kernel"))
    with figure_style():
        figure = Figure(figsize=(7.2, 1.3 + 1.12 * len(sheet.images)), layout="constrained")
        draw_sheet(figure, sheet, first)
        title = (
            f"Eigenvectors of {KERNELS[kernel]} on {in_sentence(dataset)}, and {in_sentence(source)} filtered by each"
        )
        figure.suptitle(with_stand_ins(title, [dataset, source], separator="\n"), fontsize=8)
    return figure


def caption(table: pd.DataFrame, skipped: Mapping[str, str]) -> str:
    """Write the caption in Markdown; every number in it is computed from the table. Arguments as for `draw`."""
    kernel, dataset, source = (table[name].iloc[0] for name in ("kernel", "dataset", "source"))
    rest = (
        f"Top eigenvectors u of the metric of {KERNELS[kernel]} ({table['patch_size'].iloc[0]} pixels wide) on "
        f"{in_sentence(dataset)}, and {in_sentence(source)} with every pixel replaced by |u u^T x|, x the patch around it. "
        "Under an eigenvector: the orientation of the edge it looks like, by its structure tensor, and that of the edges it "
        "responds to; 90 degrees is upright. Under a picture: the Pearson correlation of its pixels with the Sobel "
        "magnitude, and that of random filters."
    )
    opening = headline("Figure 11, edges that eigenvectors pick in natural images", rest, table)
    return "\n\n".join([opening, edge_sentences(table), *notes(table, skipped)]) + "\n"
