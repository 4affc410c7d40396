"""Figure 8: its table, what is drawn, and the numbers of its caption, on runs that were made up."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from matplotlib.table import Table
from matplotlib.text import Text

from convrfm.replication.claims.evidence import interval
from convrfm.replication.figures import fig08

REASON = "ImageNet32 is absent: train_data_batch_1 is not in the folder."


def made_up(dataset, seed, protocol="published", divisor=1, last=540, layers=13, draw=0):
    """A training and a measurement whose numbers are known: 0.90 + 0.001 layer + 0.01 seed after training."""
    keys = {"protocol": protocol, "dataset": dataset, "seed": str(seed)}
    settings = {"network": {"width_divisor": divisor}, "n_train": 600, "n_test": 300}
    history = pd.DataFrame(
        {
            "epoch": [0, 1, 10, last],
            "train_loss": [np.nan, 2.0, 1.0, 0.1],
            "test_accuracy": [0.1, 0.5, 0.96 + 0.01 * seed, 0.95 + 0.01 * seed],
        }
    )
    rows = []
    for index in range(layers):
        shared = {"layer": f"features.{3 * index}", "index": index, "filters": 64, "dimension": 27, "groups": 1}
        error = {"standard_error": 0.01, "low": -0.02, "high": 0.02}

        def row(epoch, quantity, power, value, shared=shared, error=error):
            around = {key: value + shift if key != "standard_error" else shift for key, shift in error.items()}
            return {**shared, "epoch": epoch, "quantity": quantity, "power": power, "value": value, **around}

        rows += [row(0, "pearson", 1.0, 0.4), row(1, "pearson", 1.0, 0.6)]
        trained = 0.9 + 0.001 * index + 0.01 * seed
        rows += [row(last, "pearson", 1.0, trained), row(last, "pearson", 0.5, 0.1), row(last, "cosine", 1.0, 0.99)]
        rows += [row(last, "rotated_null", 1.0, 0.7), row(last, "initial_cnfm", 1.0, 0.2)]
    measured = {**settings, "images": 40, "mode": "exact"}
    images = {"inputs": {"images/0": {"sha256": f"{draw:064x}"[::-1]}}}
    return [
        ({"experiment": "simplenet", **keys}, {"settings": settings, **images}, history),
        ({"experiment": "simplenet-ansatz", **keys}, {"settings": measured, **images}, pd.DataFrame(rows)),
    ]


def all_texts(figure):
    cells = [cell.get_text() for table in figure.findobj(Table) for cell in table.get_celld().values()]
    return [text.get_text() for text in [*figure.findobj(Text), *cells]]


def values(table, **wanted):
    chosen = table
    for name, value in wanted.items():
        chosen = chosen[chosen[name] == value]
    return chosen["value"].to_numpy()


def test_the_table_is_tidy():
    table = fig08.tidy(made_up("svhn", 0) + made_up("digits", 0, divisor=8) + made_up("cifar10", 0))
    assert list(dict.fromkeys(table["dataset"])) == ["cifar10", "svhn", "digits"]  # the order of the paper
    assert table.groupby("dataset")["stand_in"].first().to_dict() == {"cifar10": False, "svhn": False, "digits": True}
    assert set(table["agop_images"]) == {40}  # in the rows of the trainings as well
    assert not table.duplicated(["dataset", "seed", "epoch", "layer", "quantity", "power"]).any()
    svhn = table[table["dataset"] == "svhn"]
    assert values(svhn, panel="B", epoch=540) == pytest.approx([0.906])
    assert values(svhn, panel="B", epoch=0) == pytest.approx([0.4])
    assert values(svhn, quantity="mean_rotated_null") == pytest.approx([0.7])
    assert values(svhn, quantity="mean_initial_cnfm") == pytest.approx([0.2])
    # Other powers are in the table and in no mean.
    assert len(svhn[(svhn["quantity"] == "pearson") & (svhn["power"] == 0.5)]) == 13


def test_a_narrow_network_is_a_stand_in_whatever_the_data():
    assert fig08.tidy(made_up("svhn", 0, divisor=4))["stand_in"].all()


@pytest.mark.parametrize(("protocol", "accuracy", "epoch"), [("published", 0.96, 10), ("corrected", 0.95, 540)])
def test_the_protocol_chooses_the_epoch(protocol, accuracy, epoch):
    table = fig08.tidy(made_up("cifar10", 0, protocol))
    row = table[table["quantity"] == "test_accuracy"].iloc[0]
    assert (row["value"], row["epoch"]) == (accuracy, epoch)
    assert values(table, quantity="last_test_accuracy") == [0.95]
    assert values(table, quantity="published_test_accuracy") == [0.953]
    assert len(values(fig08.tidy(made_up("gtsrb", 0)), quantity="published_test_accuracy")) == 0


def test_epochs_without_a_measurement_count_for_nothing():
    runs = made_up("cifar10", 0)
    runs[0][2].loc[2, "test_accuracy"] = np.nan
    assert values(fig08.tidy(runs), quantity="test_accuracy") == [0.95]


def test_bars_are_over_seeds_where_there_are_several():
    one = fig08.tidy(made_up("svhn", 0))
    bar = fig08._bars(one)["trained"]
    assert (bar.value[3], bar.low[3], bar.high[3]) == pytest.approx((0.903, 0.883, 0.923))
    three = fig08.tidy([run for seed in range(3) for run in made_up("svhn", seed)])
    bar = fig08._bars(three)["trained"]
    assert (bar.value[3], bar.low[3], bar.high[3]) == pytest.approx(interval(np.array([0.903, 0.913, 0.923])))


def test_the_caption_computes_its_numbers():
    runs = [run for seed in range(3) for run in made_up("svhn", seed)]
    text = fig08.caption(fig08.tidy(runs + made_up("digits", 0, divisor=8)), {"imagenet32": REASON})
    mean, low, high = interval(np.array([0.906, 0.916, 0.926]))
    assert f"after training: {mean:.3f} [{low:.3f}, {high:.3f}]" in text
    assert f"exceeds the initial value by {mean - 0.4:.3f}" in text
    assert "3 initialisations on the same images" in text
    others = [run for seed in range(3) for run in made_up("svhn", seed, draw=seed)]
    assert "3 initialisations each on another draw of images" in fig08.caption(fig08.tidy(others), {})
    assert "13 of 13 layers exceed their initial value" in text
    assert "After epoch 1 the mean is 0.600" in text
    assert (
        "(stand-in: scikit-learn digits, not data of the paper, SimpleNet narrowed 8 times: not comparable with the paper)"
        in text
    )
    assert f"**ImageNet32**: SKIPPED ({REASON})" in text
    assert "| SVHN | 97.0 [94.5, 99.5] | 96.0 [93.5, 98.5] | 98.2 |" in text
    assert "the best on the test images" in text
    assert "nan" not in text


def test_the_figure_says_what_it_stands_on():
    figure = fig08.draw(fig08.tidy(made_up("digits", 0, divisor=8, last=16)), {"imagenet32": REASON})
    texts = " ".join(all_texts(figure))
    assert "stand-in: scikit-learn digits, not data of the paper, SimpleNet narrowed 8 times" in texts.replace("\n", " ")
    assert "SKIPPED" in texts
    for letter in "ABC":
        assert letter in all_texts(figure)
    real = " ".join(all_texts(fig08.draw(fig08.tidy(made_up("cifar10", 0)), {})))
    assert "stand-in" not in real
    assert "95.3" in real


def test_bars_have_the_heights_of_the_table():
    figure = fig08.draw(fig08.tidy(made_up("svhn", 0)), {})
    heights = [patch.get_height() for axes in figure.axes for patch in axes.patches]
    assert heights[:13] == pytest.approx([0.9 + 0.001 * index for index in range(13)])
    assert heights[13:26] == pytest.approx([0.4] * 13)
    assert heights[26:39] == pytest.approx([0.7] * 13)


def test_networks_of_two_widths_have_panels_of_their_own():
    """A narrow network of a data set counts as a stand-in, and takes nothing away from the one at full width."""
    whole = fig08.tidy(made_up("cifar10", 0, last=20) + made_up("cifar10", 1, last=20))
    table = fig08.tidy(made_up("cifar10", 0, divisor=4) + made_up("cifar10", 0, last=20) + made_up("cifar10", 1, last=20))
    assert table.groupby("width_divisor")["stand_in"].unique().map(list).to_dict() == {1: [False], 4: [True]}
    pd.testing.assert_frame_equal(table[table["width_divisor"] == 1].reset_index(drop=True), whole)
    texts = all_texts(fig08.draw(table, {}))
    narrow = "CIFAR-10, width 1/4"
    assert {"CIFAR-10", narrow, f"{narrow} (stand-in: SimpleNet narrowed 4 times)"} <= {
        " ".join(text.split()) for text in texts
    }
    text = fig08.caption(table, {})
    assert "**CIFAR-10**: 600 training images, 20 epochs, 2 initialisations" in text
    assert (
        f"**{narrow}** (stand-in: SimpleNet narrowed 4 times: not comparable with the paper): 600 training images, 540" in text
    )
    assert "| CIFAR-10 | 96.0, 97.0 |" in text
    assert f"| {narrow} | 96.0 |" in text


def test_correlations_that_are_not_defined_are_said_to_be_none():
    """Of a layer with one filter of one channel there is no correlation, and none of the mean over layers."""
    table = fig08.tidy(made_up("cifar10", 0, divisor=64))
    table.loc[
        table["quantity"].isin(["pearson", "mean_pearson", "rotated_null", "mean_rotated_null"]), ["value", "low", "high"]
    ] = np.nan
    assert "Mean over the layers after training: nan" in fig08.caption(table, {})
    fig08.draw(table, {})


def test_wide_intervals_of_accuracies_do_not_overlap():
    runs = [run for seed in range(3) for run in made_up("gtsrb", seed)]
    for seed, (_, _, history) in enumerate(runs[::2]):
        history["test_accuracy"] = 0.3 + 0.1 * seed
    figure = fig08.draw(fig08.tidy(runs), {})
    figure.draw_without_rendering()
    (drawn,) = figure.findobj(Table)
    cells = drawn.get_celld()
    assert "[15.2, 64.8]" in cells[1, 1].get_text().get_text()
    for row in (0, 1):
        ends = [cells[row, column].get_text().get_window_extent() for column in range(4)]
        assert all(left.x1 < right.x0 for left, right in pairwise(ends))
