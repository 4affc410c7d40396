"""Certificates: small where the arithmetic is right, large where it is not."""

import numpy as np

from convrfm.kernels import CNTK, cpu
from convrfm.kernels.base import certify
from kernels.cases import photographs, random_images, random_metric


def test_float32_is_as_good_as_it_says(rng):
    images = photographs(10, 12).astype(np.float32)
    found = certify(CNTK(depth=3), images, random_metric(rng, 27))
    assert 0 < found.spread < 2e-6
    assert 0 < found.smallest_eigenvalue < 1
    assert found.images == 10


def test_few_images_black_images_and_double_precision(rng):
    assert certify(CNTK(depth=1), random_images(rng, 3, 1, 5, 5), None).spread == 0
    black = certify(CNTK(depth=1), np.zeros((4, 1, 5, 5), np.float32), None)
    assert (black.images, black.spread, black.smallest_eigenvalue) == (4, 0, 0)


def test_the_same_images_give_the_same_certificate(rng):
    images = random_images(rng, 40, 1, 7, 7).astype(np.float32)
    assert certify(CNTK(depth=2), images, None) == certify(CNTK(depth=2), images, None)


def test_a_worse_arithmetic_is_seen(rng, monkeypatch):
    images = random_images(rng, 20, 1, 9, 9).astype(np.float32)
    original = cpu.gram_tile

    def rounded(left, right, spec):
        tile = original(left, right, spec)
        return tile.astype(np.float16).astype(np.float32) if tile.dtype == np.float32 else tile

    monkeypatch.setattr(cpu, "gram_tile", rounded)
    assert certify(CNTK(depth=2), images, None).spread > 1e-5
