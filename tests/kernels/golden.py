"""Cases whose kernel matrices and patch-AGOPs are pinned; run it to compute them with Neural Tangents."""

from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from convrfm.kernels import CNNGP, CNTK, ConvolutionalKernel
from kernels.cases import random_images, random_metric, singular_images

# kernel, depth, patch size, channels, height, width, with a metric
CASES = {
    "one layer": (CNTK, 1, 3, 3, 6, 5, True),
    "two layers, even patches": (CNTK, 2, 2, 2, 5, 7, False),
    "three layers": (CNTK, 3, 3, 1, 9, 8, True),
    "NNGP": (CNNGP, 2, 3, 2, 7, 7, True),
}


def inputs(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, np.ndarray]:
    """Training images, points (two of them training images, with black and flat patches), metric and alpha."""
    _, _, q, channels, height, width, with_metric = CASES[name]
    rng = np.random.default_rng(list(CASES).index(name))
    x = singular_images(rng, 5, channels, height, width)
    z = np.concatenate([x[[3, 0]], random_images(rng, 2, channels, height, width)])
    metric = random_metric(rng, channels * q * q) if with_metric else None
    return x, z, metric, rng.standard_normal((5, 3))


def kernel(name: str, backend: str) -> ConvolutionalKernel:
    make, depth, q, *_ = CASES[name]
    return make(depth=depth, patch_size=q, backend=backend)


def main() -> None:
    arrays = {}
    for name in CASES:
        x, z, metric, alpha = inputs(name)
        oracle = kernel(name, "neural-tangents")
        arrays |= {f"{name}/x": x, f"{name}/z": z, f"{name}/alpha": alpha}
        if metric is not None:
            arrays[f"{name}/metric"] = metric
        arrays[f"{name}/gram"] = oracle.gram(x, z, metric)
        arrays[f"{name}/agop"] = oracle.patch_agop(x, z, alpha, metric)
    save_file(arrays, Path(__file__).with_name("golden.safetensors"))


if __name__ == "__main__":
    main()
