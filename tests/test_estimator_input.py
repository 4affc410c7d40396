"""What estimators are given: parameters of any type, arrays of any kind, and what a fit leaves when it fails."""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone

from convrfm import ConvRFMClassifier, ConvRFMRegressor, DeepConvRFMClassifier, DeepConvRFMRegressor, load_model, save_model
from convrfm.errors import ConvRFMWarning, ImageSizeError, InputError
from convrfm.numerics.inputs import as_images, as_numpy
from convrfm.rfm import rounds as rfm
from convrfm.rfm.deep import DeepSettings
from convrfm.rfm.rounds import RFMSettings

RNG = np.random.default_rng(0)
Y = np.arange(30) % 2
X = (0.3 * RNG.random((30, 1, 5, 5))).astype(np.float32)
X[:, 0, 2] += Y[:, None]
SMALL = {"depth": 1, "patch_size": 2, "rounds": 2, "ridges": (1e-3,), "n_jobs": 1, "random_state": 0}
DEEP = {**SMALL, "depth": 2, "stages": 2, "filters": 3}


def state_of(model):
    return pickle.dumps(vars(model))


# Failed fits


@pytest.mark.parametrize(
    "make",
    [
        ConvRFMClassifier(**SMALL), DeepConvRFMClassifier(**DEEP), ConvRFMRegressor(**SMALL), DeepConvRFMRegressor(**DEEP),
    ],
    ids=lambda model: type(model).__name__,
)  # fmt: skip
@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, InputError])
def test_a_fit_that_fails_leaves_the_model_as_it_was(make, error, monkeypatch):
    unfitted, fitted = clone(make), clone(make).fit(X, Y)
    before, predicted = state_of(fitted), fitted.predict(X)
    fit_round = rfm._fit_round

    def failing(*arguments):
        if arguments[3] == 1:  # in the middle of a stage
            raise error
        return fit_round(*arguments)

    monkeypatch.setattr(rfm, "_fit_round", failing)
    for model in (unfitted, fitted):
        with pytest.raises(error):
            model.fit(X[:20, :, :, :4], Y[:20] + 5)
    assert vars(unfitted) == vars(clone(make))
    assert state_of(fitted) == before
    assert (fitted.predict(X) == predicted).all()


@pytest.mark.parametrize("eval_set", [(X[:, :, :4], Y), (X, Y[:3]), (X, Y + 7)])
def test_a_bad_eval_set_leaves_the_model_as_it_was(eval_set):
    model = ConvRFMClassifier(**SMALL).fit(X, Y)
    before = state_of(model)
    with pytest.raises(InputError):
        model.fit(X, Y + 1, eval_set=eval_set)
    assert state_of(model) == before


def test_a_refit_forgets_the_fit_before():
    model = ConvRFMClassifier(**SMALL).fit(X, Y)
    model.set_params(selection="test").fit(X, Y + 3, eval_set=(X, Y + 3))
    assert model.temperature_ is None
    assert list(model.classes_) == [3, 4]


def test_parameters_that_change_after_the_fit_do_not_reach_it(tmp_path):
    model = DeepConvRFMClassifier(**DEEP).fit(X, Y)
    model.best_stage_ = 1
    outputs, metrics = model.outputs(X), model.metrics_
    model.set_params(patch_size=3, nonlinearity="none", kernel="laplace")
    assert (model.outputs(X) == outputs).all()
    assert [metric.shape for metric in model.metrics_] == [metric.shape for metric in metrics]
    with pytest.raises(InputError, match="was changed after the fit: fit the model again"):
        save_model(model, tmp_path / "model.safetensors")


# Shared memory


@pytest.mark.parametrize("kind", ["array", "float64", "view", "tensor", "memory map"])
def test_images_that_change_after_the_fit_do_not_reach_it(kind, tmp_path):
    given = {
        "array": lambda: X.copy(),
        "float64": lambda: X.astype(np.float64),
        "view": lambda: np.stack([X, X])[1],
        "tensor": lambda: torch.from_numpy(X.copy()),
        "memory map": lambda: np.memmap(tmp_path / "images", np.float32, "w+", shape=X.shape),
    }[kind]()
    given[:] = torch.from_numpy(X) if kind == "tensor" else X
    model = DeepConvRFMClassifier(**DEEP).fit(given, Y)
    outputs = model.outputs(X)
    given[:] = 0
    assert (model.outputs(X) == outputs).all()


def test_targets_that_change_after_the_fit_do_not_reach_it():
    targets = Y.astype(np.float64)
    model = ConvRFMRegressor(**SMALL).fit(X, targets)
    predicted = model.predict(X)
    targets[:] = 9
    assert (model.predict(X) == predicted).all()


def test_a_copy_is_made_once_or_not_at_all():
    assert np.shares_memory(ConvRFMClassifier(copy_X=False, **SMALL).fit(X, Y).stages_[0].features, X)
    assert not np.shares_memory(ConvRFMClassifier(copy_X=True, **SMALL).fit(X, Y).stages_[0].features, X)


