"""The patch-AGOP by its definition: Jacobians of the outputs with respect to unfolded patches, one layer at a time."""

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
