"""The Convolutional Neural Feature Ansatz, W^T W proportional to the patch-AGOP, in numbers, with what to compare them to.

G = W^T D W shares its filters with the CNFM W^T W, so that the two correlate in a network that has learned nothing. A high
correlation says something only beside its null: the rotated one keeps W and the spectrum of D, and turns the
eigenvectors of D at random; random filters share nothing. The paper compares the CNFM with G; later work of its authors
(Radhakrishnan et al. 2024) with its square root, and both are given.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch

from convrfm.ansatz.block_estimates import BlockCorrelation, Estimate, jackknife, leave_one_out, without_error
from convrfm.ansatz.filter_forms import Entries, FilterForm, correlate, pearson
from convrfm.ansatz.layer_agop import LayerAgop
from convrfm.errors import ConvRFMWarning, InputError, ProbeError
from convrfm.numerics.sampling import generator

__all__ = [
    "POWERS",
    "cnfm",
    "correlations",
    "layer_row",
    "random_filters",
    "rotated_null",
    "summarise",
]

POWERS = (0.125, 0.25, 0.5, 0.75, 1.0)
"""Exponents p at which the CNFM is compared with G^p."""

DRAWS = 10
"""Draws of a null."""


def cnfm(weight: np.ndarray, groups: int = 1) -> FilterForm:
    """Give the Convolutional Neural Feature Matrix W^T W of the weight of a convolution.

    Args:
        weight: `(filters, channels / groups, q_h, q_w)`, as of `torch.nn.Conv2d`.
        groups: of the convolution.

    Raises:
        InputError: another shape.
    """
    return FilterForm.of_filters(weight, groups)


def _percentiles(draws: Sequence[float]) -> Estimate:
    """Mean of draws, their standard deviation, and the range that holds 95 % of them."""
    low, high = np.percentile(draws, (2.5, 97.5))
    return Estimate(float(np.mean(draws)), float(np.std(draws, ddof=1)), float(low), float(high))


def rotated_null(layer: LayerAgop, *, seed: int, draws: int = DRAWS) -> Estimate:
    """Pearson correlation of the CNFM with W^T U D U^T W, for random rotations U of the filters (of each group).

    In the probe mode it is corrected for the noise of the probes, as the correlation that it is compared with.

    Returns:
        mean and standard deviation over the draws, and the range that holds 95 % of them.

    Raises:
        ProbeError: too few probes for the correction.
    """
    rng = generator(seed, "rotated null")
    found = []
    for _ in range(draws):
        rotation = _rotations(rng, *layer.core.shape[:2])
        found.append(_correlation(layer, layer.cnfm, rotation))
    return _percentiles(found)


def _correlation(layer: LayerAgop, fixed: FilterForm, rotation: np.ndarray | None = None) -> float:
    """Pearson correlation of a matrix with the AGOP, whose D may be rotated; without the noise of probes."""
    sums, counts = layer.sums, layer.counts
    if not layer.noisy:
        sums, counts = sums.sum(axis=0, keepdims=True), counts.sum(keepdims=True)
    if rotation is not None:
        sums = rotation @ sums @ rotation.transpose(0, 2, 1)
    parts = [layer.cnfm.with_core(core) for core in sums]
    return BlockCorrelation(fixed, parts, counts, noisy=layer.noisy).value()


def _rotations(rng: np.random.Generator, count: int, dimension: int) -> np.ndarray:
    """Orthogonal matrices `(count, k, k)`, uniform: QR of Gaussian ones with the signs of R taken out (Mezzadri 2007)."""
    q, r = np.linalg.qr(rng.standard_normal((count, dimension, dimension)))
    return np.asarray(q * np.sign(np.diagonal(r, axis1=1, axis2=2))[:, None, :])


def random_filters(layer: LayerAgop, *, seed: int, draws: int = DRAWS) -> Estimate:
    """Pearson correlation of the AGOP with the CNFM of Gaussian filters of the same shape; the rest as in `rotated_null`."""
    rng = generator(seed, "random filters")
    drawn = (FilterForm(rng.standard_normal(layer.weight.shape)) for _ in range(draws))
    return _percentiles([_correlation(layer, filters) for filters in drawn])


def summarise(
    layers: Mapping[str, LayerAgop],
    *,
    initial: Mapping[str, np.ndarray | torch.Tensor | LayerAgop] | None = None,
    seed: int,
) -> pd.DataFrame:
    """Put all that the ansatz says of a network into a tidy table, a row for each number.

    Args:
        layers: from `AgopAccumulator.finalize`.
        initial: the state dictionary before training, from which `<layer>.weight` are read, or what was measured then,
            which layers need that compute their filters.
        seed: of the nulls.

    Returns:
        columns `layer`, `index` (of the layer, from 0), `filters`, `dimension` (d), `groups`, `quantity`, `power`,
        `value`, `standard_error`, `low`, `high` (the 95 % interval, NaN where there is none). Quantities: "pearson",
        "cosine" and "off_diagonal" of the CNFM with G^power; "rotated_null", "random_filters" and, if the initial weights
        are given, "initial_cnfm", which is the initial CNFM against the final one. In the probe mode, powers other than 1
        are of the noisy G: they are too low, and have no interval. NaN where the AGOP vanishes, or, with a warning that
        names the layer, where probes are too few.

    Raises:
        InputError: an initial weight that is missing, of another shape, or not what the layer applied.
    """
    return pd.DataFrame(
        [
            layer_row(layer, index, *numbers)
            for index, layer in enumerate(map(_apart, layers.values()))
            for numbers in _numbers(layer, _initial_weight(layer, initial), seed)
        ]
    )


def correlations(layers: Mapping[str, LayerAgop]) -> pd.DataFrame:
    """Put only the Pearson correlation of CNFM and AGOP of each layer into a table like that of `summarise`."""
    return pd.DataFrame(
        [
            layer_row(layer, index, "pearson", 1.0, _or_nan(layer, layer.correlation))
            for index, layer in enumerate(map(_apart, layers.values()))
        ]
    )


def _apart(layer: LayerAgop) -> LayerAgop:
    """The same layer as an object of its own, with which the basis of its filters goes: all of them would take gigabytes."""
    return replace(layer)


def _or_nan(layer: LayerAgop, estimate: Callable[[], Estimate]) -> Estimate:
    """An estimate, or NaN with a warning where probes are too few for it; one layer does not lose the others."""
    try:
        return estimate()
    except ProbeError as error:
        warnings.warn(f"{layer.name}: {error}", ConvRFMWarning, stacklevel=4)
        return without_error(float("nan"))


def layer_row(layer: LayerAgop, index: int, quantity: str, power: float, estimate: Estimate) -> dict[str, Any]:
    """One row of the table of `summarise`."""
    groups, filters, dimension = layer.weight.shape
    shared = {
        "layer": layer.name,
        "index": index,
        "filters": groups * filters,
        "dimension": dimension,
        "groups": groups,
    }
    return {**shared, "quantity": quantity, "power": power, **estimate._asdict()}


def _initial_weight(
    layer: LayerAgop, initial: Mapping[str, np.ndarray | torch.Tensor | LayerAgop] | None
) -> FilterForm | None:
    """W^T W before training."""
    if initial is None:
        return None
    found = initial.get(layer.name, initial.get(f"{layer.name}.weight"))
    if isinstance(found, LayerAgop):
        return found.cnfm
    if found is None and not layer.computed:
        msg = f"The initial weights have no {layer.name + '.weight'!r}; they are {', '.join(initial)}."
        raise InputError(msg)
    if layer.computed:
        msg = (
            f"The layer {layer.name!r} computes its filters in its forward pass, and the state dictionary does not hold them: "
            "give as `initial` what `measure` found in the network before training."
        )
        raise InputError(msg)
    # Of a parameter, perhaps.
    weight = np.asarray(found.detach().cpu() if isinstance(found, torch.Tensor) else found)
    return cnfm(weight, len(layer.weight))


def _numbers(layer: LayerAgop, initial: FilterForm | None, seed: int) -> Iterator[tuple[str, float, Estimate]]:
    """Quantity, power and estimate, of one layer."""
    entries: Entries
    for entries in ("pearson", "cosine", "off_diagonal"):
        yield entries, 1.0, _or_nan(layer, partial(layer.correlation, entries))
    for (entries, power), estimate in _powers(layer).items():
        yield entries, power, estimate
    yield "rotated_null", 1.0, _or_nan(layer, partial(rotated_null, layer, seed=seed))
    yield "random_filters", 1.0, _or_nan(layer, partial(random_filters, layer, seed=seed))
    if initial is not None:
        yield "initial_cnfm", 1.0, without_error(pearson(initial, layer.cnfm))


def _powers(layer: LayerAgop) -> dict[tuple[Entries, float], Estimate]:
    """Correlations of the CNFM with G^p for p < 1."""
    wanted: list[tuple[Entries, float]] = [("pearson", power) for power in POWERS if power < 1]
    wanted += [("cosine", 0.5), ("off_diagonal", 0.5)]

    def correlations(chosen: Any) -> list[float]:
        form = layer.cnfm.with_core(layer.sums[chosen].sum(axis=0))
        raised = {power: form.power(power) for power in {power for _, power in wanted}}
        return [correlate(layer.cnfm, raised[power], entries) for entries, power in wanted]

    values = correlations(np.flatnonzero(layer.counts))
    apart = [] if layer.noisy else [correlations(rest) for rest in leave_one_out(layer.counts, noisy=False)]
    return {
        key: jackknife(value, [found[number] for found in apart])
        for number, (key, value) in enumerate(zip(wanted, values, strict=True))
    }
