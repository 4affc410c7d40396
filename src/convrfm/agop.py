"""The patch-AGOP of every convolution of a PyTorch network.

For a convolution with filters W the patch-AGOP of arXiv 2309.00570 (right side of Eq. 2) is the mean over images of
sum over positions u and outputs o of grad f_o grad f_o^T, where the gradient is taken with respect to the patch that
the filters see at u, as a variable of its own. With delta = d f_o / d z_u, the gradient with respect to the
convolution's *output* at u, the chain rule gives grad f_o = W^T delta. So the AGOP is W^T D W with D the mean of the
sums of delta delta^T: stride, padding, dilation and bias do not matter, nothing is unfolded, and one backward pass
serves all layers.

In the exact mode there is one backward pass for each output. In the probe mode there is one for each random cotangent v
with entries +-1, whose gradient J^T v has E[J^T v v^T J] = J^T J: G is unbiased, and its noise, which would lower a
correlation, is taken out by `convrfm.block_estimates`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, get_args

import numpy as np
import torch
from torch import nn
from torch.func import functional_call

from convrfm.convolutions import check_measurable, find_convolutions
from convrfm.errors import InputError, NonFiniteError
from convrfm.filter_forms import filters_by_group
from convrfm.layer_agop import LayerAgop, Mode
from convrfm.progress import track
from convrfm.seeding import generator

__all__ = ["AgopAccumulator", "accumulate", "measure"]


@dataclass
class _Layer:
    """What is collected of one convolution."""

    convolution: nn.Conv2d
    sums: torch.Tensor  # float64, of all updates
    recent: torch.Tensor  # of the current one, in the arithmetic of the network
    calls: int = 0
    gradients: int = 0

    def add(self, block: int, gradients: torch.Tensor) -> None:
        """Add the sum of delta delta^T over gradients `(images, k, rows, columns)`."""
        groups = self.convolution.groups
        parts = gradients.reshape(len(gradients), groups, -1, gradients[0, 0].numel())
        flat = parts.permute(1, 2, 0, 3).reshape(groups, parts.shape[2], -1)
        self.recent[block].baddbmm_(flat, flat.transpose(1, 2))

    def begin(self) -> None:
        """Begin an update; what one that failed has left is forgotten."""
        self.recent.zero_()
        self.calls = self.gradients = 0

    def end(self) -> None:
        """End an update."""
        self.sums += self.recent


@dataclass
class _Pass:
    """The images in work, and which block the gradients of each belong to in the current backward pass."""

    count: int
    blocks: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))


class AgopAccumulator:
    """Measures the patch-AGOP of all convolutions of a network, batch after batch of images.

    The network is left as it is; its memory is what one forward pass needs, however many images come.

    Args:
        model: in eval mode; maps images `(n, c, h, w)` to outputs `(n, classes)`, each image by itself.
        mode: "exact" or "probe".
        probes: random cotangents for each image and call of `update`, in the probe mode.
        blocks: into how many parts images (exact) or probes (probe) are divided for the intervals.
        seed: of the probes; those of an image depend on the number of images before it, not on the batches.
        layers: names of the convolutions to measure; None takes all. Convolutions are modules of type `torch.nn.Conv2d`.

    Raises:
        InputError: a network, or a layer, that cannot be measured, or settings out of range.
    """

    def __init__(
        self,
        model: nn.Module,
        mode: Mode = "exact",
        *,
        probes: int = 16,
        blocks: int = 8,
        seed: int = 0,
        layers: Sequence[str] | None = None,
    ) -> None:
        if mode not in get_args(Mode):
            msg = f"mode must be 'exact' or 'probe', but it is {mode!r}."
            raise InputError(msg)
        if probes < 1 or blocks < 1:
            msg = f"probes and blocks must be at least 1, but they are {probes} and {blocks}."
            raise InputError(msg)
        check_measurable(model)
        self.model, self.mode, self.probes, self.blocks, self.seed = model, mode, probes, blocks, seed
        self.images = 0
        self.counts = np.zeros(blocks, np.int64)
        self._layers = {name: self._empty(conv) for name, conv in find_convolutions(model, layers).items()}

    def _empty(self, convolution: nn.Conv2d) -> _Layer:
        filters = convolution.out_channels // convolution.groups
        shape = (self.blocks, convolution.groups, filters, filters)
        zeros = torch.zeros(shape, dtype=convolution.weight.dtype, device=convolution.weight.device)
        return _Layer(convolution, zeros.to(torch.float64, copy=True), zeros)

    def update(self, images: torch.Tensor) -> None:
        """Measure some images `(n, c, h, w)`, on the device and in the dtype of the network; any n.

        Raises:
            InputError: the network does not give outputs `(n, classes)`, or a layer gets no gradient.
            NonFiniteError: images, outputs or gradients that are not finite.
        """
        if images.ndim != 4 or 0 in images.shape:
            msg = (
                f"Images must have shape (n, channels, height, width), none of them 0, but it is {tuple(images.shape)}."
            )
            raise InputError(msg)
        _check_finite(images, "The images")
        for layer in self._layers.values():
            layer.begin()
        current = _Pass(len(images))
        leaves: list[torch.Tensor] = []
        with torch.enable_grad(), _exact_arithmetic(), self._tapped(current, leaves):
            weights = {name: value.detach() for name, value in self.model.named_parameters()}
            outputs = functional_call(self.model, weights, (images.detach(),))
            self._check_outputs(outputs, len(images))
            last = (outputs.shape[1] if self.mode == "exact" else self.probes) - 1
            for number, (cotangent, current.blocks) in enumerate(self._cotangents(outputs)):
                torch.autograd.grad(outputs, leaves, cotangent, retain_graph=number < last, allow_unused=True)
        self._check_reached()
        for layer in self._layers.values():
            layer.end()
        if self.mode == "exact":
            self.counts += np.bincount(self._blocks_of_images(len(images)), minlength=self.blocks)
        else:
            self.counts += len(images) * np.bincount(np.arange(self.probes) % self.blocks, minlength=self.blocks)
        self.images += len(images)

    def finalize(self) -> dict[str, LayerAgop]:
        """Give what was measured, by the name of the convolution, in the order of the network's modules.

        Raises:
            InputError: no images yet.
            NonFiniteError: a gradient was not finite.
        """
        if self.images == 0:
            msg = "There is nothing to give before the first call of `update`."
            raise InputError(msg)
        found = {}
        for name, layer in self._layers.items():
            _check_finite(layer.sums, f"The gradients at {name}")
            weight = layer.convolution.weight.detach().double().cpu().numpy()
            found[name] = LayerAgop(
                name,
                filters_by_group(weight, layer.convolution.groups),
                layer.sums.cpu().numpy().copy(),
                self.counts.copy(),
                self.images,
                self.mode,
            )
        return found

    def state(self) -> dict[str, np.ndarray]:
        """Give all that was collected, to go on from later; the arrays are copies."""
        sums = {f"sums/{name}": layer.sums.cpu().numpy().copy() for name, layer in self._layers.items()}
        return {"images": np.array(self.images), "counts": self.counts.copy(), **sums}

    def load_state(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Go on from what `state` gave, for the same network and settings.

        Raises:
            InputError: arrays of another network or other settings.
        """
        expected = {key: value.shape for key, value in self.state().items()}
        if expected != {key: value.shape for key, value in arrays.items()}:
            msg = "The state belongs to another network, or to another number of blocks: start anew."
            raise InputError(msg)
        self.images = int(arrays["images"])
        self.counts = np.array(arrays["counts"])
        for name, layer in self._layers.items():
            layer.sums.copy_(torch.from_numpy(np.array(arrays[f"sums/{name}"])))

    def _blocks_of_images(self, count: int) -> np.ndarray:
        return np.arange(self.images, self.images + count) % self.blocks

    def _cotangents(self, outputs: torch.Tensor) -> Iterator[tuple[torch.Tensor, np.ndarray]]:
        """Each cotangent `(n, classes)`, and the block of each image in its backward pass."""
        count, classes = outputs.shape
        if self.mode == "exact":
            for index in range(classes):
                cotangent = torch.zeros_like(outputs)
                cotangent[:, index] = 1
                yield cotangent, self._blocks_of_images(count)
            return
        signs = np.stack(
            [
                generator(self.seed, "probes of the AGOP", self.images + i).choice((-1.0, 1.0), (self.probes, classes))
                for i in range(count)
            ],
            axis=1,
        )
        for probe, sign in enumerate(signs):
            yield torch.from_numpy(sign).to(outputs), np.full(count, probe % self.blocks)

    @contextmanager
    def _tapped(self, current: _Pass, leaves: list[torch.Tensor]) -> Iterator[None]:
        """Collect the gradients at the convolutions' outputs in every backward pass through what runs inside."""

        def collect(layer: _Layer, gradient: torch.Tensor) -> None:
            layer.gradients += 1
            gradient = gradient.detach()
            for block in np.unique(current.blocks):
                chosen = current.blocks == block
                layer.add(int(block), gradient if chosen.all() else gradient[torch.from_numpy(chosen)])

        def tap(layer: _Layer, _module: nn.Module, _inputs: Any, output: torch.Tensor) -> torch.Tensor:
            layer.calls += 1
            if output.ndim != 4 or len(output) != current.count:
                msg = (
                    f"A convolution got a batch of shape {tuple(output.shape)} for {current.count} images: only networks that "
                    "keep each image by itself can be measured."
                )
                raise InputError(msg)
            with torch.enable_grad():
                if not output.requires_grad:
                    # Where the backward pass ends: before the first convolutions. A leaf must not be changed in place, as
                    # a ReLU may do with what it gets, so it gets a copy.
                    leaves.append(output.requires_grad_())
                    output = output.clone()
                # A hook on a tensor sees the gradient of the values it has now, whatever is done to it in place later.
                output.register_hook(partial(collect, layer))
            return output

        handles = [layer.convolution.register_forward_hook(partial(tap, layer)) for layer in self._layers.values()]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _check_outputs(self, outputs: Any, count: int) -> None:
        if not isinstance(outputs, torch.Tensor) or outputs.ndim != 2 or len(outputs) != count:
            kind = tuple(outputs.shape) if isinstance(outputs, torch.Tensor) else type(outputs).__name__
            msg = (
                f"The network must map {count} images to outputs of shape ({count}, classes), but it gave {kind}. Wrap it in "
                "a module that gives the logits only."
            )
            raise InputError(msg)
        _check_finite(outputs, "The outputs of the network")
        if not outputs.requires_grad:
            msg = "The outputs do not depend on any of the measured convolutions: is the network run under no_grad?"
            raise InputError(msg)

    def _check_reached(self) -> None:
        for name, layer in self._layers.items():
            if layer.gradients == 0:
                why = "was never called" if layer.calls == 0 else "does not reach the outputs"
                msg = f"The convolution {name!r} {why}: leave it out by giving the names of the others as `layers`."
                raise InputError(msg)


