"""The protocol of convolutional kernels, and the classes that a user imports.

For images x, z of c channels, patches x_u, z_u of q x q pixels at position u, and a patch metric M, the kernel of a
network of L unpadded q x q convolutions (standard deviation q / sqrt(fan-in), no bias, sqrt(2) ReLU), flattened into a
linear layer, obeys, with s = x_u^T M z_u / c in the first layer and a sum over each q x q window after it (`box`):

    s, s_x, s_z   = box(k), box(k_x), box(k_z)            covariances before the nonlinearity
    T             = s + box(Theta)                        tangent kernel before the nonlinearity (T = s at first)
    r             = s / sqrt(s_x s_z)
    k             = sqrt(s_x s_z) kappa1(r),  k_x = s_x,  k_z = s_z
    Theta         = kappa0(r) T
    K             = mean_u k[u] + mean_u Theta[u]         (CNTK);   mean_u k[u]   (CNNGP)

    kappa0(r) = (pi - arccos r) / pi,   kappa1(r) = r kappa0(r) + sqrt(1 - r^2) / pi

Sources: Cho & Saul 2009 (kappa0, kappa1), Arora et al. 2019 (CNTK), Novak et al. 2020 (the parametrisation), Section 3
of arXiv 2309.00570 (the metric).

The patch-AGOP of f_o(z) = sum_i alpha_io K(x_i, z) is the mean over z of the sum over positions u and outputs o of
g g^T, with g the gradient of f_o with respect to the raw patch z_u, every patch taken as a variable of its own:

    g = (1/c) M [ sum_i alpha_io (dK/ds)[i, u] x_{i,u} + 2 (sum_i alpha_io (dK/ds_z)[i, u]) z_u ]

The patch Laplace kernel, in place of a network, is the mean over positions of exp(-||x_u - z_u||_M / bandwidth), with
||v||_M^2 = v^T M v. Its gradient with respect to z_u is -K_u M (z_u - x_u) / (bandwidth ||z_u - x_u||_M), and zero for
patches closer than `CLOSEST`. Source: Radhakrishnan et al. 2022 (arXiv 2212.13881) for whole inputs; Section 3 of arXiv
2309.00570 names it for patches, whose average over positions is ours: no formula or code of it was published.

Singular points follow one rule, at each position and layer: where 1 - r^2 <= `SINGULARITY[dtype]`, derivatives lack the
terms that contain dr and keep the rest; where a norm is zero, r is 0, dk/ds = kappa0 = 1/2 is kept and the terms of s_z
are zero. This is what Neural Tangents computes in double precision.

A certificate compares a random sub-block of a kernel matrix with the same entries in double precision. A difference near the
smallest eigenvalue, or a negative eigenvalue beyond a ridge, says that the matrix in use is not the positive definite one of
the theory.
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, cast

import numpy as np

from convrfm.errors import ConfigError, ConvRFMWarning, ImageSizeError, InputError
from convrfm.kernels import backends
from convrfm.kernels.backends import ArcCosineSpec, Backend, LaplaceSpec, PreparedImages, Spec
from convrfm.kernels.gram_file import compute_gram_file, compute_gram_part
from convrfm.numerics.inputs import (
    as_images,
    as_numpy,
    check_finite,
    check_integer,
    generator,
    is_count,
    is_positive,
    like,
    one_of,
    refuse_first,
)
from convrfm.numerics.patches import box_sum, check_fits, check_metric, patch_dimension, warn_if_rank_one
from convrfm.system.machine import gpu_by_default, why_no_gpu
from convrfm.system.terminal import user_path

__all__ = [
    "BACKENDS", "CNNGP", "CNTK", "Certificate", "ConvolutionalKernel", "PatchLaplace", "certify", "median_bandwidth",
    "warn_if_vanishing",
]  # fmt: skip

BACKENDS = {
    "cpu": "convrfm.kernels.cpu",
    "cuda": "convrfm.kernels.cuda",
    "reference": "convrfm.kernels.reference",
    "torch": "convrfm.kernels.pytorch",
    "neural-tangents": "convrfm.kernels.neural_tangents",
}
"""Backends by name; each module is imported when it is first used."""

PAIRS = 256  # pairs of images whose patches are compared
SAMPLE = 64  # rows, and columns, of a kernel matrix that are looked at

# Median entry of different images (equal ones have 1) that counts as vanishing: patches lie 14 bandwidths apart.
VANISHING = 1e-6
IMAGES = 16  # images in the sub-block of a certificate


class ConvolutionalKernel:
    """A kernel on the patches of images, with an optional patch metric; see the formulas at the top of the module.

    Args:
        patch_size: q, at least 1; odd or even.
        backend: "cuda" (on all GPUs, in the dtype of the images), "cpu" (compiled, likewise), "reference" (plain NumPy
            in float64), "torch" (PyTorch, in float64, which alone has the rest of the family, see `CNTK`), "neural-tangents"
            (the paper's own route, in float64; slow), or "auto": cuda where there is a GPU and numba-cuda is installed, and
            cpu elsewhere.
        memory: bytes to take beside the images and the result; None takes a quarter of what is free, and 896 MiB at
            most, or with "cuda" a quarter of the GPU's free memory. It decides the size of tiles, and does not change a
            result beyond rounding.

    Raises:
        InputError: a size below one.
        ConfigError: an unknown backend, or "cuda" where it cannot be used.
    """

    def __init__(self, *, patch_size: int, backend: str = "auto", memory: int | None = None) -> None:
        check_integer("patch_size", patch_size)
        if memory is not None and not is_count(memory):
            msg = f"memory must be a positive whole number of bytes, or None, but it is {memory!r}."
            raise InputError(msg)
        if backend != "auto" and backend not in BACKENDS:
            msg = f"Unknown kernel backend {backend!r}: choose one of auto, {', '.join(BACKENDS)}."
            raise ConfigError(msg)
        self.patch_size = int(patch_size)
        if backend == "auto":
            backend = "cuda" if gpu_by_default() else "cpu"
        elif backend == "cuda" and (missing := why_no_gpu()) is not None:
            msg = f'{missing} Or choose backend="cpu" (or "auto", which falls back to it).'
            raise ConfigError(msg)
        self.backend = backend
        self.memory = None if memory is None else int(memory)

    @property
    def spec(self) -> Spec:
        """What defines the kernel."""
        raise NotImplementedError

    def shallower(self, layers: int) -> Self:
        """Give the kernel of the same network without its first `layers` convolutions.

        Raises:
            InputError: no convolution is left.
        """
        raise NotImplementedError

    def check_size(self, height: int, width: int) -> None:
        """Check that images of this size leave at least one position after all layers.

        Raises:
            ImageSizeError: they do not.
        """
        check_fits(height, width, self.patch_size, self.spec.depth)

    @property
    def _module(self) -> Backend:
        return cast("Backend", import_module(BACKENDS[self.backend]))

    @property
    def _bytes(self) -> int:
        return backends.default_memory(self._module) if self.memory is None else self.memory

    def prepare(self, X: Any, metric: Any = None) -> PreparedImages:
        """Check images and bring them under a metric, once for several calls of `gram` and `patch_agop`.

        Args:
            X: images `(n, channels, height, width)`, array or tensor, float32 or float64. They are copied: later
                changes of the array have no effect.
            metric: `(d, d)` symmetric PSD, d = channels q q, in the order of `convrfm.numerics.patches`; None is the identity.
                Its scale matters. The arc-cosine kernels warn of rank one, under which all patches are collinear.

        Raises:
            InputError, ImageSizeError, NonFiniteError, MetricError: see `convrfm.errors`.
        """
        return self._prepare(as_images(X, "The images").copy(), metric, X)

    def _prepare(self, images: np.ndarray, metric: Any, template: Any) -> PreparedImages:
        """Bring checked images under a metric; they are shared."""
        self.check_size(*images.shape[2:])
        matrix = None
        if metric is not None:
            matrix = check_metric(as_numpy(metric, "metric"), patch_dimension(images.shape[1], self.patch_size))
            if isinstance(self.spec, ArcCosineSpec):
                warn_if_rank_one(matrix)
        form = self._module.prepare(images, matrix, self.spec, self._bytes)
        return PreparedImages(images, matrix, self.spec, self.backend, form, template)

    def gram(
        self, X: Any, Z: Any = None, metric: Any = None, *, out: str | Path | None = None, part: tuple[int, int] | None = None
    ) -> Any:
        """Give the kernel matrix K(X_i, Z_j).

        In the backends cpu and cuda, entries of images that are equal pixel by pixel are set in closed form, and those
        of the CNTK for nearly equal images are computed in float64, see `convrfm.kernels.batches`.

        Args:
            X: images `(n, channels, height, width)`, array or tensor, float32 or float64; or prepared images.
            Z: images `(m, channels, height, width)`, or prepared images; None is X, and computes one triangle.
            metric: as in `prepare`; None for prepared images, which carry theirs.
            out: a `.npy` file (`~` is the home folder) for a matrix larger than memory. Called again with the same
                arguments, an interrupted computation continues from its finished tiles; the file has its name only once
                it is complete. See `convrfm.kernels.gram_file`.
            part: (i, k) computes the tiles of part i of k alone, i from 0 to k - 1, and writes them to a file of their
                own beside `out`: for several jobs, on several machines. A call with the same arguments and without
                `part` then joins the parts that it finds beside `out`, computes what is missing, and removes them. The
                bits are those of one job, as long as all have the same `memory`.

        Returns:
            `(n, m)`, of the kind (array or tensor) of X; float64 from the float64 backends. With `out`, a read-only
            array that stays on disk. With `part`, the path of its file.

        Raises:
            InputError, ImageSizeError, NonFiniteError, MetricError, StorageError: see `convrfm.errors`.
        """
        path = None if out is None else user_path(out)
        share = None if part is None else _checked_part(part, path)
        left, right = self._both_prepared(X, Z, metric)
        if path is not None:
            if share is not None:
                return compute_gram_part(path, self._module, left, right, self._bytes, share)
            gram = compute_gram_file(path, self._module, left, right, self._bytes)
            self._check_use(gram, symmetric=right is None)
            return gram
        other = None if right is None else right.form
        result = backends.gram(self._module, left.form, other, self.spec, self._bytes)
        check_finite(result, "The kernel matrix (pixels or metric of extreme size?)")
        self._check_use(result, symmetric=right is None)
        return like(result, left.template)

    def patch_agop(self, X: Any, Z: Any, alpha: Any, metric: Any = None) -> Any:
        """Give the patch-AGOP of the predictor f(z) = K(z, X) alpha: the mean over Z, see the top of the module.

        Args:
            X: training images `(n, channels, height, width)`, or prepared images.
            Z: points of evaluation `(m, channels, height, width)`, or prepared images; they may be training images.
            alpha: coefficients `(n, outputs)`.
            metric: as in `prepare`; the gradient is with respect to the raw patch, chain rule through M included.

        Returns:
            `(d, d)` float64, symmetric PSD up to rounding, of the kind of X.

        Raises:
            InputError, ImageSizeError, NonFiniteError, MetricError: see `convrfm.errors`.
        """
        train, points = self._both_prepared(X, Z, metric)
        coefficients = as_numpy(alpha, "alpha", integers=np.float64)
        if coefficients.ndim != 2 or len(coefficients) != len(train) or coefficients.shape[1] == 0:
            msg = f"alpha must have shape ({len(train)}, outputs >= 1), but its shape is {coefficients.shape}."
            raise InputError(msg)
        check_finite(coefficients, "alpha")
        # Near 1, where squares neither vanish nor overflow; a power of two changes no digit.
        scale = 2.0 ** math.frexp(np.abs(coefficients).max())[1]
        coefficients = np.ascontiguousarray(coefficients / scale, dtype=train.images.dtype)
        at = (train if points is None else points).form
        result = backends.patch_agop(self._module, train.form, at, coefficients, self.spec, self._bytes) * scale**2
        check_finite(result, "The patch-AGOP (pixels, metric or coefficients of extreme size?)")
        return like(result, train.template)

    def _check_use(self, gram: np.ndarray, *, symmetric: bool) -> None:
        """Warn about a kernel matrix that is correct but useless."""
        if isinstance(self.spec, LaplaceSpec):
            warn_if_vanishing(gram, symmetric=symmetric, bandwidth=self.spec.bandwidth)

    def _both_prepared(self, X: Any, Z: Any, metric: Any) -> tuple[PreparedImages, PreparedImages | None]:
        """Prepare what is not prepared yet, in one dtype and with one metric; None for Z that is X."""
        given = [images for images in (X, Z) if isinstance(images, PreparedImages)]
        for prepared in given:
            if metric is not None or (prepared.spec, prepared.backend) != (self.spec, self.backend):
                msg = "Prepared images carry their metric, and fit only the kernel and backend that prepared them."
                raise InputError(msg)
        if given:
            metric = given[0].metric
        left = X if isinstance(X, PreparedImages) else self._prepare(as_images(X, "The images"), metric, X)
        if Z is None or Z is X:
            return left, None
        right = Z if isinstance(Z, PreparedImages) else self._prepare(as_images(Z, "The images"), metric, Z)
        if left.images.shape[1:] != right.images.shape[1:] or left.images.dtype != right.images.dtype:
            msg = (
                "X and Z must hold images of one shape and dtype, but these are "
                f"{left.images.shape[1:]} {left.images.dtype} and {right.images.shape[1:]} {right.images.dtype}."
            )
            raise InputError(msg)
        if left.metric is not right.metric and not np.array_equal(left.metric, right.metric):  # type: ignore[arg-type]
            msg = "X and Z are prepared with different metrics."
            raise InputError(msg)
        return left, right


def _checked_part(part: Any, path: Path | None) -> tuple[int, int]:
    """Check (i, k) of a matrix in a file.

    Raises:
        InputError: not such a pair, or no file.
    """
    index, count = part if isinstance(part, tuple | list) and len(part) == 2 else (0, 0)
    if not (is_count(count) and is_count(index, least=0) and index < count):
        msg = f"part must be two integers (i, k), part i of k with i from 0 to k - 1, but it is {part!r}."
        raise InputError(msg)
    if path is None:
        msg = "part needs out: the parts of a kernel matrix are written beside its file."
        raise InputError(msg)
    return int(index), int(count)


class _ArcCosineKernel(ConvolutionalKernel):
    tangent: ClassVar[bool]

    def __init__(
        self,
        *,
        depth: int = 3,
        patch_size: int = 3,
        padding: Literal["valid", "zeros", "circular"] = "valid",
        stride: int | Sequence[int] = 1,
        activation: Literal["relu", "erf", "gelu"] = "relu",
        pooling: int | Literal["global"] | None = None,
        backend: str = "auto",
        memory: int | None = None,
    ) -> None:
        check_integer("depth", depth)
        check_integer("patch_size", patch_size)
        strides: tuple[Any, ...] = tuple(stride) if isinstance(stride, Sequence) and not isinstance(stride, str) else (stride,)
        self.padding, self.stride, self.activation = padding, stride, activation
        self.pooling: Any = pooling
        checks = {
            "stride must be an integer of at least 1, or one for each convolution": all(map(is_count, strides))
            and (is_count(stride) or len(strides) == depth),
            "pooling must be None, 'global' or an integer of at least 1": pooling is None
            or is_count(pooling)
            or (isinstance(pooling, str) and pooling == "global"),
            "padding must be 'valid' where patch_size is even": not isinstance(padding, str)
            or padding == "valid"
            or patch_size % 2 == 1,
        }
        options = {"padding": ("valid", "zeros", "circular"), "activation": ("relu", "erf", "gelu")}
        refuse_first(self, one_of(self, options) | checks)
        self.depth, self.patch_size = int(depth), int(patch_size)
        self.stride = tuple(map(int, strides)) if isinstance(stride, Sequence) else int(stride)
        self.pooling = pooling if pooling is None or isinstance(pooling, str) else int(pooling)
        self._strides = () if set(strides) == {1} else tuple(map(int, strides))
        if not self.spec.plain:
            if backend not in ("auto", "torch"):
                msg = f"{self._options()}: only the backend torch has this kernel, but backend is {backend!r}."
                raise ConfigError(msg)
            backend = "torch"
        super().__init__(patch_size=patch_size, backend=backend, memory=memory)

    def _options(self) -> str:
        """What differs from the paper's network, as keyword arguments."""
        default = {"padding": "valid", "stride": 1, "activation": "relu", "pooling": None}
        return ", ".join(f"{name}={getattr(self, name)!r}" for name, value in default.items() if getattr(self, name) != value)

    def __repr__(self) -> str:
        options = f"{self._options()}, " if self._options() else ""
        return f"{type(self).__name__}(depth={self.depth}, patch_size={self.patch_size}, {options}backend={self.backend!r})"

    def check_size(self, height: int, width: int) -> None:
        spec = self.spec
        if spec.plain:
            super().check_size(height, width)
            return
        sides = np.array([height, width])
        for layer in range(spec.depth):
            if sides.min() + 2 * spec.margin < spec.patch_size or sides.min() < spec.margin:
                sides = np.zeros(2, int)
                break
            before, sides = sides, (sides + 2 * spec.margin - spec.patch_size) // spec.stride(layer) + 1
            if len(spec.strides) < 2 and (sides == before).all():  # and so it goes on, however deep the network is
                break
        least = spec.pooling if isinstance(spec.pooling, int) else 1
        if sides.min() < least:
            msg = f"Images of {height}x{width} pixels are too small for {self!r}. Use a smaller depth, stride or pooling."
            raise ImageSizeError(msg)

    def shallower(self, layers: int) -> Self:
        if layers >= self.depth:
            msg = f"stages must be at most the depth of the kernel, {self.depth}: each takes one convolution."
            raise InputError(msg)
        stride = self.stride if isinstance(self.stride, int) else self.stride[layers:]
        return type(self)(
            depth=self.depth - layers, patch_size=self.patch_size, padding=self.padding, stride=stride,
            activation=self.activation, pooling=self.pooling, backend=self.backend, memory=self.memory,
        )  # fmt: skip

    @property
    def spec(self) -> ArcCosineSpec:
        """Depth, q, NTK or NNGP, and the options."""
        return ArcCosineSpec(
            self.depth, self.patch_size, self.tangent, self.padding, self._strides, self.activation, self.pooling
        )  # fmt: skip


class CNTK(_ArcCosineKernel):
    """Convolutional neural tangent kernel; by default of a ReLU network without padding, flattened into a linear layer.

    All backends compute the default. The rest of the family is computed by the backend "torch", in float64; see
    `convrfm.kernels.pytorch` for its formulas.

    Args:
        depth: number of convolutions L, at least 1.
        padding: of all convolutions: "valid" (none), or (q - 1) / 2 "zeros" or "circular" pixels on each side, for odd q.
        stride: of all convolutions, or one for each. A stride of the first one leaves out patches of the images.
        activation: "relu", "erf" or "gelu".
        pooling: average pooling before the linear layer: windows of p x p positions that do not overlap, "global" for all, or
            None. It needs all pairs of positions, and is for small images.
        patch_size, backend, memory: see `ConvolutionalKernel`.

    Raises:
        InputError: an option out of range, or padding for even q.
        ConfigError: an option that the backend does not have, or as for `ConvolutionalKernel`.
    """

    tangent = True


class CNNGP(_ArcCosineKernel):
    """Convolutional NNGP kernel of the same network: the covariance of its outputs at random initialisation.

    Args:
        depth, padding, stride, activation, pooling, patch_size, backend, memory: see `CNTK`.
    """

    tangent = False


class PatchLaplace(ConvolutionalKernel):
    """Mean over positions of the Laplace kernel of two patches.

    Args:
        bandwidth: positive, on the scale of ||x_u - z_u||_M: the default is for pixels in [0, 1]; `median_bandwidth`
            gives one for other images. `gram` warns where the kernel of different images all but vanishes.
        patch_size, backend, memory: see `ConvolutionalKernel`. The paper uses q = 7.

    Raises:
        InputError: the bandwidth is not positive and finite.
        ConfigError: the backend "neural-tangents", which has no such kernel.
    """

    def __init__(
        self, *, bandwidth: float = 10.0, patch_size: int = 7, backend: str = "auto", memory: int | None = None
    ) -> None:
        super().__init__(patch_size=patch_size, backend=backend, memory=memory)
        if isinstance(bandwidth, str):
            msg = (
                f"The bandwidth must be a number, but it is {bandwidth!r}: "
                "median_bandwidth(images, patch_size) gives the median of the training images."
            )
            raise InputError(msg)
        if not is_positive(bandwidth):
            msg = f"The bandwidth must be a positive and finite number, but it is {bandwidth!r}."
            raise InputError(msg)
        if self.backend in ("neural-tangents", "torch"):
            msg = f"The backend {self.backend} has no Laplace kernel of patches: choose cuda, cpu or reference."
            raise ConfigError(msg)
        self.bandwidth = float(bandwidth)

    def __repr__(self) -> str:
        return f"PatchLaplace(bandwidth={self.bandwidth}, patch_size={self.patch_size}, backend={self.backend!r})"

    def shallower(self, layers: int) -> Self:  # noqa: ARG002
        """Give this kernel: it has no layers to leave out."""
        return self

    @property
    def spec(self) -> LaplaceSpec:
        """Patch size and bandwidth."""
        return LaplaceSpec(self.patch_size, self.bandwidth)


def median_bandwidth(images: Any, patch_size: int) -> float:
    """Give the median distance of patches at equal positions in pairs of different images, on the scale of the pixels.

    Distances are Euclidean, as under the identity, the metric of round 0. At most 256 pairs are drawn, always the same.
    Equal patches, such as those of a black frame, are left out.

    Args:
        images: training images `(n, channels, height, width)`, array or tensor, at least two.
        patch_size: q.

    Raises:
        InputError: a single image, or images that are all equal.
        ImageSizeError, NonFiniteError: see `convrfm.errors`.
    """
    given = as_images(images, "The images")
    check_fits(given.shape[2], given.shape[3], patch_size, depth=1)
    if len(given) < 2:
        msg = "The median bandwidth needs at least two images: pass more images, or a number as bandwidth."
        raise InputError(msg)
    rng = generator(0, "bandwidth")
    first = rng.integers(len(given), size=PAIRS)
    second = (first + rng.integers(1, len(given), size=PAIRS)) % len(given)
    found = []
    for i, j in sorted({(min(pair), max(pair)) for pair in zip(first.tolist(), second.tolist(), strict=True)}):
        squares = ((given[i].astype(np.float64) - given[j]) ** 2).sum(axis=0)
        distances = np.sqrt(box_sum(squares, patch_size))
        found.append(distances[distances > 0])
    every = np.concatenate(found)
    if len(every) == 0:
        msg = "The median bandwidth is zero, since all drawn images are equal: pass others, or a number as bandwidth."
        raise InputError(msg)
    return float(np.median(every))


def warn_if_vanishing(gram: np.ndarray, *, symmetric: bool, bandwidth: float) -> None:
    """Warn where the Laplace kernel `(n, m)` of different images all but vanishes, which makes predictions noise.

    The diagonal of a symmetric one is of images with themselves.
    """
    rows, columns = (np.unique(np.linspace(0, size - 1, SAMPLE, dtype=int)) for size in gram.shape)
    entries = gram[np.ix_(rows, columns)]
    if symmetric:
        entries = entries[rows[:, None] != columns]
    if entries.size > 0 and np.median(entries) < VANISHING:
        warnings.warn(
            f"The Laplace kernel of different images all but vanishes (median {np.median(entries):.2g}; equal ones "
            f"have 1): the bandwidth {bandwidth:.3g} is far below the distances of patches, and predictions would be "
            "noise. Scale the images to [0, 1], or use median_bandwidth(images, patch_size), which is "
            'bandwidth="median" of the estimators (all stages use that of the first).',
            ConvRFMWarning,
            stacklevel=3,
        )


@dataclass(frozen=True)
class Certificate:
    """Accuracy of a kernel matrix; numbers are fractions of the largest entry of the sub-block.

    Attributes:
        images: size of the sub-block.
        spread: the largest difference between the entries in the dtype of the images and in float64.
        smallest_eigenvalue: of the sub-block in float64.
    """

    images: int
    spread: float
    smallest_eigenvalue: float


def certify(kernel: ConvolutionalKernel, images: np.ndarray, metric: np.ndarray | None, *, seed: int = 0) -> Certificate:
    """Certify the kernel matrix of some images `(n, channels, height, width)`.

    Args:
        kernel: the kernel; its backend computes in both dtypes.
        images: float32 or float64.
        metric: see `convrfm.kernels.ConvolutionalKernel.prepare`.
        seed: draws the sub-block, apart from all other random numbers.

    Raises:
        InputError, MetricError, NonFiniteError: as `convrfm.kernels.ConvolutionalKernel.gram`.
    """
    rng = generator(seed, "certificate")
    chosen = images[np.sort(rng.choice(len(images), min(IMAGES, len(images)), replace=False))]
    exact = kernel.gram(chosen.astype(np.float64), None, metric)
    spread = np.abs(kernel.gram(chosen, None, metric) - exact).max()
    largest = exact.max()
    if not largest > 0:  # all images black: nothing to compare
        return Certificate(len(chosen), 0.0, 0.0)
    return Certificate(len(chosen), float(spread / largest), float(np.linalg.eigvalsh(exact)[0] / largest))
