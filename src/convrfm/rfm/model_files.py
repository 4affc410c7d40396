"""Fitted estimators on disk: one safetensors file with a JSON description in its header. Nothing is pickled.

The arrays are those learned in every stage and round, and the training images, which predictions of a kernel machine
need. The features of later stages are computed again from the images and the filters. The description includes a hash
of itself and of all arrays. `FORMAT` counts up whenever files change in a way that older versions would misread.

Anybody may have written a file: its description and the shapes of its arrays are checked before anything is made of it.
"""

import json
import math
import reprlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from warnings import warn

import numpy as np
import pandas as pd
from safetensors import SafetensorError, safe_open
from sklearn.base import is_classifier

from convrfm import __version__
from convrfm.errors import ConfigError, ConvRFMWarning, InputError, StorageError
from convrfm.kernels import ConvolutionalKernel, PatchLaplace
from convrfm.numerics.inputs import is_count, is_positive
from convrfm.rfm.deep import Stage, apply_filters
from convrfm.rfm.estimator_base import ConvRFMBase
from convrfm.rfm.estimators import ConvRFMClassifier, ConvRFMRegressor, DeepConvRFMClassifier, DeepConvRFMRegressor
from convrfm.rfm.rounds import StageResult
from convrfm.system.machine import free_bytes, limited_threads
from convrfm.system.storage import check_plain, digest_of, write_arrays
from convrfm.system.terminal import user_path

__all__ = ["FORMAT", "Header", "WrongModelError", "check_finite", "check_model", "description_of", "load_model", "save_model"]

FORMAT = 2
"""Version of the file format that is written, and the newest that is read. 1 had no probabilities and no regressors."""

KINDS = {kind.__name__: kind for kind in (ConvRFMClassifier, DeepConvRFMClassifier, ConvRFMRegressor, DeepConvRFMRegressor)}
"""Classes that are saved, by name."""

DTYPES = {"F32": 4, "F64": 8}  # types of numbers, by the names of safetensors, with their bytes
MOST_LABELS = 2**28  # bytes of the labels of classes
MOST_LAYERS = 1000  # of a kernel with padding

FIELDS = {"format", "version", "kind", "parameters", "bandwidth", "stages"}

FIELDS_OF_STAGES = {"rounds", "best_round", "best_ridge", "best_score", "scale", "history"}

Arrays = dict[str, np.ndarray]


def save_model(model: ConvRFMBase, path: str | Path) -> None:
    """Write a fitted estimator atomically; by custom the name ends in `.safetensors`.

    A `random_state` that is a generator becomes None, with a warning: predictions do not use it, and its draws are saved.

    Args:
        model: a fitted `ConvRFMClassifier`, `ConvRFMRegressor`, or their deep versions.
        path: of the file, which is replaced if it exists. `~` is the home folder.

    Raises:
        InputError: another kind of model, one that is not fitted, parameters or labels that JSON cannot hold, that no
            model can have, or parameters of the kernel that were changed after the fit.
        StorageError: see `convrfm.system.storage`.
    """
    kind = type(model).__name__
    if KINDS.get(kind) is not type(model):
        msg = f"A {kind} cannot be saved, only {', '.join(KINDS)}: save the estimator inside it."
        raise InputError(msg)
    if not hasattr(model, "stages_"):
        msg = f"This {kind} is not fitted: call fit before saving it."
        raise InputError(msg)
    fitted = model.stages_[0].kernel
    bandwidth = fitted.bandwidth if isinstance(fitted, PatchLaplace) else None
    kernel = model._kernel(bandwidth if model.bandwidth == "median" and bandwidth is not None else model.bandwidth)
    now = kernel.spec, kernel.patch_size, model._deep_settings().nonlinearity
    if now != (fitted.spec, fitted.patch_size, model._nonlinearity):
        msg = "The kernel, patch_size or nonlinearity was changed after the fit: fit the model again before saving it."
        raise InputError(msg)
    arrays: Arrays = {"images": model.stages_[0].features}
    stages = []
    for index, stage in enumerate(model.stages_):
        description, of_stage = _describe(stage)
        stages.append(description)
        arrays |= {f"stage {index}/{name}": array for name, array in of_stage.items()}
    content = {
        "format": FORMAT,
        "version": __version__,
        "kind": kind,
        "parameters": {name: _plain(name, value) for name, value in model.get_params(deep=False).items()},
        "targets": _describe_targets(model),
        "bandwidth": bandwidth,  # a number, also where the parameter is "median"
        "stages": stages,
    }
    try:
        _check_parameters(content["parameters"], type(model))
    except WrongModelError as error:
        msg = f"The model cannot be saved, as it could not be loaded again: {error}."
        raise InputError(msg) from None
    # A single entry: safetensors writes several in any order.
    text = json.dumps(content | {"sha256": digest_of(content, arrays)})
    write_arrays(user_path(path), arrays, {"convrfm": text})


