"""How long a fit of ConvRFM or Deep ConvRFM takes: one estimate, for a rule to ask for and for `snakemake cost` to show.

It goes through a fit as `convrfm.rfm.deep` and `convrfm.rfm.rounds` run it, and counts the work of each kind; the rates at which work
is done stand in `convrfm.replication.config.costs`. `benchmarks/minutes.py` compares it with real fits. Rules are planned with
it, so it imports none of these modules.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, NamedTuple

from convrfm.replication.cluster.fit_memory import FitChoices, Shape, fit_bytes, resolved
from convrfm.replication.config.costs import Rates

__all__ = ["FitSize", "Step", "Work", "fit_minutes", "fit_work"]

REVERSE = 3.5
"""Sweeps over the maps of a pair that its derivatives take: there and back, with all layers kept."""

PADDED_PATCH, PADDED_OUTPUTS = 32, 5
"""Numbers of a patch, and outputs, that the contraction of gradients takes at a time, as in `convrfm.kernels.compiled`."""

SOLVE_PASSES = 60
"""Operations for each entry of a system beside its factorisation: norm, condition, residual, and the conversion to float64."""

ENTRY_PASSES = 12
"""Times that the entries of kernel matrices are read or written in a round beside the solver: checks, scaling, predictions."""


@dataclass(frozen=True)
class FitSize:
    """What the cost of a fit depends on.

    Attributes:
        settings: of its job, which fits a task (`rfm`) or prepared images (`features`).
        n_train: training images.
        n_test: test images.
        shape: of each image.
        outputs: of the predictor, one for each class.
    """

    settings: Mapping[str, Any]
    n_train: int
    n_test: int
    shape: Shape
    outputs: int

    def memory_mb(self, *, filling: bool = False) -> int:
        """MiB that it takes beside the program, see `convrfm.replication.cluster.fit_memory.fit_bytes`."""
        return fit_bytes(self.settings, self.n_train, self.n_test, self.shape, filling=filling) // 2**20


class Step(NamedTuple):
    """A part of a fit that jobs of its own may do, see `convrfm.replication.jobs.fit_steps`.

    Attributes:
        stage: from 0.
        round: from 0.
        filling: the kernel matrices of the round; else what follows them.
    """

    stage: int
    round: int
    filling: bool


@dataclass(frozen=True)
class Work:
    """Work of one kind after the other; a fused multiply-add counts as two operations.

    Attributes:
        maps: arc-cosine maps, or exponentials of the Laplace kernel: one for each pair of images, position and layer.
        pixels: operations of products of pixels, which give the first layer where there is no metric.
        patches: operations of products of patches, where there is one, and of filters.
        gradients: operations of the contraction of the AGOP.
        solves: operations of the solver.
        entries: entries of kernel matrices that are read or written.
    """

    maps: float = 0.0
    pixels: float = 0.0
    patches: float = 0.0
    gradients: float = 0.0
    solves: float = 0.0
    entries: float = 0.0

    def share(self, parts: int) -> "Work":
        """One of so many equal parts."""
        return Work(*(amount / parts for amount in vars(self).values()))

    def __add__(self, other: "Work") -> "Work":
        """Both, one after the other."""
        return Work(*(mine + theirs for mine, theirs in zip(vars(self).values(), vars(other).values(), strict=True)))


@dataclass(frozen=True)
class _Images:
    """Images of one stage; `depth` is None for the Laplace kernel."""

    shape: Shape
    patch_size: int
    depth: int | None

    def positions(self, layer: int) -> int:
        """Positions after so many convolutions; where there are none, the job says so in a sentence."""
        lost = layer * (self.patch_size - 1)
        return max(1, self.shape[1] - lost) * max(1, self.shape[2] - lost)

    @property
    def maps(self) -> int:
        """Maps of a pair."""
        return sum(self.positions(layer) for layer in range(1, 1 + (self.depth or 1)))

    @property
    def patch(self) -> int:
        """Numbers in a patch, d."""
        return self.shape[0] * self.patch_size**2


def fit_work(size: FitSize, step: Step | None = None) -> Work:
    """Count the work of a fit, or of one step."""
    fit, ridges = FitChoices.of(size.settings), len(resolved(size.settings)["ridges"])
    images = _Images(size.shape, fit.patch_size, fit.depth)
    work = _work_of_steps(fit, ridges, size.n_train, size.n_test, size.outputs, images)
    return sum(work.values(), Work()) if step is None else work.get(step, Work())


@cache
def _work_of_steps(fit: FitChoices, ridges: int, n: int, m: int, outputs: int, images: _Images) -> dict[Step, Work]:
    """The work of each step; thousands of fits and steps of a plan share a few answers."""
    work: dict[Step, Work] = defaultdict(Work)
    for step, piece in _pieces(fit, ridges, n, m, outputs, images):
        work[step] += piece
    return dict(work)


def _pieces(fit: FitChoices, ridges: int, n: int, m: int, outputs: int, images: _Images) -> Iterator[tuple[Step, Work]]:
    """The work of a fit, piece by piece; n training and m test images."""
    f, points = fit.fitted(n), fit.points(n)
    systems = [f, n] if f < n else [n]
    for stage in range(fit.stages):
        if stage > 0:
            features = 2.0 * (n + m) * math.prod(images.shape) * images.patch_size**2 * fit.filters
            yield Step(stage, 0, filling=True), Work(patches=features)
            lost = images.patch_size - 1
            shape = (fit.filters, images.shape[1] - lost, images.shape[2] - lost)
            images = replace(images, shape=shape, depth=None if images.depth is None else images.depth - 1)
        first, d = images.positions(1), images.patch
        for t in range(fit.rounds):
            filling, fitting = Step(stage, t, filling=True), Step(stage, t, filling=False)
            pairs = n * n / 2 + n * m
            yield filling, Work(maps=pairs * images.maps)
            if t == 0:
                yield filling, Work(pixels=2.0 * pairs * math.prod(images.shape))
            else:
                yield filling, Work(patches=2.0 * first * d * (pairs + (n + m) * d))
            solves = sum(k**3 / 3 + SOLVE_PASSES * k**2 for k in systems)
            yield fitting, Work(solves=ridges * solves, entries=ENTRY_PASSES * n * (n + m))
            if t + 1 < fit.rounds:
                columns, wide = _padded(outputs, PADDED_OUTPUTS), _padded(d, PADDED_PATCH)
                gradients = 2.0 * first * points * columns * wide * (f + wide / 2)
                yield fitting, Work(maps=REVERSE * f * points * images.maps, gradients=gradients)


def _padded(count: int, unit: int) -> int:
    return -(-count // unit) * unit


def fit_minutes(work: Work, rates: Rates, threads: int) -> float:
    """Minutes that a job is expected to take for work of a fit, its start included.

    Args:
        work: that it does.
        rates: of a core, or of a GPU.
        threads: cores that work at a time; those beside a GPU do not count.
    """
    seconds = sum(amount / (1e9 * getattr(rates, kind)) for kind, amount in vars(work).items())
    return rates.start + seconds / 60 / (threads if rates.by_thread else 1)
