"""Kernel matrices on disk: complete or absent, and resumed where they stopped."""

import errno
import os

import numpy as np
import pytest

from convrfm.errors import InputError, StorageError
from convrfm.kernels import CNTK, cpu
from kernels.cases import random_images

KERNEL = CNTK(depth=2, memory=1)  # the smallest tiles


@pytest.fixture
def x(rng):
    return random_images(rng, 70, 1, 6, 6).astype(np.float32)


@pytest.fixture
def interrupted(monkeypatch):
    """Stop the backend after some tiles, and count them."""
    computed = []

    def stop_after(count):
        original = cpu.gram_tile

        def tile(left, right, spec):
            if len(left) > 1:  # not the entry that tells the dtype
                if len(computed) == count:
                    raise KeyboardInterrupt
                computed.append(len(left))
            return original(left, right, spec)

        monkeypatch.setattr(cpu, "gram_tile", tile)
        return computed

    return stop_after


def test_equals_the_matrix_in_memory(x, tmp_path):
    path = tmp_path / "new folder" / "gram.npy"
    gram = KERNEL.gram(x, out=path)
    assert (gram == KERNEL.gram(x)).all()
    assert not gram.flags.writeable
    assert (np.load(path) == gram).all()
    assert [file.name for file in path.parent.iterdir()] == ["gram.npy"]
    assert (KERNEL.gram(x[:33], x, out=path) == KERNEL.gram(x[:33], x)).all()
    double = CNTK(depth=2, backend="reference").gram(x[:5], out=path)
    assert double.dtype == np.float64


def test_an_interrupted_matrix_goes_on(x, tmp_path, interrupted, monkeypatch):
    from convrfm.kernels import gram_file

    monkeypatch.setattr(gram_file, "SECONDS_BETWEEN_SAVES", 0)
    path = tmp_path / "gram.npy"
    computed = interrupted(6)
    with pytest.raises(KeyboardInterrupt):
        KERNEL.gram(x, out=path)
    assert not path.exists()
    partial = np.load(tmp_path / "gram.npy.partial")
    # What is not computed is NaN, and cannot pass for a result.
    assert 0 < np.isnan(partial).sum() < partial.size
    monkeypatch.undo()
    assert len(interrupted(10**9)) == 6
    gram = KERNEL.gram(x, out=path)
    assert len(computed) == 15  # 5 x 5 tiles on and above the diagonal, each once
    monkeypatch.undo()
    assert (gram == KERNEL.gram(x)).all()


def test_another_matrix_under_the_same_name_is_refused(x, tmp_path, interrupted, monkeypatch):
    path = tmp_path / "gram.npy"
    interrupted(3)
    with pytest.raises(KeyboardInterrupt):
        KERNEL.gram(x, out=path)
    monkeypatch.undo()
    changed = x.copy()
    changed[3, 0, 2, 2] += 1
    for kernel, images, metric in ((KERNEL, changed, None), (CNTK(depth=1), x, None), (KERNEL, x, np.eye(9))):
        with pytest.raises(StorageError, match="another kernel matrix"):
            kernel.gram(images, None, metric, out=path)


def test_a_full_disk_is_seen_before_the_work(x, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(StorageError, match=r"No space left on device.*bytes"):
        KERNEL.gram(x, out=tmp_path / "gram.npy")
    assert list(tmp_path.iterdir()) == []


def test_the_suffix_says_the_format(x, tmp_path):
    with pytest.raises(InputError, match="npy"):
        KERNEL.gram(x, out=tmp_path / "gram.csv")
