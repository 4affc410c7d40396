"""The convolutions that a network really runs: their filters and outputs, taken at the call.

A module's attribute `weight` is not always what is convolved: subclasses of `torch.nn.Conv2d` standardise, normalise or
quantise it in `forward`, and hooks change what comes out of the module. So the *call* of `torch.nn.functional.conv2d` (or
conv1d, conv3d, linear) is intercepted by a mode of PyTorch's `__torch_function__` protocol, and belongs to the innermost
module that runs at the time. A second mode, below the first, sees every convolution that reaches the dispatcher, so that
one that came another way (TorchScript, say) is at least named.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from convrfm.errors import InputError

__all__ = ["Call", "CallTaps", "check_measurable", "choose_layers"]

SERVED: dict[Any, str] = {
    torch.conv1d: "conv1d",
    torch.conv2d: "conv2d",
    torch.conv3d: "conv3d",
    functional.linear: "linear",
}
"""Functions whose outputs are W times each patch, plus a bias."""

LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
"""Modules that can be chosen as layers by the look of them."""

TRANSPOSED = (torch.conv_transpose1d, torch.conv_transpose2d, torch.conv_transpose3d)
"""Functions whose outputs are sums over several patches."""

PARAMETERS = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")

IN_DISPATCHER = re.compile(r"(^|[:_])conv(olution|_transpose|_tbc|\d)")
"""Names of the dispatcher's convolutions, as `aten::convolution` or `quantized::conv2d`."""


@dataclass(frozen=True)
class Call:
    """One call of a convolution (or of a linear map, whose patches are single positions).

    Attributes:
        name: of the innermost module that ran, empty for the network itself.
        kind: "conv1d", "conv2d", "conv3d" or "linear".
        weight: the filters that were applied, `(filters, channels / groups, ...)`, rounded to the dtype of the output.
        groups: of the convolution.
        inputs: what was convolved, `(n, channels, ...)`; for a linear map `(n, ..., channels)`.
        output: what came of it, before anything else changed it.
    """

    name: str
    kind: str
    weight: torch.Tensor
    groups: int
    inputs: torch.Tensor
    output: torch.Tensor


class CallTaps:
    """Hands the calls of chosen layers to a function, and takes down which other convolutions ran.

    Args:
        model: the network.
        chosen: names of layers.
        tap: gets each call of a chosen layer; what it returns takes the place of the call's output.

    Attributes:
        others: convolutions that ran and are none of the chosen layers, as `{"name (what)": None}`, in order.
        incomplete: chosen layers that ran a convolution which could not be intercepted, and its name in the dispatcher.
    """

    def __init__(self, model: nn.Module, chosen: Sequence[str], tap: Callable[[Call], torch.Tensor]) -> None:
        self.names = {module: name for name, module in model.named_modules()}
        self.chosen, self.tap = set(chosen), tap
        self.others: dict[str, None] = {}
        self.incomplete: dict[str, str] = {}
        self._model, self._running = model, [model]
        self._inside = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Intercept the calls of all that runs inside."""
        # Hooks on all modules, as modules of TorchScript take none of their own.
        handles = (
            register_module_forward_pre_hook(self._enter),
            register_module_forward_hook(self._leave, always_call=True),
        )
        self._running = [self._model]
        try:
            with _Functions(self):
                yield
        finally:
            for handle in handles:
                handle.remove()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Take down the convolutions that are not intercepted, of all that runs inside."""
        with _Dispatched(self):
            yield

    def _enter(self, module: nn.Module, _inputs: Any) -> None:
        if module in self.names:
            self._running.append(module)

    def _leave(self, module: nn.Module, _inputs: Any, _output: Any) -> None:
        if module in self.names:
            self._running.pop()

    def call(self, kind: str, run: Callable[[], torch.Tensor], given: dict[str, Any]) -> torch.Tensor:
        """Run one intercepted call."""
        self._inside = True
        try:
            output = run()
        finally:
            self._inside = False
        module = self._running[-1]
        name = self.names[module]
        if name not in self.chosen:
            if kind != "linear":
                self.take_down(kind)
            return output
        if kind == "transposed":
            msg = f"{name!r} is a transposed convolution, which has no patches to filter: leave it out of `layers`."
            raise InputError(msg)
        weight, inputs = given["weight"], given["input"]
        if weight.requires_grad and not weight.is_leaf:
            msg = (
                f"The filters of {name!r} are computed from the images, or from tensors that are neither parameters nor "
                "buffers of the network: such a layer has no filters of its own. Leave it out of `layers`."
            )
            raise InputError(msg)
        weight = weight.detach().to(output.dtype)
        return self.tap(Call(name, kind, weight, given.get("groups", 1), inputs, output))

    def take_down(self, kind: str) -> None:
        """Note a convolution that ran in the module at hand and is not measured."""
        module = self._running[-1]
        what = "TorchScript" if isinstance(module, torch.jit.ScriptModule) else kind
        self.others[f"{self.names[module]!r} ({what})"] = None

    def dispatched(self, name: str) -> None:
        """Note a convolution that reached the dispatcher, unless it belongs to a call that was intercepted."""
        if self._inside:
            return
        if self.names[self._running[-1]] in self.chosen:
            self.incomplete[self.names[self._running[-1]]] = name
        self.take_down(f"{name}, not called through torch.nn.functional")


