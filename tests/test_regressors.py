"""Regressors: ridge regression with a learned metric, for one target or several."""

import numpy as np
import pytest
from sklearn.kernel_ridge import KernelRidge
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV, cross_val_score
from tolerance import assert_close

from convrfm import ConvRFMClassifier, ConvRFMRegressor, DeepConvRFMRegressor, load_model, save_model
from convrfm.errors import InputError, NonFiniteError
from convrfm.kernels import CNTK

RNG = np.random.default_rng(1)
Y = RNG.uniform(0.5, 1.5, (60, 2))
X = 0.2 * RNG.random((60, 1, 6, 6))
X[:, 0, 2, 1:5] += Y[:, :1]  # a line, and a spot elsewhere
X[:, 0, 4, 4] += Y[:, 1]
TRAIN, TEST = slice(40), slice(40, None)
SMALL = {"depth": 1, "patch_size": 2, "rounds": 2, "n_jobs": 1, "random_state": 0}


@pytest.mark.parametrize(("y", "shape"), [(Y[:, 0], (20,)), (Y[:, :1], (20, 1)), (Y, (20, 2)), (Y.tolist(), (20, 2))])
@pytest.mark.parametrize("make", [ConvRFMRegressor, DeepConvRFMRegressor])
def test_learns_and_predicts_in_the_shape_of_the_targets(make, y, shape, tmp_path):
    y = np.asarray(y)
    model = make(**SMALL).fit(X[TRAIN], y[TRAIN], eval_set=(X[TEST], y[TEST]))
    predicted = model.predict(X[TEST])
    assert (predicted.shape, predicted.dtype) == (shape, np.float64)
    assert model.score(X[TEST], y[TEST]) == pytest.approx(r2_score(y[TEST], predicted), abs=1e-12)
    assert model.score(X[TEST], y[TEST]) > 0.8
    save_model(model, tmp_path / "model.safetensors")
    loaded = load_model(tmp_path / "model.safetensors")
    assert type(loaded) is make
    assert (loaded.predict(X[TEST]) == predicted).all()
    assert loaded.score(X[TEST], y[TEST]) == model.score(X[TEST], y[TEST])
    assert loaded.history_.equals(model.history_)
    save_model(loaded, tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == (tmp_path / "model.safetensors").read_bytes()


def test_one_round_is_scikit_learns_kernel_ridge_without_centring():
    model = ConvRFMRegressor(**{**SMALL, "rounds": 1}).fit(X[TRAIN], Y[TRAIN])
    kernel = CNTK(depth=1, patch_size=2)
    gram, of_test = kernel.gram(X[TRAIN]), kernel.gram(X[TEST], X[TRAIN])
    plain = KernelRidge(kernel="precomputed", alpha=model.best_ridge_).fit(gram / gram.max(), Y[TRAIN])
    assert_close(model.predict(X[TEST]), plain.predict(of_test / gram.max()), "smooth")


def test_selection_is_by_validation_r2():
    model = ConvRFMRegressor(**{**SMALL, "rounds": 3}).fit(X[TRAIN], Y[TRAIN], eval_set=(X[TEST], Y[TEST]))
    history = model.history_
    assert not [name for name in history if "accuracy" in name]
    best = history.loc[history["validation_r2"].idxmax()]
    assert (best["round"], best["ridge"]) == (model.best_round_, model.best_ridge_)
    assert best["selected"]
    assert model.score(X[TEST], Y[TEST]) == pytest.approx(best["test_r2"], abs=1e-12)
    residual = model.predict(X[TEST]) - Y[TEST]
    assert best["test_error"] == pytest.approx((residual**2).sum(axis=1).mean())
    chosen_by_test = ConvRFMRegressor(selection="test", **SMALL).fit(X[TRAIN], Y[TRAIN], eval_set=(X[TEST], Y[TEST]))
    assert chosen_by_test.score(X[TEST], Y[TEST]) == pytest.approx(chosen_by_test.history_["test_r2"].max(), abs=1e-12)


def test_labels_as_targets_give_the_metric_of_the_classifier():
    labels = (Y[TRAIN, 0] > 1).astype(int)
    given = {"selection": "test", "ridges": (1e-3,), **SMALL}
    classifier = ConvRFMClassifier(**given).fit(X[TRAIN], labels, eval_set=(X[TRAIN], labels))
    targets = np.eye(2)[labels]
    regressor = ConvRFMRegressor(**given).fit(X[TRAIN], targets, eval_set=(X[TRAIN], targets))
    learned, expected = (model.stages_[0].result.metrics[1] for model in (regressor, classifier))
    assert (learned == expected).all()
    assert not np.allclose(learned, np.eye(4))


def test_the_scale_of_the_targets_is_that_of_the_predictions():
    small, large = (ConvRFMRegressor(**SMALL).fit(X[TRAIN], scale * Y[TRAIN]) for scale in (1, 1000))
    assert_close(large.predict(X[TEST]), 1000 * small.predict(X[TEST]), "smooth")


def test_whole_targets_keep_their_digits():
    whole = 2**24 + np.arange(40)
    by_type = [ConvRFMRegressor(**SMALL).fit(X[TRAIN], whole.astype(dtype)) for dtype in ("int64", "float64", ">f8")]
    assert (by_type[0].predict(X[TEST]) == by_type[1].predict(X[TEST])).all()
    assert (by_type[0].predict(X[TEST]) == by_type[2].predict(X[TEST])).all()


def test_search_and_cross_validation():
    assert cross_val_score(ConvRFMRegressor(**SMALL), X, Y, cv=3).min() > 0.8
    grid = GridSearchCV(ConvRFMRegressor(**SMALL), {"kernel": ["cntk", "laplace"]}, cv=2, error_score="raise")
    assert grid.fit(X, Y[:, 0]).predict(X).shape == (60,)


def test_a_single_test_image_has_no_r2():
    model = ConvRFMRegressor(**SMALL).fit(X[TRAIN], Y[TRAIN], eval_set=(X[-1:], Y[-1:]))
    assert model.history_["test_r2"].isna().all()
    assert model.history_["test_error"].notna().all()


@pytest.mark.parametrize(
    ("y", "error", "sentence"),
    [
        (None, InputError, "requires y"),
        (Y[:5], InputError, r"shape \(40,\) or \(40, outputs\)"),
        (Y[:40, :, None], InputError, r"\(40, outputs\)"),
        (np.zeros((40, 0)), InputError, r"\(40, outputs\)"),
        (np.where(Y[:40] > 1, np.nan, 1), NonFiniteError, "targets of y holds"),
        (Y[:40].astype(str), InputError, "real numbers"),
        (Y[:40] * 1j, InputError, "Complex"),
    ],
)
def test_bad_targets(y, error, sentence):
    with pytest.raises(error, match=sentence):
        ConvRFMRegressor(**SMALL).fit(X[TRAIN], y)


def test_other_targets_than_those_of_the_fit():
    with pytest.raises(InputError, match="eval_set has 1 targets for each image, but the fit had 2"):
        ConvRFMRegressor(**SMALL).fit(X[TRAIN], Y[TRAIN], eval_set=(X[TEST], Y[TEST, 0]))


def test_a_single_image_chooses_nothing():
    with pytest.raises(InputError, match="at least two validation images"):
        ConvRFMRegressor(**SMALL).fit(X[:6], Y[:6])
    with pytest.raises(InputError, match="at least two test images"):
        ConvRFMRegressor(selection="test", **SMALL).fit(X[TRAIN], Y[TRAIN], eval_set=(X[-1:], Y[-1:]))
