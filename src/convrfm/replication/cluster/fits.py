"""Memory and time of a fit of ConvRFM or Deep ConvRFM, estimated from its size.

Both estimates walk through a fit as `convrfm.rfm.deep`, `convrfm.rfm.rounds` and the compiled backend (`convrfm.kernels.cpu`)
run it. The memory is the largest sum of what is alive at one time; rules request it, and jobs check that it is free. The time
is the work of each kind at the rates in `convrfm.replication.config.costs`. `benchmarks/memory.py` and `benchmarks/minutes.py`
compare both with real fits. Snakemake plans with this module, which therefore imports no numerical library.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from convrfm.errors import MachineError
from convrfm.replication.runs.protocols import RFM_CHOICES, VALIDATION_FRACTION
from convrfm.system.machine import free_memory

if TYPE_CHECKING:  # a preset's rates do not change the code of a fit
    from convrfm.replication.config.costs import Rates

__all__ = ["FitSize", "Shape", "Step", "Work", "check_memory", "fit_bytes", "fit_minutes", "fit_work"]

Shape = tuple[int, int, int]  # channels, height and width of an image
FLOAT = 4  # bytes of a float32, the type of images and kernels

SOLVER = 24
"""Bytes in the solver for each entry of a kernel matrix: the matrix in float64 and, where it is not positive definite, a copy
that LAPACK destroys and the eigenvectors. A Cholesky factorisation needs two of the three."""

LARGEST_BUDGET = 896 * 2**20
"""Most that kernels take by default beside their result; as in `convrfm.kernels.backends`, and all below as in `.cpu`."""

LARGEST_SIDE, FUSED_RANK, STRIP_BYTES = 2048, 96, 4 * 2**20
ROWS_OF_PRODUCTS, COLUMNS_OF_PRODUCTS = 32, 128

REVERSE = 3.5
"""Sweeps over the maps of a pair that its derivatives cost: forwards and backwards, with all layers kept."""

PADDED_PATCH, PADDED_OUTPUTS = 32, 5
"""Entries of a patch, and outputs, that the contraction of gradients processes together, as in `convrfm.kernels.compiled`."""

SOLVE_PASSES = 60
"""Operations per entry of a system beside its factorisation: norm, condition, residual, and the conversion to float64."""

ENTRY_PASSES = 12
"""Reads or writes of each entry of the kernel matrices in a round outside the solver: checks, scaling, predictions."""


def _resolved(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The section of a fit, with the choices of its protocol and the changes to them."""
    section = settings.get("rfm", settings)
    choices = RFM_CHOICES[settings["protocol"]]
    return {"stages": 1, "filters": 1, **section, **choices, **settings.get("changes", {})}


@dataclass(frozen=True)
class _Fit:
    """The settings of a fit on which its cost depends, as in `convrfm.rfm`; `depth` is None for the Laplace kernel."""

    stages: int
    filters: int
    rounds: int
    selection: str
    agop_samples: int | str
    patch_size: int
    depth: int | None

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Self:
        """Those in the settings of a job that fits a task (`rfm`) or prepared images (`features`)."""
        values = _resolved(settings)
        return cls(
            **{name: values[name] for name in ("stages", "filters", "rounds", "selection", "agop_samples")},
            patch_size=settings["patch_size"],
            depth=None if settings.get("kernel") == "laplace" else settings["depth"],
        )

    def fitted(self, n: int) -> int:
        """The part of n training images that predictors are fitted to; the rest validates."""
        return n - round(VALIDATION_FRACTION * n) if self.selection == "validation" else n

    def points(self, n: int) -> int:
        """Points at which the AGOP is averaged."""
        fitted = self.fitted(n)
        return fitted if self.agop_samples == "all" else min(int(self.agop_samples), fitted)


