"""The residual networks for CIFAR-10 of He et al. 2016 (arXiv 1512.03385, Section 4.2): 20, 32, 44 or 56 layers."""

import torch
from torch import nn
from torch.nn import functional

from convrfm.errors import ImageSizeError, InputError

__all__ = ["CifarResNet"]

WIDTHS = (16, 32, 64)
"""Filters in the three stages, whose maps have the sides of the images, half of them, and a quarter of them."""

SMALLEST_SIDE = 4
"""Pixels that both halvings leave one of."""


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
