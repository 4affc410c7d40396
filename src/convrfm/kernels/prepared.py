"""Images bound to a kernel and a metric, for several uses."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from convrfm.errors import InputError
from convrfm.kernels import tiles
from convrfm.kernels.specs import Spec

__all__ = ["PreparedImages"]


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
    form: tiles.Preparation
    template: Any

    def __len__(self) -> int:
        return len(self.images)

    def take(self, indices: Any) -> "PreparedImages":
        """Give some of the images, without preparing them again."""
        mask_or_numbers = np.asarray(indices)
        if mask_or_numbers.size == 0 or (mask_or_numbers.dtype == bool and not mask_or_numbers.any()):
            msg = "No images were taken."
            raise InputError(msg)
        chosen = np.arange(len(self))[mask_or_numbers]
        return replace(self, images=self.images[chosen], form=self.form.take(chosen))
