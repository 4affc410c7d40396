"""Means over layers: against the plain mean, the textbook jackknife, and what they must refuse."""

from dataclasses import replace

import numpy as np
import pytest

from convrfm.ansatz.filter_forms import pearson
from convrfm.ansatz.summaries import LayerAgop, growth, mean_correlation, mean_gain
from convrfm.errors import InputError


def layer(rng, *, mode="exact", blocks=5, filters=4, dimension=9, name="conv"):
    roots = rng.standard_normal((blocks, 1, filters, 7))
    counts = np.full(blocks, 3)
    return LayerAgop(name, rng.standard_normal((1, filters, dimension)), roots @ roots.transpose(0, 1, 3, 2), counts, 15, mode)


def by_hand(layers, chosen):
    """From the dense matrices."""
    found = []
    for one in layers:
        weight, core = one.weight[0], one.sums[chosen, 0].sum(axis=0)
        found.append(np.corrcoef((weight.T @ weight).ravel(), (weight.T @ core @ weight).ravel())[0, 1])
    return np.mean(found)


def test_the_mean_and_its_jackknife(rng):
    layers = [layer(rng), layer(rng, filters=6), layer(rng, dimension=12)]
    found = mean_correlation(layers)
    everything = np.arange(5)
    assert found.value == pytest.approx(by_hand(layers, everything), rel=1e-9)
    without = np.array([by_hand(layers, np.delete(everything, i)) for i in everything])
    error = np.sqrt(4 / 5 * ((without - without.mean()) ** 2).sum())
    assert found.standard_error == pytest.approx(error, rel=1e-6)
    assert found.high - found.value == pytest.approx(2.7764 * error, rel=1e-4)  # Student, 4 degrees of freedom


def test_one_layer_has_the_interval_of_its_own_correlation(rng):
    for mode in ("exact", "probe"):
        one = replace(layer(rng), mode=mode)
        assert mean_correlation([one]) == pytest.approx(one.correlation(), rel=1e-9)


def test_a_gain_is_paired(rng):
    """Parts of which some are easy and some hard make both means unsure, and their difference not."""
    trained = layer(rng)
    against = replace(trained, sums=trained.sums * 2)
    gain = mean_gain([trained], [against])
    assert mean_correlation([trained]).standard_error > 1e-3
    assert gain.value == pytest.approx(0, abs=1e-12)
    assert gain.standard_error < 1e-12
    other = mean_gain([trained], [layer(rng)])
    assert other.standard_error > 1e-3


def test_a_gain_takes_as_many_passes_of_probes_as_each_network_needs(rng):
    """With a tolerance, a trained network takes other numbers of probes than a fresh one; blocks of probes are independent."""
    trained, against = (replace(layer(rng), mode="probe") for _ in range(2))
    same = mean_gain([trained], [against])
    longer = replace(trained, sums=trained.sums * 4, counts=trained.counts * 4, images=trained.images * 4)
    found = mean_gain([longer], [against])
    assert found == pytest.approx(same, rel=1e-9)
    assert found.standard_error > 1e-3


def test_too_few_parts_have_no_interval(rng):
    found = mean_correlation([layer(rng, blocks=1)])
    assert np.isfinite(found.value)
    assert np.isnan(found.low)


def test_empty_parts_do_not_count(rng):
    whole = layer(rng)
    padded = replace(
        whole, sums=np.concatenate([whole.sums, np.zeros((2, *whole.sums.shape[1:]))]), counts=np.append(whole.counts, [0, 0])
    )
    assert mean_correlation([padded]) == pytest.approx(mean_correlation([whole]), rel=1e-12)
    assert growth(padded) == growth(whole)


def test_growth_ends_at_the_whole(rng):
    whole = layer(rng)
    found = growth(whole)
    assert [images for images, _ in found] == [3, 6, 9, 12, 15]
    assert found[-1][1] == pytest.approx(whole.correlation().value, rel=1e-12)
    assert found[0][1] == pytest.approx(pearson(whole.cnfm, whole.cnfm.with_core(whole.sums[0])), rel=1e-9)


def test_what_does_not_belong_together_is_refused(rng):
    for arguments in (([],), ([layer(rng), layer(rng, blocks=4)],)):
        with pytest.raises(InputError, match="same images"):
            mean_correlation(*arguments)
    for pair in (([], [layer(rng)]), ([layer(rng)], []), ([layer(rng)], [layer(rng, blocks=4)])):
        with pytest.raises(InputError, match="same images"):
            mean_gain(*pair)
    exact, probed = layer(rng), replace(layer(rng), mode="probe")
    more, uneven = replace(exact, counts=exact.counts * 4), replace(probed, counts=np.array([3, 3, 3, 3, 6]))
    for pair in (([exact], [more]), ([exact], [probed]), ([probed], [uneven])):
        with pytest.raises(InputError, match="same images"):
            mean_gain(*pair)
    with pytest.raises(InputError, match="its probes"):
        growth(layer(rng, mode="probe"))
