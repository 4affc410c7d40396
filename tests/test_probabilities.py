"""Probabilities and features of fitted models, as scorers and pipelines use them."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import log_softmax
from sklearn.datasets import load_digits
from sklearn.ensemble import StackingClassifier
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import make_scorer, roc_auc_score
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from tolerance import assert_close

from convrfm import ConvRFMClassifier, ConvRFMRegressor, DeepConvRFMClassifier, load_model, save_model
from convrfm.datasets.local_signal import TASKS, noisy_bars
from convrfm.kernels import PatchLaplace
from convrfm.rfm import estimators

BUNCH = load_digits(n_class=3)
X = (BUNCH.images[:120, None] / 16).astype(np.float32)
Y = np.array(["zero", "one", "two"])[BUNCH.target[:120]]
SMALL = {"depth": 1, "rounds": 2, "ridges": (1e-3,), "n_jobs": 1, "random_state": 0}


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("make", [ConvRFMClassifier(**SMALL), DeepConvRFMClassifier(filters=4, **{**SMALL, "depth": 2})])
def test_probabilities(make, classes, tmp_path):
    kept = BUNCH.target[:120] < classes
    model = make.fit(X[kept][:60], Y[kept][:60])
    probabilities = model.predict_proba(X)
    assert probabilities.shape == (120, classes)
    assert probabilities.min() > 0
    assert_close(probabilities.sum(axis=1), np.ones(120), "exact")
    assert (model.classes_[probabilities.argmax(axis=1)] == model.predict(X)).all()
    save_model(model, tmp_path / "model.safetensors")
    assert (load_model(tmp_path / "model.safetensors").predict_proba(X) == probabilities).all()


def test_the_temperature_is_the_best_of_a_fine_grid(rng):
    labels = rng.integers(0, 3, 40)
    outputs = np.eye(3)[labels] + 0.4 * rng.standard_normal((40, 3))
    found = estimators._temperature(outputs, labels)
    smoothed = np.full((40, 3), 1 / 43)
    smoothed[np.arange(40), labels] = 41 / 43
    grid = np.geomspace(1e-2, 1e1, 3001)
    loss = [-(smoothed * log_softmax(outputs / temperature, axis=1)).sum() for temperature in grid]
    assert found == pytest.approx(grid[np.argmin(loss)], rel=3e-3)
    assert estimators._temperature(5 * outputs, labels) == pytest.approx(5 * found, rel=1e-3)
    # Outputs that mean nothing: all classes are nearly as probable, and the largest remains the largest.
    assert estimators._temperature(-outputs, labels) > 50


def test_without_a_mistake_probabilities_stay_below_one():
    labels = np.arange(20) % 2
    temperature = estimators._temperature(np.eye(2)[labels], labels)
    assert 1 / (1 + np.exp(-1 / temperature)) == pytest.approx(21 / 22, abs=1e-3)


def test_probabilities_are_frequencies():
    draw, std = noisy_bars(200, 300, seed=0), TASKS["bars"](1.0)
    model = ConvRFMClassifier(**{**SMALL, "depth": 2}).fit(draw.train.images(std), draw.train.labels)
    images, labels = draw.test.images(std), draw.test.labels
    confidence = model.predict_proba(images).max(axis=1)
    correct = model.predict(images) == labels
    assert abs(confidence.mean() - correct.mean()) < 0.1
    sure = confidence > np.median(confidence)
    assert correct[sure].mean() > correct[~sure].mean()


@pytest.mark.parametrize("scoring", ["roc_auc_ovr", "neg_log_loss"])
def test_scorers_that_take_probabilities(scoring):
    scores = cross_val_score(ConvRFMClassifier(**SMALL), X, Y, cv=2, scoring=scoring, error_score="raise")
    assert scores.min() > (0.95 if scoring == "roc_auc_ovr" else -0.5)


def test_what_scikit_learn_builds_on_probabilities():
    binary, labels = X[Y != "two"], Y[Y != "two"]
    scorer = make_scorer(roc_auc_score, response_method="predict_proba")
    model = ConvRFMClassifier(**SMALL).fit(binary[:40], labels[:40])
    expected = roc_auc_score(labels[40:], model.predict_proba(binary[40:])[:, 1])
    assert scorer(model, binary[40:], labels[40:]) == expected
    stack = StackingClassifier([("model", ConvRFMClassifier(**SMALL))], cv=2).fit(binary[:40], labels[:40])
    assert stack.score(binary[40:], labels[40:]) > 0.9


def test_where_there_are_no_probabilities():
    assert hasattr(ConvRFMClassifier(), "predict_proba")
    with pytest.raises(NotFittedError):
        ConvRFMClassifier(**SMALL).predict_proba(X)
    model = ConvRFMClassifier(selection="test", **SMALL)
    for at in (model, model.fit(X, Y, eval_set=(X, Y))):
        assert not hasattr(at, "predict_proba")
        with pytest.raises(AttributeError) as caught:
            at.predict_proba(X)
        assert "selection='test' holds out none" in str(caught.value.__cause__)
    with pytest.raises(AttributeError) as caught:
        model.set_params(selection="validation").predict_proba(X)
    assert "with selection='test', or by an older version). Fit it again" in str(caught.value.__cause__)


def test_features_are_what_the_kernel_sees():
    images = X.astype(np.float64)[:40]
    model = ConvRFMClassifier("laplace", bandwidth=2.0, patch_size=3, **SMALL).fit(images, Y[:40])
    (stage,) = model.stages_
    model._take_over([replace(stage, result=replace(stage.result, best_round=1))])  # whichever round is the best
    features = model.transform(images)
    assert features.shape == (40, 9 * 6 * 6)
    expected = PatchLaplace(bandwidth=2.0, patch_size=3).gram(images, None, model.metric_)
    found = PatchLaplace(bandwidth=2.0, patch_size=1).gram(features.reshape(40, 9, 6, 6))
    assert_close(found, expected, "smooth")
    plain = PatchLaplace(bandwidth=2.0, patch_size=3).gram(images)
    assert np.abs(plain - expected).max() > 1e-3


def test_features_of_the_best_stage(tmp_path):
    model = DeepConvRFMClassifier(filters=4, stages=2, **{**SMALL, "depth": 2}).fit(X, Y)
    first, second = model.stages_
    model._take_over([first, replace(second, result=replace(second.result, best_score=2.0))])
    assert model.transform(X).shape == (120, 4 * 9 * 4 * 4)
    save_model(model, tmp_path / "model.safetensors")
    loaded = load_model(tmp_path / "model.safetensors")
    assert (loaded.transform(X) == model.transform(X)).all()
    names = loaded.get_feature_names_out()
    assert len(names) == model.transform(X).shape[1]
    assert names[0] == "deepconvrfmclassifier0"


@pytest.mark.parametrize("make", [ConvRFMClassifier, ConvRFMRegressor])
def test_features_in_a_pipeline(make):
    y = Y if make is ConvRFMClassifier else BUNCH.target[:120]
    pipeline = make_pipeline(make(**SMALL), LogisticRegression(max_iter=500))
    assert cross_val_score(pipeline, X, y, cv=2, error_score="raise").min() > 0.8
    assert pipeline.fit(X, y).predict_proba(X).shape == (120, 3)


def test_features_as_a_table():
    table = ConvRFMClassifier(**SMALL).set_output(transform="pandas").fit(X, Y).transform(X[:5])
    assert table.shape == (5, 9 * 6 * 6)
    assert table.columns[-1] == "convrfmclassifier323"
