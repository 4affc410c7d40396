"""The three shallow networks of Figure 9, which differ in their pooling."""

from typing import Literal, get_args

import torch
from torch import nn
from torch.nn.utils import skip_init

from convrfm.errors import ImageSizeError, InputError

__all__ = ["ARCHITECTURES", "Architecture", "ShallowCNN"]

Architecture = Literal["vanilla", "Myrtle5", "MyrtleMax"]

ARCHITECTURES: tuple[Architecture, ...] = get_args(Architecture)
"""No pooling, average pooling, maximum pooling; the names are those of the authors' code."""

DEPTH = 4
POOLED = (2, 3)
"""After which convolutions, counted from 1, maps are halved; after the last one they are pooled to a point."""


class ShallowCNN(nn.Module):
    """Four times (conv q x q, stride 1, zero padding that keeps the size, no bias; ReLU) and a linear layer without bias.

    "Myrtle5" averages over 2x2 pixels after the second and the third convolution, and over all pixels at the end;
    "MyrtleMax" takes maxima in the same places; "vanilla" has no pooling, and its linear layer sees all pixels. Weights are
    drawn from normal distributions (section 2.1 and Appendix B of arXiv 2309.00570). The authors' code gives all layers of
    "vanilla" the deviation of the first one, which the text does not say: `later_std=5e-3` is that.

    Args:
        architecture: one of `ARCHITECTURES`.
        image_shape: `(channels, height, width)`.
        outputs: number of outputs.
        width: filters of each convolution.
        patch_size: q, odd.
        first_std: standard deviation of the weights of the first convolution.
        later_std: that of all other weights.
        generator: seeds the initialisation; the global generator is left alone.

    Raises:
        InputError: an unknown architecture, or a size out of range.
        ImageSizeError: images too small for the pooling.
    """

    def __init__(
        self, architecture: Architecture, image_shape: tuple[int, int, int], outputs: int, *, width: int = 64,
        patch_size: int = 3, first_std: float = 5e-3, later_std: float = 1e-2, generator: torch.Generator,
    ) -> None:  # fmt: skip
        super().__init__()
        channels, height, columns = image_shape
        _check(architecture, height, columns, patch_size)
        layers: list[nn.Module] = []
        for layer in range(1, DEPTH + 1):
            channels_in = channels if layer == 1 else width
            # PyTorch's own initialisation, which is skipped, would draw from the global generator.
            layers.append(skip_init(nn.Conv2d, channels_in, width, patch_size, padding=patch_size // 2, bias=False))
            layers.append(nn.ReLU())
            if layer in POOLED and architecture != "vanilla":
                layers.append(nn.AvgPool2d(2) if architecture == "Myrtle5" else nn.MaxPool2d(2))
        self.architecture = architecture
        self.features = nn.Sequential(*layers)
        pixels = height * columns if architecture == "vanilla" else 1
        self.readout = skip_init(nn.Linear, width * pixels, outputs, bias=False)
        for index, weight in enumerate(self.parameters()):
            nn.init.normal_(weight, std=first_std if index == 0 else later_std, generator=generator)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Outputs `(n, outputs)` for images `(n, channels, height, width)`."""
        maps = self.features(images)
        if self.architecture == "Myrtle5":
            points = maps.mean(dim=(2, 3))
        elif self.architecture == "MyrtleMax":
            # As AdaptiveMaxPool2d, whose gradient on GPUs is not reproducible: of equal pixels, one gets all of it.
            points = maps.flatten(2).max(dim=2).values
        else:
            points = maps.flatten(1)
        outputs: torch.Tensor = self.readout(points)
        return outputs


def _check(architecture: str, height: int, width: int, patch_size: int) -> None:
    if architecture not in ARCHITECTURES:
        msg = f"The architecture must be one of {', '.join(ARCHITECTURES)}, but it is {architecture!r}."
        raise InputError(msg)
    if patch_size < 1 or patch_size % 2 == 0:
        msg = f"patch_size must be odd, not {patch_size}: zero padding then keeps the size of an image."
        raise InputError(msg)
    least = 1 if architecture == "vanilla" else 2 ** len(POOLED)
    if min(height, width) < least:
        msg = f"Images of {height}x{width} pixels are too small for {architecture}, which needs {least}x{least} pixels."
        raise ImageSizeError(msg)
