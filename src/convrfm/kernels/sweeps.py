"""The compiled recursion of `convrfm.kernels.base` and its reverse, for `LANES` pairs of images at a time (Numba).

A sweep takes the first-layer covariances `s[y, x, row, column]` of a tile of pairs. Each row is one task; its pairs go
through all layers in blocks of `LANES` columns, on maps `(P, Q, LANES)` that stay in cache, and each innermost loop
runs over the lanes, so that the compiler turns it into SIMD code. Window sums are separable and done in place.

Everything stands at module level, so that compiled code is cached on disk, and is generic in the dtype: constants
come in as a tuple of that dtype, and the patch size as the length of a tuple, which makes loops over a window unroll.
The cache knows a change of this file only: compiled code may call nothing that lies in another one.

The arc cosine is sqrt(1 - |r|) times a polynomial, without branches: arccos(r) / sqrt(1 - r) is analytic on [0, 1], with
its nearest singularity at r = -1, so that its Chebyshev interpolant converges by a factor 5.8 with each degree. Degree 9
reaches float32 rounding, degree 23 an error of 2e-14. Negative arguments use arccos(r) = pi - arccos(-r).
"""

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numba.extending import overload

from convrfm.kernels.base import SINGULARITY, KernelSpec

__all__ = ["DEGREES", "LANES", "arccos", "forward", "reverse"]

LANES = 32
"""Pairs handled together."""

DEGREES = {"float32": 9, "float64": 23}
"""Degree of the polynomial by dtype."""

# Contraction and reassociation let the compiler vectorise sums; NaN and infinities keep their meaning.
compiled = numba.njit(fastmath={"contract", "reassoc", "nsz", "arcp"}, cache=True)
compiled_parallel = numba.njit(fastmath={"contract", "reassoc", "nsz", "arcp"}, cache=True, parallel=True)


def _constants(dtype: np.dtype) -> tuple[Any, ...]:
    """0, 1/2, 1, 1/pi and the singularity threshold, in the dtype."""
    return tuple(dtype.type(value) for value in (0, 0.5, 1, 1 / np.pi, SINGULARITY[dtype]))


def forward(
    s: np.ndarray, norm_row: np.ndarray, inverse_row: np.ndarray, norm_column: np.ndarray, inverse_column: np.ndarray,
    spec: KernelSpec, out: np.ndarray,
) -> None:  # fmt: skip
    """Compute kernel entries.

    Args:
        s: covariances of the first layer `(P, Q, rows, columns)`, C-contiguous; columns is a multiple of `LANES`.
        norm_row: sqrt(s_x) at all positions of all layers, `(positions, rows)`.
        inverse_row: its inverse, 0 where it is 0.
        norm_column: the same for the columns, `(positions, columns)`.
        inverse_column: its inverse.
        spec: the kernel.
        out: `(rows, columns)`, filled.
    """
    window, weight = (0,) * spec.patch_size, s.dtype.type(spec.tangent)
    _forward(
        s, norm_row, inverse_row, norm_column, inverse_column, spec.depth, window, weight, _constants(s.dtype), out
    )  # fmt: skip


def reverse(
    s: np.ndarray, norm_row: np.ndarray, inverse_row: np.ndarray, norm_column: np.ndarray, inverse_column: np.ndarray,
    spec: KernelSpec, alpha: np.ndarray, own: np.ndarray,
) -> None:  # fmt: skip
    """Differentiate kernel entries with respect to the covariances and variances of the first layer.

    Args:
        s: as in `forward`; overwritten by dK/ds `(P, Q, rows, columns)`.
        norm_row: as in `forward`, and so are the next four.
        inverse_row: see there.
        norm_column: see there.
        inverse_column: see there.
        spec: see there.
        alpha: weights of the columns `(columns, outputs)`.
        own: `(P, Q, rows, outputs)`, filled with sum_columns (dK/ds_row) alpha.
    """
    window, weight = (0,) * spec.patch_size, s.dtype.type(spec.tangent)
    _reverse(
        s, norm_row, inverse_row, norm_column, inverse_column, spec.depth, window, weight, _constants(s.dtype),
        alpha, own,
    )  # fmt: skip


def _ratio(t: np.ndarray) -> np.ndarray:
    """arccos(r) / sqrt(1 - r) at r = (1 + t) / 2, without cancellation near r = 1."""
    distance = (1 - t) / 2  # 1 - r
    return 2 * np.arcsin(np.sqrt(distance / 2)) / np.sqrt(distance)


def arccos(r: Any) -> Any:
    """Arc cosine of a scalar r in [-1, 1], float32 or float64, in that type; to be called from compiled code."""
    return np.arccos(r)


