"""The paper's own route: Neural Tangents on patch-expanded images, in double precision.

Each image becomes an image of its patches, multiplied by M^{1/2} and laid side by side without overlap; the first
convolution reads it with stride q (Appendix B of arXiv 2309.00570). The gradient with respect to each patch then comes
from JAX. It costs q^2 times the memory and orders of magnitude more time than the other backends; it is the oracle of
the tests, and can be chosen in the configuration.

Neural Tangents (Novak et al. 2020) is archived: it needs jax < 0.6, see the `oracle` extra.
"""

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from convrfm.errors import ConfigError
from convrfm.kernels.backends import ArcCosineSpec
from convrfm.kernels.reference import Patches
from convrfm.numerics.patches import power, unfold
from convrfm.system.machine import how_to_install

if TYPE_CHECKING:
    import jax

__all__ = [
    "OUT_OF_MEMORY", "agop_side", "agop_sum", "expand_patches", "gram_side", "gram_tile", "kernel_function", "prepare",
]  # fmt: skip

OUT_OF_MEMORY = (MemoryError,)

PAIRS_PER_CALL = 400  # kernel entries computed by one call, which bounds the memory


@cache
def kernel_function(spec: ArcCosineSpec) -> Callable[[Any, Any], Any]:
    """Compile the kernel of two batches of patch-expanded images `(n, P q, Q q, c)`."""
    try:
        import jax
        from neural_tangents import stax
    except ImportError as error:
        msg = f"The backend neural-tangents cannot be imported ({error}), and needs jax < 0.6: {how_to_install('oracle')}"
        raise ConfigError(msg) from error

    q = spec.patch_size
    # ABRelu(0, sqrt 2) is the ReLU that keeps the variance.
    layers = []
    for depth in range(spec.depth):
        strides = (q, q) if depth == 0 else (1, 1)
        layers += [stax.Conv(1, (q, q), strides, W_std=float(q), b_std=None), stax.ABRelu(0.0, 2.0**0.5)]
    _, _, kernel = stax.serial(*layers, stax.Flatten(), stax.Dense(1, W_std=1.0, b_std=None))
    name = "ntk" if spec.tangent else "nngp"

    def entries(x: "jax.Array", z: "jax.Array") -> "jax.Array":
        return kernel(x, z, name)

    compiled: Callable[[Any, Any], Any] = jax.jit(entries)
    return compiled


def expand_patches(patches: Any, channels: int, q: int) -> Any:
    """Lay patches `(n, P, Q, d)` side by side: `(n, P q, Q q, c)`, for NumPy and JAX arrays."""
    n, rows, columns, _ = patches.shape
    tiles = patches.reshape(n, rows, columns, channels, q, q)
    return tiles.transpose(0, 1, 4, 2, 5, 3).reshape(n, rows * q, columns * q, channels)


def prepare(images: np.ndarray, metric: np.ndarray | None, spec: ArcCosineSpec, memory: int) -> Patches:
    """Cut images into patches, with M^{1/2} as their matrix."""
    values = unfold(images.astype(np.float64), spec.patch_size)
    dimension = values.shape[-1]
    return Patches(values, np.eye(dimension) if metric is None else power(metric, 0.5), images.shape[1])


def gram_side(prepared: Patches, spec: ArcCosineSpec, memory: int) -> int:
    """All images: the entries are computed in calls of `PAIRS_PER_CALL`."""
    return len(prepared)


def gram_tile(left: Patches, right: Patches | None, spec: ArcCosineSpec) -> np.ndarray:
    """Kernel matrix `(n, m)`, float64."""
    kernel = kernel_function(spec)
    from jax.experimental import enable_x64

    rows, columns = (
        expand_patches(side.values @ side.matrix, side.channels, spec.patch_size)
        for side in (left, left if right is None else right)
    )
    step = max(1, PAIRS_PER_CALL // len(columns))
    with enable_x64():
        return np.concatenate([np.asarray(kernel(rows[i : i + step], columns)) for i in range(0, len(rows), step)])


def agop_side(train: Patches, outputs: int, spec: ArcCosineSpec, memory: int) -> int:
    """One point at a time."""
    return 1


def agop_sum(train: Patches, points: Patches, alpha: np.ndarray, spec: ArcCosineSpec, memory: int) -> np.ndarray:
    """Sum of the patch-AGOP `(d, d)`, float64: one reverse pass for each output and point, as the authors do it."""
    kernel = kernel_function(spec)
    import jax
    from jax.experimental import enable_x64

    def expand(patches: Any) -> Any:
        return expand_patches(patches @ train.matrix, train.channels, spec.patch_size)

    with enable_x64():
        images = jax.numpy.asarray(expand(train.values))
        coefficients = jax.numpy.asarray(alpha, dtype="float64")

        def predict(patches: jax.Array) -> jax.Array:
            return kernel(expand(patches[None]), images)[0] @ coefficients

        jacobian = jax.jit(jax.jacrev(predict))
        total = np.zeros_like(train.matrix)
        for point in points.values:
            gradient = np.asarray(jacobian(point)).reshape(-1, len(total))
            total += gradient.T @ gradient
    return total
