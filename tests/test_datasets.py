"""Data: the local-signal tasks, the embedded digits, and stratified draws."""

import numpy as np
import pytest

from convrfm.datasets.local_signal import TASKS, embedded_digits, karp_sigma, noisy_bars, noisy_digits
from convrfm.errors import InputError
from convrfm.numerics.inputs import generator, stratified_draw


def test_bars_are_what_the_paper_describes():
    draw = noisy_bars(2000, 10, seed=0)
    images = draw.train.images(TASKS["bars"](2.0))
    assert images.shape == (2000, 1, 16, 32)
    assert images.dtype == np.float32
    rows = draw.train.inside[:, 0].all(axis=2)
    assert (rows.sum(axis=1) == 1).all()  # one whole row
    bars = images[draw.train.inside].reshape(2000, 32)
    assert np.allclose(bars, ((2 * draw.train.labels - 1) / np.sqrt(32))[:, None])
    assert np.allclose((bars**2).sum(axis=1), 1)
    noise = images[~draw.train.inside]
    assert noise.std() == pytest.approx(np.sqrt(2.0 / 32), rel=0.01)  # variance sigma / 32
    assert abs(noise.mean()) < 0.001
    assert abs(draw.train.labels.mean() - 0.5) < 0.05
    assert np.bincount(rows.argmax(axis=1), minlength=16).min() > 80  # uniform over rows


def test_one_draw_serves_all_noise_levels():
    draw = noisy_bars(5, 5, seed=1)
    half, two = draw.train.images(TASKS["bars"](0.5)), draw.train.images(TASKS["bars"](2.0))
    outside = ~draw.train.inside
    assert np.allclose(2 * half[outside], two[outside])
    assert (half[draw.train.inside] == two[draw.train.inside]).all()


def test_draws_depend_on_the_seed_alone():
    first, again, other = (noisy_bars(6, 6, seed=seed) for seed in (3, 3, 4))
    for name in ("signal", "inside", "frame", "labels"):
        assert (getattr(first.train, name) == getattr(again.train, name)).all()
    assert not np.array_equal(first.train.frame, other.train.frame)
    assert not np.array_equal(first.train.frame, first.test.frame)
    assert not np.array_equal(noisy_bars(64, 64, seed=3).train.labels, noisy_bars(64, 64, seed=3).test.labels)


def test_streams_of_different_purposes_never_coincide():
    purposes = ("bars, train", "bars, test", "digits, train", "filters and AGOP points", "validation split")
    draws = {generator(0, purpose).integers(2**63) for purpose in purposes}
    assert len(draws) == len(purposes)
    assert generator(0, "epochs", 1).integers(2**63) != generator(0, "epochs", 2).integers(2**63)
    assert generator(5, "x").integers(2**63) == generator(5, "x").integers(2**63)


def test_digits_are_pasted_with_their_black_box():
    images, labels = embedded_digits()
    assert images.shape == (1797, 28, 28)
    assert images.min() >= 0
    assert images.max() <= 1
    draw = noisy_digits((images[:300], labels[:300]), (images[300:310], labels[300:310]), seed=0)
    pasted = draw.train.images(TASKS["noisy-digits"](4.0))
    assert pasted.shape == (300, 1, 42, 42)
    for i in range(300):
        rows, columns = np.nonzero(draw.train.inside[i, 0])
        assert (rows.max() - rows.min(), columns.max() - columns.min()) == (27, 27)
        assert max(rows.min(), columns.min()) <= 13  # the authors' code never uses the last offset
        assert (pasted[i, 0][draw.train.inside[i, 0]].reshape(28, 28) == images[i]).all()
    assert pasted[~draw.train.inside].std() == pytest.approx(1.0, rel=0.01)  # 0.5 sqrt(4)


def test_both_parametrisations_of_the_noise():
    """The authors' sigma, and the s of Karp et al., whose noise has a standard deviation of s^2."""
    for sigma in (0.1, 0.5, 1.0, 2.0):
        assert TASKS["bars"](sigma) == pytest.approx(np.sqrt(sigma) / np.sqrt(32))
        assert TASKS["noisy-mnist"](sigma) == TASKS["noisy-digits"](sigma) == pytest.approx(0.5 * np.sqrt(sigma))
    for s in (0.5, 1.0, 1.5):
        for task in TASKS:
            assert TASKS[task](karp_sigma(task, s)) == pytest.approx(s**2)
    with pytest.raises(InputError, match="at least 0"):
        karp_sigma("bars", -1.0)


def test_bad_sizes():
    with pytest.raises(InputError, match="at least 1"):
        noisy_bars(0, 5, seed=0)
    with pytest.raises(InputError, match="noise_std"):
        noisy_bars(1, 1, seed=0).train.images(-1.0)
    with pytest.raises(InputError, match="28"):
        noisy_digits((np.zeros((1, 8, 8)), np.zeros(1)), (np.zeros((1, 8, 8)), np.zeros(1)), seed=0)


def test_stratified_draw(rng):
    labels = np.repeat([0, 1, 2], [50, 30, 20])
    chosen = stratified_draw(labels, 20, rng)
    assert len(set(chosen)) == 20
    assert (np.diff(chosen) > 0).all()
    assert (np.abs(np.bincount(labels[chosen]) - [10, 6, 4]) <= 1).all()
    assert len(stratified_draw(labels, 0, rng)) == 0
    assert (stratified_draw(labels, 100, rng) == np.arange(100)).all()
    with pytest.raises(InputError, match="Cannot draw 101 of 100 samples"):
        stratified_draw(labels, 101, rng)
