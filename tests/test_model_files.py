"""Models on disk: the same after reloading, readable without Python's pickle, and refused where they are not what they say."""

import copy
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save_file
from sklearn.datasets import load_digits
from sklearn.pipeline import make_pipeline
from tolerance import assert_close

from convrfm import ConvRFMClassifier, DeepConvRFMClassifier, load_model, save_model
from convrfm.errors import ConfigError, ConvRFMWarning, InputError, StorageError
from convrfm.kernels import median_bandwidth
from convrfm.rfm import estimator_base, model_files
from convrfm.system.storage import digest_of, read_arrays, write_arrays

BUNCH = load_digits(n_class=3)
X = (BUNCH.images[:100, None] / 16).astype(np.float32)
NAMES = np.array(["zero", "one", "two"])[BUNCH.target[:100]]
Z = (BUNCH.images[100:140, None] / 16).astype(np.float32)
SMALL = {"depth": 2, "rounds": 3, "n_jobs": 1, "random_state": 0}


@pytest.fixture(scope="module")
def deep():
    return DeepConvRFMClassifier(filters=5, ridges=[1e-5, 1e-3], **SMALL).fit(X, NAMES, eval_set=(Z, NAMES[:40]))


@pytest.fixture
def saved(deep, tmp_path):
    save_model(deep, tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


def assert_same(loaded, model, images):
    assert type(loaded) is type(model)
    assert (loaded.outputs(images) == model.outputs(images)).all()
    assert (loaded.predict(images) == model.predict(images)).all()
    assert loaded.classes_.dtype == model.classes_.dtype
    pd.testing.assert_frame_equal(loaded.history_, model.history_, check_exact=True)
    names = ("temperature_", "best_stage_", "best_round_", "best_ridge_", "image_shape_", "n_features_in_")
    assert [getattr(loaded, name) for name in names] == [getattr(model, name) for name in names]
    for mine, other in zip(loaded.stages_, model.stages_, strict=True):
        assert (mine.features == other.features).all()
        assert mine.features.dtype == other.features.dtype
        assert repr(mine.kernel) == repr(other.kernel)
        assert len(mine.result.metrics) == len(other.result.metrics)
        assert all(np.array_equal(a, b) for a, b in zip(mine.result.metrics[1:], other.result.metrics[1:], strict=True))
        assert mine.result.metrics[0] is None


def test_reloaded_is_the_same(deep, saved):
    loaded = load_model(saved)
    assert_same(loaded, deep, Z)
    assert loaded.get_params() == {**deep.get_params(), "ridges": (1e-5, 1e-3)}
    # Whatever stage is the best: all of them are there.
    for stage in (0, 1):
        deep.best_stage_, kept = stage, deep.best_stage_
        loaded.best_stage_ = stage
        assert (loaded.outputs(Z) == deep.outputs(Z)).all()
        deep.best_stage_ = kept


@pytest.mark.parametrize(
    ("model", "labels", "dtype"),
    [
        (ConvRFMClassifier(**SMALL), BUNCH.target[:100], np.float64),
        (ConvRFMClassifier("laplace", bandwidth=2.0, **SMALL), NAMES.astype(object), np.float32),
        (
            ConvRFMClassifier("cnngp", selection="test", agop_samples=20, **SMALL),
            BUNCH.target[:100].astype(np.float64),
            np.float32,
        ),
        (DeepConvRFMClassifier(nonlinearity="none", stages=2, **SMALL), BUNCH.target[:100] == 1, np.float32),
        (ConvRFMClassifier(padding="zeros", stride=(2, 1), activation="gelu", **SMALL), BUNCH.target[:100], np.float32),
    ],
    ids=["integers, float64", "objects, laplace", "floats, cnngp", "booleans, linear features", "another network"],
)
def test_all_kinds(model, labels, dtype, tmp_path):
    images, points = X.astype(dtype), Z.astype(dtype)
    model.fit(images, labels, eval_set=(points, labels[:40]))
    save_model(model, str(tmp_path / "model.safetensors"))
    loaded = load_model(str(tmp_path / "model.safetensors"))
    assert_same(loaded, model, points)
    assert loaded.get_params() == model.get_params()
    save_model(loaded, tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == (tmp_path / "model.safetensors").read_bytes()


def test_the_median_bandwidth_is_that_of_the_training_images(tmp_path, monkeypatch):
    large = 255 * X  # at which the default bandwidth predicts noise
    model = ConvRFMClassifier("laplace", bandwidth="median", patch_size=3, **SMALL).fit(large, NAMES)
    assert model.score(255 * Z, np.array(["zero", "one", "two"])[BUNCH.target[100:140]]) > 0.9
    assert model.stages_[0].kernel.bandwidth == median_bandwidth(large, 3)
    save_model(model, tmp_path / "model.safetensors")
    monkeypatch.setattr(estimator_base, "median_bandwidth", None)  # the number is in the file
    loaded = load_model(tmp_path / "model.safetensors")
    assert_same(loaded, model, 255 * Z)
    assert loaded.get_params()["bandwidth"] == "median"


FIT = """
import sys, numpy
from convrfm import DeepConvRFMClassifier, save_model
x, y, z = (numpy.load(f"{sys.argv[1]}/{name}.npy") for name in "xyz")
model = DeepConvRFMClassifier(filters=5, ridges=[1e-5, 1e-3], depth=2, rounds=3, n_jobs=1, random_state=0).fit(x, y)
save_model(model, f"{sys.argv[1]}/model.safetensors")
numpy.save(f"{sys.argv[1]}/before.npy", model.outputs(z))
"""
LOAD = """
import sys, numpy
from convrfm import load_model
model = load_model(f"{sys.argv[1]}/model.safetensors")
numpy.save(f"{sys.argv[1]}/after.npy", model.outputs(numpy.load(f"{sys.argv[1]}/z.npy")))
sys.exit("torch" in sys.modules)
"""


def test_the_same_bits_in_another_process(deep, tmp_path):
    for name, array in (("x", X), ("y", NAMES), ("z", Z)):
        np.save(tmp_path / f"{name}.npy", array)
    for code in (FIT, LOAD):
        subprocess.run([sys.executable, "-c", code, tmp_path], check=True)
    assert (np.load(tmp_path / "after.npy") == np.load(tmp_path / "before.npy")).all()
    assert np.abs(np.load(tmp_path / "after.npy") - deep.outputs(Z)).max() < 1e-4


def test_the_file_is_json_and_numbers(saved):
    content = saved.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    description = json.loads(header["__metadata__"]["convrfm"])
    assert description["format"] == model_files.FORMAT
    assert description["kind"] == "DeepConvRFMClassifier"
    assert description["targets"]["classes"]["values"] == ["one", "two", "zero"]
    assert header["images"]["shape"] == [100, 1, 8, 8]
    assert header["stage 0/metric 1"]["shape"] == [9, 9]
    # Once only: features of later stages follow from the images.
    assert not [name for name in header if "features" in name]


def test_files_of_format_1_are_read():
    """Deep ConvRFM of two stages on 20 images, written by the code before format 2."""
    model = load_model(Path(__file__).parent / "model_format_1.safetensors")
    expected = np.arange(20) % 2
    images = model.stages_[0].features
    assert (model.predict(images) == np.array(["down", "up"])[expected]).all()
    assert_close(model.outputs(images), np.eye(2)[expected], "smooth", "float32")
    assert model.copy_X
    with pytest.raises(AttributeError) as caught:
        model.predict_proba(images)
    assert "older version). Fit it again" in str(caught.value.__cause__)


def test_generators_become_none(tmp_path):
    model = ConvRFMClassifier(**{**SMALL, "random_state": np.random.default_rng(0)}).fit(X, NAMES)
    with pytest.warns(ConvRFMWarning, match="random_state, a Generator, is not saved"):
        save_model(model, tmp_path / "model.safetensors")
    loaded = load_model(tmp_path / "model.safetensors")
    assert loaded.random_state is None
    assert (loaded.outputs(Z) == model.outputs(Z)).all()


def test_another_backend(tmp_path):
    model = ConvRFMClassifier(backend="reference", **SMALL).fit(X[:40], NAMES[:40])
    save_model(model, tmp_path / "model.safetensors")
    assert load_model(tmp_path / "model.safetensors").stages_[0].kernel.backend == "reference"
    loaded = load_model(tmp_path / "model.safetensors", backend="cpu")
    assert loaded.stages_[0].kernel.backend == "cpu"
    assert np.abs(loaded.outputs(Z) - model.outputs(Z)).max() < 0.02
    with pytest.raises(ConfigError, match="backend"):
        load_model(tmp_path / "model.safetensors", backend="abacus")


def flipped(content, place):
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda content: b"", "cannot be read"),
        (lambda content: b"PK\x03\x04" + content, "cannot be read"),
        (lambda content: content[:-1], "cannot be read"),
        (lambda content: flipped(content, len(content) - 5), "is damaged: its content"),
        (lambda content: content.replace(b"0.001", b"0.003", 1), "is damaged: its content"),
        (lambda content: content.replace(b'\\"format\\": 2', b'\\"format\\": 9', 1), "has format 9, but convrfm"),
        (lambda content: content.replace(b'\\"format\\": 2', b'\\"format\\": x', 1), "is damaged: its content"),
        (lambda content: content.replace(b'\\"format\\": 2', b'\\"farmot\\": 1', 1), "format cannot be None"),
    ],
    ids=["empty", "other file", "cut", "data", "description", "later", "no JSON", "no format"],
)
def test_damage_is_refused(saved, damage, sentence):
    content = saved.read_bytes()
    assert damage(content) != content
    saved.write_bytes(damage(content))
    with pytest.raises(StorageError, match=sentence):
        load_model(saved)


