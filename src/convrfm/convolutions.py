"""Which networks, and which of their convolutions, the ansatz can be measured on."""

from collections.abc import Sequence

import torch
from torch import nn

from convrfm.errors import InputError

__all__ = ["check_measurable", "find_convolutions"]


def check_measurable(model: nn.Module) -> None:
    """Check that each image has gradients of its own.

    Raises:
        InputError: a scripted network, one in train mode, or one whose batch norm mixes the images.
    """
    if isinstance(model, torch.jit.ScriptModule):
        msg = (
            "A scripted network cannot be measured: its convolutions are no modules any more. Give the network itself."
        )
        raise InputError(msg)
    for name, module in model.named_modules():
        if module.training:
            where = f"its module {name!r}" if name else "it"
            msg = f"The network must be in eval mode, but {where} is in train mode: call eval() first."
            raise InputError(msg)
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is None:
            msg = (
                f"The batch norm {name!r} has no running statistics, so that the output of one image depends on the others "
                "of its batch: per-image gradients are not defined. Use track_running_stats=True."
            )
            raise InputError(msg)


def find_convolutions(model: nn.Module, wanted: Sequence[str] | None = None) -> dict[str, nn.Conv2d]:
    """Give the `torch.nn.Conv2d` of a network by name, in the order of its modules.

    Args:
        model: the network.
        wanted: names; None asks for all.

    Raises:
        InputError: an unknown name, no convolution at all, or filters that are lazy or not real.
    """
    found = {name: module for name, module in model.named_modules() if isinstance(module, nn.Conv2d)}
    if wanted is not None:
        unknown = [name for name in wanted if name not in found]
        if unknown:
            msg = f"There is no convolution {unknown[0]!r}; the names are {', '.join(found)}."
            raise InputError(msg)
        found = {name: module for name, module in found.items() if name in wanted}
    if not found:
        msg = "There is no convolution to measure: the network has no module of type torch.nn.Conv2d, or `layers` is empty."
        raise InputError(msg)
    for name, module in found.items():
        if not module.weight.is_floating_point() or isinstance(module, nn.LazyConv2d):
            msg = (
                f"The convolution {name!r} must have real filters of a known size: run the network once if it is lazy."
            )
            raise InputError(msg)
    return found
