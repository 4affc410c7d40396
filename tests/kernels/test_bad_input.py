"""Bad input gets a sentence that says what was found and what was expected."""

import numpy as np
import pytest
import torch

from convrfm.errors import ConfigError, ImageSizeError, InputError, MetricError, NonFiniteError
from convrfm.kernels import CNTK, PatchLaplace
from kernels.cases import random_images


@pytest.fixture
def x(rng):
    return random_images(rng, 3, 1, 6, 6)


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_images_smaller_than_the_depth_allows(x, backend):
    with pytest.raises(ImageSizeError, match=r"6x6 pixels are too small for 3 convolution.* at least 7x7"):
        CNTK(depth=3, patch_size=3, backend=backend).gram(x)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_pixels_that_are_not_finite(x, value):
    x[1, 0, 2, 3] = value
    with pytest.raises(NonFiniteError, match=r"1 non-finite values, .* at index \(1, 0, 2, 3\)"):
        CNTK(depth=2).gram(x)


@pytest.mark.parametrize(
    ("metric", "sentence"),
    [
        (np.eye(8), r"must have shape \(9, 9\)"),
        (np.eye(9) + np.triu(np.ones((9, 9)), 1), "not symmetric"),
        (np.diag([1.0] * 8 + [-1e-5]), "not positive semi-definite"),
        (np.zeros((9, 9)), "not positive semi-definite and non-zero"),
    ],
)
def test_metrics_that_are_none(x, metric, sentence):
    with pytest.raises(MetricError, match=sentence):
        CNTK(depth=2).gram(x, None, metric)
    with pytest.raises(MetricError, match=sentence):
        CNTK(depth=2).patch_agop(x, x, np.ones((3, 1)), metric)


def test_metric_with_nan(x):
    metric = np.eye(9)
    metric[0, 0] = np.nan
    with pytest.raises(NonFiniteError, match="metric"):
        CNTK(depth=2).gram(x, None, metric)


def test_eigenvalues_within_rounding_of_zero_are_allowed(x):
    metric = np.diag([1.0] * 8 + [-1e-7])
    assert np.isfinite(CNTK(depth=2).gram(x, None, metric)).all()


def test_shapes(x, rng):
    kernel = CNTK(depth=2)
    with pytest.raises(InputError, match=r"shape \(n, channels, height, width\), but its shape is \(6, 6\)"):
        kernel.gram(x[0, 0])
    with pytest.raises(InputError, match="empty"):
        kernel.gram(x[:0])
    with pytest.raises(InputError, match="one shape and dtype"):
        kernel.gram(x, random_images(rng, 2, 1, 7, 7))
    with pytest.raises(InputError, match=r"alpha must have shape \(3, outputs >= 1\)"):
        kernel.patch_agop(x, x, np.ones((2, 1)))
    with pytest.raises(InputError, match=r"alpha must have shape \(3, outputs >= 1\)"):
        kernel.patch_agop(x, x, np.ones(3))
    with pytest.raises(NonFiniteError, match="alpha"):
        kernel.patch_agop(x, x, np.full((3, 1), np.nan))


def test_dtypes(x):
    kernel = CNTK(depth=2)
    with pytest.raises(InputError, match="complex128"):
        kernel.gram(x.astype(complex))
    whole = np.arange(3 * 36).reshape(3, 1, 6, 6).astype(np.uint8)
    assert kernel.gram(whole).dtype == np.float32
    assert kernel.gram(torch.from_numpy(whole).half()).dtype == torch.float32
    with pytest.raises(InputError, match="one shape and dtype"):
        kernel.gram(x, x.astype(np.float32))


def test_prepared_images_serve_their_kernel_only(x):
    prepared = CNTK(depth=2).prepare(x)
    with pytest.raises(InputError, match="Prepared images"):
        CNTK(depth=1).gram(prepared)
    with pytest.raises(InputError, match="Prepared images"):
        CNTK(depth=2).gram(prepared, None, np.eye(9))
    with pytest.raises(InputError, match="different metrics"):
        CNTK(depth=2).gram(prepared, CNTK(depth=2).prepare(x, np.eye(9)))


@pytest.mark.parametrize("scale", [1e-24, 1e20])
def test_pixels_of_extreme_size(x, scale):
    with pytest.raises(InputError, match=r"rescale the images or the metric|non-finite"):
        CNTK(depth=2).gram((x * scale).astype(np.float32))
    assert np.isfinite(CNTK(depth=2).gram(x * scale)).all()  # float64 has room for them
    assert (CNTK(depth=2).gram(np.float32(0) * x.astype(np.float32)) == 0).all()


def test_negligible_patches_count_as_zero(x):
    dim, black = x.astype(np.float32), x.astype(np.float32)
    dim[0, :, :, :3] = 1e-20
    black[0, :, :, :3] = 0
    kernel = CNTK(depth=1)
    assert np.allclose(kernel.gram(dim), kernel.gram(black))
    alpha = np.ones((3, 1))
    assert np.allclose(kernel.patch_agop(dim, dim, alpha), kernel.patch_agop(black, black, alpha))


