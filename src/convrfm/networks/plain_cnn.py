"""The convolutional network that Figures 3 to 6 compare with: no padding, no bias, no pooling."""

import torch
from torch import nn
from torch.nn.utils import skip_init

from convrfm.numerics.patches import check_fits

__all__ = ["PlainCNN"]


class PlainCNN(nn.Module):
    """L times (conv q x q, stride 1, no padding, no bias; ReLU), flattened into a linear layer without bias.

    The finite-width counterpart of `convrfm.kernels.CNTK`, with PyTorch's default initialisation (section 2.5 and
    Appendix B of arXiv 2309.00570: L = 3, q = 3).

    Args:
        image_shape: `(channels, height, width)`.
        outputs: number of outputs.
        width: filters of each convolution.
        depth: L.
        patch_size: q.
        generator: seeds the initialisation; the global generator is left alone.

    Raises:
        InputError, ImageSizeError: sizes that do not fit.
    """

    def __init__(
        self, image_shape: tuple[int, int, int], outputs: int, *, width: int = 64, depth: int = 3,
        patch_size: int = 3, generator: torch.Generator,
    ) -> None:  # fmt: skip
        super().__init__()
        channels, height, columns = image_shape
        check_fits(height, columns, patch_size, depth)
        margin = depth * (patch_size - 1)
        self.convolutions = nn.ModuleList(
            skip_init(nn.Conv2d, channels if layer == 0 else width, width, patch_size, bias=False) for layer in range(depth)
        )
        self.readout = skip_init(nn.Linear, width * (height - margin) * (columns - margin), outputs, bias=False)
        for weight in self.parameters():
            # PyTorch's default for both kinds of layer, but not from the global generator: uniform in +-1/sqrt(fan in).
            bound = weight[0].numel() ** -0.5
            nn.init.uniform_(weight, -bound, bound, generator=generator)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Outputs `(n, outputs)` for images `(n, channels, height, width)`."""
        for convolution in self.convolutions:
            images = torch.relu(convolution(images))
        outputs: torch.Tensor = self.readout(images.flatten(1))
        return outputs
