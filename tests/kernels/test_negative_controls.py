"""Broken kernels must fail the comparisons that the right ones pass: each test breaks one thing on purpose."""

import numpy as np
import pytest
from tolerance import assert_close

from convrfm.kernels import CNTK, cpu, reference
from convrfm.numerics import patches
from kernels.cases import random_images, random_metric, singular_images


@pytest.fixture
def case(rng):
    x = random_images(rng, 5, 2, 7, 6)
    metric, alpha = random_metric(rng, 18), rng.standard_normal((5, 2))
    expected = CNTK(depth=2, patch_size=3, backend="neural-tangents")
    return x, metric, alpha, expected.gram(x, None, metric), expected.patch_agop(x, x, alpha, metric)


def check(case, backend: str) -> None:
    x, metric, alpha, gram, agop = case
    kernel = CNTK(depth=2, patch_size=3, backend=backend)
    assert_close(kernel.gram(x, None, metric), gram, "gram")
    assert_close(kernel.patch_agop(x, x, alpha, metric), agop, "agop")


@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_the_unbroken_kernel_passes(case, backend):
    check(case, backend)


def test_dropping_the_chain_rule_through_the_metric_is_seen(case, monkeypatch):
    monkeypatch.setattr(cpu, "chain", lambda root, inner: np.linalg.pinv(root) @ inner @ np.linalg.pinv(root).T)
    with pytest.raises(AssertionError, match="agop"):
        check(case, "cpu")


@pytest.mark.parametrize("order", [(0, 2, 3, 1, 5, 4), (0, 2, 3, 4, 5, 1)], ids=["transposed", "channels last"])
def test_another_patch_order_is_seen(case, monkeypatch, order):
    def reordered(images, q):
        windows = np.lib.stride_tricks.sliding_window_view(images, (q, q), axis=(2, 3)).transpose(order)
        return windows.reshape(*windows.shape[:3], -1)

    monkeypatch.setattr(reference, "unfold", reordered)
    with pytest.raises(AssertionError, match="gram"):
        check(case, "reference")
    assert not np.array_equal(reordered(case[0], 3), patches.unfold(case[0], 3))


def test_a_mean_for_the_window_sum_is_seen(case, monkeypatch):
    monkeypatch.setattr(reference, "box_sum", lambda maps, q: patches.box_sum(maps, q) / q**2)
    # Covariances are homogeneous, so that a mean is a mere scale for them; it is not for the AGOP's adjoint.
    with pytest.raises(AssertionError):
        check(case, "reference")


def test_a_wrong_singular_rule_is_seen(rng, monkeypatch):
    x = singular_images(rng, 5, 1, 7, 7)
    alpha = rng.standard_normal((5, 1))
    expected = CNTK(depth=2, patch_size=3, backend="neural-tangents").patch_agop(x, x, alpha)
    kernel = CNTK(depth=2, patch_size=3, backend="reference")
    assert_close(kernel.patch_agop(x, x, alpha), expected, "agop")
    monkeypatch.setitem(reference.SINGULARITY, np.dtype(np.float64), 0.9)
    with pytest.raises(AssertionError, match="agop"):
        assert_close(kernel.patch_agop(x, x, alpha), expected, "agop")
