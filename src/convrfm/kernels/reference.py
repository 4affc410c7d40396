"""The reference backend: the formulas of `convrfm.kernels.base` in plain NumPy, float64, all pairs at once.

Slow and hungry for memory (it holds `(n, m, P, Q)` arrays per layer) but short: read this one first.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from convrfm.kernels.backends import CLOSEST, SINGULARITY, ArcCosineSpec, LaplaceSpec, Spec
from convrfm.numerics.patches import box_sum, box_sum_adjoint, unfold

__all__ = ["OUT_OF_MEMORY", "agop_side", "agop_sum", "gram_side", "gram_tile", "prepare"]

OUT_OF_MEMORY = (MemoryError,)

ARRAYS_PER_LAYER = 12  # arrays `(n, m, P, Q)` that a layer keeps or needs for a moment


class Layer(NamedTuple):
    """What one layer leaves for the reverse sweep; arrays `(n, m, P, Q)`, variances broadcast against them."""

    r: np.ndarray
    angle_term: np.ndarray  # sqrt(1 - r^2), zero where the pair is singular
    kappa0: np.ndarray
    scale: np.ndarray  # sqrt(s_x s_z)
    tangent: np.ndarray  # T
    variance_z: np.ndarray


def _forward(
    s: np.ndarray, s_x: np.ndarray, s_z: np.ndarray, spec: ArcCosineSpec
) -> tuple[np.ndarray, np.ndarray, list[Layer]]:
    """Run the recursion; s `(n, m, P, Q)`, s_x `(n, 1, P, Q)`, s_z `(1, m, P, Q)`. Gives k, Theta and the layers."""
    layers: list[Layer] = []
    k, theta, tangent = s, np.zeros_like(s), s
    for depth in range(spec.depth):
        if depth > 0:
            s, s_x, s_z = (box_sum(a, spec.patch_size) for a in (k, s_x, s_z))
            tangent = s + box_sum(theta, spec.patch_size)
        scale = np.sqrt(s_x) * np.sqrt(s_z)  # their product might underflow
        r = np.clip(np.divide(s, scale, out=np.zeros_like(s), where=scale > 0), -1, 1)
        kappa0 = (np.pi - np.arccos(r)) / np.pi
        k = scale * (r * kappa0 + np.sqrt(1 - r**2) / np.pi)
        theta = kappa0 * tangent
        regular = 1 - r**2 > SINGULARITY[np.dtype(np.float64)]
        layers.append(Layer(r, np.where(regular, np.sqrt(1 - r**2), 0), kappa0, scale, tangent, s_z))
    return k, theta, layers


def _reverse(layers: list[Layer], spec: ArcCosineSpec) -> tuple[np.ndarray, np.ndarray]:
    """Give dK/ds and dK/ds_z of the first layer, both `(n, m, P, Q)`."""

    def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
        return np.divide(
            numerator, denominator, out=np.zeros(np.broadcast(numerator, denominator).shape), where=denominator > 0
        )

    shape = layers[-1].r.shape
    d_k = np.full(shape, 1 / (shape[2] * shape[3]))
    d_theta = d_k if spec.tangent else np.zeros(shape)
    d_variance = np.zeros(shape)
    for depth in reversed(range(spec.depth)):
        layer = layers[depth]
        d_tangent = d_theta * layer.kappa0
        d_kappa0 = d_theta * layer.tangent * ratio(np.ones(shape), np.pi * layer.angle_term)  # times dkappa0/dr
        d_s = d_k * layer.kappa0 + ratio(d_kappa0, layer.scale) + d_tangent
        d_scale_part = d_k * layer.angle_term / np.pi * layer.scale - d_kappa0 * layer.r
        d_variance = d_variance + ratio(d_scale_part * (layer.scale > 0), 2 * layer.variance_z + np.zeros(shape))
        if depth > 0:
            d_k, d_theta, d_variance = (box_sum_adjoint(a, spec.patch_size) for a in (d_s, d_tangent, d_variance))
            shape = d_k.shape
    return d_s, d_variance


@dataclass(frozen=True)
class Patches:
    """Patches `(n, P, Q, d)` and a matrix `(d, d)`, which is the metric here, float64, and the number of channels."""

    values: np.ndarray
    matrix: np.ndarray
    channels: int

    def __len__(self) -> int:
        return len(self.values)

    def take(self, indices: np.ndarray | slice) -> "Patches":
        """Give some images of the batch."""
        return replace(self, values=self.values[indices])

    def variances(self) -> np.ndarray:
        """s_x of the first layer, `(n, P, Q)`."""
        squares = np.einsum("ipqa,ab,ipqb->ipq", self.values, self.matrix, self.values, optimize=True)
        return np.maximum(squares / self.channels, 0)


def prepare(images: np.ndarray, metric: np.ndarray | None, spec: Spec, memory: int) -> Patches:
    """Cut images into patches."""
    values = unfold(images.astype(np.float64), spec.patch_size)
    return Patches(values, np.eye(values.shape[-1]) if metric is None else metric, images.shape[1])


def _run(left: Patches, right: Patches, spec: ArcCosineSpec) -> tuple[np.ndarray, np.ndarray, list[Layer]]:
    """k, Theta and the layers for all pairs."""
    s = np.einsum("ipqa,ab,jpqb->ijpq", left.values, left.matrix, right.values, optimize=True) / left.channels
    return _forward(s, left.variances()[:, None], right.variances()[None], spec)


def _distances(left: Patches, right: Patches) -> np.ndarray:
    """||x_u - z_u||_M `(n, m, P, Q)`."""
    difference = left.values[:, None] - right.values[None]
    return np.sqrt(np.maximum(np.einsum("ijpqa,ab,ijpqb->ijpq", difference, left.matrix, difference, optimize=True), 0))


def gram_tile(left: Patches, right: Patches | None, spec: Spec) -> np.ndarray:
    """Kernel matrix `(n, m)`, float64."""
    other = left if right is None else right
    if isinstance(spec, LaplaceSpec):
        return np.exp(-_distances(left, other) / spec.bandwidth).mean(axis=(2, 3))
    k, theta, _ = _run(left, other, spec)
    return (k + theta if spec.tangent else k).mean(axis=(2, 3))


def agop_sum(train: Patches, points: Patches, alpha: np.ndarray, spec: Spec, memory: int) -> np.ndarray:
    """Sum over the points of the patch-AGOP `(d, d)`, float64."""
    alpha = alpha.astype(np.float64)
    if isinstance(spec, LaplaceSpec):
        distance = _distances(train, points)
        weight = np.where(distance < CLOSEST, 0, np.exp(-distance / spec.bandwidth) / np.maximum(distance, CLOSEST))
        weight /= spec.bandwidth * distance.shape[2] * distance.shape[3]
        difference = train.values[:, None] - points.values[None]
        gradient = np.einsum("io,ijpq,ijpqd->jpqod", alpha, weight, difference, optimize=True)
    else:
        _, _, layers = _run(train, points, spec)
        d_s, d_variance = _reverse(layers, spec)
        gradient = np.einsum("io,ijpq,ipqd->jpqod", alpha, d_s, train.values, optimize=True)
        gradient += 2 * np.einsum("io,ijpq,jpqd->jpqod", alpha, d_variance, points.values, optimize=True)
        gradient /= train.channels
    gradient = gradient @ train.matrix
    return np.einsum("jpqoa,jpqob->ab", gradient, gradient, optimize=True)


def gram_side(prepared: Patches, spec: Spec, memory: int) -> int:
    """Images on a side of the tiles that fit into `memory` bytes."""
    return max(1, int((memory / _pair_bytes(prepared, spec)) ** 0.5))


def agop_side(train: Patches, outputs: int, spec: Spec, memory: int) -> int:
    """Points of evaluation whose pairs with all training images fit into `memory` bytes; at least one."""
    return max(1, int(memory / (_pair_bytes(train, spec) * len(train))))


def _pair_bytes(patches: Patches, spec: Spec) -> int:
    """Bytes that a pair of images takes."""
    _, rows, columns, dimension = patches.values.shape
    arrays = 2 * dimension if isinstance(spec, LaplaceSpec) else ARRAYS_PER_LAYER * spec.depth
    return rows * columns * arrays * patches.values.itemsize
