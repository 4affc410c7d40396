"""The patch-AGOP by its definition: Jacobians of the outputs with respect to unfolded patches, one layer at a time."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from unittest import mock

import torch
from torch import nn
from torch.func import jacrev


def padded(convolution: nn.Conv2d, maps: torch.Tensor) -> torch.Tensor:
    """The input of a convolution with its border."""
    if convolution.padding == "valid":
        return maps
    if convolution.padding == "same" or convolution.padding_mode != "zeros":
        border = convolution._reversed_padding_repeated_twice
    else:
        rows, columns = convolution.padding
        border = (columns, columns, rows, rows)
    mode = "constant" if convolution.padding_mode == "zeros" else convolution.padding_mode
    return nn.functional.pad(maps, border, mode=mode)


def unfolded(convolution: nn.Conv2d, maps: torch.Tensor) -> torch.Tensor:
    """All patches that a convolution sees, `(n, groups, positions, d)`."""
    columns = nn.functional.unfold(
        padded(convolution, maps), convolution.kernel_size, dilation=convolution.dilation, stride=convolution.stride
    )
    n, _, positions = columns.shape
    return columns.reshape(n, convolution.groups, -1, positions).transpose(2, 3)


def patch_agop(model: nn.Module, name: str, images: torch.Tensor) -> torch.Tensor:
    """Mean over the images of the sum over positions and outputs, and over all uses of the layer; `(groups, d, d)`."""
    convolution = model.get_submodule(name)
    seen = []
    handle = convolution.register_forward_hook(lambda _module, inputs, _output: seen.append(inputs[0].detach().clone()))
    model(images)
    handle.remove()
    total = 0
    for use in range(len(seen)):
        for image in range(len(images)):
            total = total + _one(model, convolution, images[image : image + 1], use)
    return total / len(images)


def _one(model: nn.Module, convolution: nn.Conv2d, image: torch.Tensor, use: int) -> torch.Tensor:
    filters = convolution.weight.detach().reshape(convolution.groups, -1, convolution.weight[0].numel())
    patches_there, shape = [], []

    def look(_module: nn.Module, inputs: tuple, output: torch.Tensor) -> None:
        patches_there.append(unfolded(convolution, inputs[0].detach()))
        shape.append(output.shape)

    handle = convolution.register_forward_hook(look)
    model(image)
    handle.remove()

    def outputs(patches: torch.Tensor) -> torch.Tensor:
        calls = []

        def replace(_module: nn.Module, _inputs: tuple, output: torch.Tensor) -> torch.Tensor:
            calls.append(None)
            if len(calls) - 1 != use:
                return output
            maps = torch.einsum("ngpd,gkd->ngkp", patches, filters).reshape(shape[use])
            return maps if convolution.bias is None else maps + convolution.bias.detach()[:, None, None]

        handle = convolution.register_forward_hook(replace)
        try:
            return model(image)[0]
        finally:
            handle.remove()

    gradients = jacrev(outputs)(patches_there[use])[:, 0].detach()  # (classes, groups, positions, d)
    return torch.einsum("ogpd,ogpe->gde", gradients, gradients)


def called_agop(model: nn.Module, name: str, images: torch.Tensor) -> torch.Tensor:
    """As `patch_agop`, with the inputs, padding and filters that a module passes to `torch.nn.functional.conv2d`."""
    layer, total = model.get_submodule(name), 0
    for image in images.split(1):
        uses = []
        with _replaced(layer, lambda patches, uses=uses: uses.append(patches) or patches):
            model(image)
        for use in range(len(uses)):
            total = total + _gradients_at(model, layer, image, use)
    return total / len(images)


def _gradients_at(model: nn.Module, layer: nn.Module, image: torch.Tensor, use: int) -> torch.Tensor:
    seen = []

    def leaf(patches: torch.Tensor) -> torch.Tensor:
        seen.append(patches.detach().requires_grad_(len(seen) == use))
        return seen[-1]

    with _replaced(layer, leaf):
        outputs = model(image)[0]
    gradients = torch.stack([torch.autograd.grad(output, seen[use], retain_graph=True)[0] for output in outputs])
    return torch.einsum("ongpd,ongpe->gde", gradients, gradients)


@contextmanager
def _replaced(layer: nn.Module, variable: Callable[[torch.Tensor], torch.Tensor]) -> Iterator[None]:
    """Let the conv2d inside a module be a product of filters and patches `(n, groups, positions, d)`, which `variable` may exchange."""
    inside = []

    def conv2d(maps, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
        if not inside:
            return torch.conv2d(maps, weight, bias, stride, padding, dilation, groups)
        stride, dilation = _pair(stride), _pair(dilation)
        if padding == "same":
            spans = [step * (side - 1) for step, side in zip(dilation, weight.shape[2:], strict=True)]
            border = [part for span in spans[::-1] for part in (span // 2, span - span // 2)]
        else:
            rows, columns = (0, 0) if padding == "valid" else _pair(padding)
            border = [columns, columns, rows, rows]
        maps = nn.functional.pad(maps, border)
        sides = [
            (side - step * (width - 1) - 1) // jump + 1
            for side, step, width, jump in zip(maps.shape[2:], dilation, weight.shape[2:], stride, strict=True)
        ]
        columns = nn.functional.unfold(maps, weight.shape[2:], dilation=dilation, stride=stride)
        patches = variable(columns.reshape(len(maps), groups, -1, columns.shape[2]).transpose(2, 3))
        filters = weight.detach().reshape(groups, len(weight) // groups, -1)
        found = torch.einsum("ngpd,gkd->ngkp", patches, filters).reshape(len(maps), len(weight), *sides)
        return found if bias is None else found + bias.detach()[:, None, None]

    handles = (
        layer.register_forward_pre_hook(lambda *_: inside.append(None)),
        layer.register_forward_hook(lambda *_: inside.clear()),
    )
    try:
        with mock.patch("torch.nn.functional.conv2d", conv2d):
            yield
    finally:
        for handle in handles:
            handle.remove()


def _pair(value: int | tuple[int, ...]) -> tuple[int, ...]:
    return (value, value) if isinstance(value, int) else tuple(value) * (2 // len(value))
