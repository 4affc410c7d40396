"""Networks by name: fresh or with given weights, and which of their convolutions the paper measures.

They are those of torchvision, whole or narrow, and the residual networks for CIFAR-10 of He et al. 2016 (arXiv 1512.03385,
Section 4.2).
"""

import copy
import re
from collections.abc import Mapping
from contextlib import nullcontext

import torch
from torch import nn
from torch.nn import functional

from convrfm.datasets.registry import CIFAR_WEIGHTS, WEIGHTS
from convrfm.errors import ImageSizeError, InputError
from convrfm.system.machine import require

__all__ = ["CIFAR_NETWORKS", "NETWORKS", "CifarResNet", "fresh", "in_paper", "narrowed", "with_weights"]

NETWORKS = tuple(dict.fromkeys(entry.network for entry in WEIGHTS))
"""torchvision's names of the networks of Figures 1 and 7 of arXiv 2309.00570: those whose weights can be fetched."""

CIFAR_NETWORKS = tuple(entry.network for entry in CIFAR_WEIGHTS)
"""Beyond the paper's list: `CifarResNet` by depth, such as "resnet20"."""

WIDTHS = (16, 32, 64)
"""Filters in the three stages of a `CifarResNet`, whose maps have the sides of the images, halves and quarters of them."""

SMALLEST_SIDE = 4
"""Pixels that both halvings leave one of."""

FIRST_OF_BLOCK = re.compile(r"layer\d+\.\d+\.conv1")


def in_paper(network: str, layer: str) -> bool:
    """Whether the paper measures a convolution: all of AlexNet and VGG, the first of each block of a ResNet.

    The code of the paper re-expresses one path through a residual block, that of its `conv1`; in a bottleneck block this
    is a convolution of 1x1 patches. For the residual networks for CIFAR-10, which the paper does not have, the layers are
    chosen in the same way.

    Args:
        network: a name in `NETWORKS` or `CIFAR_NETWORKS`.
        layer: name of the convolution in the network, such as "layer1.0.conv1".
    """
    return not network.startswith("resnet") or FIRST_OF_BLOCK.fullmatch(layer) is not None


def fresh(network: str, *, generator: torch.Generator, classes: int = 1000, divisor: int = 1) -> nn.Module:
    """Build a network with a fresh initialisation, of torchvision's networks in torchvision's manner.

    Args:
        network: a name in `NETWORKS` or `CIFAR_NETWORKS`.
        generator: seeds the initialisation; the global generator is left alone.
        classes: number of outputs.
        divisor: see `narrowed`; only for torchvision's networks.

    Raises:
        InputError: an unknown name, or a divisor that does not divide a number of channels.
        MissingExtraError: torchvision is not installed.
    """
    if network in CIFAR_NETWORKS:
        return _cifar_resnet(network, classes, divisor, generator)
    seed = int(torch.randint(2**62, (), generator=generator))
    # torchvision draws from the global generator of the CPU, whose state is put back.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return _of_torchvision(network, classes, divisor)


def with_weights(network: str, weights: Mapping[str, torch.Tensor], *, classes: int = 1000, divisor: int = 1) -> nn.Module:
    """Build a network with given weights, in eval mode.

    Args:
        network: a name in `NETWORKS` or `CIFAR_NETWORKS`.
        weights: a state dictionary. Counters of batch normalisation, which nothing computes with, may be missing, as in
            files from before PyTorch 0.4.1; they are set to zero.
        classes: number of outputs.
        divisor: see `narrowed`; only for torchvision's networks.

    Raises:
        InputError: an unknown name, or weights of other names or shapes.
    """
    with torch.device("meta"):
        cifar = network in CIFAR_NETWORKS
        model = _cifar_resnet(network, classes, divisor, None) if cifar else _of_torchvision(network, classes, divisor)
    expected = model.state_dict()
    counters = {name: torch.zeros((), dtype=torch.long) for name in expected if name.endswith("num_batches_tracked")}
    given = {**weights, **counters}
    wrong = sorted(
        name for name in {*expected, *given}
        if name not in expected or name not in given or given[name].shape != expected[name].shape
    )  # fmt: skip
    if wrong:
        msg = f"These are not the weights of {network}, divisor {divisor}: {wrong[0]} is missing, unknown or of another shape."
        raise InputError(msg)
    model.load_state_dict(given, assign=True)
    return model.eval()