# Types of parameters

WRONG = [
    ("kernel", 3), ("kernel", "rbf"), ("depth", 2.5), ("depth", "3"), ("depth", True), ("depth", 0), ("patch_size", "3"),
    ("patch_size", 3.0), ("bandwidth", "wide"), ("bandwidth", -1.0), ("bandwidth", np.nan), ("rounds", 2.0),
    ("rounds", True), ("rounds", None), ("ridges", 1e-3), ("ridges", ()), ("ridges", "1e-3"), ("ridges", ("1e-3",)),
    ("ridges", (0.0,)), ("ridges", (np.inf,)), ("ridges", (True,)), ("ridges", np.ones((1, 1))), ("ridges", np.array(1.0)),
    ("selection", None), ("selection", np.array(["test", "test"])), ("validation_fraction", "0.2"),
    ("validation_fraction", 1), ("agop_samples", 2.5), ("agop_samples", True), ("agop_samples", None),
    ("agop_samples", np.arange(3)), ("agop_draw", 1), ("agop_ridge", "best"), ("metric_power", "1"), ("metric_power", 1j),
    ("metric_power", np.inf), ("eigenvalue_fraction", None), ("eigenvalue_fraction", 2), ("solver_dtype", np.float64),
    ("backend", None), ("memory", 1e6), ("memory", 0), ("copy_X", 1), ("n_jobs", 1.0), ("n_jobs", True), ("n_jobs", 0),
    ("random_state", "0"), ("random_state", -1), ("random_state", 1.5), ("verbose", "yes"), ("stages", 1.0),
    ("stages", 0), ("filters", 2.5), ("filters", "64"), ("nonlinearity", "tanh"), ("nonlinearity", None),
    ("plain_filters", 1),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), WRONG, ids=str)
def test_parameters_of_a_wrong_type(name, value):
    for make in (DeepConvRFMClassifier, DeepConvRFMRegressor):
        with pytest.raises(InputError, match=rf"\b{name}\b.* must "):
            make(**{**DEEP, name: value}).fit(X, Y)


def test_a_single_ridge_is_to_be_in_a_tuple():
    with pytest.raises(InputError, match=r"such as \(1e-3,\), but it is 0.001"):
        ConvRFMClassifier(ridges=1e-3).fit(X, Y)


def test_numbers_of_numpy_are_numbers():
    other = {
        "depth": np.int64(2), "stages": np.int8(2), "patch_size": np.int64(2), "rounds": np.int32(2), "filters": np.uint8(3),
        "ridges": np.array([1e-3]), "memory": np.int64(10**8), "metric_power": np.float32(1), "bandwidth": 3,
    }  # fmt: skip
    model = DeepConvRFMClassifier(**{**DEEP, **other}).fit(X, Y)
    assert (model.outputs(X) == DeepConvRFMClassifier(**DEEP).fit(X, Y).outputs(X)).all()


@pytest.mark.parametrize(
    ("settings", "name", "value"),
    [
        (settings, name, value)
        for name, value in WRONG
        for settings in (RFMSettings, DeepSettings)
        if name in settings.__dataclass_fields__ and not (name == "stages" and value is None)
    ],
    ids=str,
)
def test_settings_of_a_wrong_type(settings, name, value):
    with pytest.raises(InputError, match=f"{name} must be .*, but it is"):
        settings(**{name: value})


# Kinds of arrays


@pytest.mark.parametrize(
    ("given", "dtype"),
    [
        (X.astype(">f4"), "float32"), (X.astype(">f8"), "float64"), ((100 * X).astype(">i2"), "float32"),
        (X.astype(">f2"), "float32"), (X.astype(np.longdouble), "float64"), (X[::-1, :, ::-1], "float32"),
        (np.ma.masked_array(X, np.zeros(X.shape, bool)), "float32"), (X.tolist(), "float64"),
        (torch.from_numpy(X).bfloat16(), "float32"), (torch.from_numpy(X).requires_grad_(), "float32"),
        (list(torch.from_numpy(X)), "float32"), (torch.from_numpy(1j * X).imag, "float32"), (X > 0.3, "float32"),
        (torch._neg_view(torch.from_numpy(X)), "float32"), ((1000 * X).astype(np.uint64), "float32"),
    ],
)  # fmt: skip
def test_arrays_that_are_converted(given, dtype):
    images = as_images(given, "X")
    assert (str(images.dtype), images.dtype.isnative, images.flags.c_contiguous) == (dtype, True, True)
    plain = given.detach().resolve_neg().float().numpy() if isinstance(given, torch.Tensor) else given
    if not isinstance(given, list):
        assert (images == np.asarray(plain, dtype)).all()
    model = ConvRFMClassifier(**SMALL).fit(given, Y)
    assert (model.predict(given) == model.predict(images)).all()


