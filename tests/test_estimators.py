"""The classifiers as scikit-learn users meet them."""

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import DataConversionWarning
from sklearn.kernel_ridge import KernelRidge
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from tolerance import assert_close

import convrfm
from convrfm import ConvRFMClassifier, DeepConvRFMClassifier
from convrfm.datasets.local_signal import TASKS, noisy_bars
from convrfm.errors import ConfigError, ImageSizeError, InputError, NonFiniteError
from convrfm.kernels import CNTK

DRAW = noisy_bars(120, 80, seed=0)
STD = TASKS["bars"](0.1)
X, Y = DRAW.train.images(STD), np.array(["down", "up"])[DRAW.train.labels]
X_TEST, Y_TEST = DRAW.test.images(STD), np.array(["down", "up"])[DRAW.test.labels]
BUNCH = load_digits(n_class=3)
DIGITS = (BUNCH.images[:150, None] / 16).astype(np.float32)
KINDS = np.array(["zero", "one", "two"])[BUNCH.target[:150]]
SMALL = {"depth": 2, "rounds": 2, "n_jobs": 1, "random_state": 0}


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
    predicted = by_tensor.predict(torch.from_numpy(X_TEST))
    assert isinstance(predicted, np.ndarray)
    assert (by_array.predict(X_TEST) == predicted).all()
    assert by_tensor.score(torch.from_numpy(X_TEST), torch.from_numpy(DRAW.test.labels)) == by_array.score(
        X_TEST, DRAW.test.labels
    )
    strided = torch.from_numpy(X_TEST).to(memory_format=torch.channels_last).requires_grad_()
    assert (by_tensor.predict(strided) == predicted).all()
    scores = cross_val_score(ConvRFMClassifier(**SMALL), torch.from_numpy(X), torch.from_numpy(DRAW.train.labels), cv=2)
    assert (scores == cross_val_score(ConvRFMClassifier(**SMALL), X, DRAW.train.labels, cv=2)).all()


def test_one_stage_is_convrfm():
    shallow = ConvRFMClassifier(agop_samples=20, **SMALL).fit(X, Y)
    deep = DeepConvRFMClassifier(stages=1, agop_samples=20, **SMALL).fit(X, Y)
    assert (deep.outputs(X_TEST) == shallow.outputs(X_TEST)).all()
    assert deep.history_.equals(shallow.history_)
    other = DeepConvRFMClassifier(stages=1, agop_samples=20, **{**SMALL, "depth": 1}).fit(X, Y)
    assert not np.array_equal(other.outputs(X_TEST), shallow.outputs(X_TEST))


def test_one_round_is_kernel_ridge_regression():
    """Against scikit-learn's, with the ridge that was chosen."""
    model = ConvRFMClassifier(**{**SMALL, "rounds": 1}).fit(X.astype(np.float64), DRAW.train.labels)
    kernel = CNTK(depth=2, patch_size=3)
    gram = kernel.gram(X.astype(np.float64))
    plain = KernelRidge(kernel="precomputed", alpha=model.best_ridge_).fit(gram / gram.max(), np.eye(2)[DRAW.train.labels])
    of_test = kernel.gram(X_TEST.astype(np.float64), X.astype(np.float64)) / gram.max()
    assert_close(model.outputs(X_TEST.astype(np.float64)), plain.predict(of_test), "smooth")


@pytest.mark.parametrize(
    "options",
    [
        {"padding": "circular", "stride": (2, 1)},
        {"padding": "zeros", "activation": "gelu"},
        {"pooling": 2, "activation": "erf"},
    ],
    ids=str,
)
def test_other_networks_of_the_family(options):
    """A metric is learned for their kernel, and features are the patches that it reads."""
    images, points = DIGITS.astype(np.float64)[:40], DIGITS.astype(np.float64)[40:50]
    model = ConvRFMClassifier(**options, **SMALL).fit(images, BUNCH.target[:40])
    kernel = CNTK(depth=2, **options)
    metric = np.eye(9) if model.best_round_ == 0 else model.metric_
    gram, of_points = kernel.gram(images, metric=metric), kernel.gram(points, images, metric)
    plain = KernelRidge(kernel="precomputed", alpha=model.best_ridge_).fit(gram / gram.max(), np.eye(3)[BUNCH.target[:40]])
    assert_close(model.outputs(points), plain.predict(of_points / gram.max()), "smooth")
    assert not np.allclose(kernel.gram(images), CNTK(depth=2).gram(images), rtol=0.01)  # the options matter

    margin = 0 if "padding" not in options else 1
    frame = np.pad(
        points, [(0, 0)] * 2 + [(margin, margin)] * 2, "wrap" if options.get("padding") == "circular" else "constant"
    )
    step = 2 if "stride" in options else 1
    corners = [(y, x) for y in range(0, frame.shape[2] - 2, step) for x in range(0, frame.shape[3] - 2, step)]
    patches = np.stack([frame[:, 0, y : y + 3, x : x + 3].reshape(-1, 9) for y, x in corners], axis=1)
    features = model.transform(points)
    assert features.shape[1] == len(model.get_feature_names_out()) == patches[0].size
    assert_close(features @ features.T, np.einsum("iud,de,jue->ij", patches, metric, patches), "smooth")