def _cifar_resnet(network: str, classes: int, divisor: int, generator: torch.Generator | None) -> nn.Module:
    if divisor != 1:
        msg = f"{network} has no narrow form, but the divisor is {divisor}: use 1, or a network of torchvision."
        raise InputError(msg)
    return CifarResNet(int(network.removeprefix("resnet")), classes, generator=generator)


def _of_torchvision(network: str, classes: int, divisor: int) -> nn.Module:
    require("workflow", "torchvision", what="A network of torchvision")
    from torchvision.models import get_model

    if network not in NETWORKS:
        msg = f"The network must be one of {', '.join((*NETWORKS, *CIFAR_NETWORKS))}, but it is {network!r}."
        raise InputError(msg)
    # A network that is narrowed gives its architecture alone.
    with torch.device("meta") if divisor != 1 else nullcontext():
        model: nn.Module = get_model(network, weights=None, num_classes=classes)
    return model if divisor == 1 else narrowed(model, divisor)


def narrowed(model: nn.Module, divisor: int) -> nn.Module:
    """Give a network of the same architecture and layer names with all widths divided, freshly initialised.

    Channels, and the hidden units of linear layers, are divided; the channels of the images and the outputs stay. The
    initialisation is torchvision's: He's for the convolutions of VGG and ResNet, PyTorch's default for AlexNet and for
    the linear layer of ResNet, and for the linear layers of VGG a normal distribution of standard deviation
    0.01 sqrt(divisor), with which the signal keeps the scale that it has at full width. Random numbers come from the
    global generator, and the network lies on the default device.

    Args:
        model: AlexNet, a VGG or a ResNet of torchvision; it may be on the meta device.
        divisor: of the widths.

    Raises:
        InputError: the divisor does not divide a number of channels or units.
    """
    from torchvision.models import VGG, ResNet

    small = copy.deepcopy(model)
    convolutions = [name for name, module in model.named_modules() if isinstance(module, nn.Conv2d)]
    linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    for name, module in model.named_modules():
        replacement = _narrow(module, divisor, first=name == convolutions[0], last=name == linear[-1])
        if replacement is not None:
            parent, _, child = name.rpartition(".")
            setattr(small.get_submodule(parent), child, replacement)
    for module in small.modules():
        if isinstance(module, nn.Conv2d) and isinstance(model, VGG | ResNet):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if isinstance(module, nn.Linear) and isinstance(model, VGG):
            nn.init.normal_(module.weight, 0, 0.01 * divisor**0.5)
        if isinstance(module, nn.Conv2d | nn.Linear) and isinstance(model, VGG) and module.bias is not None:
            nn.init.zeros_(module.bias)
    return small


def _narrow(module: nn.Module, divisor: int, *, first: bool, last: bool) -> nn.Module | None:
    """The narrow form of a layer; None for layers without width."""

    def divided(width: int) -> int:
        if divisor < 1 or width % divisor:
            msg = f"A width of {width} cannot be divided by {divisor}: use a divisor such as 2, 4 or 8."
            raise InputError(msg)
        return width // divisor

    if isinstance(module, nn.Conv2d):
        return nn.Conv2d(
            module.in_channels if first else divided(module.in_channels),
            divided(module.out_channels),
            module.kernel_size,  # type: ignore[arg-type]
            module.stride,  # type: ignore[arg-type]
            module.padding,  # type: ignore[arg-type]
            bias=module.bias is not None,
        )
    if isinstance(module, nn.BatchNorm2d):
        return nn.BatchNorm2d(divided(module.num_features), module.eps, module.momentum)
    if isinstance(module, nn.Linear):
        units = module.out_features if last else divided(module.out_features)
        return nn.Linear(divided(module.in_features), units)
    return None


