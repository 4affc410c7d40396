"""Convolutional kernels with a learned patch metric: one protocol (`gram`, `patch_agop`), several backends."""

from convrfm.kernels.base import CNNGP, CNTK, ConvolutionalKernel, PatchLaplace, median_bandwidth

__all__ = ["CNNGP", "CNTK", "ConvolutionalKernel", "PatchLaplace", "median_bandwidth"]