def test_foreign_files_are_refused(tmp_path):
    with pytest.raises(StorageError, match="does not exist"):
        load_model(tmp_path / "nothing.safetensors")
    with pytest.raises(StorageError, match="cannot be read"):
        load_model(tmp_path)
    save_file({"weight": np.zeros(3)}, tmp_path / "network.safetensors")
    with pytest.raises(StorageError, match="not a model of convrfm"):
        load_model(tmp_path / "network.safetensors")


def test_what_cannot_be_saved(deep, tmp_path):
    class Own(ConvRFMClassifier):
        pass

    path = tmp_path / "model.safetensors"
    for model in (make_pipeline(deep), Own()):
        with pytest.raises(InputError, match=f"A {type(model).__name__} cannot be saved"):
            save_model(model, path)
    with pytest.raises(InputError, match="not fitted"):
        save_model(ConvRFMClassifier(), path)
    model = ConvRFMClassifier(**SMALL).fit(X, NAMES).set_params(bandwidth=np.inf)  # of no meaning to this kernel
    with pytest.raises(InputError, match="parameter bandwidth cannot be saved"):
        save_model(model, path)
    model.set_params(bandwidth=10.0).fit(X, BUNCH.target[:100].astype("datetime64[D]"))
    with pytest.raises(InputError, match="cannot be saved: fit the model to numbers or texts"):
        save_model(model, path)
    # What could not be loaded again.
    model = ConvRFMClassifier(**SMALL).fit(X, NAMES)
    for changes, sentence in (({"n_jobs": 100_000}, "n_jobs cannot be 100000"), ({"rounds": -1}, "rounds must be")):
        with pytest.raises(InputError, match=f"The model cannot be saved, as it could not be loaded again: .*{sentence}"):
            save_model(clone_with(model, **changes), path)
    assert not list(tmp_path.iterdir())


