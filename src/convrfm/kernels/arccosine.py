"""arccos for compiled code: sqrt(1 - |r|) times a polynomial, free of branches, which vectorises on every CPU.

arccos(r) / sqrt(1 - r) is analytic on [0, 1], with its nearest singularity at r = -1, so that its Chebyshev interpolant
converges by a factor 5.8 with each degree: degree 9 reaches float32 rounding, degree 23 an error of 2e-14. Negative
arguments use arccos(r) = pi - arccos(-r).
"""

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numba.extending import overload

__all__ = ["DEGREES", "arccos"]

DEGREES = {"float32": 9, "float64": 23}
"""Degree of the polynomial by dtype."""


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
