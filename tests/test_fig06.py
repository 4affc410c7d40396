"""Figure 6 from made-up runs with known answers: tables, captions, drawings; and predictors with a single output."""

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.text import Text

from convrfm.errors import InputError
from convrfm.networks.plain_cnn import PlainCNN
from convrfm.numerics.inputs import targets_of
from convrfm.replication.figures import fig06, fig06_pairs
from convrfm.replication.figures.accuracies import ScoredRun, estimate_in
from convrfm.rfm.ridge import accuracy, squared_error
from convrfm.training import TrainingData, TrainingSettings, train

SETTINGS = {"n_train": 50, "n_test": 40}


def kernel_history(scores, validation=None):
    """A history with one ridge: test accuracies by (stage, round)."""
    validation = scores if validation is None else validation
    return pd.DataFrame(
        {"stage": s, "round": t, "ridge": 1e-5, "test_accuracy": value, "validation_accuracy": validation[s, t]}
        for (s, t), value in scores.items()
    )


def network_history(*accuracies):
    frame = pd.DataFrame({"epoch": range(len(accuracies)), "test_accuracy": accuracies})
    return frame.assign(selection_accuracy=frame["test_accuracy"])


def run(experiment, metrics, *, dataset="svhn", classes="all", seed=0, protocol="published", draw=None, correct=None,
        **keys):  # fmt: skip
    task = {"dataset": dataset, "classes": classes} if experiment.startswith("image") else {"task": dataset, **keys}
    keys = {"experiment": experiment, "protocol": protocol, "seed": str(seed), **task}
    return ScoredRun(keys, SETTINGS, metrics, str(seed) if draw is None else draw, correct or {})


def image_sizes(train, test, **keys):
    rows = [("train", label, 5) for label in train] + [("test", label, 5) for label in test]
    found = run("image-prepare", pd.DataFrame(rows, columns=["split", "label", "count"]), **keys)
    return found.keys, found.settings, found.metrics


BEST_OF_ALL_IS_ROUND_0 = {(0, 0): 0.9, (0, 1): 0.5, (0, 2): 0.6, (1, 0): 0.55, (1, 1): 0.7, (2, 0): 0.65, (2, 1): 0.4}


def three_seeds(points, **keys):
    """Runs of three seeds in which ConvRFM, Deep ConvRFM and the network gain this over CNTK, and twice, and thrice it."""
    runs = []
    for seed, shift in enumerate((-0.02, 0.0, 0.02)):
        base = 0.5 + 5 * shift
        history = {(0, 0): base, (0, 1): base + points + shift, (1, 1): base + 2 * points + shift}
        runs.append(run("image-rfm", kernel_history(history), seed=seed, **keys))
        runs.append(run("image-cnn", network_history(0.1, base + 3 * points + shift, 0.2), seed=seed, **keys))
    return runs


def texts(figure):
    return " ".join(text.get_text() for text in figure.findobj(Text))


def test_no_method_takes_a_round_of_its_competitor():
    table = fig06.tidy([run("image-rfm", kernel_history(BEST_OF_ALL_IS_ROUND_0))], [])
    table = table[table["quantity"] == "run"].set_index("method")
    assert table["value"].to_dict() == {
        "CNTK": 0.9, "ConvRFM": 0.6, "Deep ConvRFM": 0.7, "ConvRFM in 2 layers": 0.7, "ConvRFM in 3 layers": 0.4,
    }  # fmt: skip
    assert table.loc["Deep ConvRFM", "stage"] == 1
    layers = table["layers"].dropna().to_dict()
    assert layers == {"CNTK": 0, "ConvRFM": 1, "ConvRFM in 2 layers": 2, "ConvRFM in 3 layers": 3}


def test_the_corrected_protocol_never_looks_at_test_images():
    validation = {(0, 0): 0.5, (0, 1): 0.9, (0, 2): 0.1, (1, 0): 0.3, (1, 1): 0.2, (2, 0): 0.1, (2, 1): 0.8}
    runs = [run("image-rfm", kernel_history(BEST_OF_ALL_IS_ROUND_0, validation), protocol="corrected")]
    table = fig06.tidy(runs, [])
    table = table[table["quantity"] == "run"].set_index("method")
    assert table.loc["ConvRFM", "value"] == 0.5
    assert (table.loc["Deep ConvRFM", "value"], table.loc["Deep ConvRFM", "stage"]) == (0.4, 2)


def test_gains_are_paired_by_draw():
    runs = three_seeds(0.04)
    table = fig06.tidy(runs, [])
    found = estimate_in(table, "ConvRFM", "CNTK")
    # Differences of 2, 4 and 6 points: a standard error of 2 / sqrt(3), and 4.303 of them; unpaired it would be six times that.
    assert found.value == pytest.approx(0.04)
    assert found.high - found.value == pytest.approx(4.3027 * 0.02 / np.sqrt(3), rel=1e-4)
    assert found[3:] == ("draws", 3, 40)
    without = estimate_in(
        fig06.tidy([each for each in runs if "cnn" not in each.keys["experiment"] or each.draw == "0"], []), "CNN", "CNTK"
    )
    assert without.value == pytest.approx(0.10)
    assert np.isnan(without.low)
    assert without.over == ""
    assert estimate_in(table, "SVM", "CNTK") is None


