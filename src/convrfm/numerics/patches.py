"""The patch order of the whole project, and the sums over windows that go with it.

A patch vector is ordered (channel, row, column), as in `torch.nn.Conv2d.weight.flatten(1)`: entry
`(ch * q + row) * q + column`. No other module knows this order. Windows are those of a convolution with
stride 1 and no padding: an image of height P has P - q + 1 of them along that axis.
"""

import numpy as np

from convrfm.errors import ImageSizeError, InputError

__all__ = ["box_sum", "box_sum_adjoint", "check_fits", "patch_dimension", "patch_places", "unfold", "windows"]


def patch_dimension(channels: int, patch_size: int) -> int:
    """Length d = channels q q of a patch vector."""
    return channels * patch_size * patch_size


def check_fits(height: int, width: int, patch_size: int, depth: int) -> None:
    """Check that `depth` unpadded convolutions leave at least one position.

    Raises:
        InputError: depth or patch size below one.
        ImageSizeError: the image is too small.
    """
    if depth < 1 or patch_size < 1:
        msg = f"depth and patch_size must be at least 1, but they are {depth} and {patch_size}."
        raise InputError(msg)
    least = depth * (patch_size - 1) + 1
    if min(height, width) < least:
        msg = (
            f"Images of {height}x{width} pixels are too small for {depth} convolution(s) with "
            f"{patch_size}x{patch_size} patches and no padding: at least {least}x{least} pixels are needed. "
            "Use a smaller depth or patch size."
        )
        raise ImageSizeError(msg)


def unfold(images: np.ndarray, patch_size: int) -> np.ndarray:
    """Copy all patches of images `(n, channels, height, width)`: `(n, height - q + 1, width - q + 1, d)`."""
    windows = np.lib.stride_tricks.sliding_window_view(images, (patch_size, patch_size), axis=(2, 3))
    # (n, channel, P, Q, row, column) -> (n, P, Q, channel, row, column)
    ordered = np.array(windows.transpose(0, 2, 3, 1, 4, 5), order="C")
    return ordered.reshape(*ordered.shape[:3], -1)


def windows(vectors: np.ndarray, patch_size: int) -> np.ndarray:
    """Give patch vectors their shape again: `(..., d)` -> `(..., channels, q, q)`.

    Raises:
        InputError: d is no multiple of q q.
    """
    dimension = vectors.shape[-1]
    if dimension == 0 or dimension % patch_size**2 != 0:
        msg = f"Patch vectors must have channels x {patch_size} x {patch_size} entries, but these have {dimension}."
        raise InputError(msg)
    return vectors.reshape(*vectors.shape[:-1], -1, patch_size, patch_size)


def patch_places(channels: int, height: int, width: int, patch_size: int) -> np.ndarray:
    """Offsets `(d,)` of a patch's numbers in a flat image, from the patch's first pixel in channel 0."""
    channel, row, column = np.ix_(np.arange(channels), np.arange(patch_size), np.arange(patch_size))
    return ((channel * height + row) * width + column).reshape(-1)


def box_sum(maps: np.ndarray, patch_size: int) -> np.ndarray:
    """Sum over every q x q window of the last two axes: `(..., P, Q)` -> `(..., P - q + 1, Q - q + 1)`."""
    height, width = maps.shape[-2] - patch_size + 1, maps.shape[-1] - patch_size + 1
    rows = maps[..., :height, :].copy()
    for i in range(1, patch_size):
        rows += maps[..., i : i + height, :]
    sums = rows[..., :width].copy()
    for j in range(1, patch_size):
        sums += rows[..., j : j + width]
    return sums


def box_sum_adjoint(maps: np.ndarray, patch_size: int) -> np.ndarray:
    """Transpose of `box_sum`: spread each entry over its window, `(..., P, Q)` -> `(..., P + q - 1, Q + q - 1)`."""
    margin = patch_size - 1
    no_padding = [(0, 0)] * (maps.ndim - 2)
    return box_sum(np.pad(maps, [*no_padding, (margin, margin), (margin, margin)]), patch_size)
