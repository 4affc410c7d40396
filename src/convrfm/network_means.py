"""The mean of the ansatz' correlation over the layers of a network, with an interval, and its growth with the images.

Layers are measured on the same images, so that their errors belong together: the interval comes from leaving out one part of
the images (or of the probes) at a time in all layers at once (delete-one jackknife, Efron and Stein 1981).
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from scipy import stats

from convrfm.agop import Estimate, LayerAgop
from convrfm.errors import InputError

__all__ = ["growth", "mean_correlation", "mean_gain"]

LEVEL = 0.95


def mean_correlation(layers: Sequence[LayerAgop]) -> Estimate:
    """Mean over layers of Pearson(CNFM, AGOP), with a 95 % jackknife interval; NaN where one part cannot tell.

    Raises:
        InputError: no layer, or layers of different measurements.
    """
    return _jackknife(layers, _mean)


def mean_gain(layers: Sequence[LayerAgop], against: Sequence[LayerAgop]) -> Estimate:
    """Difference of two means over layers of Pearson(CNFM, AGOP), with a 95 % jackknife interval, paired by part.

    Args:
        layers: of a trained network.
        against: the same layers at initialisation, measured on the same images in the same way.

    Raises:
        InputError: no layer, or layers of different measurements.
    """
    return _jackknife([*layers, *against], lambda kept: _mean(kept[: len(layers)]) - _mean(kept[len(layers) :]))


def growth(layer: LayerAgop) -> list[tuple[int, float]]:
    """Pearson(CNFM, AGOP) from the first part of the images, from the first two, and so on; number of images and value.

    Raises:
        InputError: the parts are not of the images.
    """
    if layer.mode != "exact":
        msg = f"The parts of {layer.name} are of its probes: measure in the mode 'exact' to see the growth with the images."
        raise InputError(msg)
    found = []
    for end in np.flatnonzero(layer.counts) + 1:
        part = replace(layer, blocks=layer.blocks[:end], counts=layer.counts[:end])
        found.append((int(layer.counts[:end].sum()), part.correlation().value))
    return found


def _mean(layers: Sequence[LayerAgop]) -> float:
    return float(np.mean([layer.correlation().value for layer in layers]))


def _jackknife(layers: Sequence[LayerAgop], statistic: Callable[[Sequence[LayerAgop]], float]) -> Estimate:
    if not layers or any(not np.array_equal(layer.counts, layers[0].counts) for layer in layers):
        msg = "At least one layer is needed, and all must have been measured on the same images in the same parts."
        raise InputError(msg)
    value = statistic(layers)
    parts = np.flatnonzero(layers[0].counts)
    if len(parts) < 3:
        return Estimate(value, np.nan, np.nan, np.nan)
    without = np.array([statistic([_without(layer, part) for layer in layers]) for part in parts])
    error = float(np.sqrt((len(parts) - 1) * without.var()))
    half = float(stats.t.ppf((1 + LEVEL) / 2, len(parts) - 1)) * error
    return Estimate(value, error, value - half, value + half)


def _without(layer: LayerAgop, part: int) -> LayerAgop:
    keep = np.arange(len(layer.counts)) != part
    return replace(layer, blocks=layer.blocks[keep], counts=layer.counts[keep])