class CifarResNet(nn.Module):
    """A convolution, three stages of n residual blocks, the mean over all positions, and a linear layer: 6n+2 layers.

    All convolutions are 3x3 without biases, each followed by batch normalisation. The first block of the second and third
    stages has stride 2. Shortcuts have no weights ("option A" of the paper): where a block halves the maps and doubles the
    channels, its shortcut keeps every second pixel, and zeros fill the other channels, half of them before the kept ones
    and half behind, which the paper leaves open and the published weights settle.

    Modules are named as in `akamaster/pytorch_resnet_cifar10`, whose weights it takes. Filters and the linear layer start
    as in He et al. 2015 (arXiv 1502.01852), normal with variance 2 / fan-in, and biases at zero.

    Args:
        depth: 6n+2 with n of at least 1, such as 20, 32, 44 or 56.
        classes: number of outputs.
        generator: seeds the initialisation; the global generator is left alone. None, for a network that gets its weights
            from elsewhere, leaves them uninitialised.

    Raises:
        InputError: a depth of another form, or no class.
    """

    def __init__(self, depth: int, classes: int = 10, *, generator: torch.Generator | None) -> None:
        super().__init__()
        if depth < 8 or depth % 6 != 2 or classes < 1:
            msg = f"depth must be 6n+2, such as 20, 32, 44 or 56, and classes at least 1, but they are {depth} and {classes}."
            raise InputError(msg)
        self.conv1 = _convolution(3, WIDTHS[0])
        self.bn1 = nn.BatchNorm2d(WIDTHS[0])
        self.layer1, self.layer2, self.layer3 = (
            _stage(before, width, depth // 6) for before, width in zip((WIDTHS[0], *WIDTHS), WIDTHS, strict=False)
        )
        self.linear = nn.utils.skip_init(nn.Linear, WIDTHS[-1], classes)
        if generator is not None:
            for module in self.modules():
                if isinstance(module, nn.Conv2d | nn.Linear):
                    nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=generator)
            nn.init.zeros_(self.linear.bias)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Outputs `(n, classes)` for images `(n, 3, height, width)`, floating.

        Raises:
            ImageSizeError: a side below 4 pixels.
        """
        height, width = images.shape[2:]
        if min(height, width) < SMALLEST_SIDE:
            msg = (
                f"Images of {height}x{width} pixels are too small: the network halves them twice. Give at least "
                f"{SMALLEST_SIDE} pixels each way."
            )
            raise ImageSizeError(msg)
        features = functional.relu(self.bn1(self.conv1(images)))
        features = self.layer3(self.layer2(self.layer1(features)))
        outputs: torch.Tensor = self.linear(features.mean(dim=(2, 3)))
        return outputs


def _convolution(channels: int, filters: int, stride: int = 1) -> nn.Conv2d:
    # Memory for the weights alone: PyTorch's own initialisation would draw from the global generator.
    found: nn.Conv2d = nn.utils.skip_init(nn.Conv2d, channels, filters, 3, stride=stride, padding=1, bias=False)
    return found


def _stage(channels: int, filters: int, blocks: int) -> nn.Sequential:
    first = _Block(channels, filters, stride=1 if channels == filters else 2)
    return nn.Sequential(first, *(_Block(filters, filters) for _ in range(blocks - 1)))


class _Block(nn.Module):
    """Two convolutions beside a shortcut: `(n, channels, h, w)` to `(n, filters, ceil(h / stride), ceil(w / stride))`."""

    def __init__(self, channels: int, filters: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = _convolution(channels, filters, stride)
        self.bn1 = nn.BatchNorm2d(filters)
        self.conv2 = _convolution(filters, filters)
        self.bn2 = nn.BatchNorm2d(filters)
        self.stride, self.added = stride, filters - channels

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        before = self.added // 2
        kept = features[:, :, :: self.stride, :: self.stride]
        shortcut = functional.pad(kept, (0, 0, 0, 0, before, self.added - before))
        features = functional.relu(self.bn1(self.conv1(features)))
        return functional.relu(self.bn2(self.conv2(features)) + shortcut)
