"""What replaces a figure, or one of its panels, whose data are absent."""

import textwrap
from collections.abc import Callable, Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from convrfm.replication.figures.style import figure_style

__all__ = ["draw_skipped", "skipped_lines", "write_reason"]


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
