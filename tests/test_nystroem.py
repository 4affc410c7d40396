"""Ridge regression on many images: conjugate gradients against a factorisation, Nyström's approximation against its equations."""

import dataclasses
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from kernels.cases import random_images
from tolerance import assert_close

from convrfm import ConvRFMClassifier, load_model, save_model
from convrfm.errors import InputError, NonFiniteError
from convrfm.kernels import CNTK, PatchLaplace
from convrfm.numerics.patches import normalise
from convrfm.rfm import estimator_base, nystroem
from convrfm.rfm.deep import DeepSettings, fit_stages
from convrfm.rfm.nystroem import RESIDUAL, KernelPart, solve_nystroem, solve_pcg
from convrfm.rfm.ridge import solve_ridge
from convrfm.rfm.rounds import RFMSettings, RoundJournal, StageData, fit_rounds

ROUNDS = RFMSettings(rounds=3, ridges=(1e-4, 1e-2), selection="test", agop_samples=6, agop_draw="first")


def whole(kernel, scale=1.0):
    every = np.arange(len(kernel))
    return KernelPart(kernel, every, every, scale)


@pytest.fixture
def spectrum(rng):
    """A kernel matrix with a few large eigenvalues and many small ones, float64."""
    basis = np.linalg.qr(rng.standard_normal((300, 300)))[0]
    return (basis * 10.0 ** -np.linspace(0, 5, 300)) @ basis.T


@pytest.fixture
def data(rng):
    labels = np.arange(60) % 3
    images = random_images(rng, 60, 1, 8, 7) + labels[:, None, None, None] * rng.standard_normal((1, 1, 8, 7))
    return StageData(images[:40], labels[:40], 3, np.arange(40), images[40:], labels[40:])


# A part of a kernel matrix


@pytest.mark.parametrize("strip", [1, 2000, nystroem.STRIP_BYTES])
@pytest.mark.parametrize("rows", [np.arange(20), np.arange(4, 15), np.array([0, 3, 4, 17])], ids=["all", "range", "some"])
def test_a_part_multiplies_as_the_scaled_matrix_does(rng, monkeypatch, rows, strip):
    monkeypatch.setattr(nystroem, "STRIP_BYTES", strip)
    gram, x = rng.standard_normal((20, 30)), rng.standard_normal((5, 2))
    columns = np.array([1, 2, 8, 20, 29])
    part = KernelPart(gram, rows, columns, 4.0)
    dense = gram[np.ix_(rows, columns)] / 4
    assert part.shape == dense.shape
    assert_close(part @ x, dense @ x, "exact")
    assert_close(part.product(x, np.dtype(np.float32)), dense @ x, "smooth", "float32")
    assert np.array_equal(part.take(np.array([3, 0])), dense[:, [3, 0]])


# Conjugate gradients


@pytest.mark.parametrize("ridge", [1e-8, 1e-3])
def test_conjugate_gradients_solve_what_a_factorisation_solves(spectrum, rng, ridge):
    targets = rng.standard_normal((300, 3))
    found, exact = solve_pcg(whole(spectrum * 5, 5.0), targets, ridge), solve_ridge(spectrum, targets, ridge)
    system = spectrum + ridge * np.eye(300)
    assert found.residual <= RESIDUAL
    assert found.residual == pytest.approx(np.linalg.norm(system @ found.alpha - targets) / np.linalg.norm(targets), rel=0.1)
    outputs, expected = spectrum @ found.alpha, spectrum @ exact.alpha
    assert np.linalg.norm(outputs - expected) <= RESIDUAL * np.linalg.norm(targets)
    assert (found.solver, found.ridge, np.isnan(found.condition)) == ("pcg", ridge, True)


@pytest.mark.parametrize("kernel", [CNTK(depth=2), PatchLaplace(patch_size=3)], ids=repr)
def test_conjugate_gradients_on_float32_kernels_of_a_part_of_the_images(rng, kernel):
    gram = kernel.gram(random_images(rng, 120, 1, 8, 7).astype(np.float32))
    fit = np.setdiff1d(np.arange(120), np.arange(0, 120, 5))
    targets = rng.standard_normal((len(fit), 2))
    found = solve_pcg(KernelPart(gram, fit, fit, 3.0), targets, 1e-5)
    exact = solve_ridge(gram[np.ix_(fit, fit)].astype(np.float64) / 3, targets, 1e-5)
    assert found.residual <= RESIDUAL
    assert np.abs(found.alpha - exact.alpha).max() <= 1e-6 * np.abs(exact.alpha).max()


