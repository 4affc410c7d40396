"""Functions of one thread: loads and stores, window sums, the arc cosine, and the first layer of a pair of images.

The mathematics of the arc cosine is that of `convrfm.kernels.compiled.simd`: with d = 1 - |r|, two polynomials in d.

The first layer goes from images to s, or to squared distances, at one position after another. What a thread reads lies
beside what its neighbours read: numbers of the images of the rows in blocks of `ROWS` images `(blocks, numbers, ROWS)`,
those of the columns in blocks of `COLUMNS`. They are pixels if M is the identity, and patches R x_u with M = R^T R
otherwise; or s was computed before, `(positions, n, m)`.
"""

import math
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numba import cuda

from convrfm.kernels.backends import LaplaceSpec
from convrfm.kernels.compiled.simd import arccos_coefficients, kappa1_coefficients
from convrfm.kernels.gpu.launch import COLUMNS, COVARIANCES, PIXELS, ROWS, THREADS, Plan

__all__ = [
    "Angles", "FirstLayer", "Windows", "along", "angles", "device", "divide", "first_layer", "load", "pair_norms",
    "pair_sides", "store", "windows",
]  # fmt: skip

TOGETHER = 4  # columns that a thread computes without a jump: instructions overlap, and places differ by constants

# Replaces a norm of zero in a division: the quotient then vanishes beside all else.
SHORTAGE = {np.dtype(np.float32): 1e30, np.dtype(np.float64): 1e300}


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
    """The last q - 1 numbers of a row, in a tuple, which stays in registers."""

    empty: tuple[Any, ...]  # a window of zeros
    shift: Any  # (window, number) to the next window
    total: Any  # the sum of a window


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
    """Make a loop over a row: (state, row) to the state after `column(i, state, row)` for i in range(columns)."""
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
    """Functions of r for one thread."""

    distance: Any  # d = 1 - |r|, and 0 where that is at most `collinear`
    kappas: Any  # (r, d) to kappa0(r) and kappa1(r)


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


class FirstLayer(NamedTuple):
    """Functions of one thread, called in this order.

    `sides` is (rows, its place, columns, its place), `room` and `start` say where the thread's numbers are.
    """

    begin: Any  # (sides, room, start, first), before a strip that begins at column `first`
    enter: Any  # (sides, y, first) to a window, before each row y of positions
    step: Any  # (sides, room, start, y, first, i, window) to s at column first + i, and the next window


@cache
def first_layer(plan: Plan) -> FirstLayer:
    """Functions for the kind of a plan."""
    if plan.kind == PIXELS:
        return _pixels(plan)
    return _covariances(plan) if plan.kind == COVARIANCES else _patches(plan)


def _product(plan: Plan) -> Any:
    """What two numbers of a pair contribute."""
    squared = isinstance(plan.spec, LaplaceSpec)

    @device
    def product(own, other):
        if squared:
            return (own - other) * (own - other)
        return own * other

    return product


def _pixels(plan: Plan) -> FirstLayer:
    """One product for each pixel, and then window sums: along the row in registers, across rows in the room."""
    channels, height, width = plan.shape
    zero, margin, stored = plan.dtype.type(0), plan.margin, plan.stored(0)
    empty, shift, total = windows(plan.spec.patch_size, plan.dtype)
    product, slots = _product(plan), max(1, plan.margin)

    @device
    def pixel(sides, place):
        rows, row, columns, column = sides
        value = zero
        for channel in range(channels):
            number = channel * height * width + place
            value += product(load(rows, row + number * ROWS), load(columns, column + number * COLUMNS))
        return value

    @device
    def enter_pixels(sides, line, first):
        window = empty
        for i in range(margin):
            window = shift(window, pixel(sides, line * width + first + i))
        return window

    @device
    def begin(sides, room, start, first):
        for line in range(margin):
            window = enter_pixels(sides, line, first)
            for i in range(stored):
                value = pixel(sides, line * width + first + i + margin)
                store(room, start + (line * stored + i) * THREADS, value + total(window))
                window = shift(window, value)

    @device
    def enter(sides, y, first):
        return enter_pixels(sides, y + margin, first)

    @device
    def step(sides, room, start, y, first, i, window):
        value = pixel(sides, (y + margin) * width + first + i + margin)
        along = value + total(window)
        s = along
        for line in range(margin):
            s += load(room, start + (line * stored + i) * THREADS)
        if margin > 0:
            store(room, start + (y % slots * stored + i) * THREADS, along)
        return s, shift(window, value)

    return FirstLayer(begin, enter, step)


def _without_windows(plan: Plan, at: Any) -> FirstLayer:
    """Functions that read each position by itself."""
    empty, columns = windows(plan.spec.patch_size, plan.dtype).empty, plan.grid(0)[1]

    @device
    def begin(sides, room, start, first):
        return

    @device
    def enter(sides, y, first):
        return empty

    @device
    def step(sides, room, start, y, first, i, window):
        return at(sides, y * columns + first + i), window

    return FirstLayer(begin, enter, step)


def _patches(plan: Plan) -> FirstLayer:
    zero, rank, product = plan.dtype.type(0), plan.rank, _product(plan)

    @device
    def at(sides, position):
        rows, row, columns, column = sides
        value = zero
        for number in range(position * rank, (position + 1) * rank):
            value += product(load(rows, row + number * ROWS), load(columns, column + number * COLUMNS))
        return value

    return _without_windows(plan, at)


def _covariances(plan: Plan) -> FirstLayer:
    @device
    def at(sides, position):
        s, pair, _, pairs = sides
        return load(s, pair + position * pairs)

    return _without_windows(plan, at)


@device
def _in_blocks(image, lanes, numbers):
    """Where an image starts among blocks of `lanes` images."""
    return image // lanes * lanes * numbers + image % lanes


def pair_sides(plan: Plan) -> Any:
    """A function of one thread that gives the `sides` of a pair, see `FirstLayer`."""
    covariances, numbers = plan.kind == COVARIANCES, plan.image_numbers

    @device
    def sides(rows, columns, row, column, n, padded):
        if covariances:
            return rows, row * padded + column, columns, n * padded
        return rows, _in_blocks(row, ROWS, numbers), columns, _in_blocks(column, COLUMNS, numbers)

    return sides


def pair_norms(plan: Plan) -> Any:
    """A function of one thread that gives the norms of a pair in the same form."""
    numbers = plan.offset(plan.spec.depth)

    @device
    def norms(rows, columns, row, column):
        return rows, _in_blocks(row, ROWS, numbers), columns, _in_blocks(column, COLUMNS, numbers)

    return norms
