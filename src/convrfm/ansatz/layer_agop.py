"""What is known of the patch-AGOP of one convolution; `convrfm.ansatz.agop` measures it."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from convrfm.ansatz.block_estimates import BlockCorrelation, Estimate
from convrfm.ansatz.filter_forms import Entries, FilterForm

__all__ = ["LayerAgop", "Mode"]

Mode = Literal["exact", "probe"]


@dataclass(frozen=True)
class LayerAgop:
    """The patch-AGOP of one convolution, in parts that show how sure it is.

    Attributes:
        name: of the convolution in the network.
        weight: the filters W that it applied, `(groups, k, d)`, float32 or float64 as the network; d in the patch order
            (channel, row, column).
        sums: cores summed over the units of each block, `(blocks, groups, r, r)` float64, r = min(k, d). A core is D, or
            for k > d V^T D V, see `convrfm.ansatz.filter_forms`. A unit is an image in the exact mode, an image with a
            probe in the probe mode; blocks part the images, or the probes.
        counts: units of each block, `(blocks,)`.
        images: how many were seen; an image that came twice counts twice.
        mode: how it was measured.
        computed: whether W is computed in the forward pass, as by weight standardisation, rather than the module's `weight`.
    """

    name: str
    weight: np.ndarray
    sums: np.ndarray
    counts: np.ndarray
    images: int
    mode: Mode
    computed: bool = False

    @cached_property
    def cnfm(self) -> FilterForm:
        """W^T W."""
        return FilterForm(self.weight)

    @property
    def core(self) -> np.ndarray:
        """The core of the AGOP, the mean over the images, `(groups, r, r)`: D, or V^T D V for k > d."""
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
        return BlockCorrelation(self.cnfm, self._block_forms(), self.counts, entries, noisy=self.noisy)

    def correlation(self, entries: Entries = "pearson") -> Estimate:
        """Correlation of CNFM and AGOP, for the probes' noise corrected, with its interval; NaN if the AGOP vanishes.

        Raises:
            ProbeError: too few probes for the correction.
        """
        return self.by_blocks(entries).estimate()

    def _block_forms(self) -> list[FilterForm]:
        """W^T D W of each block's sum; not kept, as they are as large as the sums."""
        return [self.cnfm.with_core(core) for core in self.sums]
