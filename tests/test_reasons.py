"""Reasons of skipped parts stay within their axes, however long they are and however small the axes."""

import pytest
from matplotlib.figure import Figure

from convrfm.replication.figures.style import REASON_SIZES, draw_skipped, fit_reasons, write_reason

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
