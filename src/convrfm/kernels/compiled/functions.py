"""The arc cosine's two kernel functions, and the exponential, on SIMD vectors.

With d = 1 - |r| in [0, 1] and w = sqrt(d), the two functions of `convrfm.kernels.base` are, without cancellation,

    kappa0(|r|) = 1 - w P(d),  kappa1(|r|) = |r| + w d R(d),  P(d) = arccos(1 - d) / (pi w)

and kappa0(-r) = 1 - kappa0(r), kappa1(-r) = kappa1(r) - r. P and R are analytic within |d| < 2: from the series of the
arcsine, P = sum_k p_k d^k with p_k = sqrt(2) C(2k, k) / (pi 8^k (2k + 1)), and since kappa1' = kappa0, R = sum_k p_k / (k +
3/2) d^k. Their Chebyshev interpolants on [0, 1] gain a factor 5.8 with each degree.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba.extending import intrinsic

from convrfm.kernels.compiled.simd import constant

__all__ = ["arccos_coefficients", "arccos_factor", "exp2_of_minus", "kappa1_coefficients", "kappa1_factor"]

TERMS = 60
"""Of the series: the rest is below 2^-60."""


def _series(d: np.ndarray, integrated: bool) -> np.ndarray:
    total = np.zeros_like(d)
    for k in reversed(range(TERMS)):
        coefficient = math.sqrt(2) * math.comb(2 * k, k) / (math.pi * 8**k * (2 * k + 1))
        total = total * d + (coefficient / (k + 1.5) if integrated else coefficient)
    return total


def _coefficients(function: Callable[[np.ndarray], np.ndarray], degree: int) -> list[float]:
    """Coefficients of the interpolant on [0, 1], in powers of its argument, lowest first; exact at 0."""
    chebyshev = np.polynomial.Chebyshev.interpolate(function, degree, domain=[0, 1])
    coefficients = chebyshev.convert(kind=np.polynomial.Polynomial, domain=[-1, 1]).coef.tolist()
    return [float(function(np.zeros(1))[0]), *coefficients[1:]]


def arccos_coefficients(bits: int) -> list[float]:
    """Coefficients of P(d), lowest power first, for numbers of 32 or 64 bits."""
    return _coefficients(lambda d: _series(d, integrated=False), {32: 6, 64: 19}[bits])


def kappa1_coefficients(bits: int) -> list[float]:
    """Coefficients of R(d), as `arccos_coefficients`."""
    return _coefficients(lambda d: _series(d, integrated=True), {32: 5, 64: 19}[bits])


def _horner(builder: Any, x: Any, coefficients: list[float]) -> Any:
    kind = x.type
    name = f"llvm.fma.v{kind.count}f{32 if isinstance(kind.element, ir.FloatType) else 64}"
    function = builder.module.globals.get(name) or ir.Function(builder.module, ir.FunctionType(kind, [kind] * 3), name)
    value = constant(kind, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        value = builder.call(function, [value, x, constant(kind, coefficient)])
    return value


def _polynomial(coefficients: Callable[[int], list[float]], summary: str) -> Any:
    """A function of a vector with entries in [0, 1], by coefficients for its bit width, which become immediates."""

    def polynomial(typing_context, x):
        chosen = coefficients(x.dtype.bitwidth)
        return x(x), lambda context, builder, signature, arguments: _horner(builder, arguments[0], chosen)

    polynomial.__doc__ = summary
    return intrinsic(polynomial)


arccos_factor = _polynomial(arccos_coefficients, "P(d), see the module.")
kappa1_factor = _polynomial(kappa1_coefficients, "R(d), see the module.")


@intrinsic
def exp2_of_minus(typing_context, x):
    """2^-x for x >= 0; exponents beyond the normal numbers give the smallest of them."""
    bits, bias, shift, degree = (32, 127, 23, 6) if x.dtype.bitwidth == 32 else (64, 1023, 52, 12)
    coefficients = _coefficients(lambda fraction: np.exp2(-fraction), degree)

    def generate(context, builder, signature, arguments):
        kind = arguments[0].type
        integers = ir.VectorType(ir.IntType(bits), kind.count)
        limit = constant(kind, float(bias - 1))
        clipped = builder.select(builder.fcmp_ordered("<", arguments[0], limit), arguments[0], limit)
        whole = builder.fptosi(clipped, integers)
        fraction = builder.fsub(clipped, builder.sitofp(whole, kind))
        power = builder.shl(builder.sub(constant(integers, bias), whole), constant(integers, shift))
        return builder.fmul(_horner(builder, fraction, coefficients), builder.bitcast(power, kind))

    return x(x), generate