def test_the_preconditioner_saves_products(rng, monkeypatch):
    """Negative control: without it, eigenvalues that differ by orders of magnitude need many more."""
    basis = np.linalg.qr(rng.standard_normal((400, 400)))[0]
    kernel = (basis[:, :20] * 10.0 ** np.linspace(0, 4, 20)) @ basis[:, :20].T + 1e-3 * np.eye(400)
    products = []
    product = KernelPart.product
    monkeypatch.setattr(KernelPart, "product", lambda *given: products.append(1) or product(*given))

    def count():
        products.clear()
        solve_pcg(whole(kernel), rng.standard_normal((400, 1)), 1e-3)
        return len(products)

    with_it = count()
    monkeypatch.setattr(nystroem, "_preconditioner", lambda *_: lambda vector: vector)
    assert count() > 2 * with_it


def test_a_column_of_zeros_and_targets_of_different_size(spectrum, rng):
    targets = np.stack([np.zeros(300), rng.standard_normal(300), 1e6 * rng.standard_normal(300)], axis=1)
    found = solve_pcg(whole(spectrum), targets, 1e-3).alpha
    assert (found[:, 0] == 0).all()
    assert_close(found[:, 2], solve_ridge(spectrum, targets, 1e-3).alpha[:, 2], "smooth", "float32")
    assert (solve_pcg(whole(spectrum), np.zeros((300, 1)), 1e-3).alpha == 0).all()


def test_systems_that_conjugate_gradients_cannot_solve(rng):
    basis = np.linalg.qr(rng.standard_normal((60, 60)))[0]
    indefinite = (basis * np.linspace(-1, 1, 60)) @ basis.T
    with pytest.raises(InputError, match=r"not positive definite at ridge 0\.001 in float64: use larger ridges"):
        solve_pcg(whole(indefinite), rng.standard_normal((60, 1)), 1e-3)
    barely = ((basis * 10.0 ** -np.linspace(0, 12, 60)) @ basis.T).astype(np.float32)
    with pytest.raises(InputError, match=r"solver='cholesky'"):
        solve_pcg(whole(barely), rng.standard_normal((60, 1)), 1e-12)


@pytest.mark.parametrize(
    ("kernel", "targets", "ridge", "error"),
    [
        (KernelPart(np.eye(4), np.arange(4), np.arange(3), 1.0), np.ones((4, 1)), 1.0, InputError),
        (whole(np.eye(4)), np.ones((3, 1)), 1.0, InputError),
        (whole(np.eye(4)), np.ones(4), 1.0, InputError),
        (whole(np.eye(4)), np.ones((4, 1)), 0.0, InputError),
        (whole(np.eye(4)), np.full((4, 1), np.nan), 1.0, NonFiniteError),
    ],
)
def test_bad_input_of_conjugate_gradients(kernel, targets, ridge, error):
    with pytest.raises(error):
        solve_pcg(kernel, targets, ridge)


def test_conjugate_gradients_make_no_second_kernel_matrix(rng, monkeypatch):
    monkeypatch.setattr(nystroem, "STRIP_BYTES", 2**20)
    monkeypatch.setattr(nystroem, "RANK", 20)
    images = rng.standard_normal((1500, 4))
    gram = np.exp(-((images[:, None] - images) ** 2).sum(axis=2)).astype(np.float32)

    def peak(solve):
        tracemalloc.start()
        solve()
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found / gram.nbytes

    targets = rng.standard_normal((1500, 2))
    assert peak(lambda: solve_pcg(whole(gram, 2.0), targets, 1e-2)) < 0.7
    assert peak(lambda: solve_ridge(gram, targets, 1e-2)) > 2


# Nyström's approximation


def test_nystroem_solves_its_equations(spectrum, rng):
    landmarks, targets = np.arange(5, 300, 10), rng.standard_normal((300, 2))
    columns = spectrum[:, landmarks]
    found = solve_nystroem(columns, columns[landmarks], targets, 1e-2)
    beta = np.linalg.solve(columns.T @ columns + 1e-2 * columns[landmarks], columns.T @ targets)
    assert_close(columns @ found.alpha, columns @ beta, "smooth")
    assert (found.solver, found.alpha.shape) == ("nystroem", (30, 2))
    assert found.residual < 1e-12
    features = columns @ np.linalg.cholesky(np.linalg.inv(columns[landmarks]))
    assert found.condition == pytest.approx(np.linalg.cond(features.T @ features + 1e-2 * np.eye(30)), rel=0.01)


