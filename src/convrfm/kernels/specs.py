"""What defines a kernel, apart from the data and the metric, as backends receive it."""

import math
from dataclasses import dataclass

import numpy as np

__all__ = ["CLOSEST", "ROUNDING", "SINGULARITY", "ArcCosineSpec", "LaplaceSpec", "Spec"]

SINGULARITY = {np.dtype(np.float64): 1e-12, np.dtype(np.float32): 1e-6}
"""Largest 1 - r^2 at which derivatives with respect to r are dropped, by dtype."""

ROUNDING = {np.dtype(real): 4 * float(np.finfo(real).eps) for real in (np.float32, np.float64)}
"""Largest 1 - |r| that counts as zero in a kernel matrix, by dtype: what rounding makes of collinear patches."""

CLOSEST = 1e-10
"""Distance of two patches below which the gradient of the Laplace kernel is zero."""


@dataclass(frozen=True)
class ArcCosineSpec:
    """`depth` layers, patch size q, and NTK (`tangent`) or NNGP."""

    depth: int
    patch_size: int
    tangent: bool


@dataclass(frozen=True)
class LaplaceSpec:
    """Patch size q and bandwidth."""

    patch_size: int
    bandwidth: float

    @property
    def depth(self) -> int:
        """Convolutions: patches are read once."""
        return 1

    @property
    def rate(self) -> float:
        """The kernel is 2 to the power of minus this times the distance."""
        return math.log2(math.e) / self.bandwidth


Spec = ArcCosineSpec | LaplaceSpec