def clone_with(model, **changes):
    """The fitted model with other parameters."""
    return copy.copy(model).set_params(**changes)


def test_a_failure_leaves_the_old_file(deep, saved, monkeypatch):
    old = saved.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(StorageError, match="disk is full"):
        save_model(deep, saved)
    assert saved.read_bytes() == old
    assert [path.name for path in saved.parent.iterdir()] == ["model.safetensors"]


def test_parameters_of_numpy(tmp_path):
    settings = SMALL | {"ridges": np.array([1e-3], np.float32)}
    model = ConvRFMClassifier("laplace", patch_size=3, bandwidth=np.float32(3), **settings).fit(X, NAMES)
    save_model(model, tmp_path / "model.safetensors")
    assert_same(load_model(tmp_path / "model.safetensors"), model, Z)


def test_an_unknown_home_folder():
    with pytest.raises(InputError, match="unknown user"):
        load_model("~nobody-of-this-name/model.safetensors")


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "model.safetensors")
    with pytest.raises(StorageError, match="It is a pipe"):
        load_model(tmp_path / "model.safetensors")


def at(*path, value):
    """A change of the description: a value in the place of another, or of none."""

    def change(content, arrays):
        place = content
        for part in path[:-1]:
            place = place[part]
        place[path[-1]] = value

    return change


def without(*path):
    def change(content, arrays):
        place = content
        for part in path[:-1]:
            place = place[part]
        del place[path[-1]]

    return change


def array(name, value):
    def change(content, arrays):
        arrays.pop(name, None) if value is None else arrays.update({name: value})

    return change


def with_nan(content, arrays):
    arrays["stage 0/alpha"] = arrays["stage 0/alpha"] * np.nan


def nested(levels: int):
    value: list = []
    for _ in range(levels):
        value = [value]
    return value


