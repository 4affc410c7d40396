"""Sum of the patch-AGOP from the derivatives of kernel entries, by matrix products.

At position u of point z and for output o, the gradient is sum_i alpha_io a[z, i, u] R x_{i,u} + (sum_i alpha_io b[z, i, u])
R z_u up to constants: for each position one product of a[z, i] with alpha_io R x_{i,u}, whose columns are all o and all
numbers of the patch.
"""

from dataclasses import dataclass

import torch

from convrfm.kernels.batches import Batch
from convrfm.kernels.gpu.hardware import allocate, full_precision, upload
from convrfm.kernels.gpu.operands import patches_of

__all__ = ["Gradients"]


@dataclass(frozen=True)
class Gradients:
    """Gradients of all outputs at all positions of some points, summed over training images.

    Attributes:
        points: the points.
        images: theirs, on the device.
        values: `(P, Q, points, outputs, rank)`.
        memory: bytes for what is needed for a moment.
    """

    points: Batch
    images: torch.Tensor
    values: torch.Tensor
    memory: int

    @classmethod
    def zero(cls, points: Batch, outputs: int, memory: int) -> "Gradients":
        """Begin with no training images."""
        shape = (*points.positions, len(points), outputs, points.rank)
        return cls(points, upload(points.images), allocate(shape, points.images.dtype).zero_(), memory)

    def add(self, train: Batch, alpha: torch.Tensor, d_s: torch.Tensor, d_row: torch.Tensor, row_weight: float) -> None:
        """Add the share of some training images.

        Args:
            train: n images.
            alpha: their coefficients `(n, outputs)`.
            d_s: a, `(P, Q, points, n)`.
            d_row: b, the same shape.
            row_weight: factor of the second sum.
        """
        images, columns = upload(train.images), train.positions[1]
        for first, last in self._strips(len(train)):
            patches = self._by_position(train, images, first, last)
            factors = (patches[:, :, None] * alpha[:, :, None]).flatten(2)
            strip, positions = self.values[first:last], (last - first) * columns
            a, b = (map_[first:last].reshape(positions, len(self.points), len(train)) for map_ in (d_s, d_row))
            own = self._by_position(self.points, self.images, first, last)
            with full_precision:
                strip.view(positions, len(self.points), -1).baddbmm_(a, factors)
                of_row = (b @ alpha) * row_weight
            strip.view(positions, *self.values.shape[2:]).addcmul_(of_row[..., None], own[:, :, None])

    def outer_product(self) -> torch.Tensor:
        """Sum of g g^T over points, positions and outputs, `(rank, rank)` float64."""
        total = torch.zeros((self.points.rank,) * 2, dtype=torch.float64, device=self.values.device)
        for first, last in self._strips(len(self.points)):
            gradients = self.values[first:last].reshape(-1, self.points.rank).double()
            total += gradients.T @ gradients
        return total

    def _by_position(self, batch: Batch, images: torch.Tensor, first: int, last: int) -> torch.Tensor:
        return patches_of(batch, images, first, last).transpose(0, 1)

    def _strips(self, images: int) -> list[tuple[int, int]]:
        """Rows of positions in strips for which factors of so many images fit into the memory."""
        rows, columns, points, outputs, rank = self.values.shape
        # Patches, and their products with the coefficients; maps are copied where they are not contiguous.
        per_row = columns * ((images + points) * rank * (outputs + 2) + 2 * points * images) * 8
        step = max(1, self.memory // per_row)
        return [(first, min(first + step, rows)) for first in range(0, rows, step)]
