"""How figures look, what they call data sets, tasks and their stand-ins, and what replaces panels whose data are absent."""

import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import product
from string import ascii_uppercase

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from numpy.typing import ArrayLike

from convrfm.datasets.registry import find_entry

__all__ = [
    "LETTERS", "STAND_INS", "bare", "draw_skipped", "figure_style", "fit_reasons", "in_sentence", "is_stand_in", "letter",
    "palette", "reservation", "settle_layout", "short_title", "show_picture", "skipped_lines", "stand_in_note", "star",
    "starred_note", "starred_reservation", "title", "with_stand_ins", "write_reason",
]  # fmt: skip

LETTERS = (*ascii_uppercase, *map("".join, product(ascii_uppercase, repeat=2)))
"""Names of panels: A to Z, then AA to ZZ."""

REASON = "reason"
"""Marks the text of a skipped part among those of its axes."""

REASON_SIZES = (7.0, 6.0, 5.0)
"""Points, best first."""

INNER = 0.94
"""Share of each side of its axes that a reason may take."""

SETTINGS = {
    "axes.labelsize": 8,
    "axes.titlesize": 8.5,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.dpi": 200,
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "grid.alpha": 0.6,
    "grid.linewidth": 0.4,
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


def show_picture(axes: Axes, picture: np.ndarray) -> None:
    """Show a picture `(height, width)` from its smallest to its largest value, or an image `(height, width, 3)` in [0, 1]."""
    axes.imshow(picture, cmap="viridis", interpolation="nearest")
    bare(axes)


def letter(axes: Axes, name: str, *, offset: float = -0.14) -> None:
    """Put a panel's letter at its upper left corner."""
    axes.text(offset, 1.06, name, transform=axes.transAxes, fontsize=11, fontweight="bold", va="bottom")


def write_reason(axes: Axes, title: str, reason: str) -> None:
    """Write SKIPPED and the reason into empty axes; `fit_reasons` breaks it into lines."""
    axes.set(xticks=[], yticks=[])
    axes.set_title(title)
    # A dollar sign would start a formula. The text has no say in the layout: it is fitted into what the others leave.
    text = f"SKIPPED: {reason}".replace("$", r"\$")
    axes.text(0.5, 0.5, text, ha="center", va="center", transform=axes.transAxes, gid=REASON).set_in_layout(False)


def settle_layout(figure: Figure) -> None:
    """Let the figure's layout engine place everything once, and keep that, rounded.

    The last digits of the constraint solver's positions depend on addresses in memory: 0 may be -0, and a PDF shows it.
    """
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for part in figure.subfigs:
        part.bbox_relative.set_points(_rounded(part.bbox_relative.get_points()))
    for axes in figure.axes:
        axes.set_position(Bbox(_rounded(axes.get_position(original=True).get_points())), which="original")
    for text in [text for part in (figure, *figure.subfigs) for text in part.texts]:
        x, y = _rounded(text.get_position())
        text.set_position((x, y))


def _rounded(places: ArrayLike) -> np.ndarray:
    """Shares of a figure, to a millionth; -0 becomes 0."""
    return np.round(np.asarray(places), 6) + 0.0


def fit_reasons(figure: Figure) -> None:
    """Break the reasons of skipped parts into lines, in the largest font in which they stay within their axes.

    In the smallest one, what is too long ends with an ellipsis: the caption has it whole.
    """
    texts = [(axes, text) for axes in figure.axes for text in axes.texts if text.get_gid() == REASON]
    if not texts:
        return
    figure.draw_without_rendering()
    for axes, text in texts:
        room, whole = axes.get_window_extent(), text.get_text()
        for size in REASON_SIZES:
            text.set_fontsize(size)
            _wrap(text, whole, INNER * room.width)
            if text.get_window_extent().height <= INNER * room.height:
                break
        while text.get_window_extent().height > INNER * room.height and "\n" in text.get_text():
            text.set_text(text.get_text().rpartition("\n")[0].rstrip(" .…") + " …")


def _wrap(text: Text, whole: str, width: float) -> None:
    """Break a text into the longest lines of at most `width` pixels."""
    for characters in range(min(len(whole), 160), 7, -1):
        text.set_text(textwrap.fill(whole, characters))
        if text.get_window_extent().width <= width:
            break


def skipped_lines(skipped: Mapping[str, str], title: Callable[[str], str]) -> list[str]:
    """Lines of a caption on the parts of a figure that are not there, with the reasons, each behind an empty line."""
    return [f"\n**{title(part)}**: SKIPPED ({reason})" for part, reason in skipped.items()]


def markdown_table(header: Iterable[object], rows: Iterable[Iterable[object]]) -> list[str]:
    """Lines of a table in Markdown, from the cells of its header and of its rows."""
    titles = list(header)
    head, *lines = (f"| {' | '.join(map(str, cells))} |" for cells in (titles, *rows))
    return [head, "|" + "---|" * len(titles), *lines]


def draw_skipped(title: str, skipped: Mapping[str, str]) -> Figure:
    """Draw a figure that says why there is none: the reasons, by its part, below a title such as "Figure 5"."""
    with figure_style():
        figure = Figure(figsize=(7.2, 1.6 * len(skipped) + 0.6), layout="constrained")
        figure.suptitle(f"{title}: SKIPPED")
        for axes, (part, reason) in zip(figure.subplots(len(skipped), 1, squeeze=False)[:, 0], skipped.items(), strict=True):
            write_reason(axes, part, reason)
    return figure


LEAST_FOR_INTERVALS = 3
"""Values from which on intervals are drawn; Student's for two would cover the whole panel."""

STAND_INS = {
    "digits": "scikit-learn digits, not data of the paper",
    "noisy-digits": "scikit-learn digits, not MNIST",
    "street-digits": "scikit-learn digits in random greys, not SVHN or CIFAR-10",
    "photograph-patches": "patches of two photographs, not CIFAR-10 or GTSRB",
    "photographs": "two photographs, not ImageNet",
}
"""Data sets and tasks that stand in for the paper's, with what the figures say of them."""

SHORT = {"digits": "digits", "photographs": "photographs", "photograph-patches": "photograph patches"}
"""Short names of those whose titles are long without a comma."""


def title(dataset: str) -> str:
    """The name of a data set or task in full, with a capital: "Noisy bars", "SVHN, cropped digits".

    Raises:
        DataError: there is no such data set; also from the functions below.
    """
    return _with_capital(find_entry(dataset).title)


def in_sentence(dataset: str) -> str:
    """Its short name within a sentence: "noisy bars", "SVHN"."""
    return SHORT.get(dataset) or find_entry(dataset).title.partition(",")[0]


def short_title(dataset: str) -> str:
    """Its short name, for labels: "Noisy bars", "SVHN"."""
    return _with_capital(in_sentence(dataset))


def _with_capital(name: str) -> str:
    return name[0].upper() + name[1:]


def is_stand_in(dataset: str) -> bool:
    """Whether a data set or task is not the paper's."""
    return dataset in STAND_INS


def stand_in_note(datasets: Iterable[str]) -> str:
    """What the face of a figure says of those that stand in for others; empty where there is none."""
    found = list(dict.fromkeys(STAND_INS[name] for name in datasets if name in STAND_INS))
    return f"stand-in{'s' * (len(found) > 1)}: {'; '.join(found)}" if found else ""


def with_stand_ins(heading: str, datasets: Iterable[str], *, separator: str = " ", width: int | None = None) -> str:
    """A heading, with what stands in for other data behind it in parentheses, in lines of at most `width` letters."""
    note = f"({stand_in_note(datasets)})"
    return heading if note == "()" else f"{heading}{separator}{textwrap.fill(note, width) if width else note}"


def reservation(dataset: str) -> str:
    """What a caption puts behind the name of a stand-in; empty for the paper's own."""
    return f" ({stand_in_note([dataset])}: not comparable with the paper)" if is_stand_in(dataset) else ""


def star(dataset: str) -> str:
    """What stands behind the name of a stand-in on a figure that has a `starred_note`; empty for the paper's own."""
    return " *" if is_stand_in(dataset) else ""


def starred_note(datasets: Iterable[str]) -> str:
    """What the face of a figure says of stand-ins that have a star there; empty without any."""
    note = stand_in_note(datasets)
    return f"* {note}" if note else ""


def starred_reservation(datasets: Iterable[str]) -> list[str]:
    """The paragraph of its caption on them, in Markdown, behind an empty line."""
    note = starred_note(datasets)
    return ["", f"\\{note}: not comparable with the paper."] if note else []
