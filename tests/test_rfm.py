"""Algorithms 1 and 2 against plain re-implementations, line by line, and each named choice against what it says."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from kernels.cases import random_images
from tolerance import assert_close

from convrfm.errors import ConvRFMWarning, InputError
from convrfm.kernels import CNNGP, CNTK, PatchLaplace
from convrfm.kernels.base import BACKENDS
from convrfm.numerics.inputs import targets_of
from convrfm.numerics.patches import keep_top_eigenvalues, normalise, power, warn_if_rank_one
from convrfm.rfm import device_solve
from convrfm.rfm import rounds as rfm
from convrfm.rfm.deep import DeepSettings, apply_filters, fit_stages, history_of, sample_filters
from convrfm.rfm.ridge import accuracy, solve_ridge, squared_error
from convrfm.rfm.rounds import RFMSettings, StageData, fit_rounds

PUBLISHED = RFMSettings(rounds=3, ridges=(1e-5, 1e-3), selection="test", agop_samples=4, agop_draw="first", agop_ridge="last")


@pytest.fixture
def data(rng):
    labels = rng.integers(0, 2, 24)
    images = random_images(rng, 24, 1, 8, 7) + labels[:, None, None, None] * rng.standard_normal((1, 1, 8, 7))
    return StageData(images[:16], labels[:16], 2, np.arange(16), images[16:], labels[16:])


def plain_algorithm_1(x, y, x_test, y_test, depth, ridges, rounds, points):
    """Algorithm 1 as the paper writes it, in the reference backend, chosen by test accuracy; published choices."""
    kernel = CNTK(depth=depth, patch_size=3, backend="reference")
    m = np.eye(x.shape[1] * 9)
    best = (-1.0, None, None)
    accuracies = []
    for _ in range(rounds):
        k, k_test = kernel.gram(x, None, m), kernel.gram(x_test, x, m)
        scale = k.max()
        of_ridges = []
        for ridge in ridges:
            alpha = np.linalg.inv(k / scale + ridge * np.eye(len(k))) @ np.eye(2)[y]
            of_ridges.append(float(((k_test / scale @ alpha).argmax(1) == y_test).mean()))
        accuracies.append(of_ridges)
        if max(of_ridges) > best[0]:
            best = (max(of_ridges), m, len(accuracies) - 1)
        g = kernel.patch_agop(x, x[:points], alpha, m)
        m = g * len(g) / np.trace(g)
    return accuracies, best[1], best[2], m


def test_algorithm_1(data, rng):
    kernel = CNTK(depth=3, patch_size=3)
    result = fit_rounds(kernel, data, PUBLISHED, rng)
    accuracies, best_metric, best_round, _ = plain_algorithm_1(
        data.train, data.labels, data.test, data.test_labels, 3, PUBLISHED.ridges, 3, 4
    )
    found = result.history.pivot_table(index="round", columns="ridge", values="test_accuracy")[[1e-5, 1e-3]]
    assert (found.to_numpy() == accuracies).all()
    assert result.best_round == best_round
    assert_close(np.eye(9) if result.best_metric is None else result.best_metric, best_metric, "agop")
    assert len(result.metrics) == 3


def test_round_0_is_the_plain_kernel_machine(data, rng):
    kernel = CNTK(depth=3, patch_size=3)
    gram, of_test = kernel.gram(data.train), kernel.gram(data.test, data.train)
    first = fit_rounds(kernel, data, PUBLISHED, rng).history.query("round == 0").set_index("ridge")
    for ridge in PUBLISHED.ridges:
        alpha = solve_ridge(gram / gram.max(), targets_of(data.labels, 2), ridge).alpha
        outputs = of_test / gram.max() @ alpha
        assert first.loc[ridge, "test_accuracy"] == accuracy(outputs, data.test_labels)
        assert first.loc[ridge, "test_error"] == squared_error(outputs, data.test_labels)


@pytest.mark.parametrize("kernel", [CNTK(depth=2), CNNGP(depth=2), PatchLaplace(patch_size=3)], ids=repr)
def test_with_the_metric_fixed_to_the_identity_all_rounds_are_round_0(data, kernel, monkeypatch):
    def rounds():
        history = fit_rounds(kernel, data, PUBLISHED, np.random.default_rng(0)).history
        return [part.drop(columns="round").reset_index(drop=True) for _, part in history.groupby("round")]

    learned = rounds()
    assert np.abs(learned[1]["test_error"] - learned[0]["test_error"]).max() > 1e-3
    monkeypatch.setattr(rfm, "_next_metric", lambda *_: None)  # the identity, as in round 0
    for later in rounds()[1:]:
        pd.testing.assert_frame_equal(later, learned[0], check_exact=True)
    monkeypatch.setattr(rfm, "_next_metric", lambda *_: np.eye(9))  # the same, written out
    for later in rounds()[1:]:
        assert_close(later["test_error"], learned[0]["test_error"], "smooth")
        assert (later["test_accuracy"] == learned[0]["test_accuracy"]).all()


def test_the_scale_of_the_metric_is_without_effect_or_a_bandwidth(data, rng):
    metric = fit_rounds(CNTK(depth=2), data, PUBLISHED, rng).metrics[1]

    def outputs(kernel, metric):
        gram, of_test = kernel.gram(data.train, None, metric), kernel.gram(data.test, data.train, metric)
        return of_test / gram.max() @ solve_ridge(gram / gram.max(), targets_of(data.labels, 2), 1e-3).alpha

    for kernel in (CNTK(depth=2), CNNGP(depth=2)):
        assert_close(outputs(kernel, 7 * metric), outputs(kernel, metric), "smooth")
    narrow, wide = (PatchLaplace(patch_size=3, bandwidth=bandwidth) for bandwidth in (2.0, 2 * np.sqrt(7)))
    assert np.abs(outputs(narrow, 7 * metric) - outputs(narrow, metric)).max() > 0.01
    assert_close(outputs(wide, 7 * metric), outputs(narrow, metric), "smooth")


def test_algorithm_2(data):
    settings = dataclasses.replace(PUBLISHED, rounds=2)
    stages = fit_stages(
        CNTK(depth=2, patch_size=3), data, settings, DeepSettings(stages=2, filters=3), np.random.default_rng(5)
    )
    x, x_test = data.train, data.test
    rng = np.random.default_rng(5)
    for index, stage in enumerate(stages):
        accuracies, metric, best_round, _ = plain_algorithm_1(
            x, data.labels, x_test, data.test_labels, 2 - index, settings.ridges, 2, 4
        )
        part = history_of(stages).query("stage == @index")
        found = part.pivot_table(index="round", columns="ridge", values="test_accuracy")[[1e-5, 1e-3]]
        assert (found.to_numpy() == accuracies).all()
        assert stage.result.best_round == best_round
        if index == 1:
            break
        values, vectors = np.linalg.eigh(metric)
        filters = rng.standard_normal((3, 9)) @ (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
        assert_close(stage.filters, filters, "agop")
        convolved = []
        for images in (x, x_test):
            out = np.zeros((len(images), 3, 6, 5))
            for i, k, r, c in np.ndindex(out.shape):
                out[i, k, r, c] = max(0.0, (filters[k].reshape(1, 3, 3) * images[i, :, r : r + 3, c : c + 3]).sum())
            convolved.append(out)
        x, x_test = convolved
        assert_close(stages[1].features, x, "agop")


def test_validation_selection_never_sees_the_test_images(data, rng):
    fit = np.arange(12)
    settings = RFMSettings(rounds=3, ridges=(1e-5, 1e-3))
    whole = dataclasses.replace(data, fit=fit)
    blind = dataclasses.replace(whole, test=None, test_labels=None)
    kernel = CNTK(depth=2, patch_size=3)
    with_test = fit_rounds(kernel, whole, settings, np.random.default_rng(0))
    without = fit_rounds(kernel, blind, settings, np.random.default_rng(0))
    assert with_test.best_round == without.best_round
    assert with_test.best_ridge == without.best_ridge
    assert (with_test.metrics[2] == without.metrics[2]).all()
    assert without.history["test_accuracy"].isna().all()


def test_what_is_correct_is_that_of_the_outputs_in_the_order_of_the_test_images(data, rng):
    settings = RFMSettings(rounds=2, ridges=(1e-5, 1e-1), selection="test")
    result = fit_rounds(CNTK(depth=2), data, settings, rng)
    best = result.correct[result.best_round]
    assert np.array_equal(best, result.outputs.argmax(axis=1) == data.test_labels)
    selected = result.history[result.history["selected"]]
    assert [found.mean() for found in result.correct] == selected["test_accuracy"].to_list()
    assert not fit_rounds(
        CNTK(depth=2), dataclasses.replace(data, fit=np.arange(12), test=None, test_labels=None), RFMSettings(rounds=1), rng
    ).correct


def test_validation_outputs_are_of_the_predictor_that_is_fitted_to_the_others(data, rng):
    fit, kernel = np.arange(12), CNTK(depth=2, patch_size=3)
    result = fit_rounds(kernel, dataclasses.replace(data, fit=fit), RFMSettings(rounds=2, ridges=(1e-5, 1e-3)), rng)
    gram = kernel.gram(data.train, None, result.best_metric)
    scale = gram[:12, :12].max()
    alpha = np.linalg.solve(gram[:12, :12] / scale + result.best_ridge * np.eye(12), np.eye(2)[data.labels[:12]])
    assert_close(result.validation_outputs, gram[12:, :12] / scale @ alpha, "agop")


def test_validation_labels_do_not_reach_the_metric(data):
    fit = np.arange(12)
    settings = RFMSettings(rounds=2, ridges=(1e-3,))
    changed = data.labels.copy()
    changed[12:] = 1 - changed[12:]
    results = [
        fit_rounds(
            CNTK(depth=2, patch_size=3), dataclasses.replace(data, fit=fit, labels=labels), settings,
            np.random.default_rng(0),
        )
        for labels in (data.labels, changed)
    ]  # fmt: skip
    assert (results[0].metrics[1] == results[1].metrics[1]).all()
    assert not np.array_equal(results[0].alpha, results[1].alpha)


def metric_with(data, **changes):
    settings = dataclasses.replace(PUBLISHED, rounds=2, **changes)
    return fit_rounds(CNTK(depth=2, patch_size=3), data, settings, np.random.default_rng(3)).metrics[1]


def test_each_choice_about_the_agop_does_what_it_says(data):
    kernel = CNTK(depth=2, patch_size=3)
    gram = kernel.gram(data.train)
    targets = np.eye(2)[data.labels]
    alpha = {r: np.linalg.solve(gram / gram.max() + r * np.eye(16), targets) for r in PUBLISHED.ridges}

    def agop(points, ridge=1e-3):
        return normalise(kernel.patch_agop(data.train, data.train[points], alpha[ridge]))

    base = agop(slice(4))
    assert_close(metric_with(data), base, "agop")
    assert_close(metric_with(data, agop_samples="all"), agop(slice(None)), "agop")
    assert_close(metric_with(data, agop_samples=99), agop(slice(None)), "agop")
    chosen = np.random.default_rng(3).choice(16, 4, replace=False)
    assert_close(metric_with(data, agop_draw="random"), agop(chosen), "agop")
    assert_close(metric_with(data, metric_power=2.0), normalise(base @ base), "agop")
    assert_close(metric_with(data, eigenvalue_fraction=0.25), normalise(keep_top_eigenvalues(base, 0.25)), "agop")
    result = fit_rounds(kernel, data, dataclasses.replace(PUBLISHED, agop_ridge="selected"), np.random.default_rng(3))
    selected = result.history.query("round == 0 and selected")["ridge"].item()
    assert_close(result.metrics[1], agop(slice(4), selected), "agop")


def test_float32_solver_is_an_option(data, rng):
    result = fit_rounds(CNTK(depth=2), data, dataclasses.replace(PUBLISHED, solver_dtype="float32"), rng)
    assert result.history["residual"].max() > 1e-9


def test_metric_helpers(rng):
    root = rng.standard_normal((6, 6))
    metric = root @ root.T
    assert_close(power(metric, 0.5) @ power(metric, 0.5), metric, "exact")
    assert np.trace(normalise(metric)) == pytest.approx(6)
    kept = np.linalg.eigvalsh(keep_top_eigenvalues(metric, 0.25))
    assert_close(kept[-2:], np.linalg.eigvalsh(metric)[-2:], "exact")
    assert np.abs(kept[:-2]).max() < 1e-12
    # 0.28 of 25 is 7, but 7.000000000000001 in float64.
    for fraction, size, rank in ((0.28, 25, 7), (0.07, 100, 7), (0.14, 50, 7), (0.281, 25, 8)):
        assert np.linalg.matrix_rank(keep_top_eigenvalues(np.diag(np.arange(1.0, size + 1)), fraction)) == rank
    with pytest.raises(InputError, match="trace"):
        normalise(np.zeros((3, 3)))
    with pytest.warns(ConvRFMWarning, match="rank one"):
        warn_if_rank_one(np.outer(root[0], root[0]))


def test_filters(rng, data):
    metric = normalise(np.diag([1.0, 0.0, 4.0, 1.0]))
    many = sample_filters(metric, 4, DeepSettings(filters=40_000), rng)
    assert np.abs(many.T @ many / len(many) - metric).max() < 0.1
    default = sample_filters(None, 4, DeepSettings(filters=1000, plain_filters="torch"), rng)
    assert np.abs(default).max() <= 0.5
    assert np.abs(sample_filters(None, 4, DeepSettings(filters=1000), rng)).max() > 2
    filters = rng.standard_normal((5, 9))
    linear = apply_filters(data.train, filters, 3, "none")
    assert linear.min() < 0
    assert (apply_filters(data.train, filters, 3, "relu") == np.maximum(linear, 0)).all()
    import torch

    expected = torch.nn.functional.conv2d(torch.from_numpy(data.train), torch.from_numpy(filters.reshape(5, 1, 3, 3)))
    assert_close(linear, expected.numpy(), "exact")


@pytest.mark.parametrize(
    "changes",
    [
        {"rounds": 0}, {"ridges": ()}, {"ridges": (0.0,)}, {"selection": "train"}, {"agop_samples": 0},
        {"agop_samples": "some"}, {"agop_draw": "last"}, {"agop_ridge": "best"}, {"metric_power": 0.0},
        {"eigenvalue_fraction": 0.0}, {"solver_dtype": "float16"},
    ],
)  # fmt: skip
def test_settings_out_of_range(changes):
    (name,) = changes
    with pytest.raises(InputError, match=name):
        RFMSettings(**changes)


@pytest.mark.parametrize("changes", [{"stages": 0}, {"filters": 0}, {"nonlinearity": "tanh"}, {"plain_filters": "x"}])
def test_deep_settings_out_of_range(changes):
    with pytest.raises(InputError):
        DeepSettings(**changes)


def test_selection_needs_its_images(data, rng):
    kernel = CNTK(depth=2)
    with pytest.raises(InputError, match="needs test images"):
        fit_rounds(kernel, dataclasses.replace(data, test=None, test_labels=None), PUBLISHED, rng)
    with pytest.raises(InputError, match="left out of the fit"):
        fit_rounds(kernel, data, RFMSettings(), rng)
    with pytest.raises(InputError, match="at most the depth"):
        fit_stages(kernel, data, PUBLISHED, DeepSettings(stages=3), rng)


def test_shuffled_labels_lose_the_gain():
    """Negative control: with labels that mean nothing there is nothing to learn."""
    from convrfm.datasets.local_signal import TASKS, noisy_bars

    draw = noisy_bars(160, 400, seed=0)
    std = TASKS["bars"](0.5)
    settings = RFMSettings(rounds=3, ridges=(1e-5,), selection="test", agop_samples="all")
    found = {}
    for name, labels in {
        "true": draw.train.labels,
        "shuffled": np.random.default_rng(1).permutation(draw.train.labels),
    }.items():
        data = StageData(draw.train.images(std), labels, 2, np.arange(160), draw.test.images(std), draw.test.labels)
        history = fit_rounds(CNTK(depth=3), data, settings, np.random.default_rng(0)).history
        found[name] = history["test_accuracy"].max()
    assert found["true"] > 0.75
    assert found["shuffled"] < 0.6


def test_history_is_tidy(data, rng):
    history = fit_rounds(CNTK(depth=2), data, PUBLISHED, rng).history
    assert isinstance(history, pd.DataFrame)
    assert len(history) == 3 * 2
    assert history.groupby("round")["selected"].sum().eq(1).all()
    assert history[["train_accuracy", "test_accuracy"]].to_numpy().min() >= 0
    assert history["validation_accuracy"].isna().all()


@pytest.mark.parametrize("backend", ["cpu", "cuda"])
def test_systems_are_solved_where_their_kernels_run(backend, rng, monkeypatch):
    asked = []

    def solve(*given):
        asked.append(len(given[0]))
        return solve_ridge(*given)

    monkeypatch.setattr(device_solve, "solve_on_gpu", solve)
    monkeypatch.setitem(BACKENDS, "cuda", BACKENDS["cpu"])  # stands for it
    kernel = CNTK(depth=1, backend="cpu")
    kernel.backend = backend
    images, labels = rng.random((10, 1, 5, 5)), np.arange(10) % 2
    data = StageData(images, labels, 2, np.arange(8))
    fit_rounds(kernel, data, RFMSettings(rounds=1, ridges=(1e-3, 1e-2)), rng)
    assert asked == ([8, 10, 8, 10] if backend == "cuda" else [])
