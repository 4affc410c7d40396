"""Checks of a model file before anything is made of it, since anybody may have written it."""

import json
import math
import reprlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import is_classifier

from convrfm.errors import ConfigError, InputError
from convrfm.numerics.inputs import is_count, is_positive
from convrfm.numerics.patches import check_fits
from convrfm.rfm.estimator_base import ConvRFMBase
from convrfm.system.memory import free_bytes

__all__ = ["Header", "WrongModelError", "check_finite", "check_model", "description_of"]

DTYPES = {"F32": 4, "F64": 8}  # types of numbers, by the names of safetensors, with their bytes
MOST_LABELS = 2**28  # bytes of the labels of classes

FIELDS = {"format", "version", "kind", "parameters", "bandwidth", "stages"}
FIELDS_OF_STAGES = {"rounds", "best_round", "best_ridge", "best_score", "scale", "history"}


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
    model = _check_parameters(content["parameters"], kinds[content["kind"]])
    bandwidth = content.get("bandwidth")
    _need("bandwidth", bandwidth is None or is_positive(bandwidth), bandwidth)
    _need("bandwidth", bandwidth is not None or model.kernel != "laplace" or is_positive(model.bandwidth), bandwidth)
    images = _numbers(arrays, "images", (None, None, None, None))
    stages = content["stages"]
    _need("stages", isinstance(stages, list) and 0 < len(stages) <= len(arrays), stages)
    outputs = _check_stages(stages, arrays, images, model)
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


def _check_parameters(parameters: Any, kind: type[ConvRFMBase]) -> ConvRFMBase:
    """The unfitted model that parameters make."""
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
    except (InputError, ConfigError) as error:
        msg = f"parameters: {error}"
        raise WrongModelError(msg) from error
    cores = 2**15
    _need("parameters.n_jobs", model.n_jobs is None or abs(model.n_jobs) <= cores, model.n_jobs)
    return model


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


def _check_stages(stages: list[Any], arrays: Mapping[str, Header], images: tuple[int, ...], model: ConvRFMBase) -> int:
    """Check each stage against the features of the stage before; gives the number of outputs."""
    known, outputs, size = {"images"}, None, DTYPES[arrays["images"].dtype]
    n, channels, height, width = images
    q = model.patch_size
    needed = sum(math.prod(header.shape) * 8 for header in arrays.values())
    for index, stage in enumerate(stages):
        where, own = f"stages.{index}", f"stage {index}"
        depth = 1 if model.kernel == "laplace" else model.depth - index
        try:
            check_fits(height, width, q, depth)
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
