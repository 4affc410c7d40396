"""Collecting the patch-AGOP of the layers of a network, batch after batch; `convrfm.ansatz.agop` defines it."""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NoReturn, get_args

import numpy as np
import torch
from torch import nn
from torch.func import functional_call

from convrfm.ansatz.calls import Call, CallTaps, Tapped, differentiate, exact_arithmetic, held_interrupts, out_of_memory
from convrfm.ansatz.checks import Output, as_batch, check_finite, check_measurable, choose_layers, first_weight, pick_outputs
from convrfm.ansatz.filter_forms import polar
from convrfm.ansatz.summaries import LayerAgop, Mode
from convrfm.errors import ConvRFMWarning, InputError, NonFiniteError, ProbeError
from convrfm.numerics.inputs import check_integer, generator, one_of, refuse_first

__all__ = ["AgopAccumulator", "LayerSums"]

HALF_SCALE = 1024.0
"""Cotangents of networks in float16 are this much larger, as in mixed-precision training, to keep gradients normal."""

LEAST = {"float32": 1e-36, "float64": 1e-146}
"""Of the largest entry of a D, and of its inverse: beyond, float32 loses squares of gradients, and float64 those of D."""

KEPT = ("sums", "weight", "computed")
"""Of each layer, in a state."""

ALONE_TOLERANCE = {torch.float64: 1e-8, torch.float32: 1e-3, torch.float16: 2e-2, torch.bfloat16: 1e-1}
"""How much an image's outputs may depend on its batch, as a fraction of the largest: the rounding of deep networks."""


@dataclass
class LayerSums:
    """What is collected of one layer."""

    weight: torch.Tensor  # the filters that it applied, `(groups, k, d)`, float32 or float64
    computed: bool  # see `LayerAgop`
    isometry: torch.Tensor | None  # V^T `(groups, d, k)` for k > d, see `filter_forms.polar`
    sums: np.ndarray  # of all updates, float64
    recent: dict[int, torch.Tensor] = field(default_factory=dict)  # of the current one, by block
    calls: int = 0  # of the layer in the current update
    gradients: int = 0  # that reached it
    largest_half: float | None = None  # largest absolute value among gradients in float16; None if there were none

    @classmethod
    def of(cls, weight: torch.Tensor, blocks: int, *, computed: bool) -> "LayerSums":
        """Start with the filters `(groups, k, d)` of a layer."""
        groups, filters, dimension = weight.shape
        isometry = None
        if filters > dimension:
            isometry = torch.from_numpy(polar(weight.double().cpu().numpy())[0].transpose(0, 2, 1)).to(weight)
        size = min(filters, dimension)
        return cls(weight, computed, isometry, np.zeros((blocks, groups, size, size)))

    def add(self, block: int, gradients: torch.Tensor) -> None:
        """Add the sum of delta delta^T over gradients `(images, filters, positions ...)`, of the weight's dtype."""
        groups, filters, _ = self.weight.shape
        parts = gradients.reshape(len(gradients), groups, filters, -1)
        flat = parts.permute(1, 2, 0, 3).reshape(groups, filters, -1)
        if self.isometry is not None:
            flat = self.isometry @ flat
        if block in self.recent:
            self.recent[block].baddbmm_(flat, flat.transpose(1, 2))
        else:
            self.recent[block] = flat @ flat.transpose(1, 2)

    def begin(self) -> None:
        """Begin an update, dropping the rest of one that failed."""
        self.recent = {}
        self.calls = self.gradients = 0
        self.largest_half = None

    def end(self, scale: float, *, copy: bool) -> None:
        """End an update whose gradients were `scale` times too large; `copy` leaves arrays that were given out unchanged."""
        sums = self.sums.copy() if copy else self.sums
        for block, recent in self.recent.items():
            sums[block] += recent.double().cpu().numpy() / scale**2
        self.sums, self.recent = sums, {}

    def applies(self, weight: torch.Tensor, precision: float) -> bool:
        """Whether filters `(groups, k, d)` are those of the layer, to within rounding to a relative precision."""
        if self.weight.shape != weight.shape:
            return False
        apart = 8 * precision * self.weight.abs().max()
        return torch.equal(self.weight, weight) or bool((self.weight - weight).abs().max() <= apart)