def test_taking_images(x):
    prepared = CNTK(depth=2).prepare(x)
    assert len(prepared.take(np.array([True, False, True]))) == len(prepared.take(slice(1, 3))) == 2
    for indices in ([], [False] * 3, 1, [[0, 1]], slice(3, 5), [3], [True, False], [0.5], "one"):
        with pytest.raises(InputError, match="must choose at least one of the 3 images"):
            prepared.take(indices)


def test_what_is_negligible_depends_on_no_other_image_and_no_other_layer(x):
    """Norms grow by a factor of q from layer to layer, and with the images."""
    dim = (1e-6 * np.random.default_rng(0).random((3, 1, 81, 81))).astype(np.float32)
    kernel = CNTK(depth=40)
    exact = kernel.gram(dim.astype(np.float64))
    assert np.abs(kernel.gram(dim) / exact - 1).max() < 1e-4
    small = x.astype(np.float32)
    bright = np.concatenate([small, np.full_like(small[:1], 1e14)])
    assert np.array_equal(CNTK(depth=2).gram(bright)[:3, :3], CNTK(depth=2).gram(small))


@pytest.mark.parametrize("make", [lambda: CNTK(depth=2), lambda: PatchLaplace(patch_size=3, bandwidth=1e4)])
def test_a_metric_whose_images_lie_in_what_float32_cannot_resolve(rng, make):
    images = rng.random((4, 2, 8, 8)).astype(np.float32)
    images[:, 0] = 0
    metric = np.diag(np.r_[np.full(9, 1e8), np.linspace(1, 10, 9)])
    with pytest.raises(
        InputError, match=r"float32 cannot resolve this metric: 100.0% of the images' energy under it lies along its smallest"
    ):
        make().gram(images, None, metric)
    assert make().gram(images.astype(np.float64), None, metric).max() > 0
    images[:, 0] = rng.random((4, 8, 8))
    exact = make().gram(images.astype(np.float64), None, metric)
    assert np.abs(make().gram(images, None, metric) - exact).max() < 1e-4 * exact.max()


@pytest.mark.parametrize("scale", [1e-25, 1e25])
def test_coefficients_of_extreme_size(x, scale):
    kernel, alpha = CNTK(depth=2), np.random.default_rng(0).standard_normal((3, 2))
    small = x.astype(np.float32)
    expected = kernel.patch_agop(small, small, alpha)
    found = kernel.patch_agop(small, small, scale * alpha) / scale**2
    assert np.abs(found - expected).max() < 1e-6 * expected.max()


def test_unknown_backend_and_sizes():
    with pytest.raises(ConfigError, match=r"Unknown kernel backend 'gpu'.*cpu"):
        CNTK(backend="gpu")
    with pytest.raises(InputError, match="at least 1"):
        CNTK(depth=0)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: CNTK(depth=2.5), "depth must be an integer of at least 1, but it is 2.5"),
        (lambda: CNTK(depth=True), "depth must be an integer of at least 1, but it is True"),
        (lambda: CNTK(patch_size="3"), "patch_size must be an integer of at least 1, but it is '3'"),
        (lambda: CNTK(patch_size=None), "patch_size must be"),
        (lambda: CNTK(memory=1e6), "memory must be a positive whole number"),
        (lambda: CNTK(padding=np.array(["zeros", "valid"])), "padding must be 'valid', 'zeros' or 'circular'"),
        (lambda: CNTK(stride=2.0), "stride must be an integer of at least 1"),
        (lambda: CNTK(pooling=True), "pooling must be None, 'global' or an integer of at least 1"),
        (lambda: PatchLaplace(bandwidth=None), "must be a positive and finite number, but it is None"),
        (lambda: PatchLaplace(bandwidth=True), "must be a positive and finite number"),
        (lambda: PatchLaplace(bandwidth=[1]), "must be a positive and finite number"),
    ],
)
def test_settings_of_wrong_types(make, sentence):
    with pytest.raises(InputError, match=sentence):
        make()


@pytest.mark.parametrize("integer", [np.int8, np.uint8, np.uint16, np.int32, np.uint64])
def test_integers_may_be_those_of_numpy(x, integer):
    kernel = CNTK(depth=integer(2), patch_size=integer(3), memory=integer(100))
    assert np.array_equal(kernel.gram(x.astype(np.float32)), CNTK(depth=2, memory=100).gram(x.astype(np.float32)))
    for stride in (integer(2), (integer(2), integer(1))):
        kernel = CNTK(depth=2, padding="zeros", stride=stride, pooling=integer(2))
        plain = CNTK(depth=2, padding="zeros", stride=2 if np.isscalar(stride) else (2, 1), pooling=2)
        assert np.array_equal(kernel.gram(x), plain.gram(x))
        assert repr(kernel.shallower(1)) == repr(plain.shallower(1))


def test_coefficients(x):
    kernel = CNTK(depth=2)
    with pytest.raises(InputError, match=r"shape \(3, outputs >= 1\), but its shape is \(3, 0\)"):
        kernel.patch_agop(x, x, np.zeros((3, 0)))
    whole = np.full((3, 1), 2**24 + 1)  # which float32 cannot hold
    assert np.array_equal(kernel.patch_agop(x, x, whole), kernel.patch_agop(x, x, whole.astype(np.float64)))
