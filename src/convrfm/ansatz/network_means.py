"""The mean of the ansatz' correlation over the layers of a network, with an interval, and its growth with the images.

Layers are measured on the same images, so that their errors belong together: the interval comes from leaving out one part of
the images (or of the probes) at a time in all layers at once (delete-one jackknife, Efron and Stein 1981).
"""

from collections.abc import Sequence

import numpy as np

from convrfm.ansatz.block_estimates import Estimate, jackknife, leave_one_out
from convrfm.ansatz.layer_agop import LayerAgop
from convrfm.errors import InputError

__all__ = ["growth", "mean_correlation", "mean_gain"]


def mean_correlation(layers: Sequence[LayerAgop]) -> Estimate:
    """Mean over layers of Pearson(CNFM, AGOP), with a 95 % jackknife interval; NaN where one part cannot tell.

    Raises:
        InputError: no layer, or layers of different measurements.
        ProbeError: see `convrfm.ansatz.block_estimates`.
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
        ProbeError: see `convrfm.ansatz.block_estimates`.
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
        msg = f"The parts of {layer.name} are of its probes: measure in the mode 'exact' to see the growth with the images."
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
    if not layers or any(not np.array_equal(layer.counts, layers[0].counts) for layer in layers):
        msg = "At least one layer is needed, and all must have been measured on the same images in the same parts."
        raise InputError(msg)
