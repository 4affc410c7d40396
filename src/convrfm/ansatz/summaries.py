"""What was measured of each layer, and the Convolutional Neural Feature Ansatz in numbers, with nulls.

G = W^T D W shares its filters with the CNFM W^T W, which correlates the two even in a network that has learned nothing. A
high correlation is evidence only beside its null: the rotated one keeps W and the spectrum of D, and rotates the
eigenvectors of D at random; random filters share nothing. The paper compares the CNFM with G; later work of its authors
(Radhakrishnan et al. 2024) with its square root, and both are given.

All layers are measured on the same images, which correlates their errors: the interval of a mean over layers leaves out one
part of the images (or of the probes) at a time in all layers at once (delete-one jackknife, Efron and Stein 1981).
"""

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, Literal, TypeAlias

import numpy as np
import pandas as pd
import torch

from convrfm.ansatz.filter_forms import (
    BlockCorrelation,
    Entries,
    Estimate,
    FilterForm,
    correlate,
    jackknife,
    leave_one_out,
    pearson,
    without_error,
)  # fmt: skip
from convrfm.errors import ConvRFMWarning, InputError, ProbeError
from convrfm.numerics.inputs import generator

__all__ = [
    "POWERS", "LayerAgop", "Mode", "correlations", "growth", "layer_row", "mean_correlation", "mean_gain",
    "random_filters", "random_rotations", "rotated_null", "summarise",
]  # fmt: skip

Mode = Literal["exact", "probe"]

POWERS = (0.125, 0.25, 0.5, 0.75, 1.0)
"""Exponents p at which the CNFM is compared with G^p."""

DRAWS = 10
"""Draws of a null."""


@dataclass(frozen=True)
class LayerAgop:
    """The patch-AGOP of one convolution, in blocks that show how sure it is.

    Attributes:
        name: of the convolution in the network.
        weight: the filters W that it applied, `(groups, k, d)`, float32 or float64 as the network; d in the patch order
            (channel, row, column).
        sums: cores summed over the units of each block, `(blocks, groups, r, r)` float64, r = min(k, d). A core is D, or
            for k > d V^T D V, see `convrfm.ansatz.filter_forms`. A unit is an image in the exact mode, an image with a
            probe in the probe mode; blocks partition the images, or the probes.
        counts: units of each block, `(blocks,)`.
        images: how many were seen; an image seen twice counts twice.
        mode: how it was measured.
        computed: whether W is computed in the forward pass, as by weight standardisation, rather than the module's `weight`.
    """

    name: str
    weight: np.ndarray
    sums: np.ndarray
    counts: np.ndarray
    images: int
    mode: Mode
    computed: bool = False

    @cached_property
    def cnfm(self) -> FilterForm:
        """W^T W."""
        return FilterForm(self.weight)

    @property
    def core(self) -> np.ndarray:
        """The core of the AGOP, the mean over the images, `(groups, r, r)`: D, or V^T D V for k > d."""
        return np.asarray(self.sums.sum(axis=0) / self.counts.sum())

    @property
    def agop(self) -> FilterForm:
        """G = W^T D W, the mean over the images."""
        return self.cnfm.with_core(self.core)

    @property
    def noisy(self) -> bool:
        """Whether blocks are noisy estimates of one matrix, rather than parts of the images."""
        return self.mode == "probe"

    def by_blocks(self, entries: Entries = "pearson") -> BlockCorrelation:
        """Correlation of CNFM and AGOP, from all blocks or from some.

        Raises:
            ProbeError: too few probes for the correction.
        """
        # The forms are not kept, as they are as large as the sums.
        forms = [self.cnfm.with_core(core) for core in self.sums]
        return BlockCorrelation(self.cnfm, forms, self.counts, entries, noisy=self.noisy)

    def correlation(self, entries: Entries = "pearson") -> Estimate:
        """Correlation of CNFM and AGOP with its interval, corrected for the noise of probes; NaN if the AGOP vanishes.

        Raises:
            ProbeError: too few probes for the correction.
        """
        return self.by_blocks(entries).estimate()