@overload(arccos, inline="never")
def _compiled_arccos(r: Any) -> Callable[[Any], Any]:
    degree, real = DEGREES[r.name], getattr(np, r.name)
    chebyshev = np.polynomial.Chebyshev.interpolate(_ratio, degree)
    coefficients = chebyshev.convert(kind=np.polynomial.Polynomial).coef

    # Horner's rule as a chain of inlined functions: the coefficients become immediate operands.
    def leading(value: Any) -> Callable[[Any], Any]:
        constant = real(value)
        return numba.njit(lambda _: constant)

    def step(inner: Callable[[Any], Any], value: Any) -> Callable[[Any], Any]:
        constant = real(value)
        return numba.njit(lambda t: inner(t) * t + constant, fastmath={"contract"})

    polynomial = leading(coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        polynomial = step(polynomial, coefficient)
    zero, one, two, pi = real(0), real(1), real(2), real(np.pi)

    def implementation(r: Any) -> Any:
        size = abs(r)
        angle = np.sqrt(one - size) * polynomial(two * size - one)
        return angle if r >= zero else pi - angle

    return implementation


@compiled
def _sum_windows(maps, rows, columns, window):
    """Replace maps[y, x] by its sum over the window that starts there, in place; rows and columns before the sum."""
    q = len(window)
    flat = maps.reshape(maps.shape[0], maps.shape[1] * LANES)
    # In place, what is read lies ahead of what is written, by whole blocks of lanes.
    for y in range(rows):
        for e in range((columns - q + 1) * LANES):
            total = flat[y, e]
            for j in range(1, q):
                total += flat[y, e + j * LANES]
            flat[y, e] = total
    for y in range(rows - q + 1):
        for e in range((columns - q + 1) * LANES):
            total = flat[y, e]
            for j in range(1, q):
                total += flat[y + j, e]
            flat[y, e] = total


@compiled
def _spread_windows(maps, rows, columns, window, zero):
    """Transpose of `_sum_windows`, in place; rows and columns before the spread."""
    margin = len(window) - 1
    flat = maps.reshape(maps.shape[0], maps.shape[1] * LANES)
    for y in range(rows):
        for e in range(columns * LANES, (columns + margin) * LANES):
            flat[y, e] = zero
        # From the right, so that what is read has not been overwritten.
        for x in range(columns + margin - 1, 0, -1):
            for j in range(1, min(margin, x) + 1):
                for lane in range(LANES):
                    maps[y, x, lane] += maps[y, x - j, lane]
    for y in range(rows, rows + margin):
        for e in range((columns + margin) * LANES):
            flat[y, e] = zero
    for y in range(rows + margin - 1, 0, -1):
        for j in range(1, min(margin, y) + 1):
            for e in range((columns + margin) * LANES):
                flat[y, e] += flat[y - j, e]


@compiled
def _load(s, k, theta, row, first, zero):
    """Copy the covariances of one block of pairs to k, and clear theta."""
    for y in range(k.shape[0]):
        for x in range(k.shape[1]):
            for lane in range(LANES):
                k[y, x, lane] = s[y, x, row, first + lane]
                theta[y, x, lane] = zero


@compiled
def _activate(
    k, theta, rows, columns, offset, first, row, norm_row, inverse_row, norm_column, inverse_column, constants
):  # fmt: skip
    """One layer's nonlinearity in place: k holds s and theta box(Theta) on entry; k and Theta on return."""
    _, _, one, inverse_pi, _ = constants
    for y in range(rows):
        for x in range(columns):
            p = offset + y * columns + x
            norm, inverse = norm_row[p, row], inverse_row[p, row]
            for lane in range(LANES):
                s = k[y, x, lane]
                r = min(max(s * (inverse * inverse_column[p, first + lane]), -one), one)
                kappa0 = one - arccos(r) * inverse_pi
                sine = np.sqrt((one - r) * (one + r)) * inverse_pi
                k[y, x, lane] = norm * norm_column[p, first + lane] * (r * kappa0 + sine)
                theta[y, x, lane] = kappa0 * (s + theta[y, x, lane])


@compiled_parallel
def _forward(
    s, norm_row, inverse_row, norm_column, inverse_column, depth, window, tangent_weight, constants, out
):  # fmt: skip
    height, width, n, m = s.shape
    margin = len(window) - 1
    for row in numba.prange(n):
        k = np.empty((height, width, LANES), s.dtype)
        theta = np.empty((height, width, LANES), s.dtype)
        total = np.empty(LANES, s.dtype)
        for first in range(0, m, LANES):
            _load(s, k, theta, row, first, constants[0])
            rows, columns, offset = height, width, 0
            for layer in range(depth):
                if layer > 0:
                    _sum_windows(k, rows, columns, window)
                    _sum_windows(theta, rows, columns, window)
                    offset += rows * columns
                    rows -= margin
                    columns -= margin
                _activate(
                    k, theta, rows, columns, offset, first, row,
                    norm_row, inverse_row, norm_column, inverse_column, constants,
                )  # fmt: skip
            total[:] = constants[0]
            for y in range(rows):
                for x in range(columns):
                    for lane in range(LANES):
                        total[lane] += k[y, x, lane] + tangent_weight * theta[y, x, lane]
            for lane in range(LANES):
                out[row, first + lane] = total[lane] / s.dtype.type(rows * columns)


@compiled
def _activate_keeping(
    k, theta, rows, columns, offset, first, row, norm_row, inverse_row, norm_column, inverse_column, constants,
    kept_r, kept_kappa0, kept_slope,
):  # fmt: skip
    """As `_activate`, keeping r, kappa0 and T kappa0'(r) / sqrt(s_x s_z) for the reverse."""
    zero, _, one, inverse_pi, singularity = constants
    for y in range(rows):
        for x in range(columns):
            p = offset + y * columns + x
            norm, inverse = norm_row[p, row], inverse_row[p, row]
            for lane in range(LANES):
                s = k[y, x, lane]
                inverse_norms = inverse * inverse_column[p, first + lane]
                r = min(max(s * inverse_norms, -one), one)
                kappa0 = one - arccos(r) * inverse_pi
                square = (one - r) * (one + r)
                tangent = s + theta[y, x, lane]
                k[y, x, lane] = norm * norm_column[p, first + lane] * (r * kappa0 + np.sqrt(square) * inverse_pi)
                theta[y, x, lane] = kappa0 * tangent
                slope = tangent * inverse_norms * inverse_pi / np.sqrt(max(square, singularity))
                kept_r[p, lane] = r
                kept_kappa0[p, lane] = kappa0
                kept_slope[p, lane] = slope if square > singularity else zero


@compiled
def _pull(
    d_k, d_theta, d_row, rows, columns, offset, first, row, inverse_row, norm_column, constants,
    kept_r, kept_kappa0, kept_slope,
):  # fmt: skip
    """One layer of the reverse in place: d_k becomes dK/ds, d_theta dK/dT, and d_row gains dK/ds_row."""
    zero, half, one, inverse_pi, singularity = constants
    for y in range(rows):
        for x in range(columns):
            p = offset + y * columns + x
            half_inverse = half * inverse_row[p, row]
            for lane in range(LANES):
                r, kappa0, slope = kept_r[p, lane], kept_kappa0[p, lane], kept_slope[p, lane]
                square = (one - r) * (one + r)
                sine = np.sqrt(square) * inverse_pi if square > singularity else zero
                g_k, g_theta = d_k[y, x, lane], d_theta[y, x, lane]
                g_tangent = g_theta * kappa0
                d_k[y, x, lane] = g_k * kappa0 + g_theta * slope + g_tangent
                d_theta[y, x, lane] = g_tangent
                d_row[y, x, lane] += half_inverse * norm_column[p, first + lane] * (g_k * sine - g_theta * slope * r)


@compiled_parallel
def _reverse(
    s, norm_row, inverse_row, norm_column, inverse_column, depth, window, tangent_weight, constants, alpha, own
):  # fmt: skip
    height, width, n, m = s.shape
    margin = len(window) - 1
    zero, one = constants[0], constants[2]
    for row in numba.prange(n):
        # Maps of k and Theta on the way up, of the derivatives with respect to them on the way down.
        k = np.empty((height, width, LANES), s.dtype)
        theta = np.empty((height, width, LANES), s.dtype)
        d_row = np.empty((height, width, LANES), s.dtype)
        kept_r = np.empty((len(norm_row), LANES), s.dtype)
        kept_kappa0 = np.empty((len(norm_row), LANES), s.dtype)
        kept_slope = np.empty((len(norm_row), LANES), s.dtype)
        own[:, :, row] = zero
        for first in range(0, m, LANES):
            _load(s, k, theta, row, first, zero)
            rows, columns, offset = height, width, 0
            for layer in range(depth):
                if layer > 0:
                    _sum_windows(k, rows, columns, window)
                    _sum_windows(theta, rows, columns, window)
                    offset += rows * columns
                    rows -= margin
                    columns -= margin
                _activate_keeping(
                    k, theta, rows, columns, offset, first, row,
                    norm_row, inverse_row, norm_column, inverse_column, constants, kept_r, kept_kappa0, kept_slope,
                )  # fmt: skip
            weight = one / s.dtype.type(rows * columns)
            for y in range(rows):
                for x in range(columns):
                    for lane in range(LANES):
                        k[y, x, lane] = weight
                        theta[y, x, lane] = weight * tangent_weight
                        d_row[y, x, lane] = zero
            for layer in range(depth):
                if layer > 0:
                    _spread_windows(k, rows, columns, window, zero)
                    _spread_windows(theta, rows, columns, window, zero)
                    _spread_windows(d_row, rows, columns, window, zero)
                    rows += margin
                    columns += margin
                    offset -= rows * columns
                _pull(
                    k, theta, d_row, rows, columns, offset, first, row, inverse_row, norm_column, constants,
                    kept_r, kept_kappa0, kept_slope,
                )  # fmt: skip
            for y in range(height):
                for x in range(width):
                    for lane in range(LANES):
                        s[y, x, row, first + lane] = k[y, x, lane]
                    for o in range(alpha.shape[1]):
                        total = zero
                        for lane in range(LANES):
                            total += d_row[y, x, lane] * alpha[first + lane, o]
                        own[y, x, row, o] += total