@dataclass(frozen=True)
class _Images:
    """Images of one stage; `depth` counts the convolutions of the kernel, None for the Laplace kernel."""

    shape: Shape
    patch_size: int
    depth: int | None

    @property
    def patch(self) -> int:
        """Entries of a patch, d."""
        return self.shape[0] * self.patch_size**2

    def sides(self, layer: int) -> tuple[int, int]:
        """Positions along both axes after so many convolutions; at least 1, since the job itself refuses smaller images."""
        lost = layer * (self.patch_size - 1)
        return max(1, self.shape[1] - lost), max(1, self.shape[2] - lost)

    def positions(self, layers: int) -> int:
        """Positions in all of the first so many layers."""
        return sum(math.prod(self.sides(layer)) for layer in range(1, 1 + layers))

    def next_stage(self, filters: int) -> Self:
        """The features of these images."""
        lost = self.patch_size - 1
        shape = (filters, self.shape[1] - lost, self.shape[2] - lost)
        return replace(self, shape=shape, depth=None if self.depth is None else self.depth - 1)


# Memory


@dataclass(frozen=True)
class _Stored(_Images):
    """Images of one stage in memory, with a metric or, in round 0, without; sizes, and the kernels' budget, are in bytes."""

    metric: bool
    budget: int

    @property
    def image(self) -> int:
        """One image."""
        return math.prod(self.shape) * FLOAT

    @property
    def _by_blas(self) -> bool:
        """Whether the covariances of the first layer are computed before the sweep, for a few rows of a tile."""
        return self.metric and self.patch > FUSED_RANK and self.depth is not None

    @property
    def _norms(self) -> int:
        """Norms of one image, at the positions of all layers."""
        return self.positions(self.depth or 0) * FLOAT

    @property
    def _unfolded(self) -> int:
        """All patches of one image."""
        return self.positions(1) * self.patch * FLOAT

    def _kept_patches(self, n: int) -> int:
        """Patches of n images, or their products with the metric, where they are kept, in half of the budget at most.

        A metric of lower rank makes patches smaller, which is only known once it is computed: they may be half as large.
        """
        size = n * self._unfolded
        if self._by_blas:
            return size if size <= self.budget / 2 else 0
        return min(size, self.budget // 2) if self.metric and size <= self.budget else 0

    def prepared(self, n: int) -> int:
        """What n images take beside themselves: a copy, norms, and patches where they are kept."""
        return n * (self.image + self._norms) + self._kept_patches(n)

    def preparing(self, n: int) -> int:
        """The peak on the way there: another copy of the images for their hashes, and the norms twice more."""
        turned = 0
        if self._by_blas:
            turned = (n if self._kept_patches(n) else min(n, COLUMNS_OF_PRODUCTS)) * self.image
        return self.prepared(n) + turned + n * max(self.image, 2 * self._norms)

    def _operands(self, n: int, m: int, rows: int) -> int:
        """What a sweep over n times m pairs, by so many rows, reads: the first layer, norms of the m, and inverses of all."""
        norms = (n + 2 * m) * self._norms
        if self._by_blas:
            m, rows = _padded(m, COLUMNS_OF_PRODUCTS), min(n, rows)
            products = 0 if self._kept_patches(n) else rows * self._unfolded
            return norms + m * self.image + self.positions(1) * rows * m * FLOAT + products
        if not self.metric:
            return norms + (n + m) * self.image
        # Patches that are not kept are cut out, multiplied and reordered.
        return norms + sum(k * self._unfolded * (1 if self._kept_patches(k) else 2) for k in (n, m))

    def gram_tile(self, n: int, m: int) -> int:
        """What a tile of a kernel matrix takes, with its entries until they are copied to their place."""
        left = self.budget - self._kept_patches(n)
        n, m = min(n, LARGEST_SIDE), min(m, LARGEST_SIDE)
        return min(left, self._operands(n, m, ROWS_OF_PRODUCTS) + 2 * n * m * FLOAT)

    def agop_tile(self, n: int, points: int) -> int:
        """What the AGOP takes at the points that it processes together, with n training images."""
        per_point = (1 if self.depth is None else 3 if self._by_blas else 2) * self.positions(1) * n * FLOAT
        per_point += self._unfolded if self._by_blas else 0
        together = max(1, min(points, LARGEST_SIDE, self.budget // 2 // per_point))
        height, width = self.sides(1)
        row = width * self.patch * FLOAT * (n + together)
        copies = 3 if self.metric and not self._by_blas and not self._kept_patches(n) else 1
        strip = max(row, min(STRIP_BYTES, height * row)) * copies
        return together * per_point + self._operands(together, n, 0) + strip


def fit_bytes(
    settings: Mapping[str, Any], n_train: int, n_test: int, shape: Shape, budget: int = LARGEST_BUDGET, *, filling: bool = False
) -> int:
    """Peak memory, in bytes, of one fit beside the program: its images, and what is made of them.

    Its settings are those of a job that fits a task (`rfm`) or prepared images (`features`). The budget is the bytes that
    kernels may take beside their result, where `memory_mb` is None. If it is `filling`, only parts of its kernel matrices are
    computed, tile by tile, without a fit.
    """
    fit = _Fit.of(settings)
    if settings["memory_mb"] is not None:
        budget = settings["memory_mb"] * 2**20
    return _peak(fit, n_train, n_test, _Stored(shape, fit.patch_size, fit.depth, False, budget), filling)


@cache
def _peak(fit: _Fit, n: int, m: int, images: _Stored, filling: bool) -> int:
    """The largest step; cached, since the thousands of fits of a plan have few sizes."""
    return max(_bytes_of_steps(fit, n, m, images, filling=filling))


def _bytes_of_steps(fit: _Fit, n: int, m: int, images: _Stored, *, filling: bool) -> Iterator[int]:
    """What is alive at each step of a fit that may be the largest; n training and m test images."""
    f, points = fit.fitted(n), fit.points(n)
    apart = n if f < n else 0  # fitted part and validation part are matrices of their own
    taken = (f if f < n else 0) + (points if points < f else 0)
    train, test = (0, 0) if filling else (FLOAT * n**2, FLOAT * m * n)
    blocks = train + test + FLOAT * f * apart
    earlier = 0  # training images in the features of the stages before
    for stage in range(fit.stages):
        if stage > 0:
            previous, images = images, images.next_stage(fit.filters)
            earlier += n * previous.image
            yield earlier + m * previous.image + (n + m) * images.image
        for used in (images, replace(images, metric=True))[: fit.rounds]:
            held = earlier + (n + m) * used.image
            yield held + used.preparing(n)
            held += used.prepared(n)
            yield held + train + used.gram_tile(n, n)
            yield held + train + used.preparing(m)
            yield held + train + used.prepared(m) + test + used.gram_tile(m, n)
            if filling:
                continue
            yield held + train + test + blocks
            yield held + blocks + max(SOLVER * n**2, 2 * FLOAT * m * n)
            if fit.rounds > 1 + used.metric:
                yield held + taken * used.image + used.prepared(taken) + used.agop_tile(f, points)


def check_memory(settings: Mapping[str, Any], n_train: int, n_test: int, shape: Shape, *, filling: bool = False) -> None:
    """Check that a fit to images that are already in memory has the rest that it needs; arguments as of `fit_bytes`.

    Raises:
        MachineError: it has not.
    """
    free = free_memory()
    budget = LARGEST_BUDGET if filling else min(LARGEST_BUDGET, free.size // 4)
    images = (n_train + n_test) * math.prod(shape) * FLOAT
    needed = fit_bytes(settings, n_train, n_test, shape, budget, filling=filling) - images
    if needed > free.size:
        msg = (
            f"A fit to {n_train} training and {n_test} test images needs {needed / 2**30:.1f} GiB beside them, but only "
            f"{free.size / 2**30:.1f} GiB are free {free.source}. Lower n_train, n_test, stages or filters, run fewer jobs at "
            "a time, or give the job more memory (on a cluster: memory_mb in the section costs)."
        )
        raise MachineError(msg)


# Time


@dataclass(frozen=True)
class FitSize:
    """What the cost of a fit depends on; attributes as the arguments of `fit_bytes`."""

    settings: Mapping[str, Any]
    n_train: int
    n_test: int
    shape: Shape
    outputs: int  # of the predictor, one for each class

    def memory_mb(self, *, filling: bool = False) -> int:
        """MiB that it takes beside the program, see `fit_bytes`."""
        return fit_bytes(self.settings, self.n_train, self.n_test, self.shape, filling=filling) // 2**20


class Step(NamedTuple):
    """A part of a fit that may be a job of its own, see `convrfm.replication.jobs.fits`; stages and rounds from 0."""

    stage: int
    round: int
    filling: bool  # the kernel matrices of the round; else what follows them


@dataclass(frozen=True)
class Work:
    """Amounts of work by kind, done one after the other; a fused multiply-add counts as two operations."""

    maps: float = 0.0  # arc-cosine maps, or exponentials of the Laplace kernel: one for each pair of images, position and layer
    pixels: float = 0.0  # operations of products of pixels, which give the first layer without a metric
    patches: float = 0.0  # operations of products of patches, with a metric, and of filters
    gradients: float = 0.0  # operations of the contraction of the AGOP
    solves: float = 0.0  # operations of the solver
    entries: float = 0.0  # entries of kernel matrices that are read or written

    def share(self, parts: int) -> "Work":
        """One of so many equal parts."""
        return Work(*(amount / parts for amount in vars(self).values()))

    def __add__(self, other: "Work") -> "Work":
        return Work(*(mine + theirs for mine, theirs in zip(vars(self).values(), vars(other).values(), strict=True)))


def fit_work(size: FitSize, step: Step | None = None) -> Work:
    """Count the work of a fit, or of one step."""
    fit, ridges = _Fit.of(size.settings), len(_resolved(size.settings)["ridges"])
    images = _Images(size.shape, fit.patch_size, fit.depth)
    work = _work_of_steps(fit, ridges, size.n_train, size.n_test, size.outputs, images)
    return sum(work.values(), Work()) if step is None else work.get(step, Work())


@cache
def _work_of_steps(fit: _Fit, ridges: int, n: int, m: int, outputs: int, images: _Images) -> dict[Step, Work]:
    """The work of each step; n training and m test images. Cached like `_peak`."""
    work: dict[Step, Work] = defaultdict(Work)
    f, points = fit.fitted(n), fit.points(n)
    systems = [f, n] if f < n else [n]
    for stage in range(fit.stages):
        if stage > 0:
            features = 2.0 * (n + m) * math.prod(images.shape) * images.patch_size**2 * fit.filters
            work[Step(stage, 0, filling=True)] += Work(patches=features)
            images = images.next_stage(fit.filters)
        maps, first, d = images.positions(images.depth or 1), images.positions(1), images.patch
        for t in range(fit.rounds):
            filling, fitting = Step(stage, t, filling=True), Step(stage, t, filling=False)
            pairs = n * n / 2 + n * m
            work[filling] += Work(maps=pairs * maps)
            if t == 0:
                work[filling] += Work(pixels=2.0 * pairs * math.prod(images.shape))
            else:
                work[filling] += Work(patches=2.0 * first * d * (pairs + (n + m) * d))
            solves = sum(k**3 / 3 + SOLVE_PASSES * k**2 for k in systems)
            work[fitting] += Work(solves=ridges * solves, entries=ENTRY_PASSES * n * (n + m))
            if t + 1 < fit.rounds:
                columns, wide = _padded(outputs, PADDED_OUTPUTS), _padded(d, PADDED_PATCH)
                gradients = 2.0 * first * points * columns * wide * (f + wide / 2)
                work[fitting] += Work(maps=REVERSE * f * points * maps, gradients=gradients)
    return dict(work)


def _padded(count: int, unit: int) -> int:
    return -(-count // unit) * unit


def fit_minutes(work: Work, rates: "Rates", threads: int) -> float:
    """Minutes that a job is expected to take for work at the rates of a core or a GPU, its start included.

    Threads beside a GPU do not count.
    """
    seconds = sum(amount / (1e9 * getattr(rates, kind)) for kind, amount in vars(work).items())
    return rates.start + seconds / 60 / (threads if rates.by_thread else 1)
