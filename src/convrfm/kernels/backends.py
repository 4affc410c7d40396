"""What backends receive and offer, and how they compute kernel matrices and patch-AGOPs tile by tile.

A budget of memory decides the side of the tiles. If memory runs out all the same, the tile is halved, and so are those to come.
Tiles do not change a result beyond rounding.

A backend with several devices has a thread for each, and all take tiles from one queue. With a single device, that thread
computes the next tile while the last one is put in its place.
"""

import logging
import math
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, Protocol, TypeVar, runtime_checkable

import numpy as np

from convrfm.errors import InputError
from convrfm.system.machine import free_bytes
from convrfm.system.terminal import track

__all__ = [
    "CLOSEST", "ROUNDING", "SINGULARITY", "UNEQUAL", "ArcCosineSpec", "Backend", "DeviceBackend", "LaplaceSpec", "Preparation",
    "PreparedImages", "Spec", "Tile", "compute_tiles", "default_memory", "gram", "gram_tiles", "patch_agop",
    "place_tile",
]  # fmt: skip

SINGULARITY = {np.dtype(np.float64): 1e-12, np.dtype(np.float32): 1e-6}
"""Largest 1 - r^2 at which derivatives with respect to r are dropped, by dtype."""

ROUNDING = {np.dtype(real): 4 * float(np.finfo(real).eps) for real in (np.float32, np.float64)}
"""Largest 1 - |r| that counts as zero in a kernel matrix, by dtype: rounding of collinear patches."""

CLOSEST = 1e-10
"""Distance of two patches below which the gradient of the Laplace kernel is zero; or the rounding of their distance, `UNEQUAL`,
if that is larger."""

UNEQUAL = {np.dtype(real): 16 * float(np.finfo(real).eps) for real in (np.float32, np.float64)}
"""Rounding of the distance of equal patches under a metric, as a share of the largest norm of a patch, by dtype."""

LARGEST_DEFAULT = 896 * 2**20  # bytes taken by default beside the result, if a quarter of the free memory is more
SECONDS_BEFORE_PROGRESS = 5.0  # tiles are shown where they take longer than this, if the caller shows progress
MIRRORED_ROWS = 32  # rows of a tile that are written as columns at a time

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ArcCosineSpec:
    """`depth` layers, patch size q, and NTK (`tangent`) or NNGP; for the others see `convrfm.kernels.CNTK`."""

    depth: int
    patch_size: int
    tangent: bool
    padding: Literal["valid", "zeros", "circular"] = "valid"
    strides: tuple[int, ...] = ()  # of each layer; a single one for all; none where all are 1
    activation: Literal["relu", "erf", "gelu"] = "relu"
    pooling: int | Literal["global"] | None = None

    @property
    def plain(self) -> bool:
        """Whether it is the paper's network, which all backends compute."""
        return self == ArcCosineSpec(self.depth, self.patch_size, self.tangent)

    @property
    def margin(self) -> int:
        """Pixels, or positions, that padding adds on each side."""
        return 0 if self.padding == "valid" else (self.patch_size - 1) // 2

    def padded(self, images: np.ndarray) -> np.ndarray:
        """Images `(n, channels, height, width)` with the padding of the first convolution."""
        margins = [(0, 0)] * 2 + [(self.margin, self.margin)] * 2
        return np.pad(images, margins, mode="wrap" if self.padding == "circular" else "constant")

    def stride(self, layer: int) -> int:
        """Stride of a convolution."""
        if len(self.strides) < 2:
            return self.strides[0] if self.strides else 1
        return self.strides[layer]


@dataclass(frozen=True)
class LaplaceSpec:
    """Patch size q and bandwidth."""

    patch_size: int
    bandwidth: float

    @property
    def depth(self) -> int:
        """Convolutions: patches are read once."""
        return 1

    @property
    def plain(self) -> bool:
        """Whether it has no option beyond those of the paper: always."""
        return True

    def padded(self, images: np.ndarray) -> np.ndarray:
        """Images without padding."""
        return images

    def stride(self, layer: int) -> int:  # noqa: ARG002
        """Stride: patches are read at all positions."""
        return 1

    @property
    def rate(self) -> float:
        """Factor of the distance in -log2 of the kernel."""
        return math.log2(math.e) / self.bandwidth


Spec = ArcCosineSpec | LaplaceSpec


class Preparation(Protocol):
    """A backend's own form of a batch of images under a metric."""

    def __len__(self) -> int:
        """Number of images."""

    def take(self, indices: np.ndarray | slice) -> "Preparation":
        """Give some images of the batch."""


