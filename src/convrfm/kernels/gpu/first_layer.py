"""From images to s, or to squared distances, at one position of the first layer after another, for one pair.

What a thread reads lies beside what its neighbours read: numbers of the images of the rows in blocks of `ROWS` images
`(blocks, numbers, ROWS)`, those of the columns in blocks of `COLUMNS`. They are pixels if M is the identity, and patches
R x_u with M = R^T R otherwise; or s was computed before, `(positions, n, m)`.
"""

from functools import cache
from typing import Any, NamedTuple

from convrfm.kernels.gpu.functions import device, load, store, windows
from convrfm.kernels.gpu.plan import COLUMNS, COVARIANCES, PIXELS, ROWS, THREADS, Plan
from convrfm.kernels.specs import LaplaceSpec

__all__ = ["FirstLayer", "first_layer", "pair_norms", "pair_sides"]


class FirstLayer(NamedTuple):
    """Functions of one thread, to be called in this order. `sides` is (rows, its place, columns, its place), `room` and
    `start` say where the thread's numbers are.

    Attributes:
        begin: (sides, room, start, first), before a strip that begins at column `first`.
        enter: (sides, y, first) to a window, before each row y of positions.
        step: (sides, room, start, y, first, i, window) to s at column first + i, and the next window.
    """  # noqa: D205

    begin: Any
    enter: Any
    step: Any


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
