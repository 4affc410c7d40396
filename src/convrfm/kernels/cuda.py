"""The CUDA backend (Numba and PyTorch): one thread for each pair of images, all layers in one sweep.

A batch is prepared as on the CPU, and stays in the memory of the host. A tile of a kernel matrix brings its images to the
device, where PyTorch arranges them, and one kernel (`convrfm.kernels.gpu`) computes its entries. What it needs of the first
layer is computed on the way from pixels or short patches; for long patches one matrix product for each position comes before.
The arithmetic is in the dtype of the images, without TF32; sums over the gradients are in float64.

Derivatives are computed likewise, and contracted by matrix products: at position u of point z and for output o, the
gradient is sum_i alpha_io a[z, i, u] R x_{i,u} + (sum_i alpha_io b[z, i, u]) R z_u up to constants, for each position
one product of a[z, i] with alpha_io R x_{i,u}, whose columns are all o and all numbers of the patch.

Where there are several devices, each takes tiles from one queue, see `convrfm.kernels.backends`.
"""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from convrfm.kernels.backends import ArcCosineSpec, LaplaceSpec, Spec
from convrfm.kernels.batches import Batch, chain, closest, largest_side, set_coincident, set_nearly_coincident
from convrfm.kernels.gpu.launch import (
    COLUMNS,
    COVARIANCES,
    OUT_OF_MEMORY,
    PATCHES,
    PIXELS,
    ROWS,
    THREADS,
    Plan,
    allocate,
    current,
    devices,
    full_precision,
    launch,
    reverse_plan,
    sweep_plan,
    upload,
)
from convrfm.kernels.gpu.sweeps import forward, reverse

__all__ = [
    "OUT_OF_MEMORY", "agop_side", "agop_sum", "default_memory", "devices", "gram_side", "gram_tile", "prepare",
]  # fmt: skip

# Numbers in a patch up to which covariances are computed within the sweep (an estimate). Beyond, a matrix product for
# each position is cheaper, although its result goes through memory: the sweep loads two numbers for each product.
FUSED_RANK = 8

LARGEST_SIDE = 8192  # images on a side of a tile, at most: a larger one gains nothing and delays progress
LARGEST_POINTS = 1024  # points of evaluation in a tile, at most
FREE_SHARE = 0.8  # share of the device's free memory that a tile may take; libraries need the rest
SCRATCH_SHARE = 0.125  # share of the device's free memory for the numbers of threads that do not fit into shared memory
BLOCKS = 16  # largest number of blocks on a multiprocessor whose threads keep their numbers in global memory


class _Operands(NamedTuple):
    """What a kernel reads first; see `convrfm.kernels.gpu.device_functions`."""

    kind: int
    rows: torch.Tensor
    columns: torch.Tensor


