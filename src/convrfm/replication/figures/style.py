"""The one style of all figures, and the statistics that they share."""

from collections.abc import Iterator
from contextlib import contextmanager

import matplotlib as mpl
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from scipy import stats

__all__ = ["figure_style", "interval", "letter", "with_interval"]

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


def interval(values: np.ndarray, level: float = 0.95) -> tuple[float, float, float]:
    """Give mean and Student interval of the mean; the interval is NaN for fewer than two values."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return mean, float("nan"), float("nan")
    half = float(stats.t.ppf((1 + level) / 2, len(values) - 1) * stats.sem(values))
    return mean, mean - half, mean + half


def with_interval(mean: float, low: float, high: float, form: str) -> str:
    """Write a number with its interval behind it in brackets, if there is one; all in the same format, such as "+.3f"."""
    return f"{mean:{form}}" if np.isnan(low) else f"{mean:{form}} [{low:{form}}, {high:{form}}]"
