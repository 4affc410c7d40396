"""What backends receive and offer: the definition of a kernel, prepared images, the protocol of a backend module."""

import math
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np

from convrfm.errors import InputError

__all__ = [
    "CLOSEST", "ROUNDING", "SINGULARITY", "ArcCosineSpec", "Backend", "DeviceBackend", "LaplaceSpec", "Preparation",
    "PreparedImages", "Spec",
]  # fmt: skip

SINGULARITY = {np.dtype(np.float64): 1e-12, np.dtype(np.float32): 1e-6}
"""Largest 1 - r^2 at which derivatives with respect to r are dropped, by dtype."""

ROUNDING = {np.dtype(real): 4 * float(np.finfo(real).eps) for real in (np.float32, np.float64)}
"""Largest 1 - |r| that counts as zero in a kernel matrix, by dtype: rounding of collinear patches."""

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
        """Factor of the distance in -log2 of the kernel."""
        return math.log2(math.e) / self.bandwidth


Spec = ArcCosineSpec | LaplaceSpec


class Preparation(Protocol):
    """A backend's own form of a batch of images under a metric."""

    def __len__(self) -> int:
        """Number of images."""

    def take(self, indices: np.ndarray | slice) -> "Preparation":
        """Give some images of the batch."""


class Backend(Protocol):
    """What a backend module offers: images are prepared once for a metric, and used many times."""

    OUT_OF_MEMORY: tuple[type[BaseException], ...]
    """Exceptions that say that memory ran out."""

    def prepare(self, images: np.ndarray, metric: np.ndarray | None, spec: Spec, memory: int) -> Preparation:
        """Bring checked images `(n, c, h, w)` and a float64 metric into the backend's own form."""

    def gram_side(self, prepared: Any, spec: Spec, memory: int) -> int:
        """Images on a side of the tiles that fit into `memory` bytes."""

    def gram_tile(self, left: Any, right: Any | None, spec: Spec) -> np.ndarray:
        """Kernel matrix `(n, m)`; None means the left images, with a symmetric result."""

    def agop_side(self, train: Any, outputs: int, spec: Spec, memory: int) -> int:
        """Points of evaluation that fit into `memory` bytes."""

    def agop_sum(self, train: Any, points: Any, alpha: np.ndarray, spec: Spec, memory: int) -> np.ndarray:
        """Sum over the points of the patch-AGOP `(d, d)`, float64."""


@runtime_checkable
class DeviceBackend(Protocol):
    """What a backend offers in addition if it computes on devices with memory of their own."""

    def devices(self) -> list[AbstractContextManager[None]]:
        """The devices; a thread that enters one computes there."""

    def default_memory(self) -> int:
        """Bytes of a device to take by default."""


@dataclass(frozen=True)
class PreparedImages:
    """Images bound to a kernel and a metric, see `ConvolutionalKernel.prepare`; `len` gives their number.

    Attributes:
        images: `(n, channels, height, width)`, checked.
        metric: `(d, d)` float64, or None for the identity.
        spec: the kernel that they were prepared for.
        backend: name of the backend.
        form: the backend's own form.
        template: what the caller passed; results have its kind (array or tensor).
    """

    images: np.ndarray
    metric: np.ndarray | None
    spec: Spec
    backend: str
    form: Preparation
    template: Any

    def __len__(self) -> int:
        return len(self.images)

    def take(self, indices: Any) -> "PreparedImages":
        """Give some of the images, by numbers or a mask, without preparing them again.

        Raises:
            InputError: no images are left.
        """
        mask_or_numbers = np.asarray(indices)
        if mask_or_numbers.size == 0 or (mask_or_numbers.dtype == bool and not mask_or_numbers.any()):
            msg = "No images were taken."
            raise InputError(msg)
        chosen = np.arange(len(self))[mask_or_numbers]
        return replace(self, images=self.images[chosen], form=self.form.take(chosen))
