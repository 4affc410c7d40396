"""What is collected of one layer while images are measured: its filters, and sums of delta delta^T."""

from dataclasses import dataclass, field

import numpy as np
import torch

from convrfm.ansatz.filter_forms import polar

__all__ = ["LayerSums"]


@dataclass
class LayerSums:
    """What is collected of one layer.

    Attributes:
        weight: the filters that it applied, `(groups, k, d)`, float32 or float64.
        computed: see `LayerAgop`.
        isometry: V^T `(groups, d, k)` where there are more filters than numbers in a patch, see `filter_forms.polar`.
        sums: of all updates, float64.
        recent: of the current one, by block.
        calls: of the layer in the current update.
        gradients: that reached it.
        largest_half: absolute value in gradients that came in float16; None if none did.
    """

    weight: torch.Tensor
    computed: bool
    isometry: torch.Tensor | None
    sums: np.ndarray
    recent: dict[int, torch.Tensor] = field(default_factory=dict)
    calls: int = 0
    gradients: int = 0
    largest_half: float | None = None

    @classmethod
    def of(cls, weight: torch.Tensor, blocks: int, *, computed: bool) -> "LayerSums":
        """Begin with the filters `(groups, k, d)` of a layer."""
        groups, filters, dimension = weight.shape
        isometry = None
        if filters > dimension:
            isometry = torch.from_numpy(polar(weight.double().cpu().numpy())[0].transpose(0, 2, 1)).to(weight)
        size = min(filters, dimension)
        return cls(weight, computed, isometry, np.zeros((blocks, groups, size, size)))

    def add(self, block: int, gradients: torch.Tensor) -> None:
        """Add the sum of delta delta^T over gradients `(images, filters, positions ...)`, of the weight's dtype."""
        groups, filters, _ = self.weight.shape
        parts = gradients.reshape(len(gradients), groups, filters, -1)
        flat = parts.permute(1, 2, 0, 3).reshape(groups, filters, -1)
        if self.isometry is not None:
            flat = self.isometry @ flat
        if block in self.recent:
            self.recent[block].baddbmm_(flat, flat.transpose(1, 2))
        else:
            self.recent[block] = flat @ flat.transpose(1, 2)

    def begin(self) -> None:
        """Begin an update; what one that failed has left is forgotten."""
        self.recent = {}
        self.calls = self.gradients = 0
        self.largest_half = None

    def end(self, scale: float, *, copy: bool) -> None:
        """End an update, in which gradients were `scale` times too large; a copy spares those who hold the sums so far."""
        sums = self.sums.copy() if copy else self.sums
        for block, recent in self.recent.items():
            sums[block] += recent.double().cpu().numpy() / scale**2
        self.sums, self.recent = sums, {}

    def applies(self, weight: torch.Tensor, precision: float) -> bool:
        """Whether filters `(groups, k, d)` are those of the layer, to within rounding to a relative precision."""
        if self.weight.shape != weight.shape:
            return False
        apart = 8 * precision * self.weight.abs().max()
        return torch.equal(self.weight, weight) or bool((self.weight - weight).abs().max() <= apart)
