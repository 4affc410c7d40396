"""SimpleNet, the network of thirteen convolutions that Figure 8 trains."""

import torch
from torch import nn

from convrfm.errors import ImageSizeError, InputError

__all__ = ["SimpleNet"]

# Filters of each convolution; "pool" halves the sides of the maps. Layers 11 and 12 look at single pixels.
LAYERS = (64, 128, 128, 128, "pool", 128, 128, 256, "pool", 256, 256, "pool", 512, "extra pool", 2048, 256, "pool", 256)
SINGLE_PIXEL = (10, 11)


class SimpleNet(nn.Module):
    """Thirteen times (conv 3x3 or 1x1, batch norm, ReLU), four or five max poolings, global maximum, linear layer.

    The network of Hasanpour et al. (arXiv 1608.06037) in its authors' PyTorch version: every pooling is followed by a
    dropout of whole maps and the global maximum by a dropout of features, with probability 0.1; batch norm has momentum
    0.05. From 2018 to 2021 that code had a fifth pooling, after the tenth convolution. The authors of arXiv 2309.00570
    imported it in this form, so it is the default: on images of 32 pixels the last convolution then sees a single
    pixel, and eight of its nine taps see zeros only.

    Weights of the convolutions are normal with a small standard deviation, as Section 2 of arXiv 2309.00570 has it (the
    number is lost); biases and the linear layer start as in PyTorch, uniform in +-1/sqrt(fan in).

    Args:
        channels: of the images.
        outputs: number of outputs.
        extra_pool: whether there is the fifth pooling.
        init_std: standard deviation of the weights of the convolutions.
        width_divisor: divides the number of filters of each layer; above 1 it is a narrow stand-in.
        dropout: probability of each dropout.
        generator: seeds the initialisation; the global generator is left alone.

    Raises:
        InputError: a size or probability out of range.
    """

    def __init__(
        self, channels: int, outputs: int, *, extra_pool: bool = True, init_std: float = 1e-2, width_divisor: int = 1,
        dropout: float = 0.1, generator: torch.Generator,
    ) -> None:  # fmt: skip
        super().__init__()
        if min(channels, outputs, width_divisor) < 1 or width_divisor > 64 or init_std <= 0 or not 0 <= dropout < 1:
            msg = (
                "channels and outputs must be at least 1, width_divisor from 1 to 64, init_std positive and dropout from 0 to "
                f"below 1, but they are {channels}, {outputs}, {width_divisor}, {init_std} and {dropout}."
            )
            raise InputError(msg)
        self.features = nn.Sequential()
        index = 0
        for layer in LAYERS:
            if isinstance(layer, int):
                width = layer // width_divisor
                self.features.extend(_convolution(channels, width, 1 if index in SINGLE_PIXEL else 3))
                channels, index = width, index + 1
            elif layer == "pool" or extra_pool:
                self.features.extend([nn.MaxPool2d(2), nn.Dropout2d(dropout)])
        self.dropout = nn.Dropout(dropout)
        self.readout = nn.utils.skip_init(nn.Linear, channels, outputs)
        self.smallest_side = 2 ** sum(isinstance(module, nn.MaxPool2d) for module in self.features)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
                bound = module.weight[0].numel() ** -0.5
                if isinstance(module, nn.Conv2d):
                    nn.init.normal_(module.weight, std=init_std, generator=generator)
                else:
                    nn.init.uniform_(module.weight, -bound, bound, generator=generator)
                nn.init.uniform_(module.bias, -bound, bound, generator=generator)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Outputs `(n, outputs)` for images `(n, channels, height, width)`.

        Raises:
            ImageSizeError: images that the poolings leave nothing of.
        """
        height, width = images.shape[2:]
        if min(height, width) < self.smallest_side:
            msg = (
                f"Images of {height}x{width} pixels are too small for the poolings of SimpleNet: they must have at least "
                f"{self.smallest_side} pixels each way. Give a larger size, or leave the extra pooling out."
            )
            raise ImageSizeError(msg)
        # The maximum over all positions; unlike adaptive pooling, its gradient is reproducible on GPUs.
        features = self.features(images).amax(dim=(2, 3))
        outputs: torch.Tensor = self.readout(self.dropout(features))
        return outputs


def _convolution(channels: int, filters: int, side: int) -> list[nn.Module]:
    # Memory for the weights alone: PyTorch's own initialisation would draw from the global generator.
    convolution = nn.utils.skip_init(nn.Conv2d, channels, filters, side, padding=side // 2)
    return [convolution, nn.BatchNorm2d(filters, momentum=0.05), nn.ReLU()]
