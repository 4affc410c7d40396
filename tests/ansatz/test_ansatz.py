"""The numbers of the ansatz and their nulls; estimates from blocks."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats
from tolerance import assert_close
from torch import nn

from convrfm.ansatz.agop import measure
from convrfm.ansatz.filter_forms import BlockCorrelation, FilterForm, jackknife, pearson
from convrfm.ansatz.summaries import POWERS, LayerAgop, random_filters, rotated_null, summarise
from convrfm.errors import InputError, ProbeError


def layer_of(rng: np.random.Generator, core: np.ndarray, weight: np.ndarray | None = None) -> LayerAgop:
    filters = len(core)
    weight = rng.standard_normal((1, filters, 18)) if weight is None else weight
    return LayerAgop("conv", weight, core[None, None], np.array([1]), 1, "exact")


def test_cnfm_is_the_filter_covariance():
    convolution = nn.Conv2d(2, 5, 3)
    weight = convolution.weight.detach().numpy()
    assert_close(
        FilterForm.of_filters(weight).dense()[0], weight.reshape(5, -1).astype(float).T @ weight.reshape(5, -1), "exact"
    )


def test_an_agop_that_follows_the_ansatz_correlates_fully(rng):
    found = layer_of(rng, 3 * np.eye(6))
    assert found.correlation().value == pytest.approx(1)
    assert rotated_null(found, seed=0).value == pytest.approx(1)  # the identity has no eigenvectors to turn


def test_the_rotated_null_keeps_the_spectrum_and_loses_the_directions(rng):
    # Filters of very different sizes, and an AGOP that favours the small ones.
    sizes = np.geomspace(1, 0.1, 8)
    weight = np.linalg.qr(rng.standard_normal((18, 8)))[0].T[None] * sizes[:, None]
    aligned, opposed = layer_of(rng, np.diag(sizes**2), weight), layer_of(rng, np.diag(sizes[::-1] ** 4), weight)
    null = rotated_null(aligned, seed=0)
    assert aligned.correlation().value > null.high
    assert opposed.correlation().value < rotated_null(opposed, seed=0).low
    assert null.low < null.value < null.high
    assert rotated_null(aligned, seed=0) == null
    assert rotated_null(aligned, seed=1) != null


def test_the_nulls_are_freed_of_the_noise_of_probes():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 24, 3), nn.Tanh(), nn.AvgPool2d(6), nn.Flatten(), nn.Linear(24, 200)).eval()
    image = torch.randn(1, 1, 8, 8)
    exact = measure(model, image)["0"]
    probed = [measure(model, image, "probe", probes=24, blocks=24, seed=seed)["0"] for seed in range(20)]
    for null in (rotated_null, random_filters):
        truth = null(exact, seed=0).value
        corrected = np.mean([null(layer, seed=0).value for layer in probed]) - truth
        plain = np.mean([null(replace(layer, mode="exact"), seed=0).value for layer in probed]) - truth
        assert plain < -0.02  # noise lowers it
        assert abs(corrected) < 0.5 * abs(plain)


def test_rotations_are_orthogonal_and_uniform():
    from convrfm.ansatz.summaries import random_rotations

    turned = random_rotations(np.random.default_rng(0), 2000, 3)
    assert_close(turned @ turned.transpose(0, 2, 1), np.broadcast_to(np.eye(3), turned.shape), "smooth")
    # The first entry of a uniform direction in three dimensions is uniform in [-1, 1] (Archimedes).
    assert stats.kstest(turned[:, 0, 0], stats.uniform(-1, 2).cdf).pvalue > 0.01
    assert np.linalg.det(turned).min() < 0 < np.linalg.det(turned).max()


def test_random_filters_share_nothing(rng):
    core = np.diag(np.geomspace(1, 1e-3, 6))
    found = random_filters(layer_of(rng, core), seed=0)
    assert found.value < 0.7


def test_summary_of_a_network():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 6, 3, groups=2), nn.ReLU(), nn.Flatten(), nn.Linear(96, 3)
    ).eval()
    initial = {name: value.numpy().copy() for name, value in model.state_dict().items()}
    with torch.no_grad():
        model[0].weight.mul_(2)
        model[2].weight.add_(torch.randn(model[2].weight.shape))
    layers = measure(model, torch.randn(9, 1, 8, 8), blocks=3)
    table = summarise(layers, initial=initial, seed=0)
    assert list(table.columns) == [
        "layer", "index", "filters", "dimension", "groups", "quantity", "power", "value", "standard_error", "low", "high"
    ]  # fmt: skip
    assert set(table["layer"]) == {"0", "2"}
    row = table.set_index(["layer", "quantity", "power"]).sort_index()
    assert sorted(row.loc["2", "pearson"].index) == sorted(POWERS)
    assert row.loc[("0", "initial_cnfm", 1.0), "value"] == pytest.approx(1)  # a factor does not matter
    assert row.loc[("2", "initial_cnfm", 1.0), "value"] == pytest.approx(
        pearson(FilterForm.of_filters(initial["2.weight"], 2), layers["2"].cnfm)
    )
    assert row.loc[("2", "initial_cnfm", 1.0), "value"] < 0.95
    for layer, found in layers.items():
        number = row.loc[(layer, "pearson", 1.0)]
        assert number["value"] == pytest.approx(pearson(found.cnfm, found.agop))
        assert number["low"] < number["value"] < number["high"]
        half = row.loc[(layer, "pearson", 0.5)]
        assert half["value"] == pytest.approx(pearson(found.cnfm.dense(), found.agop.power(0.5).dense()))
        assert np.isfinite(half["standard_error"])
    assert row.loc[("2", "pearson", 1.0), "groups"] == 2
    with pytest.raises(InputError, match=r"lack '0\.weight'"):
        summarise(layers, initial={}, seed=0)


def test_jackknife_of_a_mean_is_the_standard_error():
    values = np.random.default_rng(0).standard_normal(7)
    found = jackknife(values.mean(), [np.delete(values, i).mean() for i in range(7)])
    assert found.standard_error == pytest.approx(stats.sem(values))
    low, high = stats.t.interval(0.95, 6, values.mean(), stats.sem(values))
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))
    assert np.isnan(jackknife(1.0, []).standard_error)


def noisy_blocks(rng: np.random.Generator, blocks: int, noise: float) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """A fixed matrix, a true one, and noisy estimates of it."""
    fixed = rng.standard_normal((10, 10))
    truth = fixed + 0.5 * rng.standard_normal((10, 10))
    return fixed, truth, [truth + noise * rng.standard_normal((10, 10)) for _ in range(blocks)]


def test_intervals_hold_the_truth_as_often_as_they_say():
    rng, hits, low = np.random.default_rng(0), 0, 0
    for _ in range(200):
        fixed, truth, blocks = noisy_blocks(rng, 8, 2.0)
        counts, exact = np.ones(8), pearson(fixed, truth)
        found = BlockCorrelation(fixed, blocks, counts, noisy=True).estimate()
        hits += found.low <= exact <= found.high
        low += BlockCorrelation(fixed, blocks, counts, noisy=False).value() < exact
    assert 175 <= hits <= 199
    assert low > 190  # without the correction the noise lowers nearly every correlation


def test_blocks_may_be_empty_or_of_different_sizes(rng):
    fixed, _, blocks = noisy_blocks(rng, 4, 0.1)
    units = np.array([1, 3, 0, 2])
    sums = [count * block for count, block in zip(units, blocks, strict=True)]
    mean = sum(sums) / units.sum()
    assert BlockCorrelation(fixed, sums, units, noisy=False).value() == pytest.approx(pearson(fixed, mean))
    for noisy in (False, True):
        scaled = BlockCorrelation(fixed, [7 * part for part in sums], units, noisy=noisy).estimate()
        assert scaled == pytest.approx(BlockCorrelation(fixed, sums, units, noisy=noisy).estimate())


def test_too_few_probes_are_refused(rng):
    fixed, _, blocks = noisy_blocks(rng, 2, 0.1)
    with pytest.raises(ProbeError, match="two blocks"):
        BlockCorrelation(fixed, blocks[:1], np.ones(1), noisy=True)
    with pytest.raises(ProbeError, match="exceeds the AGOP"):
        BlockCorrelation(fixed, [blocks[0], -blocks[0]], np.ones(2), noisy=True).value()
    assert np.isnan(BlockCorrelation(fixed, blocks, np.ones(2), noisy=True).estimate().standard_error)


def test_probe_mode_of_a_network_through_the_summary():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 6, 3), nn.Tanh(), nn.Flatten(), nn.Linear(216, 40)).eval()
    images = torch.randn(4, 1, 8, 8)
    exact = summarise(measure(model, images), seed=0).set_index(["quantity", "power"]).sort_index()
    probed = summarise(measure(model, images, "probe", probes=64), seed=0).set_index(["quantity", "power"]).sort_index()
    for quantity in ("pearson", "cosine", "off_diagonal"):
        number = probed.loc[(quantity, 1.0)]
        assert abs(number["value"] - exact.loc[(quantity, 1.0), "value"]) < 5 * number["standard_error"]
    assert probed.loc[("pearson", 0.5), ["low", "high"]].isna().all()
