"""Small functions of one thread: loads and stores, sums over windows, and the arc cosine's two kernel functions.

The mathematics is that of `convrfm.kernels.compiled.functions`: with d = 1 - |r|, two polynomials in d.
"""

import math
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numba import cuda

from convrfm.kernels.compiled.functions import arccos_coefficients, kappa1_coefficients

__all__ = ["Angles", "Windows", "along", "angles", "device", "divide", "load", "store", "windows"]

TOGETHER = 4
"""Columns that a thread computes without a jump: their instructions overlap, and places differ by constants."""

SHORTAGE = {np.dtype(np.float32): 1e30, np.dtype(np.float64): 1e300}
"""What stands for a norm that is zero, where something is divided by it: the quotient then vanishes beside all else."""


def device(function: Callable[..., Any]) -> Any:
    """Make a function of one thread, with square roots and quotients of float32 to a few units in the last place."""
    return cuda.jit(device=True, fastmath=True)(function)


@device
def load(array, place):
    """Read flat[place]; places are unsigned, or Numba would look for negative ones."""
    return array[np.uint64(place)]


@device
def store(array, place, value):
    """Write flat[place]; see `load`."""
    array[np.uint64(place)] = value


@cache
def divide(dtype: np.dtype) -> Any:
    """A function of one thread that divides by a norm, with a quotient next to zero where the norm is zero."""
    zero, shortage = dtype.type(0), dtype.type(SHORTAGE[dtype])

    @device
    def quotient(value, norm):
        return value / (norm if norm > zero else shortage)

    return quotient


class Windows(NamedTuple):
    """The last q - 1 numbers of a row, as a tuple, so that they stay in registers.

    Attributes:
        empty: a window of zeros.
        shift: (window, number) to the next window.
        total: the sum of a window.
    """

    empty: tuple[Any, ...]
    shift: Any
    total: Any


@cache
def windows(q: int, dtype: np.dtype) -> Windows:
    """Windows for patches of size q; with q = 1 they hold a zero that is never replaced."""

    @device
    def unchanged(window, number):
        return window

    @device
    def shift(window, number):
        return (*window[1:], number)

    return Windows((dtype.type(0),) * max(1, q - 1), shift if q > 1 else unchanged, _total(max(1, q - 1)))


def _total(count: int) -> Any:
    """The sum of a tuple of `count` numbers, without a loop over it: an index that varies would move it to memory."""
    if count == 1:

        @device
        def only(window):
            return window[0]

        return only
    others = _total(count - 1)

    @device
    def total(window):
        return window[0] + others(window[1:])

    return total


def along(column: Any, columns: int) -> Any:
    """Make a loop over a row of positions: (state, row) to the state after `column(i, state, row)` for i in range(columns)."""
    chunks, rest = divmod(columns, TOGETHER)
    many, few = _unrolled(column, TOGETHER), _unrolled(column, rest)

    @device
    def run(state, row):
        for chunk in range(chunks):
            state = many(chunk * TOGETHER, state, row)
        return few(chunks * TOGETHER, state, row)

    return run


def _unrolled(column: Any, count: int) -> Any:
    if count == 0:

        @device
        def nothing(i, state, row):
            return state

        return nothing
    others = _unrolled(column, count - 1)

    @device
    def first(i, state, row):
        return others(i + 1, column(i, state, row), row)

    return first


def _polynomial(coefficients: list[float], dtype: np.dtype) -> Any:
    highest, *rest = (dtype.type(coefficient) for coefficient in reversed(coefficients))
    lower, count = tuple(rest), len(rest)

    @device
    def polynomial(d):
        value = highest
        for i in range(count):
            value = value * d + lower[i]
        return value

    return polynomial


class Angles(NamedTuple):
    """Functions of r for one thread.

    Attributes:
        distance: d = 1 - |r|, and 0 where that is at most `collinear`.
        kappas: (r, d) to kappa0(r) and kappa1(r).
    """

    distance: Any
    kappas: Any


@cache
def angles(dtype: np.dtype, signed: bool, collinear: float) -> Angles:
    """Make the functions of r; unsigned ones, for r >= 0, save a few instructions."""
    bits = 8 * dtype.itemsize
    arccos_factor = _polynomial(arccos_coefficients(bits), dtype)
    kappa1_factor = _polynomial(kappa1_coefficients(bits), dtype)
    zero, one, least = dtype.type(0), dtype.type(1), dtype.type(collinear)

    @device
    def distance(r):
        d = one - abs(r) if signed else one - r
        return d if d > least else zero

    @device
    def kappas(r, d):
        root = math.sqrt(d)
        angle, rest = root * arccos_factor(d), root * d * kappa1_factor(d)
        negative = signed and r < zero
        return (angle if negative else one - angle), (rest if negative else one - d + rest)

    return Angles(distance, kappas)