@dataclass
class _Pass:
    """The images in work."""

    count: int  # how many there are
    # A scalar that all tapped outputs depend on by name, and where every backward pass ends. So a pass goes through every
    # tapped call, whatever else in the network requires gradients, and no further than the first ones.
    anchor: torch.Tensor
    answer: Callable[[], None]  # handles an interrupt, which is held back until a layer is reached
    # The block of each image's gradients in the current backward pass
    blocks: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    dtypes: set[torch.dtype] = field(default_factory=set)  # of the tapped outputs
    recording: bool = True  # whether calls are new ones, and not those of a checkpoint
    alone: bool = False  # whether one image runs by itself, for comparison


class _Work(nn.Module):
    """All passes of a network as one call, during which its weights are replaced by detached ones."""

    def __init__(self, model: nn.Module, work: Callable[[torch.Tensor], None]) -> None:
        super().__init__()
        self.model, self.work = model, work

    def forward(self, images: torch.Tensor) -> None:
        self.work(images)


class AgopAccumulator:
    """Measures the patch-AGOP of the convolutions of a network, batch after batch of images.

    The network is left as it is, its buffers included. Beside what its forward pass keeps for the backward one, memory
    holds one copy of the measured filters and `blocks` matrices `(r, r)` in float64 for each group of each layer, r =
    min(k, d), and during an update as many in float32.

    Args:
        model: in eval mode; maps images `(n, c, h, w)` to outputs `(n, classes)`, each image by itself, on one device.
        mode: "exact" or "probe".
        probes: random cotangents for each image and call of `update`, in the probe mode.
        blocks: into how many parts images (exact) or probes (probe) are divided for the intervals.
        seed: of the probes; those of an image depend on the number of images before it, not on the batches.
        layers: names of modules that run a convolution (conv1d, conv2d or conv3d) or a linear map; None takes all modules
            of type `torch.nn.Conv2d`, and warns of other convolutions that run.
        output: how to get the outputs `(n, classes)` from what the network returns: a key or attribute, an index, or a
            function. None takes a tensor as it is.

    Raises:
        InputError: a network, or a layer, that cannot be measured, or settings out of range.
    """

    def __init__(
        self, model: nn.Module, mode: Mode = "exact", *, probes: int = 16, blocks: int = 8, seed: int = 0,
        layers: Sequence[str] | None = None, output: Output = None,
    ) -> None:  # fmt: skip
        self.model, self.mode, self.probes, self.blocks, self.seed, self.output = (
            model, mode, probes, blocks, seed, output,
        )  # fmt: skip
        refuse_first(self, one_of(self, {"mode": ("exact", "probe")}))
        for name, value, least in (("probes", probes, 1), ("blocks", blocks, 1), ("seed", seed, 0)):
            check_integer(name, value, least)
        check_measurable(model)
        self.images = 0
        self.counts = np.zeros(blocks, np.int64)
        self.names = choose_layers(model, layers)
        modules = dict(model.named_modules())
        # Whether the network takes pictures, for which shapes and the order of axes can be checked.
        self.pictures = all(isinstance(modules[name], nn.Conv2d) for name in self.names)
        self._every = layers is None
        self._layers: dict[str, LayerSums] = {}
        self._given = False  # whether the arrays of sums have been given out
        self._half_added = False

    def update(self, images: Any) -> None:
        """Measure some images `(n, c, h, w)`, a tensor or array in the dtype of the network; any n.

        Raises:
            InputError: the network does not run on the images, does not give outputs `(n, classes)`, gives an image other
                outputs in a batch than alone, or when run again, or a layer cannot be measured.
            NonFiniteError: images, outputs or gradients that are not finite.
        """
        self._check_whole()
        check_measurable(self.model)  # again, as it may have been trained
        known = dict(self._layers)
        for layer in known.values():
            layer.begin()
        try:
            # Tensors of inference mode cannot be kept for the backward pass: neither images nor weights, made there or here.
            with held_interrupts() as answer, torch.inference_mode(mode=False), torch.enable_grad(), exact_arithmetic():
                batch = as_batch(images, self.model, pictures=self.pictures)
                current = _Pass(len(batch), torch.zeros((), device=batch.device, requires_grad=True), answer)
                scale = self._differentiate(batch, current)
            self._check_gradients()
        except BaseException as error:
            self._layers = known
            if out_of_memory(error):
                msg = f"Out of memory with {len(images)} images at a time: lower batch_size, or choose `layers`."
                raise InputError(msg) from error
            raise
        self._half_added = True  # until all sums include this update
        for layer in self._layers.values():
            layer.end(scale, copy=self._given)
        self._given = False
        if self.mode == "exact":
            self.counts = self.counts + np.bincount(self._blocks_of_images(len(batch)), minlength=self.blocks)
        else:
            probes = np.bincount(np.arange(self.probes) % self.blocks, minlength=self.blocks)
            self.counts = self.counts + len(batch) * probes
        self.images += len(batch)
        self._half_added = False

    def finalize(self) -> dict[str, LayerAgop]:
        """What was measured, by the name of the layer, in the order of the network's modules.

        Warns of layers whose gradients vanish: their AGOP is 0, and its correlation NaN.

        Raises:
            InputError: no images yet.
        """
        found = self._collected()
        for name, layer in found.items():
            dtype, largest = layer.weight.dtype, float(np.abs(layer.core).max())
            if largest and not LEAST[str(dtype)] < largest < 1 / LEAST[str(dtype)]:
                msg = (
                    f"The gradients at {name!r} are too small or too large to be squared in {dtype} (largest entry of D: "
                    f"{largest:.2g}): measure network.double(), or scale its outputs."
                )
                raise NonFiniteError(msg)
        vanished = [name for name, layer in found.items() if not layer.sums.any()]
        if vanished:
            warnings.warn(
                f"The gradients vanish at {_listed(vanished)}: the AGOP is 0 there and its correlation NaN. A later layer may "
                "be zero, for example a residual branch or the head before training; or gradients are below 1e-22 (float32).",
                ConvRFMWarning,
                stacklevel=2,
            )
        return found

    def state(self) -> dict[str, np.ndarray]:
        """All that was collected, for `load_state`; later updates leave the arrays unchanged."""
        self._given = True
        found = {"images": np.array(self.images), "counts": self.counts, "settings": self._numbers()}
        for name, layer in self._layers.items():
            kept = (layer.sums, layer.weight.cpu().numpy(), np.array(layer.computed))
            found |= {f"{kind}/{name}": array for kind, array in zip(KEPT, kept, strict=True)}
        return found

    def _numbers(self) -> np.ndarray:
        """The settings that a state must have been measured with."""
        return np.array([get_args(Mode).index(self.mode), self.probes, self.blocks, self.seed])

    def load_state(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Go on from the arrays of `state`, for the same network and settings.

        Raises:
            InputError: arrays of other layers or settings. Other filters are found by the next `update`.
        """
        names = [key.removeprefix("sums/") for key in arrays if key.startswith("sums/")]
        wanted = {"images", "counts", "settings", *(f"{kind}/{name}" for kind in KEPT for name in names)}
        same = set(arrays) == wanted and np.array_equal(arrays["settings"], self._numbers())
        if not same or (names and sorted(names) != sorted(self.names)):
            msg = "The state belongs to another network, or was measured with other settings: start over."
            raise InputError(msg)
        device = first_weight(self.model).device
        layers = {}
        for name in names:
            weight = torch.from_numpy(np.array(arrays[f"weight/{name}"])).to(device)
            layers[name] = LayerSums.of(weight, self.blocks, computed=bool(arrays[f"computed/{name}"]))
            layers[name].sums = np.array(arrays[f"sums/{name}"])
        self.images, self.counts, self._layers = int(arrays["images"]), np.array(arrays["counts"]), layers

    def precise(self, tolerance: float) -> bool:
        """Whether the standard error of every layer's correlation is at most a tolerance, where it has one."""
        try:
            # Of copies, so as to free the bases of the filters.
            errors = [replace(layer).correlation().standard_error for layer in self._collected().values()]
        except ProbeError:  # too few for an estimate
            return False
        return bool(np.nanmax([0.0, *errors]) <= tolerance)

    def _collected(self) -> dict[str, LayerAgop]:
        if self.images == 0:
            msg = "Nothing has been measured yet: call `update` first."
            raise InputError(msg)
        self._check_whole()
        self._given = True
        return {
            name: LayerAgop(
                name, layer.weight.cpu().numpy(), layer.sums, self.counts, self.images, self.mode, computed=layer.computed
            )
            for name, layer in ((name, self._layers[name]) for name in self.names)
        }  # fmt: skip

    def _check_whole(self) -> None:
        if self._half_added:
            msg = "An update was interrupted while its sums were added: start over with a new accumulator, or a saved state."
            raise InputError(msg)

    def _differentiate(self, images: torch.Tensor, current: _Pass) -> float:
        """Collect the gradients of all backward passes; returns how many times too large they are."""
        taps = CallTaps(self.model, self.names, partial(self._tap, current))
        scale = 1.0

        def work(images: torch.Tensor) -> None:
            nonlocal scale
            with taps.watching():
                outputs = self._run(images)
            self._check_called(taps)
            check_finite(outputs, "The outputs of the network")
            if not outputs.requires_grad:
                msg = "The outputs do not depend on any of the measured layers: are they detached?"
                raise InputError(msg)
            if len(images) > 1 or self.images == 0:
                self._check_alone(images, outputs.detach(), current)
            current.recording = False  # what runs again in the backward pass, for checkpoints, is no new call
            scale = HALF_SCALE if torch.float16 in current.dtypes else 1.0
            last = (outputs.shape[1] if self.mode == "exact" else self.probes) - 1
            with torch.autocast(images.device.type, enabled=False):
                for number, (cotangent, current.blocks) in enumerate(self._cotangents(outputs)):
                    differentiate(outputs, current.anchor, cotangent * scale, keep=number < last)

        # Without gradients of their own, and, for the buffers, with copies that the network may change.
        state = {name: _kept(value) for name, value in self.model.named_parameters()}
        state |= {name: _kept(value).clone() for name, value in self.model.named_buffers()}
        with taps.listening():
            functional_call(_Work(self.model, work), {f"model.{name}": value for name, value in state.items()}, (images,))
        if self._every and self.images == 0 and taps.others:
            warnings.warn(
                f"Convolutions that ran and were not measured: {', '.join(taps.others)}. Choose them "
                "by name with `layers`; those in TorchScript and transposed ones cannot be measured.",
                ConvRFMWarning,
                stacklevel=4,
            )
        return scale

    def _run(self, images: torch.Tensor) -> torch.Tensor:
        """The outputs `(n, classes)`."""
        try:
            given = self.model(images.clone())  # which it may change in place
        except Exception as error:
            if isinstance(error, InputError) or out_of_memory(error):
                raise
            reason = f"{type(error).__name__}: {error}".strip(" .:")
            msg = (
                f"The network does not run on images of shape {tuple(images.shape)}: {reason}. Give images of the size that "
                "it is made for; if it needs other arguments, wrap it in a module that takes images only."
            )
            raise InputError(msg) from error
        return pick_outputs(given, self.output, len(images))

    def _check_alone(self, images: torch.Tensor, outputs: torch.Tensor, current: _Pass) -> None:
        """Check that the first and the last image give the same outputs alone as among the others, or a single one again."""
        current.alone = True
        alone = torch.cat([self._run(image).detach() for image in (images[:1], images[-1:])[: len(images)]]).double()
        current.alone = False
        among = outputs[[0, -1][: len(images)]].double()
        apart = float("inf")
        if alone.shape == among.shape:
            apart = float((alone - among).abs().max() / among.abs().max().clamp(min=1e-30))
        if not apart <= max(ALONE_TOLERANCE.get(dtype, 0.0) for dtype in {*current.dtypes, outputs.dtype}):
            msg = (
                f"The network mixes the images of a batch, or draws random numbers: alone, an image gives outputs that differ "
                f"by {apart:.2g} of the largest. Per-image gradients are not defined; measure single images (batch_size=1) if "
                "the network is meant for them."
            )
            raise InputError(msg)

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

    def _tap(self, current: _Pass, call: Call) -> torch.Tensor:
        """Take the filters of a call, and have the gradients at its output collected in every backward pass."""
        current.answer()
        output = call.output
        collect = None
        if current.recording:
            if not torch.is_grad_enabled():
                why = (
                    "runs where nothing is differentiated (no_grad, inference mode, a checkpoint with use_reentrant=True, a "
                    "custom autograd.Function), so its gradients would be incomplete: change `forward`, or"
                )
                self._refuse([call.name], why)
            collect = partial(self._collect, current, self._seen(current, call), linear=call.kind == "linear")
        # A one-dimensional convolution gives a view of what a two-dimensional one gave.
        output = output.clone() if output._is_view() else output
        tapped: torch.Tensor = Tapped.apply(output, current.anchor, collect)  # type: ignore[no-untyped-call]
        return tapped

    def _seen(self, current: _Pass, call: Call) -> LayerSums:
        """The layer of a call, whose filters must be those of its other calls."""
        shape = tuple(call.inputs.shape)
        batched = call.kind == "linear" or call.inputs.ndim == call.weight.ndim
        if min(call.inputs.ndim, call.weight.ndim) < 2 or not batched:
            msg = f"The layer {call.name!r} got an input of shape {shape} without an axis for a batch: give it one of length 1."
            raise InputError(msg)
        # Where there is one image, all that runs belongs to it.
        count = 1 if current.alone else current.count
        if current.count > 1 and len(call.inputs) != count:
            why = (
                f"got a batch of shape {shape} for {count} image{'s' if count > 1 else ''}, and which part belongs to which "
                "image is not known: measure single images by batch_size=1, or"
            )
            self._refuse([call.name], why)
        if not call.weight.is_floating_point():
            msg = f"The filters of {call.name!r} must be real, but their dtype is {call.weight.dtype}."
            raise InputError(msg)
        wide = call.weight.to(torch.promote_types(call.weight.dtype, torch.float32))
        weight = wide.reshape(call.groups, len(wide) // call.groups, -1)
        if call.name not in self._layers:
            own = getattr(self.model.get_submodule(call.name), "weight", None)
            computed = not (isinstance(own, torch.Tensor) and torch.equal(own.to(call.weight.dtype), call.weight))
            self._layers[call.name] = LayerSums.of(weight.clone(), self.blocks, computed=computed)
        layer = self._layers[call.name]
        if not layer.applies(weight, torch.finfo(call.weight.dtype).eps):
            msg = (
                f"The filters of {call.name!r} are not the same in all of its calls: a layer has one covariance of filters. "
                "If they change from batch to batch, or the layer runs several convolutions, leave it out of `layers`."
            )
            raise InputError(msg)
        layer.calls += 1
        current.dtypes.add(call.output.dtype)
        return layer

    def _refuse(self, names: Sequence[str], why: str) -> NoReturn:
        how = "by `layers`"
        if self._every:
            how = (
                "by layers=[name for name, module in network.named_modules() if isinstance(module, torch.nn.Conv2d) and "
                f"name not in {tuple(names)!r}]"
            )
        msg = f"{_listed(names)} {why} leave out what is not wanted {how}."
        raise InputError(msg)

    def _collect(self, current: _Pass, layer: LayerSums, gradient: torch.Tensor, *, linear: bool) -> None:
        current.answer()
        layer.gradients += 1
        if gradient.dtype == torch.float16:
            layer.largest_half = max(layer.largest_half or 0.0, float(gradient.abs().max()))
        # Sums in half precision would lose their smaller terms: products and sums have the weight's float32 or more.
        gradient = gradient.detach().to(layer.weight.dtype)
        gradient = gradient.movedim(-1, 1) if linear else gradient
        for block in np.unique(current.blocks):
            chosen = current.blocks == block
            layer.add(int(block), gradient if chosen.all() else gradient[torch.from_numpy(chosen)])

    def _check_called(self, taps: CallTaps) -> None:
        missing = [name for name in self.names if name not in self._layers or self._layers[name].calls == 0]
        if missing:
            self._refuse(missing, "was never called:" if len(missing) == 1 else "were never called:")
        if taps.incomplete:
            why = "run convolutions that are not called through torch.nn.functional and would be missing from the AGOP:"
            self._refuse(list(taps.incomplete), why)

    def _check_gradients(self) -> None:
        unreached = [name for name in self.names if self._layers[name].gradients == 0]
        if unreached:
            self._refuse(unreached, f"do{'es' if len(unreached) == 1 else ''} not reach the outputs:")
        for name, layer in self._layers.items():
            if layer.largest_half is not None and layer.largest_half != 0 and not 0.01 < layer.largest_half < 60000:
                msg = (
                    f"The gradients at {name!r} are too small or too large for float16 (times {HALF_SCALE:.0f}, the largest is "
                    f"{layer.largest_half:.3g}): measure network.float()."
                )
                raise NonFiniteError(msg)
            for part in layer.recent.values():
                check_finite(part, f"The gradients at {name!r}")


def _kept(value: torch.Tensor) -> torch.Tensor:
    """A parameter or buffer without a gradient of its own, and fit for the backward pass."""
    return value.detach().clone() if value.is_inference() else value.detach()


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names))