@pytest.mark.parametrize("make", [ConvRFMClassifier, DeepConvRFMClassifier])
def test_cross_validation_and_search_on_digits(make):
    assert cross_val_score(make(**SMALL), DIGITS, KINDS, cv=3).min() > 0.9
    grid = [
        {"kernel": ["cntk"], "depth": [1, 2], "patch_size": [2, 3], "rounds": [1, 2]},
        {"kernel": ["laplace"], "bandwidth": [0.1, 10.0]},
    ]
    settings = {"stages": 1} if make is DeepConvRFMClassifier else {}
    search = GridSearchCV(make(**settings, **SMALL), grid, cv=2, error_score="raise").fit(DIGITS, KINDS)
    scores = dict(zip(map(str, search.cv_results_["params"]), search.cv_results_["mean_test_score"], strict=True))
    assert len(scores) == 10
    assert min(score for name, score in scores.items() if "laplace" not in name) > 0.8
    # At a bandwidth below the distances of patches there is little to learn from: the search tells the two apart.
    assert scores[str({"bandwidth": 10.0, "kernel": "laplace"})] > scores[str({"bandwidth": 0.1, "kernel": "laplace"})]
    assert search.best_estimator_.predict(DIGITS).shape == KINDS.shape


def test_scores_by_decisions_and_settings_by_name():
    assert cross_val_score(ConvRFMClassifier(**SMALL), X, Y, cv=2, scoring="roc_auc").mean() > 0.8
    model = clone(DeepConvRFMClassifier(stages=2)).set_params(stages=1, kernel="cnngp")
    assert (model.get_params()["stages"], model.get_params()["kernel"]) == (1, "cnngp")


def test_a_pipeline_whose_transformer_keeps_the_axes():
    pipeline = Pipeline([("brighter", FunctionTransformer(np.sqrt)), ("model", ConvRFMClassifier(**SMALL))])
    grid = GridSearchCV(pipeline, {"model__depth": [1, 2]}, cv=2, error_score="raise").fit(DIGITS, KINDS)
    fitted = grid.best_estimator_
    alone = clone(fitted["model"]).fit(np.sqrt(DIGITS), KINDS)
    assert (fitted.predict(DIGITS) == alone.predict(np.sqrt(DIGITS))).all()
    # eval_set reaches the model as it is: nothing transforms it on the way.
    pipeline.fit(DIGITS, KINDS, model__eval_set=(np.sqrt(DIGITS), KINDS))
    assert pipeline["model"].history_.query("selected")["test_accuracy"].max() == pipeline.score(DIGITS, KINDS)


def test_types_of_pixels():
    integers = (16 * DIGITS).astype(np.uint8)
    by_type = {
        dtype: ConvRFMClassifier(**SMALL).fit(integers.astype(dtype), KINDS)
        for dtype in ("uint8", "float16", "float32", "float64")
    }
    found = {dtype: model.outputs(integers) for dtype, model in by_type.items()}
    assert {dtype: str(model.stages_[0].features.dtype) for dtype, model in by_type.items()} == {
        "uint8": "float32", "float16": "float32", "float32": "float32", "float64": "float64",
    }  # fmt: skip
    assert (found["uint8"] == found["float32"]).all()
    assert (found["float16"] == found["float32"]).all()
    assert found["float32"].dtype == np.float64
    assert np.abs(found["float32"] - found["float64"]).max() < 0.02
    # Images that are predicted take the type of the fit.
    assert (by_type["float64"].outputs(integers.astype(np.float32)) == found["float64"]).all()


def test_shapes_are_remembered(fitted):
    assert fitted.image_shape_ == (1, 16, 32)
    assert fitted.n_features_in_ == 512


def test_a_column_of_labels_is_taken_with_a_warning():
    with pytest.warns(DataConversionWarning, match="column-vector"):
        model = ConvRFMClassifier(**SMALL).fit(X, Y[:, None])
    assert model.score(X_TEST, Y_TEST) > 0.9


