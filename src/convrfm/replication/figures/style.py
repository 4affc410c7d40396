"""The one style of all figures, and what replaces figures and panels whose data are absent."""

import textwrap
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

__all__ = ["bare", "draw_skipped", "figure_style", "letter", "palette", "skipped_lines", "write_reason"]


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
    # Seaborn imports SciPy's statistics, which takes most of a second, and who plans the figures draws none; also below.
    import seaborn as sns

    with mpl.rc_context(), sns.axes_style("ticks"):
        mpl.rcParams.update(SETTINGS)
        yield


def palette(name: str, count: int) -> list[tuple[float, float, float]]:
    """The first colours of one of Seaborn's palettes, such as "colorblind"."""
    import seaborn as sns

    return list(sns.color_palette(name, count))


def bare(axes: Axes) -> None:
    """Take ticks and frame away, as around a picture."""
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def letter(axes: Axes, name: str, *, offset: float = -0.14) -> None:
    """Put a panel's letter at its upper left corner."""
    axes.text(offset, 1.06, name, transform=axes.transAxes, fontsize=11, fontweight="bold", va="bottom")


def write_reason(axes: Axes, title: str, reason: str, *, width: int) -> None:
    """Write SKIPPED and the reason into empty axes, in lines of at most `width` characters."""
    axes.set(xticks=[], yticks=[])
    axes.set_title(title)
    text = textwrap.fill(f"SKIPPED: {reason}", width, break_long_words=True)
    # A dollar sign would start a formula.
    axes.text(0.5, 0.5, text.replace("$", r"\$"), ha="center", va="center", fontsize=7, transform=axes.transAxes)


def skipped_lines(skipped: Mapping[str, str], title: Callable[[str], str]) -> list[str]:
    """Lines of a caption in Markdown on the parts of a figure that are not there, each behind an empty line.

    Args:
        skipped: reasons, by the part of the figure.
        title: gives the name of a part in figures.
    """
    return [f"\n**{title(part)}**: SKIPPED ({reason})" for part, reason in skipped.items()]


def draw_skipped(title: str, skipped: Mapping[str, str]) -> Figure:
    """Draw a figure that says why there is none.

    Args:
        title: such as "Figure 5".
        skipped: reasons, by the part of the figure.
    """
    with figure_style():
        figure = Figure(figsize=(7.2, 1.6 * len(skipped) + 0.6), layout="constrained")
        figure.suptitle(f"{title}: SKIPPED")
        for axes, (part, reason) in zip(figure.subplots(len(skipped), 1, squeeze=False)[:, 0], skipped.items(), strict=True):
            write_reason(axes, part, reason, width=110)
    return figure