def measure(
    model: nn.Module,
    images: torch.Tensor,
    mode: Mode = "exact",
    *,
    batch_size: int = 32,
    probes: int = 16,
    tolerance: float | None = None,
    most_probes: int = 1024,
    blocks: int = 8,
    seed: int = 0,
    layers: Sequence[str] | None = None,
    show: bool = False,
) -> dict[str, LayerAgop]:
    """Measure images that are all there; in the probe mode, with as many probes as the tolerance asks for.

    Args:
        model: see `AgopAccumulator`, as for all that is not explained here.
        images: `(n, c, h, w)` on any device; they are brought to the network's batch by batch.
        mode: "exact" or "probe".
        batch_size: images at a time.
        probes: for each image at first.
        tolerance: of the standard error of every layer's Pearson correlation of CNFM and AGOP; as long as one is larger,
            each image gets as many probes again. None asks for no more.
        most_probes: for each image, after which the tolerance is given up.
        blocks: see there.
        seed: see there.
        layers: see there.
        show: whether a progress bar is shown.

    Raises:
        InputError: see `AgopAccumulator`.
        ProbeError: `most_probes` do not suffice to correct a correlation.
    """
    accumulator = AgopAccumulator(model, mode, probes=probes, blocks=blocks, seed=seed, layers=layers)
    return accumulate(
        accumulator, images,
        batch_size=batch_size, tolerance=tolerance, most_probes=most_probes, description="measuring the AGOP", show=show,
    )  # fmt: skip