def load_model(path: str | Path, *, backend: str | None = None) -> ConvRFMBase:
    """Read what `save_model` wrote.

    On the same machine, with the same backend and number of threads, the model predicts the same bits as before.

    Args:
        path: of the file; `~` is the home folder.
        backend: of the kernels, instead of the saved one; "cpu", say, for a model that was fitted with "cuda".

    Raises:
        StorageError: a missing or damaged file, one of another origin or of a later version of convrfm, or one whose
            description no fitted model has; the message names the field.
        ConfigError: the saved backend cannot be used here.
    """
    path = user_path(path)
    with _opened(path) as file:
        metadata = file.metadata() or {}
        if "convrfm" not in metadata:
            msg = f"{path} is a safetensors file, but not a model of convrfm: save one with save_model."
            raise StorageError(msg)
        content = description_of(metadata["convrfm"])
        damaged = f"{path} is damaged: its content does not match the hash in its header. Copy or save the model again."
        if content is None:
            raise StorageError(damaged)
        found, claimed = content.get("format"), content.pop("sha256", None)
        if isinstance(found, int) and found > FORMAT:
            msg = f"{path} has format {found}, but convrfm {__version__} reads up to {FORMAT}: update convrfm."
            raise StorageError(msg)
        slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        headers = {name: Header(part.get_dtype(), tuple(part.get_shape())) for name, part in slices.items()}
        try:
            check_model(content, headers, KINDS)
            arrays = {name: file.get_tensor(name) for name in headers}
            if claimed != digest_of(content, arrays):
                raise StorageError(damaged)
            check_finite(arrays)
        except WrongModelError as error:
            msg = f"{path} is not a valid model: {error}. Save the model again."
            raise StorageError(msg) from error
    return _restored(content, arrays, backend)


def _describe(stage: Stage) -> tuple[dict[str, Any], Arrays]:
    """The JSON description of a stage, and its arrays."""
    result, history = stage.result, stage.result.history
    numeric = [name for name in history if pd.api.types.is_numeric_dtype(history[name])]
    arrays: Arrays = {"alpha": result.alpha} | ({} if stage.filters is None else {"filters": stage.filters})
    arrays |= {f"metric {t}": metric for t, metric in enumerate(result.metrics) if metric is not None}
    # As arrays, since JSON has neither NaN nor infinity.
    arrays |= {f"history/{name}": history[name].to_numpy() for name in numeric}
    description = {
        "rounds": len(result.metrics),
        "best_round": result.best_round,
        "best_ridge": float(result.best_ridge),
        "best_score": result.best_score,
        "scale": result.scale,
        "history": {name: None if name in numeric else history[name].tolist() for name in history},
    }
    return description, arrays


def _plain(name: str, value: Any) -> Any:
    """A parameter as JSON holds it.

    Raises:
        InputError: it is something else than a number, a text, None or a sequence of these.
    """
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(name, item) for item in value]
    if value is None or isinstance(value, str | int) or (isinstance(value, float) and np.isfinite(value)):
        return value
    if name == "random_state":
        message = f"random_state, a {type(value).__name__}, is not saved: it will be None in the loaded model."
        warn(message, ConvRFMWarning, stacklevel=4)
        return None
    msg = f"The parameter {name} cannot be saved: {value!r} is not a finite number, a text, None or a sequence of these."
    raise InputError(msg)


