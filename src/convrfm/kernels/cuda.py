"""The CUDA backend (Numba and PyTorch): one thread for each pair of images, all layers in one sweep.

A batch is prepared as on the CPU, and stays in the memory of the host. A tile of a kernel matrix brings its images to the
device, where PyTorch arranges them, and one kernel (`convrfm.kernels.gpu`) computes its entries. What it needs of the first
layer is computed on the way from pixels or short patches; for long patches one matrix product for each position comes before.
Derivatives are computed likewise, and contracted by matrix products. The arithmetic is in the dtype of the images, without
TF32; sums over the gradients are in float64.

Where there are several devices, each takes tiles from one queue, see `convrfm.kernels.tiles`.
"""

import math
from typing import Any

import numpy as np
import torch

from convrfm.kernels.batches import Batch, chain, largest_side
from convrfm.kernels.coincidence import set_coincident
from convrfm.kernels.gpu import arccosine, laplace
from convrfm.kernels.gpu.gradient import Gradients
from convrfm.kernels.gpu.hardware import OUT_OF_MEMORY, allocate, current, devices, launch, upload
from convrfm.kernels.gpu.operands import Operands, in_blocks, kind_of, operands, variances, whole_blocks
from convrfm.kernels.gpu.plan import COLUMNS, COVARIANCES, PIXELS, ROWS, THREADS, Plan, reverse_plan, sweep_plan
from convrfm.kernels.near_coincidence import set_nearly_coincident
from convrfm.kernels.specs import ArcCosineSpec, LaplaceSpec, Spec

__all__ = [
    "OUT_OF_MEMORY", "agop_side", "agop_sum", "default_memory", "devices", "gram_side", "gram_tile", "prepare",
]  # fmt: skip

LARGEST_SIDE = 8192
"""Images on a side of a tile, at most: a larger one gains nothing and delays progress."""

LARGEST_POINTS = 1024
"""Points of evaluation in a tile, at most."""

FREE_SHARE = 0.8
"""Of the device's free memory, that a tile may take; what libraries need stays free."""

SCRATCH_SHARE = 0.125
"""Of the device's free memory, for the numbers of threads where they do not fit into shared memory."""

BLOCKS = 16
"""Blocks on a multiprocessor, at most, whose threads keep their numbers in global memory."""


def default_memory() -> int:
    """Bytes of the device that may be taken where nothing else is asked for: a quarter of what is free."""
    return current().free // 4


def _usable(memory: int) -> int:
    return min(memory, int(current().free * FREE_SHARE))


