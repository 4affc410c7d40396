"""Which networks, layers, images and outputs can be measured, and what to do about the others."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from convrfm.errors import InputError, NonFiniteError
from convrfm.numerics.inputs import check_integer

__all__ = [
    "Batches", "Output", "as_batch", "check_finite", "check_measurable", "choose_layers", "first_weight", "pick_outputs",
]  # fmt: skip

ARRAYS = torch.Tensor | np.ndarray

LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
"""Modules that can be chosen as layers by their type."""

Output: TypeAlias = str | int | Callable[[Any], torch.Tensor] | None
"""A key or attribute, an index, a function, or None for a tensor as it is."""


def check_measurable(model: nn.Module) -> None:
    """Check that a network can be run, and that each image has gradients of its own.

    Raises:
        InputError: a scripted, compiled or wrapped network, one in train mode, one without values for its weights, or one
            whose batch norm mixes the images.
    """
    if not isinstance(model, nn.Module):
        msg = f"The network must be a torch.nn.Module, but it is of type {type(model).__name__}."
        raise InputError(msg)
    if isinstance(model, torch.jit.ScriptModule):
        msg = "TorchScript modules are not supported: pass the torch.nn.Module that was scripted or traced."
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
    """The names of the layers to measure, in the order of the network's modules.

    Args:
        model: the network.
        wanted: names of modules that run a convolution or a linear map; None takes every `torch.nn.Conv2d`.

    Raises:
        InputError: not a list of names, an unknown name, or no layer at all.
    """
    modules = dict(model.named_modules())
    known = [name for name, module in modules.items() if isinstance(module, LAYERS)]
    if wanted is not None and not isinstance(wanted, str):
        wanted = list(wanted) if isinstance(wanted, Iterable) else [wanted]
    if wanted is None:
        wanted = [name for name in known if isinstance(modules[name], nn.Conv2d)]
        if not wanted:
            others = f" Choose others by `layers`: {', '.join(known)}." if known else ""
            msg = f"No convolution to measure: the network has no module of type torch.nn.Conv2d.{others}"
            raise InputError(msg)
    if isinstance(wanted, str) or not all(isinstance(name, str) for name in wanted):
        example = f", such as {known[:1]!r}" if known else ""
        msg = f"`layers` must be a list of names{example}, but it is {wanted!r}."
        raise InputError(msg)
    unknown = [name for name in wanted if name not in modules]
    if unknown:
        msg = f"Unknown layer {unknown[0]!r}; the names are {', '.join(known)}."
        raise InputError(msg)
    if not wanted:
        msg = "No convolution to measure: `layers` is empty."
        raise InputError(msg)
    return [name for name in modules if name in wanted]


class Batches:
    """Images in batches `(n, c, h, w)`.

    Args:
        images: a tensor or array `(n, c, h, w)`; or an iterable (`torch.utils.data.DataLoader`, list, generator) of such
            batches, of single images `(c, h, w)`, or of tuples that begin with one of these, as `(images, labels)`.
        batch_size: images at a time, unless they come in batches.
        pictures: whether the network takes pictures `(c, h, w)`. One with convolutions along time, say, takes batches of any
            shape `(n, ...)`, and no item is taken for a single image.

    Raises:
        InputError: anything else.
    """

    def __init__(self, images: Any, batch_size: int, *, pictures: bool = True) -> None:
        check_integer("batch_size", batch_size)
        if isinstance(images, str | bytes | Mapping) or not isinstance(images, ARRAYS | Iterable | Dataset):
            msg = f"Images must be a tensor, an array, or an iterable of batches, but they are of type {type(images).__name__}."
            raise InputError(msg)
        if isinstance(images, ARRAYS):
            _check_shape(images, pictures=pictures)
        self.images: Any = images
        self.batch_size, self.pictures = batch_size, pictures

    @property
    def repeatable(self) -> bool:
        """Whether the images can be iterated over again; those of a generator cannot."""
        return not isinstance(self.images, Iterator)

    @property
    def count(self) -> int | None:
        """Number of batches, if known beforehand."""
        if isinstance(self.images, ARRAYS):
            return -(-len(self.images) // self.batch_size)
        try:
            return len(self.images) if isinstance(self.images, DataLoader) else None
        except TypeError:  # of data that are streamed
            return None

    def __iter__(self) -> Iterator[Any]:
        if isinstance(self.images, ARRAYS):
            for first in range(0, max(len(self.images), 1), self.batch_size):
                yield self.images[first : first + self.batch_size]
            return
        # Data sets with an index alone need not end by themselves.
        by_index = isinstance(self.images, Dataset) and not isinstance(self.images, Iterable)
        waiting: list[torch.Tensor] = []
        for item in (self.images[index] for index in range(len(self.images))) if by_index else self.images:
            found = _images_of(item)
            if found.ndim != 3 or not self.pictures:
                yield found
                continue
            waiting.append(_as_tensor(found))
            if len(waiting) == self.batch_size:
                yield _stacked(waiting)
                waiting = []
        if waiting:
            yield _stacked(waiting)


def as_batch(images: Any, model: nn.Module, *, pictures: bool = True) -> torch.Tensor:
    """Bring a batch to the device of a network.

    Args:
        images: tensor or array `(n, c, h, w)`, of the dtype of the network's weights.
        model: the network.
        pictures: see `Batches`.

    Raises:
        InputError: another shape or dtype, or axes in another order.
        NonFiniteError: a value that is not finite.
    """
    if not isinstance(images, ARRAYS):
        msg = f"Images must be a tensor or an array, but they are of type {type(images).__name__}."
        raise InputError(msg)
    _check_shape(images, pictures=pictures)
    images = _as_tensor(images)
    weight = first_weight(model)
    if not images.is_floating_point():
        msg = (
            f"Images are {_name(images.dtype)}: scale them as the network was trained, for example by "
            f"images.to({weight.dtype}) / 255 and its normalisation."
        )
        raise InputError(msg)
    if images.dtype != weight.dtype:
        msg = (
            f"Images are {_name(images.dtype)} and the weights {_name(weight.dtype)}: convert one of them, "
            f"for example by images.to({weight.dtype})."
        )
        raise InputError(msg)
    # Only if the network cannot run on the axes as they are.
    channels = {module.in_channels for module in model.modules() if isinstance(module, nn.Conv2d)}
    if pictures and images.shape[-1] in (1, 3, 4) and images.shape[-1] in channels and images.shape[1] not in channels:
        msg = (
            f"Images of shape {tuple(images.shape)} have their channels last, but the network wants (n, channels, height, "
            "width): use images.permute(0, 3, 1, 2)."
        )
        raise InputError(msg)
    check_finite(images, "The images")
    moved: torch.Tensor = images.detach().to(weight.device)
    return moved


def first_weight(model: nn.Module) -> torch.Tensor:
    """The parameter, or else the buffer, that tells the device and the dtype of a network.

    Raises:
        InputError: there is none.
    """
    for value in chain(model.parameters(), model.buffers()):
        if value.is_floating_point():
            return value
    msg = "The network has no real-valued parameter or buffer to take its dtype and device from: register its filters."
    raise InputError(msg)


def check_finite(values: torch.Tensor, name: str) -> None:
    """Refuse NaN and infinities.

    Args:
        values: of any shape.
        name: what they are, a plural that begins a sentence.

    Raises:
        NonFiniteError: there are any.
    """
    if not bool(torch.isfinite(values).all()):
        msg = f"{name} hold NaN or infinities."
        raise NonFiniteError(msg)


def _stacked(images: list[torch.Tensor]) -> torch.Tensor:
    kinds = {(tuple(image.shape), image.dtype) for image in images}
    if len(kinds) > 1:
        found = ", ".join(sorted(f"{shape} {_name(dtype)}" for shape, dtype in kinds))
        msg = f"Single images must have one shape and dtype, but these have {found}: bring them to one, or use batch_size=1."
        raise InputError(msg)
    return torch.stack(images)


def _images_of(item: Any) -> Any:
    """The images of an item, which may come with labels."""
    parts = item if isinstance(item, tuple | list) and len(item) > 0 else (item,)
    if not isinstance(parts[0], ARRAYS) or any(isinstance(part, ARRAYS) and part.ndim > 2 for part in parts[1:]):
        held = "several arrays of images" if isinstance(parts[0], ARRAYS) else f"a {type(item).__name__}"
        msg = f"Each item must be images, or a tuple of images and labels, but one is {held}: pass the images only."
        raise InputError(msg)
    return parts[0]


def _as_tensor(images: Any) -> torch.Tensor:
    if isinstance(images, torch.Tensor):
        return images
    # PyTorch takes neither foreign byte orders nor negative strides, and warns of read-only memory.
    native = np.asarray(images, images.dtype.newbyteorder("="))
    try:
        return torch.from_numpy(np.require(native, requirements=["C", "W"]))
    except TypeError as error:
        msg = f"Images have the dtype {images.dtype}, which PyTorch does not support."
        raise InputError(msg) from error


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _check_shape(images: Any, *, pictures: bool) -> None:
    shape = tuple(images.shape)
    if (len(shape) != 4 if pictures else len(shape) < 2) or 0 in shape:
        wanted = "(n, channels, height, width)" if pictures else "(n, ...)"
        msg = f"Images must have shape {wanted}, without empty axes, but it is {shape}."
        raise InputError(msg)


def pick_outputs(given: Any, output: Output, count: int) -> torch.Tensor:
    """The outputs `(n, classes)` of a network among all that it returned.

    Args:
        given: what the network returned.
        output: which part of it.
        count: n.

    Raises:
        InputError: no such part, or one of another shape.
    """
    try:
        if callable(output):
            found = output(given)
        elif isinstance(output, str):
            found = given[output] if isinstance(given, Mapping) else getattr(given, output)
        else:
            found = given if output is None else given[output]
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".strip(" .:")
        msg = f"The network gave {_described(given)}, from which output={output!r} picks nothing ({reason})."
        raise InputError(msg) from error
    if not isinstance(found, torch.Tensor) or found.ndim != 2 or len(found) != count:
        how = "as in output='logits' or output=0"
        if isinstance(found, torch.Tensor):
            how = "a function of what the network gives"
        msg = (
            f"The network must map {count} images to outputs of shape ({count}, classes), the logits only, but it gave "
            f"{_described(found)}. Choose or reshape by `output`, {how}."
        )
        raise InputError(msg)
    if not found.is_floating_point() or found.layout != torch.strided or found.shape[1] == 0:
        msg = (
            f"The outputs must be real numbers of at least one class in a dense tensor, but they have the dtype {found.dtype}, "
            f"the layout {found.layout} and the shape {tuple(found.shape)}."
        )
        raise InputError(msg)
    return found


def _described(given: Any) -> str:
    """Kind and shapes of what a network returned."""
    if isinstance(given, torch.Tensor):
        return f"a tensor of shape {tuple(given.shape)}"
    kind = type(given).__name__
    if isinstance(given, Mapping):
        return f"a {kind} with the keys {', '.join(map(repr, given))}"
    if isinstance(given, tuple | list):
        return f"a {kind} of ({', '.join(_described(part) for part in given)})"
    if hasattr(given, "__dataclass_fields__"):
        return f"a {kind} with the fields {', '.join(given.__dataclass_fields__)}"
    return f"a {kind}"