Initial: TypeAlias = Mapping[str, np.ndarray | torch.Tensor | LayerAgop]
"""A state dictionary, or what was measured, by name."""


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
    rotations = (random_rotations(rng, *layer.core.shape[:2]) for _ in range(draws))
    return _percentiles([_correlation(layer, layer.cnfm, rotation) for rotation in rotations])


def _correlation(layer: LayerAgop, fixed: FilterForm, rotation: np.ndarray | None = None) -> float:
    """Pearson correlation of a matrix with the AGOP, whose D may be rotated; without the noise of probes."""
    sums, counts = layer.sums, layer.counts
    if not layer.noisy:
        sums, counts = sums.sum(axis=0, keepdims=True), counts.sum(keepdims=True)
    if rotation is not None:
        sums = rotation @ sums @ rotation.transpose(0, 2, 1)
    parts = [layer.cnfm.with_core(core) for core in sums]
    return BlockCorrelation(fixed, parts, counts, noisy=layer.noisy).value()


def random_rotations(rng: np.random.Generator, count: int, dimension: int) -> np.ndarray:
    """Draw orthogonal matrices `(count, k, k)`, uniform: QR of Gaussian ones with the signs of R taken out (Mezzadri 2007).

    Args:
        rng: draws them.
        count: how many.
        dimension: k.
    """
    q, r = np.linalg.qr(rng.standard_normal((count, dimension, dimension)))
    return np.asarray(q * np.sign(np.diagonal(r, axis1=1, axis2=2))[:, None, :])


def random_filters(layer: LayerAgop, *, seed: int, draws: int = DRAWS) -> Estimate:
    """Pearson correlation of the AGOP with the CNFM of Gaussian filters of the same shape; the rest as in `rotated_null`."""
    rng = generator(seed, "random filters")
    drawn = (FilterForm(rng.standard_normal(layer.weight.shape)) for _ in range(draws))
    return _percentiles([_correlation(layer, filters) for filters in drawn])


