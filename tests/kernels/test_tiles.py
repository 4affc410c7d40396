"""Tiles: each entry once, norms on the way, and smaller ones where memory runs out."""

import logging

import numpy as np
import pytest

from convrfm.kernels import CNTK, backends, cpu
from convrfm.numerics.patches import box_sum, unfold
from kernels.cases import random_images, random_metric


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize(("n", "m", "side"), [(7, 7, 3), (13, 13, 1), (5, 5, 100), (17, 17, 16)])
def test_tiles_cover_every_entry_once(n, m, side, symmetric):
    count = np.zeros((n, m), int)
    for tile in backends.gram_tiles(n, m if symmetric else m + 2, side, symmetric):
        part = count[tile.rows, tile.columns] if symmetric else count[tile.rows, :][:, tile.columns]
        part += 1
        if symmetric and tile.rows != tile.columns:
            count[tile.columns, tile.rows] += 1
    assert (count == 1).all()


class Failing:
    """The CPU backend on a machine that holds tiles of `most` entries only, or AGOP points of that number."""

    OUT_OF_MEMORY = (MemoryError,)
    prepare = staticmethod(cpu.prepare)
    gram_side = staticmethod(cpu.gram_side)

    def __init__(self, most: int) -> None:
        self.most = most
        self.refused = 0

    def _check(self, size: int) -> None:
        if size > self.most:
            self.refused += 1
            raise MemoryError

    def gram_tile(self, left, right, spec):
        self._check(len(left) * len(left if right is None else right))
        return cpu.gram_tile(left, right, spec)

    def agop_side(self, train, outputs, spec, memory):
        return len(train)

    def agop_sum(self, train, points, alpha, spec, memory):
        self._check(len(points))
        return cpu.agop_sum(train, points, alpha, spec, memory)


@pytest.fixture
def case(rng):
    x = random_images(rng, 45, 1, 6, 6).astype(np.float32)
    kernel = CNTK(depth=2)
    return x, kernel, cpu.prepare(x, None, kernel.spec, 10**8), rng.standard_normal((45, 2)).astype(np.float32)


def test_tiles_are_halved_where_memory_runs_out(case, caplog):
    x, kernel, prepared, alpha = case
    backend = Failing(150)
    with caplog.at_level(logging.WARNING):
        symmetric = backends.gram(backend, prepared, None, kernel.spec, 10**8)
        rectangular = backends.gram(backend, prepared, prepared.take(slice(0, 20)), kernel.spec, 10**8)
    assert "half the size" in caplog.text
    assert backend.refused < 12  # later tiles are cut beforehand
    assert np.allclose(symmetric, kernel.gram(x), rtol=1e-6)
    assert np.allclose(rectangular, kernel.gram(x, x[:20]), rtol=1e-6)
    agop = backends.patch_agop(Failing(4), prepared, prepared, alpha, kernel.spec, 10**8)
    assert np.allclose(agop, kernel.patch_agop(x, x, alpha), rtol=1e-5, atol=1e-7 * np.abs(agop).max())


def test_a_single_entry_that_does_not_fit_is_an_error(case):
    _, kernel, prepared, alpha = case
    with pytest.raises(MemoryError):
        backends.gram(Failing(0), prepared, None, kernel.spec, 10**8)
    with pytest.raises(MemoryError):
        backends.patch_agop(Failing(0), prepared, prepared, alpha, kernel.spec, 10**8)


@pytest.mark.parametrize("shape", [(3, 32, 32), (64, 12, 12)])
def test_the_side_keeps_to_the_budget(shape):
    """What a tile takes, measured, is at most what was asked for, and not a small part of it."""
    import tracemalloc

    kernel = CNTK(depth=1)
    channels = shape[0]
    x = np.random.default_rng(0).random((256, *shape), dtype=np.float32)
    metric = np.eye(channels * 9) if channels > 3 else None
    budget = (6 if metric is None else 16) * 2**20
    prepared = cpu.prepare(x, metric, kernel.spec, budget)
    side = cpu.gram_side(prepared, kernel.spec, budget)
    assert side < 256
    part = prepared.take(slice(0, side))
    cpu.gram_tile(part, part.take(slice(0, side)), kernel.spec)  # compile
    tracemalloc.start()
    cpu.gram_tile(part, part.take(slice(0, side)), kernel.spec)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert 0.2 * budget < peak < 1.3 * budget


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-5), (np.float64, 1e-12)])
def test_norms_are_the_same_whenever_they_are_computed(rng, dtype, tolerance):
    """Where products with the metric are not kept, images get their norms when they first pass as rows, or as they are needed."""
    kernel = CNTK(depth=2)
    x, metric = random_images(rng, 70, 12, 8, 7), random_metric(rng, 108)
    x[3] = 0

    def batch(memory=1):
        return cpu.prepare(x.astype(dtype), metric, kernel.spec, memory)

    patches = unfold(x, 3)
    variance = np.einsum("nyxk,kl,nyxl->nyx", patches, metric, patches) / 12
    expected = np.sqrt(np.concatenate([maps.reshape(70, -1) for maps in (variance, box_sum(variance, 3))], axis=1))
    kept, rows, columns, parts, train = batch(10**9), batch(), batch(), batch(), batch()
    assert np.isnan(rows.norms).all()
    cpu.gram_tile(rows, None, kernel.spec)
    cpu.gram_tile(rows, columns, kernel.spec)
    cpu.gram_tile(parts.take(slice(32, 70)), parts.take(slice(0, 32)), kernel.spec)
    alpha = rng.standard_normal((70, 2)).astype(dtype)
    agop = cpu.agop_sum(train, rows.take(slice(0, 9)), alpha, kernel.spec, 10**8)
    for found in (kept, rows, columns, parts, train):
        assert np.allclose(found.norms, expected, rtol=tolerance)
        assert np.array_equal(found.norms, rows.norms)
        assert np.array_equal(found.variance, rows.variance)
    assert np.array_equal(cpu.agop_sum(rows, batch().take(slice(0, 9)), alpha, kernel.spec, 10**8), agop)