def test_with_all_images_as_landmarks_it_is_exact(spectrum, rng, monkeypatch):
    targets = rng.standard_normal((300, 2))
    exact = solve_ridge(spectrum, targets, 1e-3)
    assert_close(solve_nystroem(spectrum, spectrum, targets, 1e-3).alpha, exact.alpha, "smooth", "float32")
    monkeypatch.setattr(nystroem, "STRIP_BYTES", 8 * 300 * 7)  # seven images at a time
    assert_close(solve_nystroem(spectrum, spectrum, targets, 1e-3).alpha, exact.alpha, "smooth", "float32")


def test_landmarks_that_are_equal_images(rng):
    """Their matrix is singular: its zero eigenvalues are left out."""
    features = rng.standard_normal((50, 8))
    features[1] = features[0]
    kernel = (features @ features.T).astype(np.float32)
    found = solve_nystroem(kernel[:, :20], kernel[:20, :20], rng.standard_normal((50, 1)), 1e-2)
    assert np.isfinite(found.alpha).all()
    assert found.alpha[0] == pytest.approx(found.alpha[1], rel=1e-3)


@pytest.mark.parametrize(
    ("kernel", "square", "targets", "ridge", "error"),
    [
        (np.ones((5, 3)), np.eye(2), np.ones((5, 1)), 1.0, InputError),
        (np.ones((5, 2)), np.ones((2, 3)), np.ones((5, 1)), 1.0, InputError),
        (np.ones((5, 2)), np.eye(2), np.ones((4, 1)), 1.0, InputError),
        (np.ones((5, 2)), np.eye(2), np.ones(5), 1.0, InputError),
        (np.ones((5, 2)), np.eye(2), np.ones((5, 1)), -1.0, InputError),
        (np.full((5, 2), np.nan), np.eye(2), np.ones((5, 1)), 1.0, NonFiniteError),
        (np.ones((5, 2)), np.full((2, 2), np.inf), np.ones((5, 1)), 1.0, NonFiniteError),
        (np.ones((5, 2)), np.eye(2), np.full((5, 1), np.inf), 1.0, NonFiniteError),
    ],
)
def test_bad_input_of_nystroem(kernel, square, targets, ridge, error):
    with pytest.raises(error):
        solve_nystroem(kernel, square, targets, ridge)


# Rounds and stages


def fitted(data, **changes):
    return fit_rounds(CNTK(depth=2), data, dataclasses.replace(ROUNDS, **changes), np.random.default_rng(0))


def in_parts(data):
    """The data with a validation part, whose indices do not lie together."""
    return dataclasses.replace(data, fit=np.setdiff1d(np.arange(40), [0, 7, 8, 20, 33, 39]))


def assert_equal_fits(found, expected):
    assert found.best_round == expected.best_round
    for name in expected.history.columns.drop(["solver", "residual", "condition"]):
        pd.testing.assert_series_equal(found.history[name], expected.history[name], rtol=1e-6)
    for metric, other in zip(found.metrics[1:], expected.metrics[1:], strict=True):
        assert_close(metric, other, "smooth", "float32")
    assert_close(found.outputs, expected.outputs, "smooth", "float32")
    assert found.scale == pytest.approx(expected.scale, rel=1e-9)


@pytest.mark.parametrize(
    ("changes", "split", "selection"),
    [
        ({"solver": "pcg"}, False, "test"),
        ({"solver": "pcg"}, True, "test"),
        ({"solver": "pcg"}, True, "validation"),
        ({"solver": "nystroem", "landmarks": 99}, False, "test"),
    ],
)
def test_rounds_are_those_of_a_factorisation(data, changes, split, selection):
    """Nyström's approximation is exact where all images are landmarks."""
    data = in_parts(data) if split else data
    assert_equal_fits(fitted(data, selection=selection, **changes), fitted(data, selection=selection))


