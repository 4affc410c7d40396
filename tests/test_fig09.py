"""Figure 9 from synthetic runs: the averages, the paired differences, what is said of them, and the picture."""

import numpy as np
import pandas as pd
import pytest

from convrfm.replication.figures import fig09

ARCHITECTURES, SIZES = ("vanilla", "Myrtle5", "MyrtleMax"), (3, 5, 7)


def runs(datasets, value, seeds=(0, 1), protocol="published"):
    """Runs whose cosine in layer i is value(dataset, architecture, size, seed) + (i - 1.5) / 100."""
    found = []
    for dataset in datasets:
        for architecture in ARCHITECTURES:
            for size in SIZES:
                for seed in seeds:
                    keys = {
                        "protocol": protocol, "dataset": dataset, "architecture": architecture, "patch_size": str(size),
                        "seed": str(seed),
                    }  # fmt: skip
                    level = value(dataset, architecture, size, seed)
                    record = {"best_epoch_test_accuracy": 0.5, "images_trained_on": 20, "images_tested_on": 10}
                    found.append((keys, record, metrics(level)))
    return found


def metrics(level):
    rows = []
    for when, shift in (("initial", -0.1), ("trained", 0.0)):
        for index in range(4):
            for quantity, offset in (("cosine", 0), ("pearson", -0.05), ("rotated_null", -0.2), ("random_filters", -0.4)):
                for power in (0.5, 1.0):
                    number = level + shift + offset + (index - 1.5) / 100 - (power < 1)
                    rows.append([when, 5, f"features.{index}", index, quantity, power, number, np.nan, np.nan])
    rows.append(["training", 5, None, np.nan, "train_loss", np.nan, 0.3, np.nan, np.nan])
    columns = ["when", "epoch", "layer", "index", "quantity", "power", "value", "low", "high"]
    return pd.DataFrame(rows, columns=columns)


def as_claimed(dataset, architecture, size, seed):
    """Larger patches lower it by 0.02 for each step, maximum pooling raises it by 0.05; data sets and seeds differ."""
    noise = 0.004 * np.sin(7 * len(dataset) + size + 3 * len(architecture)) + 0.001 * seed
    return 0.7 - 0.01 * (size - 3) + 0.05 * (architecture == "MyrtleMax") + 0.01 * len(dataset) + noise


REAL = ("svhn", "cifar10", "emnist-letters", "caltech101")


@pytest.fixture
def table():
    return fig09.tidy(runs(REAL, as_claimed))


def test_the_table_is_tidy(table):
    assert len(table) == len(REAL) * 9 * 2 * 2 * 4 * 4  # data, networks, seeds, when, layers, quantities
    assert not table.duplicated(["dataset", "architecture", "patch_size", "seed", "when", "layer", "quantity"]).any()
    assert table["value"].between(0, 1).all()  # the rows of other powers are left out
    assert not table["stand_in"].any()
    assert set(table["pooling"]) == {"none", "average", "maximum"}
    digits = fig09.tidy(runs(["digits", "svhn"], as_claimed))
    assert digits.groupby("dataset")["stand_in"].all().to_dict() == {"digits": True, "svhn": False}


def test_means_are_over_layers_and_seeds(table):
    means = fig09.of_networks(table, "cosine")
    assert means.shape == (4, 9)
    expected = np.mean([as_claimed("svhn", "Myrtle5", 5, seed) for seed in (0, 1)])
    assert means.loc["svhn", ("Myrtle5", 5)] == pytest.approx(expected)
    before = fig09.of_networks(table, "pearson", "initial")
    assert before.loc["svhn", ("Myrtle5", 5)] == pytest.approx(expected - 0.15)


def test_differences_are_paired_by_data_set(table):
    found = fig09.contrasts(table, "cosine").set_index(["difference", "within"])
    means = fig09.of_networks(table, "cosine")
    row = found.loc[("q = 3 - q = 5", "Myrtle5")]
    differences = (means["Myrtle5", 3] - means["Myrtle5", 5]).to_numpy()
    assert row["mean"] == pytest.approx(differences.mean())
    # Data sets differ by far more than the difference, which pairing takes out.
    assert means["Myrtle5", 3].std() > 0.03
    assert 0 < row["low"] < row["mean"] < row["high"] < 0.04
    assert (row["datasets"], row["agree"]) == (4, 4)
    row = found.loc[("maximum - average", "all")]
    expected = np.mean([means["MyrtleMax", q] - means["Myrtle5", q] for q in SIZES])
    assert row["mean"] == pytest.approx(expected)
    assert len(found) == 2 * 4 + 2 * 4


def test_what_the_caption_says_follows_the_numbers(table):
    text = fig09.caption(table, {})
    row = fig09.contrasts(table, "cosine").set_index(["difference", "within"]).loc[("maximum - average", "all")]
    assert f"| maximum - average | all | {row['mean']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}] |" in text
    assert "not comparable" not in text
    other = fig09.caption(fig09.tidy(runs(REAL, lambda *keys: 1.5 - as_claimed(*keys))), {})
    assert f"| maximum - average | all | {-row['mean']:+.3f} [{-row['high']:+.3f}, {-row['low']:+.3f}] |" in other


def test_the_caption_names_protocol_stand_ins_and_what_is_skipped():
    table = fig09.tidy(runs(["digits", "photograph-patches"], as_claimed, seeds=(0,), protocol="corrected"))
    text = fig09.caption(table, {"pcam": "PatchCamelyon is absent: $ here."})
    assert "protocol: corrected" in text
    assert "without replacement" in text
    assert "on a validation split" in text
    assert "not comparable with the paper" in text
    assert "**PatchCamelyon**: SKIPPED (PatchCamelyon is absent: $ here.)" in text
    assert "with replacement, as in" in fig09.caption(fig09.tidy(runs(["svhn"], as_claimed)), {})


def texts(figure):
    figure.canvas.draw()
    found = [text.get_text() for axes in figure.axes for text in [*axes.texts, axes.title, axes.xaxis.label]]
    return [*found, *(text.get_text() for text in figure.texts), *(t.get_text() for t in figure.legends[0].texts)]


@pytest.mark.parametrize(("datasets", "seeds"), [(REAL, (0, 1)), (("digits", "photograph-patches"), (0,)), (("svhn",), (0,))])
def test_the_picture(datasets, seeds, tmp_path):
    table = fig09.tidy(runs(datasets, as_claimed, seeds))
    figure = fig09.draw(table, {"pcam": "gone", "stl10": "gone"})
    figure.savefig(tmp_path / "figure.png")
    shown = texts(figure)
    assert {"A", "B", "C", "no pooling", "average pooling", "maximum pooling", "before training"} <= set(shown)
    heading = figure.get_suptitle()
    assert ("stand-in data, not the paper's" in heading) == ("digits" in datasets)
    assert "SKIPPED, reasons in the caption: PatchCamelyon, STL-10" in heading


def test_one_architecture_and_one_size_are_enough_for_a_picture(tmp_path):
    chosen = [run for run in runs(["svhn"], as_claimed) if run[0]["architecture"] == "vanilla"]
    table = fig09.tidy([run for run in chosen if run[0]["patch_size"] == "3"])
    assert fig09.contrasts(table, "cosine").empty
    fig09.draw(table, {}).savefig(tmp_path / "figure.png")
    assert "| none | 3x3 |" in fig09.caption(table, {})
