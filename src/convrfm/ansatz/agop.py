"""The patch-AGOP of every convolution of a PyTorch network.

For a convolution with filters W the patch-AGOP of arXiv 2309.00570 (right side of Eq. 2) is the mean over images of sum over
positions u and outputs o of grad f_o grad f_o^T, where the gradient is taken with respect to the patch that the filters see at
u, as a variable of its own. With delta = d f_o / d z_u, the gradient with respect to the convolution's *output* at u, the chain
rule gives grad f_o = W^T delta. So the AGOP is W^T D W with D the mean of the sums of delta delta^T: stride, padding, dilation
and bias do not matter, nothing is unfolded, and one backward pass serves all layers.

In the exact mode there is one backward pass for each output. In the probe mode there is one for each random cotangent v
with entries +-1, whose gradient J^T v has E[J^T v v^T J] = J^T J: G is unbiased, and its noise, which would lower a
correlation, is taken out by `convrfm.ansatz.filter_forms.BlockCorrelation`.
"""

from collections.abc import Callable, Iterator, Sequence
from numbers import Real
from typing import Any

from torch import nn

from convrfm.ansatz.accumulator import AgopAccumulator
from convrfm.ansatz.checks import Batches, Output
from convrfm.ansatz.summaries import LayerAgop, Mode
from convrfm.errors import InputError
from convrfm.numerics.inputs import check_integer
from convrfm.system.terminal import track

__all__ = ["accumulate", "measure"]


def measure(
    model: nn.Module, images: Any, mode: Mode = "exact", *, batch_size: int = 32, probes: int = 16,
    tolerance: float | None = None, most_probes: int = 1024, blocks: int = 8, seed: int = 0,
    layers: Sequence[str] | None = None, output: Output = None, show: bool = False,
) -> dict[str, LayerAgop]:  # fmt: skip
    """Measure images; in the probe mode, with as many probes as the tolerance requires.

    Args:
        model: see `AgopAccumulator`, also for `blocks`, `seed`, `layers` and `output`.
        images: a tensor or array `(n, c, h, w)`, or an iterable of batches or images, such as a
            `torch.utils.data.DataLoader`, also of `(images, labels)`; they are moved to the network's device batch by batch.
        mode: "exact" or "probe".
        batch_size: images at a time, unless they come in batches.
        probes: for each image at first.
        tolerance: of the standard error of every layer's Pearson correlation of CNFM and AGOP; as long as one is larger,
            each image gets as many probes again. None goes through the images once.
        most_probes: for each image, after which the tolerance is given up.
        blocks: of images or probes.
        seed: of the probes.
        layers: names.
        output: a choice.
        show: whether a progress bar is shown.

    Raises:
        InputError, NonFiniteError: see `AgopAccumulator` and `AgopAccumulator.update`.
    """
    accumulator = AgopAccumulator(model, mode, probes=probes, blocks=blocks, seed=seed, layers=layers, output=output)
    return accumulate(
        accumulator, images,
        batch_size=batch_size, tolerance=tolerance, most_probes=most_probes, description="measuring the AGOP", show=show,
    )  # fmt: skip


def accumulate(
    accumulator: AgopAccumulator, images: Any, *, batch_size: int, tolerance: float | None, most_probes: int,
    description: str, show: bool, done: int = 0, after: Callable[[int], None] | None = None,
) -> dict[str, LayerAgop]:  # fmt: skip
    """Give an accumulator images as often as its mode and the tolerance require.

    The accumulator is new, or in its state after `done` batches over all passes. `after` is called after each batch with the
    number of batches seen. `description` is of the progress; other arguments, and errors, are those of `measure`.
    """
    check_integer("most_probes", most_probes)
    if tolerance is not None and not (isinstance(tolerance, Real) and tolerance > 0):
        msg = f"tolerance must be a positive number or None, but it is {tolerance!r}."
        raise InputError(msg)
    batches = Batches(images, batch_size, pictures=accumulator.pictures)
    again = accumulator.mode == "probe" and tolerance is not None
    passes = max(1, most_probes // accumulator.probes) if again else 1
    if passes > 1 and not batches.repeatable:
        msg = "A tolerance needs several passes over the images, but a generator gives them once: pass a list or a DataLoader."
        raise InputError(msg)

    def steps() -> Iterator[Any]:
        seen = 0
        for number in range(passes):
            if number > 0 and seen >= done and accumulator.precise(tolerance or 0):
                return
            for batch in batches:
                seen += 1
                if seen > done:
                    yield batch

    count = None if batches.count is None else passes * batches.count - done
    tracked = track(steps(), count, f"{description}, batches at most", show=show)
    for number, batch in enumerate(tracked, start=done + 1):
        accumulator.update(batch)
        if after is not None:
            after(number)
    if accumulator.images == 0:
        msg = "No images to measure: the iterable is empty. An iterator gives its items only once."
        raise InputError(msg)
    return accumulator.finalize()