def test_bfloat16_of_numpy_is_converted():
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="ml_dtypes comes with JAX")
    assert as_images(X.astype(ml_dtypes.bfloat16), "X").dtype == np.float32


def test_read_only_arrays_are_taken():
    given = X.copy()
    given.flags.writeable = False
    model = ConvRFMClassifier(copy_X=False, **SMALL).fit(given, Y)
    assert (model.predict(given) == Y).all()


MASKED = np.ma.masked_array(X, X > 1)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (MASKED, f"{np.ma.count_masked(MASKED)} masked entries: fill them"),
        (list(MASKED), "masked entries"),
        ([list(image) for image in MASKED], "masked entries"),
        (X.astype(object), "dtype is object.*astype"),
        (X.astype(str), "dtype is <U"),
        (np.zeros(X.shape, [("red", "f4")]), r"dtype is \[\('red'"),
        (np.zeros(X.shape, "M8[s]"), "dtype is datetime64"),
        (pd.DataFrame({"image": list(X)}), "dtype is object"),
        (torch.from_numpy(X) * 1j, "Complex"),
        ((torch.from_numpy(X) * 1j).conj(), "Complex"),
        (torch.from_numpy(X).to_sparse(), "sparse"),
        (torch.zeros(X.shape, device="meta"), "meta tensor"),
        (X.astype(np.longdouble) * np.longdouble(10) ** 400, "beyond the largest of float64"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_arrays_that_are_refused(given, sentence):
    with pytest.raises(InputError, match=sentence):
        ConvRFMClassifier(**SMALL).fit(given, Y)


def test_masked_labels_and_targets_are_refused():
    masked = np.ma.masked_array(Y, Y == 3)
    assert (ConvRFMClassifier(**SMALL).fit(X, masked).predict(X) == Y).all()
    masked[4] = np.ma.masked
    for make in (ConvRFMClassifier, ConvRFMRegressor):
        with pytest.raises(InputError, match=r"The (labels|targets) of y has 1 masked"):
            make(**SMALL).fit(X, masked)


def test_copies_of_conversions():
    for given in (X, X.astype(">f4"), torch.from_numpy(X), np.ma.masked_array(X)):
        memory = np.asarray(given)
        assert not np.shares_memory(as_numpy(given, "X", copy=True), memory)
    assert np.shares_memory(as_numpy(X, "X"), X)


# Axes


@pytest.mark.parametrize("shape", [(30, 32, 32, 3), (30, 8, 8, 1), (30, 6, 6, 4), (30, 24, 32, 1)])
@pytest.mark.parametrize("make", [DeepConvRFMClassifier, ConvRFMRegressor])
def test_channels_in_the_last_axis_are_refused(shape, make):
    with pytest.raises(InputError, match=r"looks like \(n, height, width, channels\).*X.transpose\(0, 3, 1, 2\)"):
        make(**SMALL).fit(RNG.random(shape), Y)


def test_channels_that_may_be_in_the_last_axis_bring_a_warning():
    with pytest.warns(ConvRFMWarning, match=r"transpose\(0, 3, 1, 2\)"):
        ConvRFMClassifier(**SMALL).fit(RNG.random((30, 6, 8, 3)), Y)


@pytest.mark.parametrize("shape", [(30, 3, 3, 3), (30, 4, 6, 3), (30, 3, 6, 4), (30, 8, 4, 4), (30, 12, 5, 5)])
def test_other_shapes_pass_in_silence(shape):
    ConvRFMClassifier(**SMALL).fit(RNG.random(shape), Y)


def test_narrow_features_of_later_stages_pass_in_silence():
    model = DeepConvRFMClassifier(**{**DEEP, "filters": 6}).fit(RNG.random((30, 3, 7, 5)), Y)
    assert model.stages_[1].features.shape == (30, 6, 6, 4)  # which would be taken for 6 x 6 pixels of 4 channels
    with pytest.raises(ImageSizeError):
        ConvRFMClassifier(**{**SMALL, "depth": 9}).fit(X, Y)


def test_a_home_folder_is_written_as_a_tilde(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    model = ConvRFMClassifier(**SMALL).fit(X, Y)
    save_model(model, "~/model.safetensors")
    assert (tmp_path / "model.safetensors").exists()
    assert not list((tmp_path / "work").iterdir())
    assert (load_model("~/model.safetensors").outputs(X) == model.outputs(X)).all()


@pytest.mark.parametrize("given", [[], (1,), ([1], [2], [3]), {"X": 1, "y": 2}, iter([1, 2]), False])
def test_an_eval_set_is_a_pair(given):
    with pytest.raises(InputError, match="eval_set must be a pair"):
        ConvRFMClassifier().fit(np.ones((4, 1, 8, 8)), [0, 1, 0, 1], eval_set=given)


def test_stages_beyond_the_images_end_at_once():
    with pytest.raises(InputError):
        DeepConvRFMClassifier(depth=10**30).fit(np.random.default_rng(0).random((8, 1, 8, 8)), [0, 1] * 4)