class _Functions(TorchFunctionMode):
    """Calls of Python functions of PyTorch."""

    def __init__(self, taps: CallTaps) -> None:
        super().__init__()
        self.taps = taps

    def __torch_function__(self, function: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        kind = "transposed" if function in TRANSPOSED else SERVED.get(function)
        if kind is None:
            return function(*args, **kwargs)
        given = dict(zip(PARAMETERS, args, strict=False)) | kwargs
        return self.taps.call(kind, partial(function, *args, **kwargs), given)


class _Dispatched(TorchDispatchMode):
    """Operators, whoever called them."""

    def __init__(self, taps: CallTaps) -> None:
        super().__init__()
        self.taps = taps

    def __torch_dispatch__(self, function: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if IN_DISPATCHER.search(function.name()):
            self.taps.dispatched(function.name())
        return function(*args, **(kwargs or {}))


def check_measurable(model: nn.Module) -> None:
    """Check that a network can be run, and that each image has gradients of its own.

    Raises:
        InputError: a scripted, compiled or wrapped network, one in train mode, one with weights that are not there yet, or
            one whose batch norm mixes the images.
    """
    if not isinstance(model, nn.Module):
        msg = f"The network must be a torch.nn.Module, but it is of type {type(model).__name__}."
        raise InputError(msg)
    if isinstance(model, torch.jit.ScriptModule):
        msg = "TorchScript networks are not supported: pass the torch.nn.Module that was scripted or traced."
        raise InputError(msg)
    if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
        msg = f"{type(model).__name__} spreads a batch over devices: pass the network inside, its attribute `module`."
        raise InputError(msg)
    for name, module in model.named_modules():
        where = f"The module {name!r}" if name else "The network"
        if hasattr(module, "_orig_mod") or module._compiled_call_impl is not None:
            msg = f"{where} is compiled, which hides its convolutions: pass the network from before torch.compile."
            raise InputError(msg)
        if module.training:
            msg = f"{where} is in train mode: call eval() on the network first."
            raise InputError(msg)
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is None:
            msg = (
                f"The batch norm {name!r} has no running statistics: the output of one image depends on the others of its "
                "batch, and per-image gradients are not defined. Use track_running_stats=True."
            )
            raise InputError(msg)
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if nn.parameter.is_lazy(tensor):
            msg = f"{name!r} is lazy and has no size yet: run the network once on an image first."
            raise InputError(msg)
        if tensor.is_meta:
            msg = f"{name!r} is on the meta device and has no values: load the weights first."
            raise InputError(msg)


def choose_layers(model: nn.Module, wanted: Sequence[str] | None = None) -> list[str]:
    """Give the names of the layers to measure, in the order of the network's modules.

    Args:
        model: the network.
        wanted: names of modules that run a convolution or a linear map; None takes every `torch.nn.Conv2d`.

    Raises:
        InputError: something else than names, an unknown name, or no layer at all.
    """
    modules = dict(model.named_modules())
    known = [name for name, module in modules.items() if isinstance(module, LAYERS)]
    if wanted is not None and not isinstance(wanted, str):
        wanted = list(wanted) if isinstance(wanted, Iterable) else [wanted]
    if wanted is None:
        wanted = [name for name in known if isinstance(modules[name], nn.Conv2d)]
        if not wanted:
            others = f" Choose others by `layers`: {', '.join(known)}." if known else ""
            msg = f"There is no convolution to measure: the network has no module of type torch.nn.Conv2d.{others}"
            raise InputError(msg)
    if isinstance(wanted, str) or not all(isinstance(name, str) for name in wanted):
        example = f", such as {known[:1]!r}" if known else ""
        msg = f"`layers` must be a list of names{example}, but it is {wanted!r}."
        raise InputError(msg)
    unknown = [name for name in wanted if name not in modules]
    if unknown:
        msg = f"There is no convolution {unknown[0]!r}; the names are {', '.join(known)}."
        raise InputError(msg)
    if not wanted:
        msg = "There is no convolution to measure: `layers` is empty."
        raise InputError(msg)
    return [name for name in modules if name in wanted]