WRONG = {
    "no kind": (without("kind"), "the description cannot be without kind"),
    "another kind": (at("kind", value="os.system"), "kind cannot be os.system"),
    "a kind of another kind": (at("kind", value=["x"]), r"kind cannot be \['x'\]"),
    "a truth value for the format": (at("format", value=True), "format cannot be True"),
    "an extra key": (at("__class__", value=1), "the description cannot be with __class__"),
    "an extra parameter": (at("parameters", "x", value=1), "parameters cannot be with x"),
    "parameters in a list": (at("parameters", value=[]), r"parameters cannot be \[\]"),
    "nested ridges": (at("parameters", "ridges", value=nested(5)), "parameters.ridges cannot be"),
    "nested deeply": (at("parameters", "ridges", value=nested(900)), "is damaged|parameters.ridges cannot be"),
    "ridges of NaN": (at("parameters", "ridges", value=[float("nan")]), r"parameters.ridges cannot be \[nan\]"),
    "a text for the depth": (at("parameters", "depth", value="3"), "parameters: .*'depth'"),
    "a huge depth": (at("parameters", "depth", value=10**9), "stages.0: Images of 8x8 pixels are too small"),
    "a huge depth with padding": (
        lambda content, arrays: content["parameters"].update(depth=10**9, padding="zeros"), "parameters.depth cannot be 1000000000",
    ),
    "another padding": (at("parameters", "padding", value="same"), "parameters: padding must be"),
    "two stages of another network": (at("parameters", "activation", value="erf"), "stages cannot be 2 for this kernel"),
    "a huge patch": (at("parameters", "patch_size", value=10**30), "stages.0: Images of 8x8 pixels are too small"),
    "many threads": (at("parameters", "n_jobs", value=10**9), "parameters.n_jobs cannot be 1000000000"),
    "a bandwidth of NaN": (at("bandwidth", value=float("nan")), "bandwidth cannot be nan"),
    "a negative bandwidth": (at("bandwidth", value=-1), "bandwidth cannot be -1"),
    "no stages": (at("stages", value=[]), "stages cannot be"),
    "stages that are none": (at("stages", value=[1, 2]), "stages.0 cannot be 1"),
    "huge rounds": (at("stages", 0, "rounds", value=10**12), "stages.0.rounds cannot be 1000000000000"),
    "a round that was not": (at("stages", 0, "best_round", value=3), "stages.0.best_round cannot be 3"),
    "a negative round": (at("stages", 0, "best_round", value=-1), "stages.0.best_round cannot be -1"),
    "a scale of zero": (at("stages", 0, "scale", value=0.0), "stages.0.scale cannot be 0.0"),
    "an infinite scale": (at("stages", 0, "scale", value=float("inf")), "stages.0.scale cannot be inf"),
    "a score of NaN": (at("stages", 1, "best_score", value=float("nan")), "stages.1.best_score cannot be nan"),
    "a history of another kind": (at("stages", 0, "history", value="x"), "stages.0.history cannot be x"),
    "a nested history": (at("stages", 0, "history", "round", value=[[1]]), "stages.0.history.round cannot be"),
    "a short history": (at("stages", 0, "history", "round", value=[1]), "stages.0.history cannot be of columns of"),
    "a temperature of zero": (at("targets", "temperature", value=0), "targets.temperature cannot be 0"),
    "too few classes": (at("targets", "classes", "values", value=["a"]), "targets.classes.values cannot be"),
    "a class in a list": (at("targets", "classes", "values", value=["a", "b", ["c"]]), "targets.classes.values cannot be"),
    "huge labels": (at("targets", "classes", "dtype", value="<U500000000"), "targets.classes.dtype cannot be <U500000000"),
    "labels of another kind": (at("targets", "classes", "dtype", value="<f8"), "targets.classes.dtype cannot be <f8"),
    "labels of a structure": (at("targets", "classes", "dtype", value="i4,i4"), "targets.classes.dtype cannot be i4,i4"),
    "no images": (array("images", None), "the array 'images' cannot be absent"),
    "flat images": (array("images", np.zeros((100, 64), np.float32)), "the array 'images' cannot be F32 of shape"),
    "images of integers": (array("images", np.zeros((100, 1, 8, 8), np.int64)), "the array 'images' cannot be I64"),
    "no image": (array("images", np.zeros((0, 1, 8, 8), np.float32)), "the array 'images' cannot be F32 of shape"),
    "a metric of another size": (array("stage 0/metric 1", np.eye(8)), "the array 'stage 0/metric 1' cannot be F64"),
    "no coefficients": (array("stage 1/alpha", None), "the array 'stage 1/alpha' cannot be absent"),
    "an extra array": (array("x", np.zeros(3)), "the arrays cannot be"),
    "coefficients of NaN": (with_nan, "the array 'stage 0/alpha' cannot be not finite everywhere"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_no_fitted_model_says_is_refused_by_its_name(saved, name):
    """With the right hash: whoever writes a file can compute it."""
    change, sentence = WRONG[name]
    header, arrays = read_arrays(saved)
    content = json.loads(header["convrfm"])
    del content["sha256"]
    change(content, arrays)
    write_arrays(saved, arrays, {"convrfm": json.dumps(content | {"sha256": digest_of(content, arrays)})})
    with pytest.raises(StorageError, match=sentence):
        load_model(saved)


def test_a_model_that_does_not_fit_into_the_memory(saved, monkeypatch):
    monkeypatch.setattr(model_files, "free_bytes", lambda: 10_000)
    with pytest.raises(StorageError, match=r"the model cannot be one of .* GiB, as 9.31e-06 GiB are free"):
        load_model(saved)
