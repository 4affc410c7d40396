"""Fitted estimators on disk: one safetensors file with a JSON description in its header. Nothing is pickled.

The arrays are those learned in every stage and round, and the training images, which predictions of a kernel machine
need. The features of later stages are computed again from the images and the filters. The description includes a hash
of itself and of all arrays. `FORMAT` counts up whenever files change in a way that older versions would misread.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from warnings import warn

import numpy as np
import pandas as pd
from safetensors import SafetensorError, safe_open

from convrfm import __version__
from convrfm.errors import ConvRFMWarning, InputError, StorageError
from convrfm.kernels import PatchLaplace
from convrfm.rfm.deep import Stage, apply_filters
from convrfm.rfm.estimator_base import ConvRFMBase
from convrfm.rfm.estimators import ConvRFMClassifier, ConvRFMRegressor, DeepConvRFMClassifier, DeepConvRFMRegressor
from convrfm.rfm.model_checks import Header, WrongModelError, check_finite, check_model, description_of
from convrfm.rfm.rounds import StageResult
from convrfm.system.plain_files import check_plain
from convrfm.system.processors import limited_threads
from convrfm.system.storage import digest_of, write_arrays
from convrfm.system.terminal import user_path

__all__ = ["FORMAT", "load_model", "save_model"]

FORMAT = 2
"""Version of the file format that is written, and the newest that is read. 1 had no probabilities and no regressors."""

KINDS = {kind.__name__: kind for kind in (ConvRFMClassifier, DeepConvRFMClassifier, ConvRFMRegressor, DeepConvRFMRegressor)}
"""Classes that are saved, by name."""

Arrays = dict[str, np.ndarray]


def save_model(model: ConvRFMBase, path: str | Path) -> None:
    """Write a fitted estimator atomically; by custom the name ends in `.safetensors`.

    A `random_state` that is a generator becomes None, with a warning: predictions do not use it, and its draws are
    saved.

    Args:
        model: a fitted `ConvRFMClassifier`, `ConvRFMRegressor`, or their deep versions.
        path: of the file, which is replaced if it exists. `~` is the home folder.

    Raises:
        InputError: another kind of model, one that is not fitted, parameters or labels that JSON cannot hold, or
            parameters of the kernel that were changed after the fit.
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
