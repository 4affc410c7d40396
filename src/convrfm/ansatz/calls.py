"""The convolutions that a network really runs: their filters and outputs at the call, and the gradients there.

A module's attribute `weight` is not always what is convolved: subclasses of `torch.nn.Conv2d` standardise, normalise or
quantise it in `forward`, and hooks change the module's output. So the *call* of `torch.nn.functional.conv2d` (or conv1d,
conv3d, linear) is intercepted by a mode of PyTorch's `__torch_function__` protocol, and belongs to the innermost module
that runs at the time. A second mode, below the first, sees every convolution that reaches the dispatcher; one that came
another way (TorchScript, say) is at least named.
"""

import re
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from convrfm.errors import InputError

__all__ = ["Call", "CallTaps", "Tapped", "differentiate", "exact_arithmetic", "held_interrupts", "out_of_memory"]

SERVED: dict[Any, str] = {torch.conv1d: "conv1d", torch.conv2d: "conv2d", torch.conv3d: "conv3d", functional.linear: "linear"}
"""Functions whose outputs are W times each patch, plus a bias."""

TRANSPOSED = (torch.conv_transpose1d, torch.conv_transpose2d, torch.conv_transpose3d)
"""Functions whose outputs are sums over several patches."""

PARAMETERS = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")

IN_DISPATCHER = re.compile(r"(^|[:_])conv(olution|_transpose|_tbc|\d)")
"""Names of the dispatcher's convolutions, as `aten::convolution` or `quantized::conv2d`."""


@dataclass(frozen=True)
class Call:
    """One call of a convolution (or of a linear map, whose patches are single positions)."""

    name: str  # of the innermost module that ran, empty for the network itself
    kind: str  # "conv1d", "conv2d", "conv3d" or "linear"
    # The filters that were applied, `(filters, channels / groups, ...)`, rounded to the dtype of the output
    weight: torch.Tensor
    groups: int  # of the convolution
    inputs: torch.Tensor  # what was convolved, `(n, channels, ...)`; for a linear map `(n, ..., channels)`
    output: torch.Tensor  # its result, before anything else changed it


