"""What is known of the patch-AGOP of one convolution; `convrfm.agop` measures it."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from convrfm.block_estimates import BlockCorrelation, Estimate
from convrfm.filter_forms import Entries, FilterForm

__all__ = ["LayerAgop", "Mode"]

Mode = Literal["exact", "probe"]


@dataclass(frozen=True)
class LayerAgop:
    """The patch-AGOP of one convolution, in parts that show how sure it is.

    Attributes:
        name: of the convolution in the network.
        weight: its filters W, `(groups, k, d)` float64; d in the patch order (channel, row, column).
        sums: D summed over the units of each block, `(blocks, groups, k, k)` float64. A unit is an image in the exact
            mode, an image with a probe in the probe mode; blocks part the images, or the probes.
        counts: units of each block, `(blocks,)`.
        images: how many were seen; an image that came twice counts twice.
        mode: how it was measured.
    """

    name: str
    weight: np.ndarray
    sums: np.ndarray
    counts: np.ndarray
    images: int
    mode: Mode

    @cached_property
    def cnfm(self) -> FilterForm:
        """W^T W."""
        return FilterForm(self.weight)

    @property
    def core(self) -> np.ndarray:
        """D, the mean over the images, `(groups, k, k)`."""
        return np.asarray(self.sums.sum(axis=0) / self.counts.sum())

    @property
    def agop(self) -> FilterForm:
        """G = W^T D W, the mean over the images."""
        return self.cnfm.with_core(self.core)

    @property
    def noisy(self) -> bool:
        """Whether blocks are noisy estimates of one matrix, rather than parts of the images."""
        return self.mode == "probe"

    def by_blocks(self, entries: Entries = "pearson") -> BlockCorrelation:
        """Correlation of CNFM and AGOP, from all blocks or from some.

        Raises:
            ProbeError: too few probes for the correction.
        """
        return BlockCorrelation(self.cnfm, self._block_forms, self.counts, entries, noisy=self.noisy)

    def correlation(self, entries: Entries = "pearson") -> Estimate:
        """Correlation of CNFM and AGOP, for the probes' noise corrected, with its interval.

        Raises:
            ProbeError: too few probes for the correction.
        """
        return self.by_blocks(entries).estimate()

    @cached_property
    def _block_forms(self) -> list[FilterForm]:
        """W^T D W of each block's sum."""
        return [self.cnfm.with_core(core) for core in self.sums]