def _describe_targets(model: ConvRFMBase) -> dict[str, Any]:
    """The JSON description of the targets."""
    if isinstance(model, ConvRFMClassifier):
        return {"classes": _plain_labels(model.classes_), "temperature": model.temperature_}
    assert isinstance(model, ConvRFMRegressor)
    return {"axes": model._target_axes}


def _restore_targets(model: ConvRFMBase, content: dict[str, Any]) -> None:
    """Set the attributes that describe the targets."""
    if isinstance(model, ConvRFMRegressor):
        model._target_axes, model._target_count = content["targets"]["axes"], model.stages_[0].result.alpha.shape[1]
        return
    assert isinstance(model, ConvRFMClassifier)
    # Format 1 has the classes alone, one level higher.
    targets = content.get("targets", {"classes": content.get("classes"), "temperature": None})
    model.classes_ = np.array(targets["classes"]["values"], dtype=targets["classes"]["dtype"])
    model.temperature_ = targets["temperature"]


def _plain_labels(classes: np.ndarray) -> dict[str, Any]:
    """The JSON description of classes, with their dtype.

    Raises:
        InputError: labels that are neither numbers nor texts.
    """
    values = classes.tolist()
    if classes.dtype.kind not in "biufUO" or not all(isinstance(value, str | int | float) for value in values):
        msg = f"Labels of dtype {classes.dtype} ({values[0]!r}) cannot be saved: fit the model to numbers or texts."
        raise InputError(msg)
    return {"dtype": classes.dtype.str, "values": values}


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """A safetensors file, of which only the header has been read."""
    try:
        check_plain(path)
        with safe_open(path, framework="numpy") as file:
            yield file
    except StorageError:
        raise
    except FileNotFoundError as error:
        msg = f"{path} does not exist."
        raise StorageError(msg) from error
    except (OSError, SafetensorError) as error:
        msg = f"{path} cannot be read: damaged, or not a safetensors file ({error}). Copy or save the model again."
        raise StorageError(msg) from error


def _restored(content: dict[str, Any], arrays: Arrays, backend: str | None) -> ConvRFMBase:
    parameters = {name: tuple(value) if isinstance(value, list) else value for name, value in content["parameters"].items()}
    if backend is not None:
        parameters["backend"] = backend
    model = KINDS[content["kind"]]().set_params(**parameters)
    model._remember_shape(arrays["images"])
    with limited_threads(model.n_jobs):
        model._take_over(_stages(model, content, arrays))
    _restore_targets(model, content)
    return model


