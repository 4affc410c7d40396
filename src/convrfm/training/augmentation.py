"""Random crops and flips of training images."""

import numpy as np
import torch

__all__ = ["MARGIN", "CropFlip"]

MARGIN = 4
"""Pixels by which a crop may lie outside the image on each side."""


class CropFlip:
    """Crops at random from images with a border of `MARGIN` pixels, and flips left to right with probability 1/2.

    The draws of an epoch are made at once, by image: the order and the size of the batches do not change them.

    Args:
        count: number of images.
        border: value of each channel outside the images `(c,)`.
        rng: makes the draws of one epoch.
    """

    def __init__(self, count: int, border: torch.Tensor, rng: np.random.Generator) -> None:
        self.border = border
        self.shifts = torch.from_numpy(rng.integers(-MARGIN, MARGIN + 1, (count, 2))).to(border.device)
        self.flips = torch.from_numpy(rng.integers(0, 2, count).astype(bool)).to(border.device)

    def __call__(self, images: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
        """Give the images `(b, c, h, w)` of the indices `(b,)`, moved and flipped."""
        height, width = images.shape[2:]
        shifts, flips = self.shifts[indices], self.flips[indices]
        down = torch.arange(height, device=images.device)
        along = torch.arange(width, device=images.device)
        rows = down + shifts[:, :1]  # (b, h): which row of the image each row of the crop is
        columns = torch.where(flips[:, None], along.flip(0), along) + shifts[:, 1:]  # (b, w)
        inside = _within(rows, height)[:, None, :, None] & _within(columns, width)[:, None, None, :]
        batch = torch.arange(len(images), device=images.device)[:, None, None]
        # Indices on both sides of the channel axis put it last: (b, h, w, c).
        moved = images[batch, :, rows.clamp(0, height - 1)[:, :, None], columns.clamp(0, width - 1)[:, None, :]]
        return torch.where(inside, moved.movedim(3, 1), self.border[:, None, None])


def _within(positions: torch.Tensor, length: int) -> torch.Tensor:
    return (positions >= 0) & (positions < length)