class Backend(Protocol):
    """What a backend module offers: images are prepared once for a metric, and used many times."""

    OUT_OF_MEMORY: tuple[type[BaseException], ...]
    """Exceptions that say that memory ran out."""

    def prepare(self, images: np.ndarray, metric: np.ndarray | None, spec: Spec, memory: int) -> Preparation:
        """Bring checked images `(n, c, h, w)` and a float64 metric into the backend's own form."""

    def gram_side(self, prepared: Any, spec: Spec, memory: int) -> int:
        """Images on a side of the tiles that fit into `memory` bytes."""

    def gram_tile(self, left: Any, right: Any | None, spec: Spec) -> np.ndarray:
        """Kernel matrix `(n, m)`; None means the left images, with a symmetric result."""

    def agop_side(self, train: Any, outputs: int, spec: Spec, memory: int) -> int:
        """Points of evaluation that fit into `memory` bytes."""

    def agop_sum(self, train: Any, points: Any, alpha: np.ndarray, spec: Spec, memory: int) -> np.ndarray:
        """Sum over the points of the patch-AGOP `(d, d)`, float64."""


@runtime_checkable
class DeviceBackend(Protocol):
    """What a backend offers in addition if it computes on devices with memory of their own."""

    def devices(self) -> list[AbstractContextManager[None]]:
        """The devices; a thread that enters one computes there."""

    def default_memory(self) -> int:
        """Bytes of a device to take by default."""


@dataclass(frozen=True)
class PreparedImages:
    """Images bound to a kernel and a metric, see `ConvolutionalKernel.prepare`; `len` gives their number.

    Attributes:
        images: `(n, channels, height, width)`, checked.
        metric: `(d, d)` float64, or None for the identity.
        spec: the kernel that they were prepared for.
        backend: name of the backend.
        form: the backend's own form.
        template: what the caller passed; results have its kind (array or tensor).
    """

    images: np.ndarray
    metric: np.ndarray | None
    spec: Spec
    backend: str
    form: Preparation
    template: Any

    def __len__(self) -> int:
        return len(self.images)

    def take(self, indices: Any) -> "PreparedImages":
        """Give some of the images, by numbers, a slice or a mask, without preparing them again.

        Raises:
            InputError: no images are left, or there are no such images.
        """
        try:
            chosen = np.arange(len(self))[indices if isinstance(indices, slice) else np.asarray(indices)]
        except IndexError:
            chosen = np.arange(0)
        if chosen.ndim != 1 or chosen.size == 0:
            msg = f"indices must choose at least one of the {len(self)} images, by numbers, a slice or a mask."
            raise InputError(msg)
        return replace(self, images=self.images[chosen], form=self.form.take(chosen))


Part = TypeVar("Part")
Result = TypeVar("Result")


