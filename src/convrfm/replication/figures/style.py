"""The one style of all figures, and the statistics that they share."""

from collections.abc import Iterator
from contextlib import contextmanager

import matplotlib as mpl
import seaborn as sns
from matplotlib.axes import Axes

__all__ = ["figure_style", "letter"]

SETTINGS = {
    "axes.labelsize": 8,
    "axes.titlesize": 8.5,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.dpi": 200,
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "legend.fontsize": 7.5,
    "legend.frameon": False,
    "lines.linewidth": 1.4,
    "lines.markersize": 4.5,
    "pdf.fonttype": 42,
    "savefig.bbox": "standard",
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
}


@contextmanager
def figure_style() -> Iterator[None]:
    """Draw in the style of the project; the global settings are put back afterwards."""
    with mpl.rc_context(), sns.axes_style("ticks"):
        mpl.rcParams.update(SETTINGS)
        yield


def letter(axes: Axes, name: str, *, offset: float = -0.14) -> None:
    """Put a panel's letter at its upper left corner."""
    axes.text(offset, 1.06, name, transform=axes.transAxes, fontsize=11, fontweight="bold", va="bottom")