def _whole_blocks(count: int) -> int:
    """Columns, rounded up to whole blocks."""
    return -(-count // COLUMNS) * COLUMNS


def _kind_of(batch: Batch, spec: Spec) -> int:
    """Whether pixels, patches or covariances are read."""
    if batch.root is None:
        return PIXELS
    return PATCHES if isinstance(spec, LaplaceSpec) or batch.rank <= FUSED_RANK else COVARIANCES


def _in_blocks(numbers: torch.Tensor, lanes: int) -> torch.Tensor:
    """Bring `(n, k)` into blocks of images `(blocks, k, lanes)`; the images that the last block lacks are zero."""
    missing = -len(numbers) % lanes
    padded = torch.nn.functional.pad(numbers, (0, 0, 0, missing))
    return padded.reshape(-1, lanes, numbers.shape[1]).transpose(1, 2).contiguous()


def _patches_of(batch: Batch, images: torch.Tensor, first: int, last: int) -> torch.Tensor:
    """R x_u for the rows first ... last - 1 of positions `(n, positions, rank)`, from its images on the device."""
    width = batch.shape[2]
    starts = np.arange(first, last)[:, None] * width + np.arange(batch.positions[1])
    places = torch.from_numpy(starts.reshape(-1, 1) + batch.places).to(images.device)
    raw = images.reshape(len(images), -1)[:, places]
    if batch.root is None:
        return raw
    with full_precision:
        return raw @ torch.from_numpy(batch.root.T).to(images.device)


def _variances(batch: Batch) -> np.ndarray:
    """s_x of the first layer under a metric, `(n, P, Q)`."""
    patches = _patches_of(batch, upload(batch.images), 0, batch.positions[0])
    squares = torch.einsum("npk,npk->np", patches, patches) / batch.shape[0]
    return squares.reshape(len(batch), *batch.positions).cpu().numpy()


def _operands(left: Batch, right: Batch, spec: Spec) -> _Operands:
    """Pixels, patches or covariances of a tile; the rows of an arc-cosine kernel carry the factor 1 / channels."""
    kind, scale = _kind_of(left, spec), 1 if isinstance(spec, LaplaceSpec) else left.shape[0]
    of_left, of_right = upload(left.images), upload(right.images)
    if kind != PIXELS:
        of_left, of_right = (
            _patches_of(side, images, 0, side.positions[0]) for side, images in ((left, of_left), (right, of_right))
        )
    if kind != COVARIANCES:
        rows, columns = of_left.reshape(len(left), -1) / scale, of_right.reshape(len(right), -1)
        return _Operands(kind, _in_blocks(rows, ROWS), _in_blocks(columns, COLUMNS))
    padded = torch.nn.functional.pad(of_right, (0, 0, 0, 0, 0, _whole_blocks(len(right)) - len(right)))
    with full_precision:
        s = torch.matmul((of_left / scale).transpose(0, 1), padded.permute(1, 2, 0))
    return _Operands(kind, s, s[:1, :1, :1])


def default_memory() -> int:
    """Bytes of the device to take by default: a quarter of what is free."""
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
    parts = [_variances(batch.take(slice(first, first + step))) for first in range(0, len(batch), step)]
    return batch.with_norms(np.concatenate(parts), spec.depth)


def _launch(kernel: Any, plan: Plan, left: Batch, right: Batch, given: _Operands, *results: torch.Tensor | int) -> None:
    """Run a kernel for all pairs of a tile; `results` are the arguments that follow the scratch memory."""
    hardware = current()
    blocks = -(-len(left) // ROWS) * (_whole_blocks(len(right)) // COLUMNS)
    if plan.shared:
        scratch = allocate((1,), plan.dtype)
    else:
        blocks = min(blocks, hardware.processors * BLOCKS, int(hardware.free * SCRATCH_SHARE) // plan.block_bytes)
        blocks = max(1, blocks)
        scratch = allocate((blocks * plan.numbers * THREADS,), plan.dtype)
    norms = [given.rows, given.columns]  # the Laplace kernel reads none
    if isinstance(plan.spec, ArcCosineSpec):
        norms = [_in_blocks(upload(side.norms), lanes) for side, lanes in ((left, ROWS), (right, COLUMNS))]
    launch(
        kernel, blocks, plan.block_bytes if plan.shared else 0,
        given.rows, given.columns, *norms, scratch, *results,
    )  # fmt: skip


def gram_tile(left: Batch, right: Batch | None, spec: Spec) -> np.ndarray:
    """Kernel matrix `(n, m)` in the dtype of the images; one triangle is computed when right is None."""
    other = left if right is None else right
    n, m, padded = len(left), len(other), _whole_blocks(len(other))
    given = _operands(left, other, spec)
    plan = sweep_plan(spec, left.shape, given.kind, left.rank, left.images.dtype, current().shared_memory)
    out = allocate((n, padded), plan.dtype)
    _launch(forward(plan), plan, left, other, given, out, n, m, padded, int(right is None))
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
    if _kind_of(batch, spec) != PIXELS:
        numbers += positions * (len(batch.places) + 3 * batch.rank)
    return numbers * batch.images.itemsize


def _pair_bytes(batch: Batch, spec: Spec, numbers: int) -> int:
    """Bytes of the device that a pair with `numbers` numbers takes, and s at all positions if it is computed before."""
    covariances = math.prod(batch.positions) if _kind_of(batch, spec) == COVARIANCES else 0
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
    gradients = _Gradients.zero(points, alpha.shape[1], _usable(memory) // 4)
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
    given = _operands(points, train, spec)
    plan = reverse_plan(spec, points.shape, given.kind, points.rank, points.images.dtype)
    n, m, padded = len(points), len(train), _whole_blocks(len(train))
    d_s = allocate((*points.positions, n, padded), plan.dtype)
    # The Laplace kernel writes none; not d_s itself, as Numba's simulator copies each argument back.
    d_row = allocate((1,) if isinstance(spec, LaplaceSpec) else tuple(d_s.shape), plan.dtype)
    _launch(reverse(plan), plan, points, train, given, d_s, d_row, n, m, padded)
    if isinstance(spec, LaplaceSpec):
        # The weight K_u / (N b ||x_u - z_u||) rises as the distance falls.
        near = closest(points, train)
        d_s[d_s > math.exp(-near / spec.bandwidth) / (math.prod(points.positions) * spec.bandwidth * near)] = 0
    return d_s[..., :m], (d_s if isinstance(spec, LaplaceSpec) else d_row)[..., :m]


@dataclass(frozen=True)
class _Gradients:
    """Gradients of all outputs at all positions of some points, summed over training images."""

    points: Batch  # the points
    images: torch.Tensor  # theirs, on the device
    values: torch.Tensor  # `(P, Q, points, outputs, rank)`
    memory: int  # bytes for temporary arrays

    @classmethod
    def zero(cls, points: Batch, outputs: int, memory: int) -> "_Gradients":
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
        return _patches_of(batch, images, first, last).transpose(0, 1)

    def _strips(self, images: int) -> list[tuple[int, int]]:
        """Rows of positions in strips for which factors of so many images fit into the memory."""
        rows, columns, points, outputs, rank = self.values.shape
        # Patches, and their products with the coefficients; maps are copied where they are not contiguous.
        per_row = columns * ((images + points) * rank * (outputs + 2) + 2 * points * images) * 8
        step = max(1, self.memory // per_row)
        return [(first, min(first + step, rows)) for first in range(0, rows, step)]