class Tile(NamedTuple):
    """A part of a kernel matrix; on the diagonal of a symmetric matrix, rows and columns are equal."""

    rows: slice
    columns: slice

    @property
    def start(self) -> tuple[int, int]:
        """First row and column."""
        return self.rows.start, self.columns.start

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of rows and columns."""
        return self.rows.stop - self.rows.start, self.columns.stop - self.columns.start

    def halves(self, symmetric: bool) -> list["Tile"]:
        """Cut the longer side in two, or both sides of a tile on the diagonal; a single entry stays whole."""
        rows, columns = _halves(self.rows), _halves(self.columns)
        if symmetric and self.rows == self.columns:
            return [Tile(rows[i], columns[j]) for i in range(len(rows)) for j in range(i + 1)]
        if self.shape[0] >= self.shape[1]:
            return [Tile(part, self.columns) for part in rows]
        return [Tile(self.rows, part) for part in columns]


def _halves(part: slice) -> list[slice]:
    middle = (part.start + part.stop) // 2
    return [part] if middle == part.start else [slice(part.start, middle), slice(middle, part.stop)]


def _cut(count: int, side: int) -> list[slice]:
    return [slice(start, min(start + side, count)) for start in range(0, count, side)]


def default_memory(backend: Backend) -> int:
    """Bytes to take beside the result by default."""
    if isinstance(backend, DeviceBackend):
        return backend.default_memory()
    return min(free_bytes() // 4, LARGEST_DEFAULT)


def gram_tiles(n: int, m: int, side: int, symmetric: bool) -> list[Tile]:
    """Tiles of a kernel matrix `(n, m)`; of a symmetric one those on and below the diagonal."""
    rows, columns = _cut(n, side), _cut(m, side)
    return [Tile(row, column) for row in rows for column in columns if not symmetric or column.start <= row.start]


def _within_memory(
    parts: Iterable[Part],
    compute: Callable[[Part], Result],
    halves: Callable[[Part], list[Part]],
    errors: tuple[type[BaseException], ...],
) -> Iterator[list[tuple[Part, Result]]]:
    """For each part, give it and its result, or its pieces and theirs if memory did not suffice for the whole."""
    cuts = 0
    for part in parts:
        waiting, done = [(part, 0)], []
        while waiting:
            piece, times = waiting.pop()
            smaller = halves(piece)
            if times >= cuts or len(smaller) == 1:
                try:
                    done.append((piece, compute(piece)))
                    continue
                except errors:
                    if len(smaller) == 1:
                        raise
                    log.warning("Memory ran out: going on with tiles of half the size.")
                    cuts = times + 1
            waiting += [(half, times + 1) for half in reversed(smaller)]
        yield done


def _part(images: Any, part: slice) -> Any:
    return images if part == slice(0, len(images)) else images.take(part)


def _on_devices(
    devices: list[AbstractContextManager[None]], parts: list[Part], work: Callable[[Iterable[Part]], Iterator[Result]]
) -> Iterator[Result]:
    """Give `work(parts)` in the order in which it is done, by one thread for each device; an error ends all."""
    waiting, lock, stop = iter(parts), threading.Lock(), threading.Event()
    done: queue.SimpleQueue[Result | BaseException | None] = queue.SimpleQueue()
    # A device is at most one part ahead of the consumer, so results do not pile up.
    ahead = threading.Semaphore(2 * len(devices))

    def take() -> Iterator[Part]:
        while True:
            ahead.acquire()
            with lock:
                if stop.is_set() or (part := next(waiting, None)) is None:
                    return
            yield part

    def run(device: AbstractContextManager[None]) -> None:
        try:
            with device:
                for result in work(take()):
                    done.put(result)
        except BaseException as error:  # noqa: BLE001
            done.put(error)
        else:
            done.put(None)

    threads = [threading.Thread(target=run, args=(device,), daemon=True) for device in devices]
    for thread in threads:
        thread.start()
    try:
        running = len(threads)
        while running:
            result = done.get()
            if isinstance(result, BaseException):
                raise result
            if result is None:
                running -= 1
            else:
                yield result
            ahead.release()
    finally:
        stop.set()
        ahead.release(len(threads))
        for thread in threads:
            thread.join()


def _compute(
    backend: Backend, parts: list[Part], compute: Callable[[Part], Result], halves: Callable[[Part], list[Part]]
) -> Iterator[list[tuple[Part, Result]]]:
    """`_within_memory`, on the devices of the backend if it has any."""

    def work(some: Iterable[Part]) -> Iterator[list[tuple[Part, Result]]]:
        return _within_memory(some, compute, halves, backend.OUT_OF_MEMORY)

    return _on_devices(backend.devices(), parts, work) if isinstance(backend, DeviceBackend) else work(parts)


def place_tile(out: np.ndarray, tile: Tile, entries: np.ndarray, symmetric: bool) -> None:
    """Write the entries of a tile to a kernel matrix, and to their mirror image if it is symmetric."""
    out[tile.rows, tile.columns] = entries
    if symmetric and tile.rows != tile.columns:
        mirror = out[tile.columns, tile.rows]
        # A few rows at a time, which stay in the cache: several times faster than all at once.
        for strip in _cut(len(entries), MIRRORED_ROWS):
            mirror[:, strip] = entries[strip].T


def compute_tiles(
    backend: Backend, left: Any, right: Any | None, spec: Spec, tiles: list[Tile]
) -> Iterator[list[tuple[Tile, np.ndarray]]]:
    """Compute some tiles of a kernel matrix, on devices in any order; gives each tile as in `_within_memory`."""

    def compute(tile: Tile) -> np.ndarray:
        rows = _part(left, tile.rows)
        if right is None and tile.rows == tile.columns:
            return backend.gram_tile(rows, None, spec)
        return backend.gram_tile(rows, _part(left if right is None else right, tile.columns), spec)

    def halves(tile: Tile) -> list[Tile]:
        return tile.halves(symmetric=right is None)

    results = _compute(backend, tiles, compute, halves)
    yield from track(results, len(tiles), "tiles of the kernel matrix", delay=SECONDS_BEFORE_PROGRESS)


def gram(backend: Backend, left: Any, right: Any | None, spec: Spec, memory: int) -> np.ndarray:
    """Kernel matrix `(n, m)`; None means the left images, and computes one triangle."""
    symmetric = right is None
    n, m = len(left), len(left) if right is None else len(right)
    tiles = gram_tiles(n, m, backend.gram_side(left, spec, memory), symmetric)
    out: np.ndarray | None = None
    for done in compute_tiles(backend, left, right, spec, tiles):
        for tile, entries in done:
            if entries.shape == (n, m):
                return entries
            if out is None:
                out = np.empty((n, m), entries.dtype)
            place_tile(out, tile, entries, symmetric)
    assert out is not None  # there is at least one tile
    return out


def patch_agop(backend: Backend, train: Any, points: Any, alpha: np.ndarray, spec: Spec, memory: int) -> np.ndarray:
    """Patch-AGOP `(d, d)`, float64: the mean over the points."""
    parts = _cut(len(points), backend.agop_side(train, alpha.shape[1], spec, memory))

    def compute(part: slice) -> np.ndarray:
        return backend.agop_sum(train, _part(points, part), alpha, spec, memory)

    results = _compute(backend, parts, compute, _halves)
    shown = track(results, len(parts), "tiles of the patch-AGOP", delay=SECONDS_BEFORE_PROGRESS)
    # In the order of the points, whichever device was faster: the sum has the same bits each time.
    sums = sorted(((part.start, found) for done in shown for part, found in done), key=lambda pair: pair[0])
    return np.sum([found for _, found in sums], axis=0) / len(points)