def accumulate(
    accumulator: AgopAccumulator,
    images: torch.Tensor,
    *,
    batch_size: int,
    tolerance: float | None,
    most_probes: int,
    description: str,
    show: bool,
    done: int = 0,
    after: Callable[[int], None] | None = None,
) -> dict[str, LayerAgop]:
    """Give an accumulator images that are all there, as often as its mode and the tolerance ask for; see `measure`.

    Args:
        accumulator: new, or brought to where it was after `done` batches.
        images: `(n, c, h, w)` on any device.
        batch_size: see `measure`, as for all that is not explained here.
        tolerance: see there.
        most_probes: see there.
        description: of the progress.
        show: see there.
        done: batches that the accumulator has seen, over all passes.
        after: called after each batch with the number of batches seen.

    Raises:
        InputError: see `AgopAccumulator`.
        ProbeError: see `measure`.
    """
    device = next(accumulator.model.parameters()).device
    batches = images.split(batch_size)
    again = accumulator.mode == "probe" and tolerance is not None
    passes = max(1, most_probes // accumulator.probes) if again else 1
    last = passes * len(batches)
    for step in track(range(done, last), last - done, f"{description}, batches at most", show=show):
        if tolerance is not None and step > 0 and step % len(batches) == 0 and _precise(accumulator, tolerance):
            break
        accumulator.update(batches[step % len(batches)].to(device))
        if after is not None:
            after(step + 1)
    return accumulator.finalize()


def _precise(accumulator: AgopAccumulator, tolerance: float) -> bool:
    """Whether every layer's correlation is known well enough."""
    errors = [layer.correlation().standard_error for layer in accumulator.finalize().values()]
    return bool(np.max(errors) <= tolerance)


@contextmanager
def _exact_arithmetic() -> Iterator[None]:
    """Convolutions on GPUs without TF32."""
    allowed, torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.allow_tf32, False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = allowed


def _check_finite(values: torch.Tensor, name: str) -> None:
    if not bool(torch.isfinite(values).all()):
        msg = f"{name} hold NaN or infinities: nothing is replaced in silence."
        raise NonFiniteError(msg)