def _stages(model: ConvRFMBase, content: dict[str, Any], arrays: Arrays) -> list[Stage]:
    """The stages, with their features computed from the images."""
    kernel = model._kernel(content.get("bandwidth") or model.bandwidth)
    nonlinearity = model._deep_settings().nonlinearity
    features = arrays["images"]
    stages: list[Stage] = []
    for index, described in enumerate(content["stages"]):
        if stages:
            filters = stages[-1].filters
            assert filters is not None  # only the last stage has none
            features = apply_filters(features, filters, model.patch_size, nonlinearity)
        prefix = f"stage {index}/"
        own = {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
        columns = {name: own[f"history/{name}"] if values is None else values for name, values in described["history"].items()}
        result = StageResult(
            metrics=[own.get(f"metric {t}") for t in range(described["rounds"])],
            best_round=described["best_round"],
            best_ridge=described["best_ridge"],
            best_score=described["best_score"],
            history=pd.DataFrame(columns),
            alpha=own["alpha"],
            scale=described["scale"],
        )
        stages.append(Stage(kernel.shallower(index), result, features, own.get("filters")))
    return stages


class WrongModelError(ValueError):
    """A field has no value of a fitted model; the message is the end of a sentence."""


class Header(NamedTuple):
    """Type and shape of an array in the header of a safetensors file."""

    dtype: str
    shape: tuple[int, ...]


def description_of(text: str) -> dict[str, Any] | None:
    """The description in a header; None if it is damaged."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def check_model(content: dict[str, Any], arrays: Mapping[str, Header], kinds: Mapping[str, type[ConvRFMBase]]) -> None:
    """Refuse a description that no fitted model has, and arrays that do not match it, without reading the arrays.

    Args:
        content: the description, without its hash.
        arrays: their types and shapes in the header.
        kinds: classes by name.

    Raises:
        WrongModelError: names the wrong field; the message is the end of a sentence.
    """
    first = content.get("format") == 1
    _need("format", is_count(content.get("format")), content.get("format"))
    _fields("the description", content, FIELDS | ({"classes"} if first else {"targets"}), {"bandwidth"} if first else set())
    _need("kind", isinstance(content["kind"], str) and content["kind"] in kinds, content["kind"])
    model, kernel = _check_parameters(content["parameters"], kinds[content["kind"]])
    bandwidth = content.get("bandwidth")
    _need("bandwidth", bandwidth is None or is_positive(bandwidth), bandwidth)
    _need("bandwidth", bandwidth is not None or model.kernel != "laplace" or is_positive(model.bandwidth), bandwidth)
    images = _numbers(arrays, "images", (None, None, None, None))
    stages = content["stages"]
    _need("stages", isinstance(stages, list) and 0 < len(stages) <= len(arrays), stages)
    _need("stages", len(stages) == 1 or kernel.spec.plain, f"{len(stages)} for this kernel")
    outputs = _check_stages(stages, arrays, images, kernel)
    if is_classifier(model):
        targets = {"classes": content["classes"], "temperature": None} if first else content["targets"]
        _check_classes(targets, outputs)
    else:
        _fields("targets", content["targets"], {"axes"})
        _need("targets.axes", content["targets"]["axes"] in (1, 2), content["targets"]["axes"])


def check_finite(arrays: Mapping[str, np.ndarray]) -> None:
    """Refuse NaN and infinities in arrays that predictions need; histories have NaN without test images.

    Raises:
        WrongModelError: the message is the end of a sentence.
    """
    for name, array in arrays.items():
        _need(f"the array {name!r}", "/history/" in name or bool(np.isfinite(array).all()), "not finite everywhere")


def _need(field: str, holds: bool, found: Any) -> None:
    if not holds:
        shown = found if isinstance(found, str) else reprlib.repr(found)
        msg = f"{field} cannot be {shown[:80]}"
        raise WrongModelError(msg)


def _fields(name: str, content: Any, due: set[str], optional: set[str] | frozenset[str] = frozenset()) -> None:
    _need(name, isinstance(content, dict), content)
    _need(name, due - optional <= set(content), f"without {', '.join(sorted(due - optional - set(content)))}")
    _need(name, set(content) <= due, f"with {', '.join(sorted(set(content) - due))[:40]}")


def _is_plain(value: Any) -> bool:
    """Whether this is a text, None, a truth value or a finite number."""
    return value is None or isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))


def _check_parameters(parameters: Any, kind: type[ConvRFMBase]) -> tuple[ConvRFMBase, ConvolutionalKernel]:
    """The unfitted model that parameters make, and its kernel but for backend and bandwidth."""
    model = kind()
    known = set(model.get_params())
    _fields("parameters", parameters, known, known)
    for name, value in parameters.items():
        values = value if isinstance(value, list) else [value]
        _need(f"parameters.{name}", all(map(_is_plain, values)), value)
    model.set_params(**{name: tuple(value) if isinstance(value, list) else value for name, value in parameters.items()})
    try:
        model._check_parameters()
        model._settings()
        model._deep_settings()
        model.set_params(backend="auto")  # the saved one may be missing here
        kernel = model._kernel(bandwidth=1.0)
    except (InputError, ConfigError) as error:
        msg = f"parameters: {error}"
        raise WrongModelError(msg) from error
    # With padding, images bound no depth.
    _need("parameters.depth", model.depth <= MOST_LAYERS or model.padding == "valid", model.depth)
    cores = 2**15
    _need("parameters.n_jobs", model.n_jobs is None or abs(model.n_jobs) <= cores, model.n_jobs)
    return model, kernel


def _numbers(arrays: Mapping[str, Header], name: str, shape: tuple[int | None, ...]) -> tuple[int, ...]:
    """The shape of an array, which must be present and have these axes; None means any length from 1."""
    found = arrays.get(name)
    _need(f"the array {name!r}", found is not None, "absent")
    assert found is not None
    fits = len(found.shape) == len(shape) and all(
        have > 0 and due in (None, have) for have, due in zip(found.shape, shape, strict=True)
    )
    _need(f"the array {name!r}", fits and found.dtype in DTYPES, f"{found.dtype} of shape {found.shape}")
    return found.shape


def _check_stages(stages: list[Any], arrays: Mapping[str, Header], images: tuple[int, ...], kernel: ConvolutionalKernel) -> int:
    """Check each stage against the features of the stage before; gives the number of outputs."""
    known, outputs, size = {"images"}, None, DTYPES[arrays["images"].dtype]
    n, channels, height, width = images
    q = kernel.patch_size
    needed = sum(math.prod(header.shape) * 8 for header in arrays.values())
    for index, stage in enumerate(stages):
        where, own = f"stages.{index}", f"stage {index}"
        try:
            kernel.shallower(index).check_size(height, width)
        except InputError as error:
            msg = f"{where}: {error}"
            raise WrongModelError(msg) from error
        _check_stage(stage, where, arrays, own)
        _, outputs = _numbers(arrays, f"{own}/alpha", (n, outputs))
        dimension = channels * q**2
        metrics = {f"{own}/metric {t}" for t in range(1, stage["rounds"])}
        for name in metrics:
            _numbers(arrays, name, (dimension, dimension))
        known |= {f"{own}/alpha", *metrics, *(f"{own}/history/{name}" for name in stage["history"])}
        if index + 1 < len(stages):
            channels, _ = _numbers(arrays, f"{own}/filters", (None, dimension))
            known.add(f"{own}/filters")
            height, width = height - q + 1, width - q + 1
            needed += 2 * n * channels * height * width * size
    _need("the arrays", set(arrays) <= known, sorted(set(arrays) - known)[:1])
    free = free_bytes()
    _need("the model", needed <= free, f"one of {needed / 2**30:.3g} GiB, as {free / 2**30:.3g} GiB are free")
    assert outputs is not None
    return outputs


def _check_stage(stage: Any, where: str, arrays: Mapping[str, Header], own: str) -> None:
    _fields(where, stage, FIELDS_OF_STAGES)
    rounds, best = stage["rounds"], stage["best_round"]
    _need(f"{where}.rounds", is_count(rounds) and rounds <= len(arrays), rounds)
    _need(f"{where}.best_round", is_count(best, 0) and best < rounds, best)
    for name in ("best_ridge", "scale"):
        _need(f"{where}.{name}", is_positive(stage[name]), stage[name])
    score = stage["best_score"]
    _need(f"{where}.best_score", isinstance(score, int | float) and math.isfinite(score), score)
    history = stage["history"]
    _need(f"{where}.history", isinstance(history, dict), history)
    lengths = set()
    for name, values in history.items():
        if values is None:
            found = arrays.get(f"{own}/history/{name}")
            _need(f"{where}.history.{name}", found is not None and len(found.shape) == 1, found)
            assert found is not None
            lengths.add(found.shape[0])
        else:
            _need(f"{where}.history.{name}", isinstance(values, list) and all(map(_is_plain, values)), values)
            lengths.add(len(values))
    _need(f"{where}.history", len(lengths) <= 1, f"of columns of {sorted(lengths)} rows")


def _check_classes(targets: Any, outputs: int) -> None:
    _fields("targets", targets, {"classes", "temperature"})
    temperature, classes = targets["temperature"], targets["classes"]
    _need("targets.temperature", temperature is None or is_positive(temperature), temperature)
    _fields("targets.classes", classes, {"dtype", "values"})
    values, name = classes["values"], classes["dtype"]
    plain = isinstance(values, list) and all(value is not None and _is_plain(value) for value in values)
    _need("targets.classes.values", plain and len(values) == outputs, values)
    _need("targets.classes.dtype", isinstance(name, str) and len(name) < 20, name)
    try:
        dtype = np.dtype(name)
        wrong = dtype.kind not in "biufUO" or dtype.itemsize * len(values) > MOST_LABELS
        again = values if wrong else np.array(values, dtype).tolist()
    except (TypeError, ValueError, OverflowError):
        wrong, again = True, values
    _need("targets.classes.dtype", not wrong and again == values, name)
