"""Tiles on one device and on several, with a backend that multiplies matrices and notes who did what."""

import threading
import time
from contextlib import contextmanager

import numpy as np
import pytest

from convrfm.kernels import backends


class Backend:
    """Kernel matrix x z^T; the patch-AGOP is x^T x of the points."""

    OUT_OF_MEMORY = (MemoryError,)

    def __init__(self, side: int = 3, room: int = 10**9) -> None:
        self.side, self.room, self.done = side, room, []

    def note(self, *work) -> None:
        self.done.append((threading.current_thread().name, *work))

    def gram_side(self, prepared, spec, memory):
        return self.side

    def gram_tile(self, left, right, spec):
        other = left if right is None else right
        if len(left) * len(other) > self.room:
            raise MemoryError
        if -1.0 in left.values[:, 0]:
            msg = "a broken image"
            raise ValueError(msg)
        self.note(tuple(left.numbers), tuple(other.numbers))
        return left.values @ other.values.T

    def agop_side(self, train, outputs, spec, memory):
        return self.side

    def agop_sum(self, train, points, alpha, spec, memory):
        # Later parts are done sooner, so that the order in which they are added is seen.
        time.sleep(0.01 / (1 + points.numbers[0]))
        self.note(tuple(points.numbers))
        return points.values.T @ points.values


class Devices(Backend):
    """The same on several devices."""

    def __init__(self, count: int, **others) -> None:
        super().__init__(**others)
        self.count, self.entered = count, []

    def devices(self):
        @contextmanager
        def on(index):
            self.entered.append((index, threading.current_thread().name))
            yield

        return [on(index) for index in range(self.count)]

    def default_memory(self):
        return 12345


class Numbers:
    def __init__(self, values, numbers=None) -> None:
        self.values, self.numbers = values, np.arange(len(values)) if numbers is None else numbers

    def __len__(self) -> int:
        return len(self.values)

    def take(self, indices):
        return Numbers(self.values[indices], self.numbers[indices])


@pytest.fixture
def x(rng):
    return Numbers(rng.standard_normal((11, 4)))


@pytest.fixture
def z(rng):
    return Numbers(rng.standard_normal((7, 4)))


@pytest.mark.parametrize("count", [1, 2, 5])
def test_each_tile_is_done_once(count, x, z):
    backend, alone = Devices(count), Backend()
    assert np.allclose(backends.gram(backend, x, None, None, 0), x.values @ x.values.T)
    assert np.allclose(backends.gram(backend, x, z, None, 0), x.values @ z.values.T)
    backends.gram(alone, x, None, None, 0)
    backends.gram(alone, x, z, None, 0)
    assert sorted(work[1:] for work in backend.done) == sorted(work[1:] for work in alone.done)
    # Each device has a thread of its own, and they alone do the work.
    assert [index for index, _ in backend.entered] == 2 * list(range(count))
    threads = {name for _, name in backend.entered}
    assert {work[0] for work in backend.done} <= threads
    assert threading.current_thread().name not in threads
    assert {work[0] for work in alone.done} == {threading.current_thread().name}


def test_all_devices_work_at_the_same_time(x):
    class Waiting(Devices):
        both = threading.Barrier(2, timeout=10)

        def gram_tile(self, left, right, spec):
            self.both.wait()  # until the other device has a tile too
            return super().gram_tile(left, right, spec)

    backend = Waiting(2)
    assert np.allclose(backends.gram(backend, x, None, None, 0), x.values @ x.values.T)
    assert len({work[0] for work in backend.done}) == 2


@pytest.mark.parametrize("make", [Backend, lambda **others: Devices(2, **others)])
def test_tiles_are_halved_where_memory_runs_out(make, x, z, caplog):
    backend = make(side=8, room=6)
    assert np.allclose(backends.gram(backend, x, None, None, 0), x.values @ x.values.T)
    assert np.allclose(backends.gram(backend, x, z, None, 0), x.values @ z.values.T)
    assert "half the size" in caplog.text
    assert max(len(rows) * len(columns) for _, rows, columns in backend.done) <= 6


@pytest.mark.parametrize("make", [Backend, lambda **others: Devices(2, **others)])
def test_a_single_entry_that_does_not_fit_is_an_error(make, x):
    with pytest.raises(MemoryError):
        backends.gram(make(room=0), x, None, None, 0)


@pytest.mark.parametrize("count", [1, 3])
def test_an_error_on_a_device_reaches_the_caller(count, x):
    x.values[5, 0] = -1.0
    before = threading.active_count()
    with pytest.raises(ValueError, match="a broken image"):
        backends.gram(Devices(count), x, None, None, 0)
    assert threading.active_count() == before


def test_results_do_not_pile_up(x):
    backend = Devices(1, side=1)
    parts = backends.gram_tiles(len(x), len(x), 1, symmetric=True)
    results = backends.compute_tiles(backend, x, None, None, parts)
    next(results)
    time.sleep(0.1)
    assert len(backend.done) <= 4
    before = threading.active_count()
    results.close()  # whoever takes the results stops early
    assert threading.active_count() == before - 1
    assert len(backend.done) <= 4


@pytest.mark.parametrize("count", [0, 1, 4])
def test_the_agop_has_the_same_bits_on_any_number_of_devices(count, x):
    backend = Devices(count) if count else Backend()
    alone = sum(x.values[first : first + 3].T @ x.values[first : first + 3] for first in range(0, 11, 3)) / 11
    assert (backends.patch_agop(backend, x, x, np.ones((11, 1)), None, 0) == alone).all()


def test_devices_say_how_much_memory_there_is():
    assert backends.default_memory(Devices(1)) == 12345
    assert 0 < backends.default_memory(Backend()) <= backends.LARGEST_DEFAULT