def prepare(images: np.ndarray, metric: np.ndarray | None, spec: Spec, memory: int) -> Batch:
    """Bring images `(n, c, h, w)` under a metric into the form that tiles are computed from."""
    batch = Batch.bare(images, metric, spec.patch_size)
    if isinstance(spec, LaplaceSpec):
        return batch
    if batch.root is None:
        return batch.with_norms(batch.pixel_variance(), spec.depth)
    positions = math.prod(batch.positions)
    # Pixels' places, raw patches and patches.
    per_image = positions * (batch.rank + 2 * len(batch.places)) * images.itemsize
    step = max(1, _usable(memory) // per_image)
    parts = [variances(batch.take(slice(first, first + step))) for first in range(0, len(batch), step)]
    return batch.with_norms(np.concatenate(parts), spec.depth)


def _launch(kernel: Any, plan: Plan, left: Batch, right: Batch, given: Operands, *results: torch.Tensor | int) -> None:
    """Run a kernel for all pairs of a tile; `results` are the arguments that follow the scratch memory."""
    hardware = current()
    blocks = -(-len(left) // ROWS) * (whole_blocks(len(right)) // COLUMNS)
    if plan.shared:
        scratch = allocate((1,), plan.dtype)
    else:
        blocks = min(blocks, hardware.processors * BLOCKS, int(hardware.free * SCRATCH_SHARE) // plan.block_bytes)
        blocks = max(1, blocks)
        scratch = allocate((blocks * plan.numbers * THREADS,), plan.dtype)
    norms = []
    if isinstance(plan.spec, ArcCosineSpec):
        norms = [in_blocks(upload(side.norms), lanes) for side, lanes in ((left, ROWS), (right, COLUMNS))]
    launch(
        kernel, blocks, plan.block_bytes if plan.shared else 0,
        given.rows, given.columns, *norms, scratch, *results,
    )  # fmt: skip


def gram_tile(left: Batch, right: Batch | None, spec: Spec) -> np.ndarray:
    """Kernel matrix `(n, m)` in the dtype of the images; one triangle is computed when right is None."""
    other = left if right is None else right
    n, m, padded = len(left), len(other), whole_blocks(len(other))
    given = operands(left, other, spec)
    plan = sweep_plan(spec, left.shape, given.kind, left.rank, left.images.dtype, current().shared_memory)
    kernel = (laplace if isinstance(spec, LaplaceSpec) else arccosine).forward(plan)
    out = allocate((n, padded), plan.dtype)
    _launch(kernel, plan, left, other, given, out, n, m, padded, int(right is None))
    entries = out[:, :m]
    if right is None:
        upper = entries.triu()
        entries = upper + upper.triu(1).T
    gram = np.ascontiguousarray(entries.cpu().numpy())
    if isinstance(spec, ArcCosineSpec):
        set_nearly_coincident(gram, left, right, spec)
        set_coincident(gram, left.keys, other.keys, left.variance, spec)
    return gram


def _image_bytes(batch: Batch, spec: Spec) -> int:
    """Bytes of the device that an image takes: as it came, in blocks, and as patches with their places."""
    pixels, positions = math.prod(batch.shape), math.prod(batch.positions)
    numbers = 3 * pixels + 2 * batch.norms.shape[1]
    if kind_of(batch, spec) != PIXELS:
        numbers += positions * (len(batch.places) + 3 * batch.rank)
    return numbers * batch.images.itemsize


def _pair_bytes(batch: Batch, spec: Spec, numbers: int) -> int:
    """Bytes of the device that a pair takes with so many numbers, and s at all positions if it is computed before."""
    covariances = math.prod(batch.positions) if kind_of(batch, spec) == COVARIANCES else 0
    return (numbers + covariances) * batch.images.itemsize


def gram_side(prepared: Batch, spec: Spec, memory: int) -> int:
    """Images on a side of the tiles that fit into `memory` bytes, and into what the device has free."""
    # The entries, a triangle and its transpose, and the entries on the host.
    side = largest_side(2 * _image_bytes(prepared, spec), _pair_bytes(prepared, spec, 4), _usable(memory))
    return max(1, min(LARGEST_SIDE, side) // COLUMNS) * COLUMNS


def _pairs(batch: Batch, spec: Spec, memory: int) -> int:
    """Pairs whose derivatives fit into a quarter of the memory; at least 1."""
    positions = math.prod(batch.positions)
    maps = positions * (1 if isinstance(spec, LaplaceSpec) else 2)
    return max(1, _usable(memory) // 4 // _pair_bytes(batch, spec, maps))


def agop_side(train: Batch, outputs: int, spec: Spec, memory: int) -> int:
    """Points of evaluation whose gradients fit into a quarter of the memory, with as many training images at a time."""
    gradient = math.prod(train.positions) * outputs * train.rank * train.images.itemsize
    per_point = gradient + _image_bytes(train, spec)
    return max(1, min(LARGEST_POINTS, _usable(memory) // 4 // per_point, math.isqrt(_pairs(train, spec, memory))))


def agop_sum(train: Batch, points: Batch, alpha: np.ndarray, spec: Spec, memory: int) -> np.ndarray:
    """Sum over the points of the patch-AGOP `(d, d)`, float64; one reverse sweep for each pair serves all outputs."""
    gradients = Gradients.zero(points, alpha.shape[1], _usable(memory) // 4)
    together = max(1, _pairs(train, spec, memory) // len(points) // COLUMNS) * COLUMNS
    for first in range(0, len(train), together):
        part = slice(first, first + together)
        some = train.take(part)
        d_s, d_row = _derivatives(points, some, spec)
        gradients.add(some, upload(alpha[part]), d_s, d_row, -1 if isinstance(spec, LaplaceSpec) else 2)
    scale = 1 if isinstance(spec, LaplaceSpec) else 1 / train.shape[0] ** 2
    total = gradients.outer_product().cpu().numpy() * scale
    return total if train.root is None else chain(train.root, total)


def _derivatives(points: Batch, train: Batch, spec: Spec) -> tuple[torch.Tensor, torch.Tensor]:
    """Derivatives with respect to s and to s of the points, `(P, Q, points, n)`; of the Laplace kernel, one weight."""
    given = operands(points, train, spec)
    plan = reverse_plan(spec, points.shape, given.kind, points.rank, points.images.dtype)
    n, m, padded = len(points), len(train), whole_blocks(len(train))
    d_s = allocate((*points.positions, n, padded), plan.dtype)
    if isinstance(spec, LaplaceSpec):
        _launch(laplace.reverse(plan), plan, points, train, given, d_s, n, m, padded)
        return d_s[..., :m], d_s[..., :m]
    d_row = allocate(tuple(d_s.shape), plan.dtype)
    _launch(arccosine.reverse(plan), plan, points, train, given, d_s, d_row, n, m, padded)
    return d_s[..., :m], d_row[..., :m]
