"""The patch Laplace kernel against autograd on unfolded patches, and its own properties."""

import numpy as np
import pytest
import torch
from tolerance import assert_close

from convrfm.errors import ConfigError, ConvRFMWarning, InputError
from convrfm.kernels import PatchLaplace, median_bandwidth
from convrfm.numerics.patches import unfold
from kernels.cases import framed_digits, random_images, random_metric


def slow_gram(x: torch.Tensor, z: torch.Tensor, metric: torch.Tensor, bandwidth: float) -> torch.Tensor:
    """The definition, pair by pair, on patches `(positions, d)`."""
    rows = []
    for a in x:
        entries = []
        for b in z:
            v = a - b
            entries.append(torch.exp(-torch.sqrt(torch.einsum("pd,de,pe->p", v, metric, v)) / bandwidth).mean())
        rows.append(torch.stack(entries))
    return torch.stack(rows)


def slow_agop(x: torch.Tensor, z: torch.Tensor, metric: torch.Tensor, bandwidth: float, alpha: torch.Tensor):
    total = torch.zeros_like(metric)
    for point in z:
        jacobian = torch.autograd.functional.jacobian(
            lambda patches: slow_gram(patches[None], x, metric, bandwidth)[0] @ alpha, point
        )
        total += torch.einsum("opa,opb->ab", jacobian, jacobian)
    return total / len(z)