def summarise(layers: Mapping[str, LayerAgop], *, initial: Initial | None = None, seed: int) -> pd.DataFrame:
    """All numbers of the ansatz for a network as a tidy table, a row for each.

    Args:
        layers: from `AgopAccumulator.finalize`.
        initial: the state dictionary before training, from which `<layer>.weight` are read; or what was measured before
            training, which is needed for layers that compute their filters.
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
    return _table(layers, lambda layer: _numbers(layer, _initial_weight(layer, initial), seed))


def correlations(layers: Mapping[str, LayerAgop]) -> pd.DataFrame:
    """Only the Pearson correlation of CNFM and AGOP of each layer, as a table like that of `summarise`."""
    return _table(layers, lambda layer: [("pearson", 1.0, _or_nan(layer, layer.correlation))])


def _table(
    layers: Mapping[str, LayerAgop], numbers: Callable[[LayerAgop], Iterable[tuple[str, float, Estimate]]]
) -> pd.DataFrame:
    """A row for each quantity, power and estimate of each layer."""
    rows: list[dict[str, Any]] = []
    # Of copies of the layers, whose bases of filters are freed with them: those of all layers would take gigabytes.
    for index, layer in enumerate(map(replace, layers.values())):
        rows.extend(layer_row(layer, index, *each) for each in numbers(layer))
    return pd.DataFrame(rows)


def _or_nan(layer: LayerAgop, estimate: Callable[[], Estimate]) -> Estimate:
    """An estimate, or NaN with a warning if probes are too few for it, without losing the other layers."""
    try:
        return estimate()
    except ProbeError as error:
        warnings.warn(f"{layer.name}: {error}", ConvRFMWarning, stacklevel=5)
        return without_error(float("nan"))


def layer_row(layer: LayerAgop, index: int, quantity: str, power: float, estimate: Estimate) -> dict[str, Any]:
    """One row of the table of `summarise`."""
    groups, filters, dimension = layer.weight.shape
    shape = {"filters": groups * filters, "dimension": dimension, "groups": groups}
    return {
        "layer": layer.name, "index": index, **shape, "quantity": quantity, "power": power, **estimate._asdict(),
    }  # fmt: skip


def _initial_weight(layer: LayerAgop, initial: Initial | None) -> FilterForm | None:
    """W^T W before training."""
    if initial is None:
        return None
    found = initial.get(layer.name, initial.get(f"{layer.name}.weight"))
    if isinstance(found, LayerAgop):
        return found.cnfm
    if found is None and not layer.computed:
        msg = f"The initial weights lack {layer.name + '.weight'!r}; they have {', '.join(initial)}."
        raise InputError(msg)
    if layer.computed:
        msg = (
            f"The layer {layer.name!r} computes its filters in its forward pass, and the state dictionary does not hold them: "
            "pass as `initial` the result of `measure` before training."
        )
        raise InputError(msg)
    # Of a parameter, perhaps.
    weight = np.asarray(found.detach().cpu() if isinstance(found, torch.Tensor) else found)
    return FilterForm.of_filters(weight, len(layer.weight))


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


def mean_correlation(layers: Sequence[LayerAgop]) -> Estimate:
    """Mean over layers of Pearson(CNFM, AGOP), with a 95 % jackknife interval, NaN if there are too few parts.

    Raises:
        InputError: no layer, or layers of different measurements.
        ProbeError: see `convrfm.ansatz.filter_forms.BlockCorrelation`.
    """
    _check_parts(layers)
    return jackknife(*_with_and_without(layers))


def mean_gain(layers: Sequence[LayerAgop], against: Sequence[LayerAgop]) -> Estimate:
    """Difference of two means over layers of Pearson(CNFM, AGOP), with a 95 % jackknife interval, paired by part.

    Args:
        layers: of a trained network.
        against: the same layers at initialisation, measured on the same images in the same way.

    Raises:
        InputError: no layer, or layers of different measurements.
        ProbeError: see `convrfm.ansatz.filter_forms.BlockCorrelation`.
    """
    for group in (layers, against, [*layers, *against]):
        _check_parts(group)
    value, without = _with_and_without(layers)
    base, base_without = _with_and_without(against)
    return jackknife(value - base, np.subtract(without, base_without).tolist())


def growth(layer: LayerAgop) -> list[tuple[int, float]]:
    """Pearson(CNFM, AGOP) from the first part of the images, from the first two, and so on; number of images and value.

    Raises:
        InputError: the parts are not of the images.
    """
    if layer.mode != "exact":
        msg = f"The parts of {layer.name} are its probes: measure in the mode 'exact' to see the growth with the images."
        raise InputError(msg)
    correlation = layer.by_blocks()
    return [
        (int(layer.counts[chosen].sum()), correlation.value(chosen))
        for chosen in (correlation.present[:end] for end in range(1, len(correlation.present) + 1))
    ]


def _with_and_without(layers: Sequence[LayerAgop]) -> tuple[float, list[float]]:
    """The mean over layers, and the means without each of the parts; none where there are too few."""
    correlations = [layer.by_blocks() for layer in layers]

    def mean(chosen: np.ndarray | None) -> float:
        return float(np.mean([correlation.value(chosen) for correlation in correlations]))

    return mean(None), [mean(rest) for rest in leave_one_out(layers[0].counts, noisy=layers[0].noisy)]


def _check_parts(layers: Sequence[LayerAgop]) -> None:
    # Parts of probes are all the images with probes of their own, and each measurement takes as many passes as it needs.
    parts = [(layer.mode, (layer.counts / layer.counts.sum() if layer.noisy else layer.counts).tolist()) for layer in layers]
    if not parts or any(each != parts[0] for each in parts):
        msg = "Needs at least one layer, and all layers measured on the same images in the same parts."
        raise InputError(msg)
