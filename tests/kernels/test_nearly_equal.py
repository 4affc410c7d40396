"""Kernel matrices of images that nearly coincide, against the recursion in 40 digits."""

import mpmath
import numpy as np
import pytest
from tolerance import assert_close

from convrfm.kernels import CNTK
from convrfm.numerics.patches import unfold
from kernels.cases import random_images, random_metric

DIGITS = 40


def box(maps, q):
    rows, columns = len(maps) - q + 1, len(maps[0]) - q + 1
    return [[mpmath.fsum(maps[y + i][x + j] for i in range(q) for j in range(q)) for x in range(columns)] for y in range(rows)]


def precise_entry(x, z, metric, depth, q):
    """The CNTK of two images `(c, h, w)`, by the formulas of `convrfm.kernels.base`."""
    patches = [unfold(image[None].astype(np.float64), q)[0].tolist() for image in (x, z)]
    weights = [(k, j, value) for k, line in enumerate(metric.tolist()) for j, value in enumerate(line) if value]

    def product(a, b):
        return mpmath.fsum(mpmath.mpf(a[k]) * value * b[j] for k, j, value in weights) / len(x)

    def products(left, right):
        return [[product(a, b) for a, b in zip(*lines, strict=True)] for lines in zip(left, right, strict=True)]

    s, s_x, s_z = products(*patches), products(patches[0], patches[0]), products(patches[1], patches[1])
    both, k = s, s
    for layer in range(depth):
        if layer > 0:
            s, s_x, s_z, both = (box(maps, q) for maps in (k, s_x, s_z, both))
        k, tangent = [[mpmath.mpf(0)] * len(s[0]) for _ in s], both
        both = [list(line) for line in k]
        for y, p in np.ndindex(len(s), len(s[0])):
            norm = mpmath.sqrt(s_x[y][p] * s_z[y][p])
            r = min(s[y][p] / norm, mpmath.mpf(1))
            kappa0 = 1 - mpmath.acos(r) / mpmath.pi
            k[y][p] = norm * (r * kappa0 + mpmath.sqrt(1 - r**2) / mpmath.pi)
            both[y][p] = k[y][p] + kappa0 * tangent[y][p]
    return float(mpmath.fsum(value for line in both for value in line) / (len(both) * len(both[0])))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("depth", "q", "with_metric"), [(1, 3, False), (2, 2, True), (3, 3, False)])
def test_little_noise_costs_no_precision(depth, q, with_metric, dtype, rng):
    channels = 2
    metric = random_metric(rng, channels * q * q) if with_metric else np.eye(channels * q * q)
    x, noise = rng.random((channels, 8, 7)), rng.standard_normal((channels, 8, 7))
    copies = [(x * scale + epsilon * noise).astype(dtype) for epsilon, scale in ((1e-2, 1), (1e-4, 3), (1e-7, 1))]
    images = np.stack([x.astype(dtype), *copies])
    kernel = CNTK(depth=depth, patch_size=q, backend="cpu")
    gram = kernel.gram(images, None, metric if with_metric else None)
    with mpmath.workdps(DIGITS):
        exact = [precise_entry(images[0], image, metric, depth, q) for image in images[1:]]
    assert_close(gram[0, 1:], exact, "near", dtype)
    assert (gram == gram.T).all()
    assert_close(kernel.gram(images[:1], images[1:], metric if with_metric else None)[0], exact, "near", dtype)


def test_half_an_image_that_nearly_coincides(rng):
    """Such pairs are not told by their entry; the threshold of the sweep keeps them right in float64."""
    x, z = rng.random((2, 2, 8, 8))
    z[:, :5] = x[:, :5] * (1 + 1e-7 * rng.standard_normal((5, 8)))
    with mpmath.workdps(DIGITS):
        exact = precise_entry(x, z, np.eye(18), 2, 3)
    assert_close(CNTK(depth=2, backend="cpu").gram(x[None], z[None]), [[exact]], "near half")


def test_ordinary_pairs_are_left_to_the_fast_sweep(rng, monkeypatch):
    from convrfm.kernels import batches

    def refuse(*_):
        raise AssertionError

    monkeypatch.setattr(batches, "_near_entries", refuse)
    x = random_images(rng, 30, 3, 9, 9).astype(np.float32)
    x[3] = 1  # flat
    x[4] = 0  # black
    CNTK(depth=3, backend="cpu").gram(x)
