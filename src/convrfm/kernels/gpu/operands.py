"""Batches on the device, in the form that `convrfm.kernels.gpu.first_layer` reads: tensors, made by PyTorch."""

from typing import NamedTuple

import numpy as np
import torch

from convrfm.kernels.batches import Batch
from convrfm.kernels.gpu.hardware import full_precision, upload
from convrfm.kernels.gpu.plan import COLUMNS, COVARIANCES, PATCHES, PIXELS, ROWS
from convrfm.kernels.specs import LaplaceSpec, Spec

__all__ = ["FUSED_RANK", "Operands", "in_blocks", "kind_of", "operands", "patches_of", "variances", "whole_blocks"]

FUSED_RANK = 8
"""Numbers in a patch up to which covariances are computed within the sweep. Beyond, a matrix product for each position is
cheaper, although its result goes through memory: the sweep loads two numbers for each product. An estimate."""


class Operands(NamedTuple):
    """What a kernel reads first; see `convrfm.kernels.gpu.first_layer`."""

    kind: int
    rows: torch.Tensor
    columns: torch.Tensor


def whole_blocks(count: int) -> int:
    """Columns, rounded up to whole blocks."""
    return -(-count // COLUMNS) * COLUMNS


def kind_of(batch: Batch, spec: Spec) -> int:
    """Whether pixels, patches or covariances are read."""
    if batch.root is None:
        return PIXELS
    return PATCHES if isinstance(spec, LaplaceSpec) or batch.rank <= FUSED_RANK else COVARIANCES


def in_blocks(numbers: torch.Tensor, lanes: int) -> torch.Tensor:
    """Bring `(n, k)` into blocks of images `(blocks, k, lanes)`; the images that the last block lacks are zero."""
    missing = -len(numbers) % lanes
    padded = torch.nn.functional.pad(numbers, (0, 0, 0, missing))
    return padded.reshape(-1, lanes, numbers.shape[1]).transpose(1, 2).contiguous()


def patches_of(batch: Batch, images: torch.Tensor, first: int, last: int) -> torch.Tensor:
    """R x_u for the rows first ... last - 1 of positions `(n, positions, rank)`, from the batch's images on the device."""
    width = batch.shape[2]
    starts = np.arange(first, last)[:, None] * width + np.arange(batch.positions[1])
    places = torch.from_numpy(starts.reshape(-1, 1) + batch.places).to(images.device)
    raw = images.reshape(len(images), -1)[:, places]
    if batch.root is None:
        return raw
    with full_precision:
        return raw @ torch.from_numpy(batch.root.T).to(images.device)


def variances(batch: Batch) -> np.ndarray:
    """s_x of the first layer under a metric, `(n, P, Q)`."""
    patches = patches_of(batch, upload(batch.images), 0, batch.positions[0])
    squares = torch.einsum("npk,npk->np", patches, patches) / batch.shape[0]
    return squares.reshape(len(batch), *batch.positions).cpu().numpy()


def operands(left: Batch, right: Batch, spec: Spec) -> Operands:
    """Pixels, patches or covariances of a tile; the rows of an arc-cosine kernel carry the factor 1 / channels."""
    kind, scale = kind_of(left, spec), 1 if isinstance(spec, LaplaceSpec) else left.shape[0]
    of_left, of_right = upload(left.images), upload(right.images)
    if kind != PIXELS:
        of_left, of_right = (
            patches_of(side, images, 0, side.positions[0]) for side, images in ((left, of_left), (right, of_right))
        )
    if kind != COVARIANCES:
        return Operands(
            kind, in_blocks(of_left.reshape(len(left), -1) / scale, ROWS), in_blocks(of_right.reshape(len(right), -1), COLUMNS)
        )  # fmt: skip
    padded = torch.nn.functional.pad(of_right, (0, 0, 0, 0, 0, whole_blocks(len(right)) - len(right)))
    with full_precision:
        s = torch.matmul((of_left / scale).transpose(0, 1), padded.permute(1, 2, 0))
    return Operands(kind, s, s[:1, :1, :1])
