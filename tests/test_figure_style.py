"""Reasons of skipped parts stay within their axes, however long they are; a figure's bytes follow from what it shows."""

from io import BytesIO

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from convrfm.replication.figures.style import REASON_SIZES, draw_skipped, fit_reasons, settle_layout, write_reason

LONG = (
    "SVHN is absent: train_32x32.mat, test_32x32.mat not found in /home/somebody/replication/data/svhn. "
    "`snakemake -c1 download_svhn` fetches it. By hand: put both (see http://ufldl.stanford.edu/housenumbers/) into "
    "/home/somebody/replication/data/svhn, which costs $0 or $1. Or name a filled folder in data_folders."
)


def overhang(figure):
    """Pixels by which reasons stick out of their axes, the most of all sides."""
    figure.draw_without_rendering()
    most = 0
    for axes in figure.axes:
        room = axes.get_window_extent()
        for text in axes.texts:
            taken = text.get_window_extent()
            most = max(most, room.x0 - taken.x0, room.y0 - taken.y0, taken.x1 - room.x1, taken.y1 - room.y1)
    return most


@pytest.mark.parametrize("columns", [1, 2, 4])
def test_a_reason_is_broken_into_lines_that_fit(columns):
    figure = Figure(figsize=(7.2, 2.6), layout="constrained")
    for axes in figure.subplots(1, columns, squeeze=False).flat:
        write_reason(axes, "SVHN", LONG)
    assert overhang(figure) > 50
    fit_reasons(figure)
    assert overhang(figure) == 0
    (text,) = figure.axes[0].texts
    assert "".join(text.get_text().split()) == "".join(f"SKIPPED: {LONG}".replace("$", r"\$").split())


def test_what_fits_in_no_size_is_cut_and_says_so():
    figure = Figure(figsize=(2, 0.9), layout="constrained")
    write_reason(figure.subplots(), "SVHN", LONG)
    fit_reasons(figure)
    assert overhang(figure) == 0
    (text,) = figure.axes[0].texts
    assert text.get_text().startswith("SKIPPED: SVHN")
    assert text.get_text().endswith(" …")
    assert text.get_fontsize() == REASON_SIZES[-1]


def test_nothing_else_is_touched():
    figure = draw_skipped("Figure 5", {"MNIST": "MNIST is absent."})
    other = figure.axes[0].text(0.1, 0.1, LONG, in_layout=False)
    fit_reasons(figure)
    assert other.get_text() == LONG
    assert figure.axes[0].texts[0].get_text() == "SKIPPED: MNIST is absent."


class Shaken(ConstrainedLayoutEngine):
    """Constrained layout with other last digits, as the solver gives them in another process."""

    def __init__(self, seed):
        super().__init__()
        self.rng = np.random.default_rng(seed)

    def execute(self, fig):
        super().execute(fig)
        for part in fig.subfigs:
            part.bbox_relative.set_points(self.shake(part.bbox_relative.get_points()))
        for axes in fig.axes:
            axes._set_position(self.shake(axes.get_position(original=True).bounds), which="original")
        for text in [text for part in (fig, *fig.subfigs) for text in part.texts]:
            text.set_position(self.shake(text.get_position()))

    def shake(self, places):
        return np.asarray(places) + self.rng.choice([-1e-12, 1e-12], size=np.shape(places))


@pytest.mark.parametrize("settled", [False, True])
def test_the_last_digits_of_a_layout_are_in_no_file(settled):
    def drawn(seed):
        figure = Figure(figsize=(7.2, 3.1), layout=Shaken(seed))
        for part in figure.subfigures(1, 2):
            part.suptitle("CIFAR-10", fontsize=8)
            part.subplots().plot([1, 3, 2])
        figure.supxlabel("note")
        if settled:
            settle_layout(figure)
        file = BytesIO()
        figure.savefig(file, format="pdf", metadata={"CreationDate": None})
        return file.getvalue()

    assert (len({drawn(seed) for seed in range(4)}) == 1) == settled
