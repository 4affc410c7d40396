"""The classifiers as scikit-learn users meet them."""

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.utils.estimator_checks import check_get_params_invariance, check_parameters_default_constructible

import convrfm
from convrfm import ConvRFMClassifier, DeepConvRFMClassifier
from convrfm.datasets.local_signal import TASKS, noisy_bars
from convrfm.errors import ImageSizeError, InputError, NonFiniteError

DRAW = noisy_bars(120, 80, seed=0)
STD = TASKS["bars"](0.1)
X, Y = DRAW.train.images(STD), np.array(["down", "up"])[DRAW.train.labels]
X_TEST, Y_TEST = DRAW.test.images(STD), np.array(["down", "up"])[DRAW.test.labels]
SMALL = {"depth": 2, "rounds": 2, "random_state": 0}


@pytest.fixture(scope="module")
def fitted():
    return DeepConvRFMClassifier(filters=4, **SMALL).fit(X, Y, eval_set=(X_TEST, Y_TEST))


def test_learns_and_predicts_labels(fitted):
    assert set(fitted.predict(X_TEST)) <= {"down", "up"}
    assert fitted.score(X_TEST, Y_TEST) > 0.9
    assert fitted.outputs(X_TEST).shape == (80, 2)
    scores = fitted.decision_function(X_TEST)
    assert scores.shape == (80,)
    assert ((scores > 0) == (fitted.predict(X_TEST) == "up")).all()


def test_predictions_are_those_of_the_history(fitted):
    row = fitted.history_.query(
        "stage == @fitted.best_stage_ and round == @fitted.best_round_ and ridge == @fitted.best_ridge_"
    )
    assert fitted.score(X_TEST, Y_TEST) == row["test_accuracy"].item()


def test_fitted_attributes(fitted):
    assert fitted.metric_.shape == (9, 9)
    assert [metric.shape for metric in fitted.metrics_] == [(9, 9), (36, 36)]
    assert list(fitted.history_.columns[:4]) == ["stage", "kernel_depth", "round", "ridge"]
    assert len(fitted.history_) == 2 * 2 * 3
    assert list(fitted.classes_) == ["down", "up"]


def test_test_selection_takes_the_highest_test_accuracy():
    model = ConvRFMClassifier(selection="test", **SMALL).fit(X, Y, eval_set=(X_TEST, Y_TEST))
    assert model.score(X_TEST, Y_TEST) == model.history_["test_accuracy"].max()


def test_same_seed_same_bits_other_seed_other_bits():
    models = [DeepConvRFMClassifier(filters=4, **{**SMALL, "random_state": seed}).fit(X, Y) for seed in (7, 7, 8)]
    outputs = [model.decision_function(X_TEST) for model in models]
    assert (outputs[0] == outputs[1]).all()
    assert not np.array_equal(models[0].stages_[0].filters, models[2].stages_[0].filters)
    assert models[0].history_.equals(models[1].history_)


def test_tensors_and_arrays_give_the_same():
    by_array = ConvRFMClassifier(**SMALL).fit(X, DRAW.train.labels)
    by_tensor = ConvRFMClassifier(**SMALL).fit(torch.from_numpy(X), torch.from_numpy(DRAW.train.labels))
    assert (by_array.predict(X_TEST) == by_tensor.predict(torch.from_numpy(X_TEST))).all()


def test_scikit_learn_tools():
    assert cross_val_score(ConvRFMClassifier(**SMALL), X, Y, cv=2).mean() > 0.8
    assert cross_val_score(ConvRFMClassifier(**SMALL), X, Y, cv=2, scoring="roc_auc").mean() > 0.8
    search = GridSearchCV(ConvRFMClassifier(**SMALL), {"depth": [1, 2]}, cv=2).fit(X, Y)
    assert search.best_params_["depth"] in (1, 2)
    for estimator in (ConvRFMClassifier(), DeepConvRFMClassifier()):
        check_parameters_default_constructible(type(estimator).__name__, estimator)
        check_get_params_invariance(type(estimator).__name__, estimator)
    assert clone(DeepConvRFMClassifier(stages=2)).get_params()["stages"] == 2


def test_float64_and_other_kernel():
    model = ConvRFMClassifier("cnngp", **SMALL).fit(X.astype(np.float64), Y)
    assert model.score(X_TEST.astype(np.float64), Y_TEST) > 0.9


@pytest.mark.parametrize(
    ("changes", "x", "y", "error", "sentence"),
    [
        ({}, X, np.zeros(120), InputError, "one class only"),
        ({}, X, Y[:5], InputError, r"shape \(120,\)"),
        ({}, X[:, 0], Y, InputError, r"\(n, channels, height, width\)"),
        ({}, np.where(X > 0, X, np.nan), Y, NonFiniteError, "non-finite"),
        ({"depth": 9}, X, Y, ImageSizeError, "too small"),
        ({"kernel": "rbf"}, X, Y, InputError, "cntk, cnngp"),
        ({"rounds": 0}, X, Y, InputError, "rounds"),
        ({"selection": "test"}, X, Y, InputError, "needs test images"),
        ({"validation_fraction": 1.0}, X, Y, InputError, "validation_fraction"),
        ({"validation_fraction": 1e-3}, X, Y, InputError, "too few"),
        ({}, X, np.full(120, np.nan), InputError, "NaN"),
        ({}, X, np.array([None, *Y[1:]], dtype=object), InputError, "missing values"),
        ({}, X, np.array([1, *Y[1:]], dtype=object), InputError, "not labels of classes"),
        ({}, X, np.linspace(0, 1, 120), InputError, "not labels of classes"),
        ({}, X * 0, Y, InputError, "zero everywhere"),
        ({}, X * 1e-24, Y, InputError, "rescale the images"),
        ({}, [[1.0], [2.0, 3.0]], Y, InputError, "cannot be made an array"),
    ],
)
def test_bad_input(changes, x, y, error, sentence):
    with pytest.raises(error, match=sentence):
        ConvRFMClassifier(**{**SMALL, **changes}).fit(x, y)


def test_bad_eval_set(fitted):
    with pytest.raises(InputError, match="not among the training labels"):
        ConvRFMClassifier(**SMALL).fit(X, Y, eval_set=(X_TEST, np.full(80, "sideways")))
    with pytest.raises(InputError, match="one shape"):
        ConvRFMClassifier(**SMALL).fit(X, Y, eval_set=(X_TEST[..., :-1], Y_TEST))
    with pytest.raises(InputError, match="one shape"):
        fitted.predict(X_TEST[..., :-1])
    with pytest.raises(InputError, match="float32, the dtype of the fit, cannot hold"):
        fitted.predict(X_TEST.astype(np.float64) * 1e200)


def test_progress_is_logged(caplog):
    with caplog.at_level("INFO", logger="convrfm"):
        ConvRFMClassifier(verbose=1, **SMALL).fit(X, Y)
    assert "stage 1 of 1, rounds: 2 of 2 done" in caplog.text


def test_lazy_package():
    assert "ConvRFMClassifier" in dir(convrfm)
    with pytest.raises(AttributeError, match="nothing"):
        convrfm.nothing  # noqa: B018