def test_float64_and_other_kernel():
    model = ConvRFMClassifier("cnngp", **SMALL).fit(X.astype(np.float64), Y)
    assert model.score(X_TEST.astype(np.float64), Y_TEST) > 0.9


@pytest.mark.parametrize(
    ("changes", "x", "y", "error", "sentence"),
    [
        ({}, X, np.zeros(120), InputError, "holds one class"),
        ({}, X, Y[:5], InputError, r"shape \(120,\)"),
        ({}, X[:, 0], Y, InputError, r"\(n, channels, height, width\)"),
        ({}, np.where(X > 0, X, np.nan), Y, NonFiniteError, "non-finite"),
        ({"depth": 9}, X, Y, ImageSizeError, "too small"),
        ({"kernel": "rbf"}, X, Y, InputError, "must be a str among"),
        ({"padding": "same"}, X, Y, InputError, "padding must be"),
        ({"activation": "erf", "backend": "reference"}, X, Y, ConfigError, "only the backend torch"),
        ({"kernel": "laplace", "stride": (2, 1)}, X, Y, InputError, r"stride is \(2, 1\), but the Laplace kernel has none"),
        ({"rounds": 0}, X, Y, InputError, "rounds"),
        ({"selection": "test"}, X, Y, InputError, "needs test images"),
        ({"validation_fraction": 1.0}, X, Y, InputError, "validation_fraction"),
        ({"validation_fraction": 1e-3}, X, Y, InputError, "Too few"),
        ({}, X, np.full(120, np.nan), InputError, "NaN"),
        ({}, X, np.array([None, *Y[1:]], dtype=object), InputError, "missing values"),
        ({}, X, np.array([1, *Y[1:]], dtype=object), InputError, "not class labels"),
        ({}, X, np.linspace(0, 1, 120), InputError, "not class labels"),
        ({}, X * 0, Y, InputError, "zero everywhere"),
        ({}, X * 1e-24, Y, InputError, "rescale the images"),
        ({}, [[1.0], [2.0, 3.0]], Y, InputError, "cannot be converted to an array"),
        ({}, X * 1j, Y, InputError, "Complex"),
        ({}, X.astype(object), Y, InputError, "real numbers"),
        ({}, csr_array(X[:, 0, 0]), Y, InputError, "sparse csr_array"),
        ({}, X, None, InputError, "requires y"),
        ({}, X, np.stack([Y, Y], axis=1), InputError, r"shape \(120,\)"),
        ({"n_jobs": 0}, X, Y, InputError, "other than 0"),
    ],
)
def test_bad_input(changes, x, y, error, sentence):
    with pytest.raises(error, match=sentence):
        ConvRFMClassifier(**{**SMALL, **changes}).fit(x, y)


def test_bad_eval_set(fitted):
    with pytest.raises(InputError, match="not among the training labels"):
        ConvRFMClassifier(**SMALL).fit(X, Y, eval_set=(X_TEST, np.full(80, "sideways")))
    with pytest.raises(InputError, match="eval_set has 496 features"):
        ConvRFMClassifier(**SMALL).fit(X, Y, eval_set=(X_TEST[..., :-1], Y_TEST))
    with pytest.raises(InputError, match="X has 496 features, but DeepConvRFMClassifier is expecting 512"):
        fitted.predict(X_TEST[..., :-1])
    with pytest.raises(InputError, match=r"\(1, 32, 16\), those of the fit \(1, 16, 32\)"):
        fitted.predict(X_TEST.transpose(0, 1, 3, 2))
    with pytest.raises(InputError, match="beyond the range of float32, as in the fit"):
        fitted.predict(X_TEST.astype(np.float64) * 1e200)


def test_progress_is_logged(caplog):
    with caplog.at_level("INFO", logger="convrfm"):
        ConvRFMClassifier(verbose=1, **SMALL).fit(X, Y)
    assert "stage 1 of 1, rounds: 2 of 2 done" in caplog.text


def test_progress_is_seen_where_nothing_logs(capsys):
    ConvRFMClassifier(verbose=1, **SMALL).fit(X, Y)
    assert "rounds: 2 of 2 done" in capsys.readouterr().err
    ConvRFMClassifier(**SMALL).fit(X, Y)
    assert capsys.readouterr().err == ""


def test_lazy_package():
    assert "ConvRFMClassifier" in dir(convrfm)
    with pytest.raises(AttributeError, match="nothing"):
        convrfm.nothing  # noqa: B018