class CallTaps(TorchFunctionMode):
    """Hands the calls of chosen layers to a function, and notes which other convolutions ran.

    Args:
        model: the network.
        chosen: names of layers.
        tap: gets each call of a chosen layer; its result replaces the call's output.

    Attributes:
        others: convolutions that ran outside the chosen layers, as `{"name (what)": None}`, in order.
        incomplete: chosen layers that ran a convolution which could not be intercepted, and its name in the dispatcher.
    """

    def __init__(self, model: nn.Module, chosen: Sequence[str], tap: Callable[[Call], torch.Tensor]) -> None:
        super().__init__()
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
        handles = (register_module_forward_pre_hook(self._enter), register_module_forward_hook(self._leave, always_call=True))
        self._running = [self._model]
        try:
            with self:
                yield
        finally:
            for handle in handles:
                handle.remove()

    def watching(self) -> TorchDispatchMode:
        """Note the convolutions that are not intercepted, of all that runs inside."""
        return _Dispatched(self)

    def _enter(self, module: nn.Module, _inputs: Any) -> None:
        if module in self.names:
            self._running.append(module)

    def _leave(self, module: nn.Module, _inputs: Any, _output: Any) -> None:
        if module in self.names:
            self._running.pop()

    def __torch_function__(self, function: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        kind = "transposed" if function in TRANSPOSED else SERVED.get(function)
        if kind is None:
            return function(*args, **kwargs)
        self._inside = True
        try:
            output = function(*args, **kwargs)
        finally:
            self._inside = False
        name = self.names[self._running[-1]]
        if name not in self.chosen:
            if kind != "linear":
                self.note(kind)
            return output
        if kind == "transposed":
            msg = f"Transposed convolutions have no patches to filter: leave {name!r} out of `layers`."
            raise InputError(msg)
        given = dict(zip(PARAMETERS, args, strict=False)) | kwargs
        weight, inputs = given["weight"], given["input"]
        if weight.requires_grad and not weight.is_leaf:
            msg = (
                f"The filters of {name!r} are computed from the images, or from tensors that are neither parameters nor "
                "buffers of the network: it has no filters of its own. Leave it out of `layers`."
            )
            raise InputError(msg)
        weight = weight.detach().to(output.dtype)
        return self.tap(Call(name, kind, weight, given.get("groups", 1), inputs, output))

    def note(self, kind: str) -> None:
        """Note a convolution that ran in the current module and is not measured."""
        module = self._running[-1]
        what = "TorchScript" if isinstance(module, torch.jit.ScriptModule) else kind
        self.others[f"{self.names[module]!r} ({what})"] = None

    def dispatched(self, name: str) -> None:
        """Note a convolution that reached the dispatcher, unless it belongs to a call that was intercepted."""
        if self._inside:
            return
        if self.names[self._running[-1]] in self.chosen:
            self.incomplete[self.names[self._running[-1]]] = name
        self.note(f"{name}, not called through torch.nn.functional")


class _Dispatched(TorchDispatchMode):
    """Operators, whoever called them."""

    def __init__(self, taps: CallTaps) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.taps = taps

    def __torch_dispatch__(self, function: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if IN_DISPATCHER.search(function.name()):
            self.taps.dispatched(function.name())
        return function(*args, **(kwargs or {}))


class Tapped(torch.autograd.Function):
    """An output as it is, whose gradient is collected on its way back; later changes in place do not matter."""

    @staticmethod
    def forward(ctx: Any, output: torch.Tensor, _anchor: torch.Tensor, collect: Any) -> torch.Tensor:
        """Pass an output on."""
        ctx.collect = collect
        ctx.mark_dirty(output)
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        """Collect its gradient, and pass it on."""
        if ctx.collect is not None:
            ctx.collect(gradients[0])
        return gradients[0], None, None


def differentiate(outputs: torch.Tensor, anchor: torch.Tensor, cotangent: torch.Tensor, *, keep: bool) -> None:
    """Run the backward pass of outputs `(n, classes)` down to an anchor.

    Raises:
        InputError: the network cannot be differentiated.
    """
    try:
        # The engine itself, as `torch.autograd.grad` runs it with all modes switched off, and what a checkpoint runs again
        # must be intercepted as in the forward pass.
        torch.autograd.Variable._execution_engine.run_backward((outputs,), (cotangent,), keep, False, (anchor,), True, False)
    except RuntimeError as error:
        if isinstance(error, NotImplementedError) or not out_of_memory(error):
            how = " use_reentrant=False mends checkpoints." if "heckpoint" in str(error) else ""
            msg = f"The network cannot be differentiated: {type(error).__name__}: {str(error).strip(' .')}.{how}"
            raise InputError(msg) from error
        raise


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory is exhausted, on the CPU or a GPU."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


@contextmanager
def exact_arithmetic() -> Iterator[None]:
    """Convolutions and products without TF32 on GPUs, or bfloat16 on CPUs."""
    convolutions, products = torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()
    torch.backends.cudnn.allow_tf32 = False
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = convolutions
        torch.set_float32_matmul_precision(products)


@contextmanager
def held_interrupts() -> Iterator[Callable[[], None]]:
    """Hold Ctrl-C back until the given function is called, which answers it, or until the end of the block.

    While a network runs with other weights, an interrupt just as they are put back would leave it without its parameters.
    Does nothing in threads other than the main one, or if the program has no handler in Python.
    """
    handler = signal.getsignal(signal.SIGINT)
    held: list[int] = []

    def answer() -> None:
        """Handle an interrupt that was held back, usually by KeyboardInterrupt."""
        if held and callable(handler):
            held.clear()
            handler(signal.SIGINT, None)

    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        yield answer
        return
    signal.signal(signal.SIGINT, lambda number, _frame: held.append(number))
    try:
        yield answer
    finally:
        signal.signal(signal.SIGINT, handler)
        answer()
