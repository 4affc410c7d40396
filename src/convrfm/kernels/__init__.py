"""Convolutional kernels with a learned patch metric: one protocol (`gram`, `patch_agop`), several backends."""

from convrfm.kernels.bandwidth import median_bandwidth
from convrfm.kernels.base import CNNGP, CNTK, ConvolutionalKernel, PatchLaplace

__all__ = ["CNNGP", "CNTK", "ConvolutionalKernel", "PatchLaplace", "median_bandwidth"]
