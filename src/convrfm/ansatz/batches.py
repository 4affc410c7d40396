"""Images as people have them, an array, a list, a data loader, as batches that a network can run."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from convrfm.errors import InputError, NonFiniteError
from convrfm.numerics.inputs import check_integer

__all__ = ["Batches", "as_batch", "check_finite", "first_weight"]

ARRAYS = torch.Tensor | np.ndarray


class Batches:
    """Images in batches `(n, c, h, w)`, as often as they are gone through.

    Args:
        images: a tensor or array `(n, c, h, w)`; or an iterable (`torch.utils.data.DataLoader`, list, generator) of such
            batches, of single images `(c, h, w)`, or of tuples that begin with one of these, as `(images, labels)`.
        batch_size: images at a time, where they do not come in batches.
        pictures: whether the network takes pictures `(c, h, w)`. One that does not, with convolutions along time, say,
            takes batches of any shape `(n, ...)`, and nothing is taken for a single image.

    Raises:
        InputError: something else.
    """

    def __init__(self, images: Any, batch_size: int, *, pictures: bool = True) -> None:
        check_integer("batch_size", batch_size)
        if isinstance(images, str | bytes | Mapping) or not isinstance(images, ARRAYS | Iterable | Dataset):
            msg = f"Images must be a tensor, an array, or an iterable of batches, but they are of type {type(images).__name__}."
            raise InputError(msg)
        if _is_array(images):
            _check_shape(images, pictures=pictures)
        self.images: Any = images
        self.batch_size, self.pictures = batch_size, pictures

    @property
    def repeatable(self) -> bool:
        """Whether the images can be gone through again; those of a generator cannot."""
        return not isinstance(self.images, Iterator)

    @property
    def count(self) -> int | None:
        """Number of batches, where it is known beforehand."""
        if _is_array(self.images):
            return -(-len(self.images) // self.batch_size)
        try:
            return len(self.images) if isinstance(self.images, DataLoader) else None
        except TypeError:  # of data that are streamed
            return None

    def _items(self) -> Iterator[Any]:
        images = self.images
        # Data sets with an index alone need not end by themselves.
        by_index = isinstance(images, Dataset) and not isinstance(images, Iterable)
        return (self.images[index] for index in range(len(self.images))) if by_index else iter(images)

    def __iter__(self) -> Iterator[Any]:
        if _is_array(self.images):
            for first in range(0, max(len(self.images), 1), self.batch_size):
                yield self.images[first : first + self.batch_size]
            return
        waiting: list[torch.Tensor] = []
        for item in self._items():
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
    if not _is_array(images):
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
    images = images.detach().to(weight.device)
    # Autograd cannot keep what was made in inference mode, but it can keep a copy.
    return images.clone() if images.is_inference() else images


def first_weight(model: nn.Module) -> torch.Tensor:
    """Give the parameter, or else the buffer, that says on which device and in which dtype a network is."""
    return next(value for value in chain(model.parameters(), model.buffers()) if value.is_floating_point())


def check_finite(values: torch.Tensor, name: str) -> None:
    """Refuse NaN and infinities.

    Args:
        values: of any shape.
        name: what they are, a plural that begins a sentence.

    Raises:
        NonFiniteError: there are some.
    """
    if not bool(torch.isfinite(values).all()):
        msg = f"{name} hold NaN or infinities: nothing is replaced in silence."
        raise NonFiniteError(msg)


def _is_array(values: Any) -> bool:
    return isinstance(values, ARRAYS)


def _stacked(images: list[torch.Tensor]) -> torch.Tensor:
    """Single images as a batch."""
    kinds = {(tuple(image.shape), image.dtype) for image in images}
    if len(kinds) > 1:
        found = ", ".join(sorted(f"{shape} {_name(dtype)}" for shape, dtype in kinds))
        msg = f"Single images must have one shape and dtype, but these have {found}: bring them to one, or use batch_size=1."
        raise InputError(msg)
    return torch.stack(images)


def _images_of(item: Any) -> Any:
    """The images of an item, which may come with labels."""
    parts = item if isinstance(item, tuple | list) and len(item) > 0 else (item,)
    if not _is_array(parts[0]) or any(_is_array(part) and part.ndim > 2 for part in parts[1:]):
        held = "several arrays of images" if _is_array(parts[0]) else f"a {type(item).__name__}"
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
        msg = f"Images are an array of dtype {images.dtype}, which is no number that PyTorch knows."
        raise InputError(msg) from error


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _check_shape(images: Any, *, pictures: bool) -> None:
    shape = tuple(images.shape)
    if (len(shape) != 4 if pictures else len(shape) < 2) or 0 in shape:
        wanted = "(n, channels, height, width)" if pictures else "(n, ...)"
        msg = f"Images must have shape {wanted}, none of them 0, but it is {shape}."
        raise InputError(msg)
