"""The reference backend: the formulas of `convrfm.kernels.base` in plain NumPy, float64, all pairs at once.

Slow and hungry for memory (it holds `(n, m, P, Q)` arrays per layer) but short: read this one first.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from convrfm.kernels.base import SINGULARITY, KernelSpec
from convrfm.patches import box_sum, box_sum_adjoint, unfold

__all__ = ["gram", "patch_agop", "prepare"]


class Layer(NamedTuple):
    """What one layer leaves for the reverse sweep; arrays `(n, m, P, Q)`, variances broadcast against them."""

    r: np.ndarray
    angle_term: np.ndarray  # sqrt(1 - r^2), zero where the pair is singular
    kappa0: np.ndarray
    scale: np.ndarray  # sqrt(s_x s_z)
    tangent: np.ndarray  # T
    variance_z: np.ndarray


def _forward(
    s: np.ndarray, s_x: np.ndarray, s_z: np.ndarray, spec: KernelSpec
) -> tuple[np.ndarray, np.ndarray, list[Layer]]:
    """Run the recursion; s `(n, m, P, Q)`, s_x `(n, 1, P, Q)`, s_z `(1, m, P, Q)`. Gives k, Theta and the layers."""
    layers: list[Layer] = []
    k, theta, tangent = s, np.zeros_like(s), s
    for depth in range(spec.depth):
        if depth > 0:
            s, s_x, s_z = (box_sum(a, spec.patch_size) for a in (k, s_x, s_z))
            tangent = s + box_sum(theta, spec.patch_size)
        scale = np.sqrt(s_x * s_z)
        r = np.clip(np.divide(s, scale, out=np.zeros_like(s), where=scale > 0), -1, 1)
        kappa0 = (np.pi - np.arccos(r)) / np.pi
        k = scale * (r * kappa0 + np.sqrt(1 - r**2) / np.pi)
        theta = kappa0 * tangent
        regular = 1 - r**2 > SINGULARITY[np.dtype(np.float64)]
        layers.append(Layer(r, np.where(regular, np.sqrt(1 - r**2), 0), kappa0, scale, tangent, s_z))
    return k, theta, layers


def _reverse(layers: list[Layer], spec: KernelSpec) -> tuple[np.ndarray, np.ndarray]:
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
    """Patches `(n, P, Q, d)` and the metric `(d, d)`, float64, and the number of channels."""

    values: np.ndarray
    metric: np.ndarray
    channels: int

    def take(self, indices: np.ndarray) -> "Patches":
        """Give some images of the batch."""
        return replace(self, values=self.values[indices])

    def variances(self) -> np.ndarray:
        """s_x of the first layer, `(n, P, Q)`."""
        squares = np.einsum("ipqa,ab,ipqb->ipq", self.values, self.metric, self.values, optimize=True)
        return np.maximum(squares / self.channels, 0)


def prepare(images: np.ndarray, metric: np.ndarray | None, spec: KernelSpec) -> Patches:
    """Cut images into patches."""
    values = unfold(images.astype(np.float64), spec.patch_size)
    return Patches(values, np.eye(values.shape[-1]) if metric is None else metric, images.shape[1])


def _run(left: Patches, right: Patches, spec: KernelSpec) -> tuple[np.ndarray, np.ndarray, list[Layer]]:
    """k, Theta and the layers for all pairs."""
    s = np.einsum("ipqa,ab,jpqb->ijpq", left.values, left.metric, right.values, optimize=True) / left.channels
    return _forward(s, left.variances()[:, None], right.variances()[None], spec)


def gram(left: Patches, right: Patches | None, spec: KernelSpec) -> np.ndarray:
    """Kernel matrix `(n, m)`, float64."""
    k, theta, _ = _run(left, left if right is None else right, spec)
    return (k + theta if spec.tangent else k).mean(axis=(2, 3))


def patch_agop(train: Patches, points: Patches, alpha: np.ndarray, spec: KernelSpec) -> np.ndarray:
    """Patch-AGOP `(d, d)`, float64."""
    _, _, layers = _run(train, points, spec)
    d_s, d_variance = _reverse(layers, spec)
    alpha = alpha.astype(np.float64)
    gradient = np.einsum("io,ijpq,ipqd->jpqod", alpha, d_s, train.values, optimize=True)
    gradient += 2 * np.einsum("io,ijpq,jpqd->jpqod", alpha, d_variance, points.values, optimize=True)
    gradient = gradient @ train.metric / train.channels
    return np.einsum("jpqoa,jpqob->ab", gradient, gradient, optimize=True) / len(points.values)