@pytest.mark.parametrize(
    ("q", "channels", "height", "width", "bandwidth", "with_metric"),
    [(2, 1, 5, 6, 10.0, False), (3, 3, 4, 7, 2.0, True), (7, 2, 9, 8, 10.0, True), (5, 1, 5, 5, 1.0, False)],
)
def test_agrees_with_autograd(q, channels, height, width, bandwidth, with_metric, rng):
    x, z = random_images(rng, 4, channels, height, width), random_images(rng, 3, channels, height, width)
    dimension = channels * q * q
    metric = random_metric(rng, dimension) if with_metric else None
    alpha = rng.standard_normal((4, 3))
    tensors = [torch.from_numpy(unfold(images, q).reshape(len(images), -1, dimension)) for images in (x, z)]
    matrix = torch.eye(dimension, dtype=torch.float64) if metric is None else torch.from_numpy(metric)
    gram = slow_gram(*tensors, matrix, bandwidth).numpy()
    agop = slow_agop(*tensors, matrix, bandwidth, torch.from_numpy(alpha)).numpy()
    for backend, dtype in (("reference", "float64"), ("cpu", "float64"), ("cpu", "float32")):
        kernel = PatchLaplace(bandwidth=bandwidth, patch_size=q, backend=backend)
        assert_close(kernel.gram(x.astype(dtype), z.astype(dtype), metric), gram, "smooth", dtype)
        assert_close(kernel.patch_agop(x.astype(dtype), z.astype(dtype), alpha, metric), agop, "smooth", dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_equal_patches_give_no_gradient_and_the_diagonal_is_one(dtype, rng):
    x = framed_digits(6, 3).astype(dtype)
    alpha = rng.standard_normal((6, 2))
    kernel, reference = (PatchLaplace(patch_size=3, bandwidth=3.0, backend=name) for name in ("cpu", "reference"))
    assert_close(np.diag(kernel.gram(x)), np.ones(6), "smooth", dtype)
    assert_close(kernel.patch_agop(x, x, alpha), reference.patch_agop(x, x, alpha), "smooth", dtype)


def test_positive_definite_and_flat_at_a_large_bandwidth(rng):
    x = random_images(rng, 20, 1, 8, 8)
    gram = PatchLaplace(patch_size=3).gram(x)
    assert np.linalg.eigvalsh(gram)[0] > 0
    flat = PatchLaplace(patch_size=3, bandwidth=1e9).gram(x)
    assert_close(flat, np.ones((20, 20)), "smooth", "float32")
    with pytest.warns(ConvRFMWarning, match="vanishes"):
        assert PatchLaplace(patch_size=3, bandwidth=1e-9).gram(x)[0, 1] < 1e-30


def test_a_metric_scaled_by_four_is_a_bandwidth_halved(rng):
    x, metric = random_images(rng, 4, 2, 6, 6), random_metric(rng, 18)
    gram = PatchLaplace(patch_size=3, bandwidth=5.0).gram(x, None, metric)
    assert_close(PatchLaplace(patch_size=3, bandwidth=10.0).gram(x, None, 4 * metric), gram, "smooth")


def test_bad_settings():
    for bandwidth in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(InputError, match="bandwidth"):
            PatchLaplace(bandwidth=bandwidth)
    with pytest.raises(ConfigError, match="The backend neural-tangents has no Laplace kernel"):
        PatchLaplace(backend="neural-tangents")


def test_a_kernel_that_vanishes_is_warned_of(rng, tmp_path):
    x = random_images(rng, 8, 1, 9, 9) * 255
    kernel = PatchLaplace(patch_size=3)
    for arguments, out in (((x,), None), ((x, x[:3]), None), ((x,), tmp_path / "gram.npy")):
        with pytest.warns(ConvRFMWarning, match=r"all but vanishes .*\[0, 1\].*median"):
            kernel.gram(*arguments, out=out)
    kernel.gram(x[:1])  # no other image to compare with
    bandwidth = median_bandwidth(x, 3)
    gram = PatchLaplace(patch_size=3, bandwidth=bandwidth).gram(x)
    assert 0.2 < np.median(gram[gram < 0.99]) < 0.6  # around 1/e


def test_the_median_bandwidth(rng):
    x = random_images(rng, 6, 2, 7, 8)
    patches = unfold(x, 3)
    distances = [np.linalg.norm(patches[i] - patches[j], axis=-1) for i in range(6) for j in range(i)]
    assert median_bandwidth(x, 3) == pytest.approx(np.median(distances))  # few images: all pairs are drawn
    assert median_bandwidth(torch.from_numpy(255 * x), 3) == pytest.approx(255 * np.median(distances))
    framed = np.pad(x, [(0, 0), (0, 0), (20, 20), (20, 20)])
    assert median_bandwidth(framed, 3) > 0.3 * np.median(distances)
    with pytest.raises(InputError, match="at least two images"):
        median_bandwidth(x[:1], 3)
    with pytest.raises(InputError, match="all drawn images are equal"):
        median_bandwidth(x[[0, 0, 0]], 3)
    with pytest.raises(InputError, match="median_bandwidth"):
        PatchLaplace(bandwidth="median")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_equal_patches_of_two_batches_are_equal_whatever_their_number(rng, dtype):
    """A product with a metric has other bits for few patches than for many, and gradients at a tiny distance are garbage."""
    x, alpha = rng.random((33, 1, 8, 8)).astype(dtype), rng.standard_normal((33, 2))
    metric = random_metric(rng, 49)
    expected = PatchLaplace(patch_size=7, bandwidth=3.0, backend="reference").patch_agop(x, x[:3], alpha, metric)
    for memory in (None, 1):
        found = PatchLaplace(patch_size=7, bandwidth=3.0, memory=memory).patch_agop(x, x[:3], alpha, metric)
        assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()


def test_patches_that_differ_are_not_equal(rng):
    """The rounding of distances in float32 hides none that images of this dtype have in practice."""
    x = rng.random((2, 1, 7, 7)).astype(np.float32)
    near = np.concatenate([x, x + np.float32(1e-4) * rng.random(x.shape).astype(np.float32)])
    alpha = np.ones((4, 1))
    expected = PatchLaplace(patch_size=7, backend="reference").patch_agop(near, near, alpha)
    found = PatchLaplace(patch_size=7).patch_agop(near, near, alpha)
    assert np.abs(found - expected).max() < 1e-2 * np.abs(expected).max()