def test_figure_caption_and_what_they_admit():
    runs = [*three_seeds(0.06), *three_seeds(-0.06, dataset="digits")]
    table = fig06.tidy(runs, [image_sizes(range(5), range(43), seed=seed) for seed in range(3)])
    assert table.groupby("task")["stand_in"].first().to_dict() == {"digits": True, "svhn": False}
    skipped = {"cifar10": "CIFAR-10 is absent. It costs $0."}
    caption = fig06.caption(table, ["digits", "svhn"], skipped)
    assert "The training images of SVHN, cropped digits lack 38 of the classes that are tested." in caption
    assert "| SVHN, cropped digits | 50.0 % | 56.0 % | 62.0 % | yes |" in caption
    assert "| Scikit-learn's digits | 50.0 % | 44.0 % | 38.0 % | no |" in caption
    assert "not comparable with the paper" in caption
    assert "**CIFAR-10**: SKIPPED (CIFAR-10 is absent. It costs $0.)" in caption
    drawn = texts(fig06.draw(table, ["digits", "svhn"], skipped)).replace("\n", " ")
    assert "stand-in: scikit-learn digits" in drawn
    assert "SKIPPED: CIFAR-10 is absent" in drawn
    assert "not comparable" not in fig06.caption(table[table["task"] == "svhn"], ["svhn"], {})


def test_one_seed_and_one_stage_have_no_interval_and_no_deep_method():
    history = kernel_history({(0, 0): 0.5, (0, 1): 0.6})
    table = fig06.tidy(
        [run("rfm", history, dataset="bars", sigma="1"), run("cnn", network_history(0, 0.7), dataset="bars")], []
    )
    assert set(table["method"]) == {"CNTK", "ConvRFM", "CNN"}
    caption = fig06.caption(table, ["bars"], {})
    assert "| Noisy bars, sigma = 1 | 50 / 40 | 50.0 % | +10.0 | - | +20.0 |" in caption
    assert "Noisy bars" in texts(fig06.draw(table, ["bars"], {}))


def test_pairs_that_cannot_be_learned_are_left_out():
    runs, counts = [], []
    for pair, points, there in (("0-1", 0.06, (0, 1)), ("0-2", -0.06, (0, 1)), ("1-2", 0.1, (1,))):
        runs += three_seeds(points, dataset="digits", classes=pair)
        counts += [image_sizes(there, (0, 1), dataset="digits", classes=pair, seed=seed) for seed in range(3)]
    table = fig06.tidy(runs, counts)
    found = fig06_pairs.gains(table)
    assert sorted(set(found["classes"])) == ["0-1", "0-2"]
    row = fig06_pairs.summary(table).set_index("method").loc["Deep ConvRFM"]
    assert (row["pairs"], row["above"], row["below"]) == (2, 1, 1)
    # Gains of 12 and -12 points, and of the draws 2 points less, none, and 2 more.
    assert (row["mean"], row["high"]) == (pytest.approx(0, abs=1e-9), pytest.approx(4.3027 * 2 / np.sqrt(3), rel=1e-4))
    caption = fig06_pairs.caption(table, {"dtd": "DTD is absent."})
    assert "1 of 3 pairs are left out" in caption
    assert "SKIPPED (DTD is absent.)" in caption
    drawn = texts(fig06_pairs.draw(table, {"dtd": "DTD is absent."}))
    assert "stand-in: scikit-learn digits" in drawn
    assert "SKIPPED: DTD is absent." in drawn


@pytest.mark.parametrize("others", [[], ["svhn"]])
def test_a_data_set_with_no_pair_that_can_be_learned_says_so(others):
    runs, counts = [], []
    for dataset, there in [("digits", (1,)), *((other, (0, 1)) for other in others)]:
        runs += three_seeds(0.06, dataset=dataset, classes="0-1")
        counts += [image_sizes(there, (0, 1), dataset=dataset, classes="0-1", seed=seed) for seed in range(3)]
    table = fig06.tidy(runs, counts)
    assert "1 of 1 pairs are left out" in fig06_pairs.caption(table, {})
    assert set(fig06_pairs.gains(table)["task"]) == set(others)
    drawn = texts(fig06_pairs.draw(table, {})).replace("\n", " ")
    assert drawn.count("SKIPPED: in every draw, the training images hold one class only") == 1


def test_one_output_decides_at_one_half():
    labels = np.array([0, 1, 1, 0])
    assert targets_of(labels, 1).tolist() == [[0], [1], [1], [0]]
    assert np.array_equal(targets_of(labels, 3), np.eye(3)[labels])
    outputs = np.array([[-0.7], [1.6], [0.4], [0.49]])
    # Rounding, as in the authors' code, would count -0.7 and 1.6 as wrong.
    assert accuracy(outputs, labels) == 0.75
    assert squared_error(outputs, labels) == pytest.approx((0.7**2 + 0.6**2 + 0.6**2 + 0.49**2) / 4)
    with pytest.raises(InputError, match=r"0 \.\.\. 1, but they run from 0 to 2"):
        targets_of(np.array([0, 2]), 1)


def test_a_network_with_one_output_learns_a_pair(rng):
    labels = rng.integers(0, 2, 60)
    images = (rng.normal(0, 0.1, (60, 1, 5, 5)) + labels[:, None, None, None]).astype(np.float32)
    network = PlainCNN((1, 5, 5), 1, width=4, depth=1, generator=torch.Generator().manual_seed(0))
    data = TrainingData(images, labels, {"train": (images, labels), "wrong": (images, 1 - labels)})
    result = train(network, data, TrainingSettings(learning_rate=1e-2, epochs=15, batch_size=10), seed=0)
    last = result.history.iloc[-1]
    assert last["train_accuracy"] == 1
    assert last["wrong_accuracy"] == 0