def test_a_round_with_landmarks_line_by_line(data):
    data = dataclasses.replace(in_parts(data), landmarks=np.array([1, 2, 3, 9, 10, 11, 21, 22, 24, 38]))
    kernel = CNTK(depth=2)
    result = fitted(data, solver="nystroem", agop_ridge="last", selection="validation", agop_samples="all")

    def predictor(rows, ridge, metric):
        centres = data.train[data.landmarks]
        gram, square = kernel.gram(data.train[rows], centres, metric), kernel.gram(centres, None, metric)
        gram, square = gram / gram.max(), square / gram.max()
        targets = np.eye(3)[data.labels[rows]]
        beta = np.linalg.solve(gram.T @ gram + ridge * square, gram.T @ targets)
        return centres, beta, gram.max(), lambda images: kernel.gram(images, centres, metric)

    centres, beta, _, _ = predictor(data.fit, 1e-2, None)
    assert_close(result.metrics[1], normalise(kernel.patch_agop(centres, data.train[data.fit], beta)), "smooth", "float32")
    metric = result.best_metric
    _, beta, _, entries = predictor(np.arange(40), result.best_ridge, metric)
    assert_close(result.outputs, entries(data.test) / result.scale @ beta, "smooth", "float32")
    assert result.alpha.shape == (10, 3)


def test_landmarks_are_drawn_once_from_the_fitted_images_in_equal_shares(data):
    data = in_parts(data)
    settings = dataclasses.replace(ROUNDS, solver="nystroem", landmarks=9)
    drawn = data.with_landmarks(settings, np.random.default_rng(0)).landmarks
    assert len(np.unique(drawn)) == 9
    assert set(drawn) <= set(data.fit)
    assert (np.bincount(data.labels[drawn]) == 3).all()
    stages = fit_stages(CNTK(depth=2), data, settings, DeepSettings(stages=2, filters=4), np.random.default_rng(0))
    first, second = (stage.features for stage in stages)
    assert np.array_equal(first, data.train[drawn])
    assert len(second) == 9
    of_regression = dataclasses.replace(data, labels=np.eye(3)[data.labels], classes=None)
    assert len(of_regression.with_landmarks(settings, np.random.default_rng(0)).landmarks) == 9
    assert data.with_landmarks(ROUNDS, np.random.default_rng(0)) is data


@pytest.mark.parametrize("solver", ["pcg", "nystroem"])
def test_a_fit_goes_on_from_its_journal_and_reads_matrices_from_files(data, tmp_path, monkeypatch, solver):
    expected = fitted(data, solver=solver, landmarks=12)
    monkeypatch.setattr("convrfm.rfm.rounds.LARGE", 0)
    journal = RoundJournal(tmp_path / "fit")
    settings = dataclasses.replace(ROUNDS, solver=solver, landmarks=12)
    for rounds in (1, 3):
        found = fit_rounds(
            CNTK(depth=2), data, dataclasses.replace(settings, rounds=rounds), np.random.default_rng(0), journal=journal
        )
        journal.path(rounds - 1).unlink() if rounds == 1 else None
    assert (found.alpha == expected.alpha).all()
    assert (found.outputs == expected.outputs).all()


def test_settings_that_contradict_each_other():
    with pytest.raises(InputError, match="solver must be 'cholesky', 'pcg' or 'nystroem'"):
        RFMSettings(solver="lu")
    with pytest.raises(InputError, match="landmarks must be an integer of at least 1"):
        RFMSettings(landmarks=0)
    with pytest.raises(InputError, match="solver_dtype must be 'float64' unless solver is 'cholesky'"):
        RFMSettings(solver="pcg", solver_dtype="float32")


# Estimators


def test_an_estimator_keeps_and_saves_its_landmarks_alone(data, tmp_path):
    model = ConvRFMClassifier(
        depth=2, rounds=2, solver="nystroem", landmarks=9, agop_samples=4, ridges=(1e-3,), random_state=0, n_jobs=1
    ).fit(data.train, data.labels)
    assert model.stages_[0].features.shape[0] == len(model.stages_[0].result.alpha) == 9
    save_model(model, tmp_path / "model.safetensors")
    again = load_model(tmp_path / "model.safetensors")
    assert (again.outputs(data.test) == model.outputs(data.test)).all()
    assert (again.solver, again.landmarks) == ("nystroem", 9)
    assert model.score(data.train, data.labels) > 0.6


def test_predictions_come_in_parts(data, monkeypatch):
    model = ConvRFMClassifier(depth=2, rounds=2, ridges=(1e-3,), random_state=0).fit(data.train, data.labels)
    at_once = model.outputs(data.test)
    monkeypatch.setattr(estimator_base, "ENTRIES_AT_ONCE", 7 * 40)
    assert_close(model.outputs(data.test), at_once, "exact")
