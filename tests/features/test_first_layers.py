"""ConvRFM's metric beside a network's first layer, against training images."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text
from workflow.test_slices import plan_of

from convrfm.errors import ConfigError
from convrfm.numerics.patches import random_metrics
from convrfm.replication.figures.first_layers import QUANTITIES, caption, compare, draw
from convrfm.replication.plan.fits import fit_size
from convrfm.replication.plan.plan import FIGURES, RUNS

SIZE = 3
CHANNELS = 2
DIMENSION = CHANNELS * SIZE**2


def bright(strength):
    """A matrix that sees the mean of each channel and nothing else."""
    vectors = np.kron(np.eye(CHANNELS), np.ones((SIZE**2, 1)))
    return strength * vectors @ vectors.T


def compared(metric, cnfm, rng, draws=50):
    return compare(metric, cnfm, SIZE, draws, rng).set_index("quantity")


def test_equal_matrices_agree_and_rotated_ones_do_not(rng):
    metric = random_metrics(DIMENSION, 1, rng)[0] ** 3
    metric = metric @ metric.T
    found = compared(metric, 5 * metric, rng)
    assert list(found.index) == list(QUANTITIES)
    assert found["value"].to_numpy() == pytest.approx([1, 1])
    assert (found["rotated_high"] < 0.9).all()
    assert (found["rotated_low"] <= found["rotated"]).all()
    assert (found["rotated"] <= found["rotated_high"]).all()


def test_unrelated_matrices_agree_no_more_than_chance(rng):
    """The control of the comparison: a metric that knows nothing of the network lies among its rotations."""
    within = []
    for _ in range(40):
        metric, cnfm = (matrix @ matrix for matrix in random_metrics(DIMENSION, 2, rng))
        row = compared(metric, cnfm, rng).loc["whole"]
        within.append(row["rotated_low"] <= row["value"] <= row["rotated_high"])
    assert np.mean(within) > 0.8


def test_brightness_is_left_out(rng):
    own, other = random_metrics(DIMENSION, 2, rng)
    found = compared(own + bright(100), other + bright(100), rng)["value"]
    assert found["whole"] > 0.99
    assert found["without_means"] < 0.9
    # Against an oracle: the projection written out.
    projection = np.eye(DIMENSION) - np.kron(np.eye(CHANNELS), np.full((SIZE**2, SIZE**2), 1 / SIZE**2))
    flat = [(projection @ matrix @ projection).ravel() for matrix in (own, other)]
    assert found["without_means"] == pytest.approx(np.corrcoef(flat)[0, 1])


def test_the_draws_are_those_of_the_seed():
    metric = random_metrics(DIMENSION, 1, np.random.default_rng(0))[0]
    first, again, other = (compare(metric, metric, SIZE, 5, np.random.default_rng(seed)) for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(first, again)
    assert not first["rotated"].equals(other["rotated"])


def table():
    rows = [
        {
            "dataset": dataset, "stand_in": stand_in, "protocol": "published", "n_train": n, "seed": 0, "quantity": quantity,
            "value": 0.5 + n / 1000, "rotated": 0.1, "rotated_low": -0.2, "rotated_high": 0.4, "random": 0.15,
        }
        for dataset, stand_in in (("cifar10", False), ("street-digits", True))
        for n in (100, 25)
        for quantity in QUANTITIES
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_figure_and_caption_show_the_table():
    skipped = {"svhn": "SVHN is not there."}
    words = [text.get_text() for text in draw(table(), skipped).findobj(Text)]
    assert {"CIFAR-10", "SVHN", "25", "100", "training images"} <= set(words)
    assert any("stand-in" in text for text in words)
    written = caption(table(), skipped)
    assert "| 25 | whole matrices | 0.53 | 0.10 [-0.20, 0.40] | 0.15 |" in written
    assert written.index("| 25 | whole") < written.index("| 100 | whole")
    assert "SVHN**: SKIPPED (SVHN is not there.)" in written
    assert "not comparable with the paper" in written


def test_each_of_many_data_sets_has_its_panel():
    names = ["cifar10", "cifar100", "gtsrb", "mnist", "usps"]
    many = pd.concat([table().query("dataset == 'cifar10'").assign(dataset=name) for name in names])
    words = [text.get_text() for text in draw(many, {}).findobj(Text)]
    assert {"A", "B", "C", "D", "E", "CIFAR-100", "GTSRB", "MNIST", "USPS"} <= set(words)


def test_its_runs_are_those_of_the_section_and_of_figure_10():
    plan = plan_of("quick")
    fits = FIGURES["first_layers"].inputs["fits"](plan, {"protocol": "published"})
    names = [fit.split("/")[-2] for fit in fits]
    assert names == [f"dataset=street-digits,n_train={n},seed=0" for n in (25, 50, 100, 200)]
    # Alike but for the images: the models of Figure 10.
    keys = {"protocol": "published", "dataset": "street-digits", "kernel": "cntk", "n_train": "200", "seed": "0"}
    for own, other in (("sized-features", "features"), ("sized-feature-network", "feature-network")):
        assert RUNS[own].settings(plan, keys) == RUNS[other].settings(plan, keys)
        assert RUNS[own].inputs["images"](plan, keys) == RUNS[other].inputs["images"](plan, keys)
    assert fit_size(plan, "sized-features", {**keys, "n_train": "25"}).n_train == 25


def test_an_unknown_data_set_is_refused():
    with pytest.raises(ConfigError, match=r"first_layers.*datasets"):
        plan_of("quick", overrides={"first_layers": {"datasets": ["svhn"], "n_train": [20]}})
