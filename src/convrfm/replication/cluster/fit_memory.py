"""How much memory a fit of ConvRFM or Deep ConvRFM takes: one estimate, for a rule to ask for and for its job to check.

It goes through a fit as `convrfm.rfm.deep`, `convrfm.rfm.rounds` and the compiled backend (`convrfm.kernels.cpu`) run it, and adds up
at each step what is alive at the same time; the largest sum counts. `benchmarks/memory.py` compares it with real fits. Rules
are planned with it, so it imports none of these modules.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from convrfm.errors import MachineError
from convrfm.replication.runs.protocols import RFM_CHOICES, VALIDATION_FRACTION
from convrfm.system.memory import free_memory

__all__ = ["FitChoices", "Shape", "check_memory", "fit_bytes", "resolved"]

Shape = tuple[int, int, int]
"""Channels, height and width of an image."""

FLOAT = 4
"""Bytes of a number in float32, in which images and kernels are."""

SOLVER = 24
"""Bytes for each entry of a kernel matrix in the solver: the matrix in float64, and, where it is not positive definite, a copy
that LAPACK destroys and the eigenvectors. The Cholesky factorisation takes two of the three."""

LARGEST_BUDGET = 896 * 2**20
"""What kernels take by default beside their result, at most; as in `convrfm.kernels.tiles`, and the next three in `.cpu`."""

LARGEST_SIDE, FUSED_RANK, STRIP_BYTES = 2048, 96, 4 * 2**20


@dataclass(frozen=True)
class _Images:
    """Images of one stage under a kernel, with a metric or, in round 0, without; sizes are in bytes.

    Attributes:
        shape: of an image.
        patch_size: q.
        depth: convolutions of the kernel; None for the Laplace kernel.
        metric: whether there is one.
        budget: what kernels may take beside their result.
    """

    shape: Shape
    patch_size: int
    depth: int | None
    metric: bool
    budget: int

    @property
    def image(self) -> int:
        """One image."""
        return math.prod(self.shape) * FLOAT

    def _sides(self, layer: int) -> tuple[int, int]:
        """Positions along both axes after so many convolutions; where there are none, the job says so in a sentence."""
        lost = layer * (self.patch_size - 1)
        return max(1, self.shape[1] - lost), max(1, self.shape[2] - lost)

    @property
    def _positions(self) -> int:
        return math.prod(self._sides(1))

    @property
    def _patch(self) -> int:
        return self.shape[0] * self.patch_size**2 * FLOAT

    @property
    def _by_blas(self) -> bool:
        """Whether the covariances of the first layer are computed before the sweep, for all pairs of a tile."""
        return self.metric and self._patch > FUSED_RANK * FLOAT and self.depth is not None

    @property
    def _norms(self) -> int:
        """Norms of an image, at the positions of all layers."""
        return sum(math.prod(self._sides(layer)) for layer in range(1, 1 + (self.depth or 0))) * FLOAT

    def _patches(self, n: int) -> int:
        """Patches of n images, where they are kept, in half of the budget at most.

        A metric whose rank is lower makes them smaller, which is known only once it is there: they may be half as large.
        """
        size = n * self._positions * self._patch
        return min(size, self.budget // 2) if self.metric and size <= self.budget else 0

    def prepared(self, n: int) -> int:
        """What n images take beside themselves."""
        return n * self._norms + self._patches(n)

    def preparing(self, n: int) -> int:
        """What it takes to get there: a copy of the images for their hashes, and the norms twice more."""
        return self.prepared(n) + n * max(self.image, 2 * self._norms)

    def _operands(self, n: int, m: int) -> int:
        """What a sweep over n times m pairs reads: the first layer, and the norms of the m in its order."""
        norms = m * self._norms
        if self._by_blas:
            return norms + self._positions * n * m * FLOAT + 3 * self._sides(1)[1] * self._patch * (n + m)
        if not self.metric:
            return norms + (n + m) * self.image
        # Patches that are not kept are cut out, multiplied and put in order.
        return norms + sum(k * self._positions * self._patch * (1 if self._patches(k) else 2) for k in (n, m))

    def gram_tile(self, n: int, m: int) -> int:
        """What a tile of a kernel matrix takes, and its entries until they are in their place."""
        left = self.budget - self._patches(n)
        n, m = min(n, LARGEST_SIDE), min(m, LARGEST_SIDE)
        return min(left, self._operands(n, m) + 2 * n * m * FLOAT)

    def agop_tile(self, n: int, points: int) -> int:
        """What the AGOP takes at the points that are gone through together, with n training images."""
        per_point = (1 if self.depth is None else 2) * self._positions * n * FLOAT
        together = max(1, min(points, LARGEST_SIDE, self.budget // 2 // per_point))
        row = self._sides(1)[1] * self._patch * (n + together)
        strip = max(row, min(STRIP_BYTES, self._sides(1)[0] * row)) * (3 if self.metric and not self._patches(n) else 1)
        return together * per_point + self._operands(together, n) + strip


def resolved(given: Mapping[str, Any]) -> dict[str, Any]:
    """The section of a fit with the choices of its protocol and the changes to them, from the settings of its job."""
    section = given.get("rfm", given)
    return {"stages": 1, "filters": 1, **section, **RFM_CHOICES[given["protocol"]], **given.get("changes", {})}


@dataclass(frozen=True)
class FitChoices:
    """The settings of a fit on which its cost depends; names as in `convrfm.rfm.deep` and `convrfm.rfm.rounds`.

    Attributes:
        depth: convolutions of the kernel; None for the Laplace kernel.
    """

    stages: int
    filters: int
    rounds: int
    selection: str
    agop_samples: int | str
    patch_size: int
    depth: int | None

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> "FitChoices":
        """Those of a job that fits a task (`rfm`) or prepared images (`features`), from its settings."""
        values = resolved(given)
        return cls(
            **{name: values[name] for name in ("stages", "filters", "rounds", "selection", "agop_samples")},
            patch_size=given["patch_size"],
            depth=None if given.get("kernel") == "laplace" else given["depth"],
        )

    def fitted(self, n: int) -> int:
        """Of n training images, those that predictors are fitted on; the others validate."""
        return n - round(VALIDATION_FRACTION * n) if self.selection == "validation" else n

    def points(self, n: int) -> int:
        """Points at which the AGOP is averaged."""
        fitted = self.fitted(n)
        return fitted if self.agop_samples == "all" else min(int(self.agop_samples), fitted)


def fit_bytes(
    given: Mapping[str, Any],
    n_train: int,
    n_test: int,
    shape: Shape,
    budget: int = LARGEST_BUDGET,
    *,
    filling: bool = False,
) -> int:
    """Memory that one fit takes at its peak beside the program: its images, and what is made of them.

    Args:
        given: settings of its job, which fits a task (`rfm`) or prepared images (`features`).
        n_train: training images.
        n_test: test images.
        shape: of each image.
        budget: bytes that kernels may take beside their result where `memory_mb` says nothing.
        filling: whether only parts of its kernel matrices are computed, tile by tile, and nothing is fitted to them.
    """
    fit = FitChoices.of(given)
    if given["memory_mb"] is not None:
        budget = given["memory_mb"] * 2**20
    return _peak(fit, n_train, n_test, _Images(shape, fit.patch_size, fit.depth, False, budget), filling)


@cache
def _peak(fit: FitChoices, n: int, m: int, images: _Images, filling: bool) -> int:
    """The largest of the steps; fits to thousands of pairs of classes share a few answers, and plans ask for each fit."""
    return max(_steps(fit, n, m, images, filling=filling))


def _steps(fit: FitChoices, n: int, m: int, images: _Images, *, filling: bool) -> Iterator[int]:
    """What is alive at each step of a fit that may be the largest; n training and m test images."""
    f, points = fit.fitted(n), fit.points(n)
    apart = n if f < n else 0  # fitted part and validation part are matrices of their own
    taken = (f if f < n else 0) + (points if points < f else 0)
    train, test = (0, 0) if filling else (FLOAT * n**2, FLOAT * m * n)
    blocks = train + test + FLOAT * f * apart
    earlier = 0  # training images in the features of the stages before
    for stage in range(fit.stages):
        if stage > 0:
            previous, lost = images, images.patch_size - 1
            sides = (images.shape[1] - lost, images.shape[2] - lost)
            depth = None if images.depth is None else images.depth - 1
            images = replace(images, shape=(fit.filters, *sides), depth=depth)
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


def check_memory(given: Mapping[str, Any], n_train: int, n_test: int, shape: Shape, *, filling: bool = False) -> None:
    """Check before a fit to images that are there already that what it takes beside them is free; arguments as of `fit_bytes`.

    Raises:
        MachineError: it is not.
    """
    free = free_memory()
    budget = LARGEST_BUDGET if filling else min(LARGEST_BUDGET, free.size // 4)
    needed = (
        fit_bytes(given, n_train, n_test, shape, budget, filling=filling)
        - (n_train + n_test) * math.prod(shape) * FLOAT
    )
    if needed > free.size:
        msg = (
            f"A fit to {n_train} training and {n_test} test images takes {needed / 2**30:.1f} GiB beside them, but "
            f"{free.size / 2**30:.1f} GiB are free {free.source}: lower n_train, n_test, stages or filters, run fewer jobs at "
            "a time, or give the job more memory (on a cluster, by memory_mb in the section costs)."
        )
        raise MachineError(msg)
