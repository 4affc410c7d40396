"""The whole family of convolutional kernels in PyTorch, float64: padding, strides, other activations and average pooling.

The recursion is that of `convrfm.kernels.base`, with window sums over padded maps and with strides; on a CUDA GPU where there
is one. erf and GELU are not homogeneous: the scale of weights matters. Theirs have variance 1 / fan-in, which divides window
sums, and s of the first layer, by q^2. With a, b = s_x, s_z:

    erf    k = (2 / pi) arcsin(2 s / sqrt((1 + 2 a)(1 + 2 b)))                          Williams 1997
    gelu   k = s P + (a b + e s^2) / (2 pi sqrt(D)),   P = 1/4 + arcsin(s / sqrt((1 + a)(1 + b))) / (2 pi)
           with D = (1 + a)(1 + b) - s^2,   e = 1 / (1 + a) + 1 / (1 + b) - 1            Tsuchida et al. 2021, arXiv 2002.08517

and Theta = (dk/ds) T. Average pooling mixes the positions of a window: K is the mean over windows of the mean of
(k + Theta)[u, v] over all pairs of positions u, v of a window. All layers then keep all pairs of positions, at as many times
the cost.

The gradient with respect to patches is PyTorch's, save for the ReLU, whose singular points follow the rule of all backends.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch.nn.functional import avg_pool2d, pad

from convrfm.kernels.backends import SINGULARITY, ArcCosineSpec
from convrfm.kernels.reference import Patches
from convrfm.numerics.patches import unfold

__all__ = ["OUT_OF_MEMORY", "agop_side", "agop_sum", "gram_side", "gram_tile", "prepare"]

OUT_OF_MEMORY = (MemoryError, torch.OutOfMemoryError)

ARRAYS = 8  # of all positions of the first layer, for a pair of images, in the recursion
ARRAYS_PER_LAYER = 12  # the same, in each layer of a reverse pass
Activation = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]


class _ReLU(torch.autograd.Function):
    """k and dk/ds = kappa0 of a ReLU; derivatives at singular points as in `convrfm.kernels.base`."""

    @staticmethod
    def forward(ctx: Any, s: torch.Tensor, s_x: torch.Tensor, s_z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        scale = s_x.sqrt() * s_z.sqrt()  # their product might underflow
        r = torch.where(scale > 0, s / scale, 0).clamp(-1, 1)
        kappa0 = 1 - r.acos() / torch.pi
        ctx.save_for_backward(r, kappa0, scale, s_z)
        return scale * (r * kappa0 + (1 - r**2).sqrt() / torch.pi), kappa0

    @staticmethod
    def backward(ctx: Any, *given: torch.Tensor) -> tuple[torch.Tensor, None, torch.Tensor]:
        (d_k, d_kappa0), (r, kappa0, scale, s_z) = given, ctx.saved_tensors
        regular = 1 - r**2 > SINGULARITY[np.dtype(np.float64)]
        sine = torch.where(regular, (1 - r**2).sqrt(), 0)
        d_r = torch.where(regular, d_kappa0 / (torch.pi * sine), 0)
        d_s = d_k * kappa0 + torch.where(scale > 0, d_r / scale, 0)
        d_variance = torch.where(scale > 0, (d_k * sine * scale / torch.pi - d_r * r) / (2 * s_z), 0)
        return d_s, None, d_variance.sum_to_size(s_z.shape)


def _erf(s: torch.Tensor, s_x: torch.Tensor, s_z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    norms = (1 + 2 * s_x) * (1 + 2 * s_z)
    return 2 / torch.pi * torch.asin(2 * s / norms.sqrt()), 4 / torch.pi / (norms - 4 * s**2).sqrt()


def _gelu(s: torch.Tensor, s_x: torch.Tensor, s_z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    a, b = 1 + s_x, 1 + s_z
    determinant, e = a * b - s**2, 1 / a + 1 / b - 1
    root, both = determinant.sqrt(), s_x * s_z + e * s**2
    sign = 0.25 + torch.asin(s / (a * b).sqrt()) / (2 * torch.pi)
    slope = sign + s * (1 + 2 * e + both / determinant) / (2 * torch.pi * root)
    return s * sign + both / (2 * torch.pi * root), slope


ACTIVATIONS: dict[str, Activation] = {"relu": _ReLU.apply, "erf": _erf, "gelu": _gelu}
"""k and dk/ds from s, s_x and s_z."""


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _padded(maps: torch.Tensor, spec: ArcCosineSpec, axes: int) -> torch.Tensor:
    """Pad the last axes, pairs of rows and columns."""
    margin = spec.margin
    if spec.padding == "zeros":
        return pad(maps, (margin, margin) * axes)
    if spec.padding == "circular":
        for axis in range(-axes, 0):
            last, first = maps.narrow(axis, maps.shape[axis] - margin, margin), maps.narrow(axis, 0, margin)
            maps = torch.cat((last, maps, first), axis)
    return maps


def _scale(spec: ArcCosineSpec) -> int:
    """What sums over windows are divided by."""
    return 1 if spec.activation == "relu" else spec.patch_size**2


def _window_sums(maps: torch.Tensor, spec: ArcCosineSpec, layer: int) -> torch.Tensor:
    """Sums over the windows of a layer, `(..., P, Q)` -> `(..., P', Q')`."""
    padded = _padded(maps, spec, 2)
    flat = padded.reshape(1, -1, *padded.shape[-2:])
    sums = avg_pool2d(flat, spec.patch_size, spec.stride(layer), divisor_override=_scale(spec))
    return sums.reshape(*maps.shape[:-2], *sums.shape[-2:])


def _pair_sums(maps: torch.Tensor, spec: ArcCosineSpec, layer: int) -> torch.Tensor:
    """The same for maps over pairs of positions, `(..., P, Q, P, Q)`: both move through their windows together."""
    padded, q, stride = _padded(maps, spec, 4), spec.patch_size, spec.stride(layer)

    def moved(i: int, j: int) -> torch.Tensor:
        rows, columns = (slice(start, padded.shape[axis] - q + 1 + start, stride) for start, axis in ((i, -2), (j, -1)))
        return padded[..., rows, columns, rows, columns]

    return torch.stack([moved(i, j) for i in range(q) for j in range(q)]).sum(0) / _scale(spec)


def _kernel(x: torch.Tensor, z: torch.Tensor, matrix: torch.Tensor, channels: int, spec: ArcCosineSpec) -> torch.Tensor:
    """Kernel matrix of patches `(n, P, Q, d)` and `(m, P, Q, d)`."""
    activation, pairs = ACTIVATIONS[spec.activation], spec.pooling is not None
    equation = "npqd,mrsd->nmpqrs" if pairs else "npqd,mpqd->nmpq"
    sums = _pair_sums if pairs else _window_sums
    scale = channels * _scale(spec)
    x_moved, z_moved = x @ matrix, z @ matrix
    s = torch.einsum(equation, x_moved, z) / scale
    s_x, s_z = (((moved * side).sum(-1) / scale).clamp(min=0) for moved, side in ((x_moved, x), (z_moved, z)))
    tangent = k = theta = s
    for layer in range(spec.depth):
        if layer > 0:
            s = sums(k, spec, layer)
            tangent = s + sums(theta, spec, layer)
            # The ReLU, as it is scaled, keeps variances.
            after = (own if spec.activation == "relu" else activation(own, own, own)[0] for own in (s_x, s_z))
            s_x, s_z = (_window_sums(own, spec, layer) for own in after)
        of_rows, of_columns = (s_x[:, None, ..., None, None], s_z[None, :, None, None]) if pairs else (s_x[:, None], s_z[None])
        k, slope = activation(s, of_rows, of_columns)
        theta = slope * tangent
    total = k + theta if spec.tangent else k
    return _pooled(total, spec) if pairs else total.mean((-2, -1))


def _pooled(maps: torch.Tensor, spec: ArcCosineSpec) -> torch.Tensor:
    """Mean over windows of the mean over all pairs of positions of a window; rows and columns left over are dropped."""
    height, width = maps.shape[-2:]
    if spec.pooling == "global":
        return maps.mean((-4, -3, -2, -1))
    assert isinstance(spec.pooling, int)
    side = spec.pooling
    blocks = [
        maps[..., y : y + side, x : x + side, y : y + side, x : x + side].mean((-4, -3, -2, -1))
        for y in range(0, height - side + 1, side)
        for x in range(0, width - side + 1, side)
    ]
    return torch.stack(blocks).mean(0)


def prepare(images: np.ndarray, metric: np.ndarray | None, spec: ArcCosineSpec, memory: int) -> Patches:
    """Cut images into patches."""
    step = spec.stride(0)
    patches = unfold(spec.padded(images.astype(np.float64)), spec.patch_size)
    values = np.ascontiguousarray(patches[:, ::step, ::step])
    return Patches(values, np.eye(values.shape[-1]) if metric is None else metric, images.shape[1])


def _tensors(device: torch.device, *arrays: np.ndarray) -> Iterator[torch.Tensor]:
    return (torch.from_numpy(array).to(device) for array in arrays)


def gram_tile(left: Patches, right: Patches | None, spec: ArcCosineSpec) -> np.ndarray:
    """Kernel matrix `(n, m)`, float64."""
    x, z, matrix = _tensors(_device(), left.values, (left if right is None else right).values, left.matrix)
    with torch.no_grad():
        found: np.ndarray = _kernel(x, z, matrix, left.channels, spec).cpu().numpy()
    return found


def agop_sum(train: Patches, points: Patches, alpha: np.ndarray, spec: ArcCosineSpec, memory: int) -> np.ndarray:
    """Sum over the points of the patch-AGOP `(d, d)`, float64; a reverse pass for each output."""
    x, z, matrix, weights = _tensors(_device(), train.values, points.values, train.matrix, alpha.astype(np.float64))
    z.requires_grad_(True)
    gradients = torch.zeros((alpha.shape[1], *z.shape), dtype=z.dtype, device=z.device)
    # A gradient is a sum over the training images.
    step = max(1, min(len(x), int(memory / (_reverse_bytes(train, spec) * len(z)))))
    for some, of_some in zip(x.split(step), weights.split(step), strict=True):
        outputs = (of_some.T @ _kernel(some, z, matrix, train.channels, spec)).sum(1)
        for output, gradient in zip(outputs, gradients, strict=True):
            gradient += torch.autograd.grad(output, z, retain_graph=True)[0]
    rows = gradients.reshape(-1, len(matrix))
    found: np.ndarray = (rows.T @ rows).cpu().numpy()
    return found


def gram_side(prepared: Patches, spec: ArcCosineSpec, memory: int) -> int:
    """Images on a side of the tiles that fit into `memory` bytes; at least one."""
    return max(1, int((memory / (ARRAYS * _pair_bytes(prepared, spec))) ** 0.5))


def agop_side(train: Patches, outputs: int, spec: ArcCosineSpec, memory: int) -> int:
    """Points of evaluation whose pairs with as many training images fit into `memory` bytes; at least one."""
    return max(1, int((memory / _reverse_bytes(train, spec)) ** 0.5))


def _reverse_bytes(patches: Patches, spec: ArcCosineSpec) -> int:
    """Bytes that a pair of images takes in a reverse pass."""
    return ARRAYS_PER_LAYER * spec.depth * _pair_bytes(patches, spec)


def _pair_bytes(patches: Patches, spec: ArcCosineSpec) -> int:
    """Bytes of an array of all positions of the first layer, or of all pairs of them, for a pair of images."""
    _, rows, columns, _ = patches.values.shape
    return 8 * (rows * columns) ** (1 if spec.pooling is None else 2)
