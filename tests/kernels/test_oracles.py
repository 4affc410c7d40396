"""Kernels and patch-AGOP against independent implementations: Neural Tangents in double precision, and autograd."""

import numpy as np
import pytest
from tolerance import assert_close

from convrfm.errors import ConvRFMWarning
from convrfm.kernels import CNNGP, CNTK, PatchLaplace, cpu
from kernels.cases import (
    autograd_agop,
    autograd_kernel,
    framed_digits,
    photographs,
    random_images,
    random_metric,
    singular_images,
)  # fmt: skip

# kernel, depth, patch size, channels, height, width, with a metric
CASES = [
    (CNTK, 1, 2, 1, 5, 6, False),
    (CNTK, 1, 3, 3, 4, 3, True),
    (CNTK, 2, 2, 3, 6, 5, True),
    (CNTK, 2, 5, 1, 9, 11, True),
    (CNTK, 3, 3, 1, 8, 9, False),
    (CNTK, 3, 3, 3, 7, 8, True),
    (CNTK, 3, 2, 2, 4, 7, False),
    (CNNGP, 1, 5, 3, 6, 5, True),
    (CNNGP, 2, 3, 1, 7, 6, False),
    (CNNGP, 3, 2, 1, 5, 5, True),
]


def drawn_cases(count: int):
    """A random part of the grid of kernels, sizes and metrics, the same in every run."""
    rng = np.random.default_rng(2309)
    for _ in range(count):
        depth, q, channels = int(rng.integers(1, 4)), int(rng.choice([2, 3, 5])), int(rng.integers(1, 5))
        least = depth * (q - 1) + 1
        height, width = least + rng.integers(0, 4), least + rng.integers(0, 6)
        kernel = CNTK if rng.random() < 0.7 else CNNGP
        yield pytest.param(
            kernel, depth, q, channels, int(height), int(width), bool(rng.random() < 0.6),
            *(int(n) for n in rng.choice([1, 2, 3, 7, 11, 17], 2)),
        )  # fmt: skip


pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # raised inside JAX and TensorFlow


def check(kernel, depth, q, x, z, metric, rng):
    """Compare both backends with Neural Tangents, in both dtypes."""
    alpha = rng.standard_normal((len(x), 3))
    oracle = kernel(depth=depth, patch_size=q, backend="neural-tangents")
    gram, agop = oracle.gram(x, z, metric), oracle.patch_agop(x, z, alpha, metric)
    for backend, dtype in (("reference", "float64"), ("torch", "float64"), ("cpu", "float64"), ("cpu", "float32")):
        ours = kernel(depth=depth, patch_size=q, backend=backend)
        x_cast, z_cast = x.astype(dtype), z.astype(dtype)
        assert_close(ours.gram(x_cast, z_cast, metric), gram, "gram", dtype)
        assert_close(ours.patch_agop(x_cast, z_cast, alpha, metric), agop, "agop", dtype)


@pytest.mark.parametrize(("kernel", "depth", "q", "channels", "height", "width", "with_metric"), CASES)
@pytest.mark.parametrize("make", [random_images, singular_images])
def test_agrees_with_neural_tangents(make, kernel, depth, q, channels, height, width, with_metric, rng):
    x = make(rng, 5, channels, height, width)
    # Rectangular, with points that are training images: self pairs included.
    z = np.concatenate([x[[4, 0]], random_images(rng, 2, channels, height, width)])
    metric = random_metric(rng, channels * q * q) if with_metric else None
    check(kernel, depth, q, x, z, metric, rng)


@pytest.mark.parametrize(("kernel", "depth", "q", "channels", "height", "width", "with_metric", "n", "m"), list(drawn_cases(6)))
def test_agrees_with_neural_tangents_on_a_random_part_of_the_grid(
    kernel, depth, q, channels, height, width, with_metric, n, m, rng
):
    x, z = (random_images(rng, count, channels, height, width) for count in (n, m))
    check(kernel, depth, q, x, z, random_metric(rng, channels * q * q) if with_metric else None, rng)


def test_agrees_on_photographs(rng):
    images = photographs(5, 9)
    check(CNTK, 3, 3, images, images[:2], random_metric(rng, 27), rng)


def test_agrees_on_digits_in_a_black_frame(rng):
    images = framed_digits(5, 3)
    check(CNTK, 3, 3, images, images[1:4], random_metric(rng, 9), rng)


@pytest.mark.filterwarnings("ignore:The metric has rank one")
def test_agrees_under_a_metric_of_rank_one(rng):
    x = random_images(rng, 4, 1, 6, 6)
    direction = rng.standard_normal((9, 1))
    metric = direction @ direction.T
    with pytest.warns(ConvRFMWarning, match="rank one"):
        CNTK(depth=2, patch_size=3).gram(x, None, metric)
    ours, oracle = (CNTK(depth=2, patch_size=3, backend=name) for name in ("reference", "neural-tangents"))
    assert_close(ours.gram(x, None, metric), oracle.gram(x, None, metric), "gram")
    fast = CNTK(depth=2, patch_size=3, backend="cpu")
    alpha = rng.standard_normal((4, 2))
    assert np.isfinite(fast.patch_agop(x, x, alpha, metric)).all()


@pytest.mark.parametrize(("kernel", "depth", "q", "channels", "height", "width", "with_metric"), CASES)
def test_agrees_with_autograd_on_unfolded_patches(kernel, depth, q, channels, height, width, with_metric, rng):
    import torch

    x, z = random_images(rng, 3, channels, height, width), random_images(rng, 2, channels, height, width)
    alpha = rng.standard_normal((3, 2))
    metric = random_metric(rng, channels * q * q) if with_metric else np.eye(channels * q * q)
    expected = autograd_agop(x, z, alpha, metric, depth, q, kernel.tangent)
    for backend in ("reference", "cpu"):
        ours = kernel(depth=depth, patch_size=q, backend=backend)
        assert_close(ours.patch_agop(x, z, alpha, metric if with_metric else None), expected, "smooth")
    from convrfm.numerics.patches import unfold

    entry = autograd_kernel(
        *(torch.from_numpy(unfold(images[:1], q)[0]) for images in (x, z)),
        torch.from_numpy(metric), channels, depth, q, kernel.tangent,
    )  # fmt: skip
    assert_close(CNTK.gram(ours, x[:1], z[:1], metric), np.array([[float(entry)]]), "smooth")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("with_metric", [True, False])
@pytest.mark.parametrize("kernel", [CNTK, CNNGP, PatchLaplace])
def test_many_outputs_are_contracted_by_pairs_of_images(kernel, with_metric, dtype, rng, monkeypatch):
    made = {name: kernel(patch_size=3, backend=name) for name in ("reference", "cpu")}
    x = random_images(rng, 21, 2, 8, 9)  # fills no whole vectors
    z = np.concatenate([x[[20, 3]], random_images(rng, 11, 2, 8, 9)])
    alpha, metric = rng.standard_normal((21, 70)), random_metric(rng, 18) if with_metric else None
    expected = made["reference"].patch_agop(x, z, alpha, metric)
    used = []
    for name in ("contract", "contract_pairs"):
        run = getattr(cpu, name)
        monkeypatch.setattr(cpu, name, lambda *given, run=run, name=name: (used.append(name), run(*given)))
    cast = x.astype(dtype), z.astype(dtype)
    assert_close(made["cpu"].patch_agop(*cast, alpha, metric), expected, "agop", dtype)
    assert set(used) == {"contract_pairs"}
    # Where there is no memory for a matrix of pairs.
    scarce = kernel(patch_size=3, backend="cpu", memory=10_000)
    assert_close(scarce.patch_agop(*cast, alpha, metric), expected, "agop", dtype)
    assert set(used) == {"contract_pairs", "contract"}


def test_one_sample_and_one_position(rng):
    x = random_images(rng, 1, 2, 3, 3)
    for backend in ("reference", "cpu"):
        kernel = CNTK(depth=1, patch_size=3, backend=backend)
        # One position, r = 1: K = 2 s_x.
        assert_close(kernel.gram(x), np.array([[2 * (x**2).sum() / 2]]), "exact")
        assert kernel.patch_agop(x, x, np.ones((1, 1))).shape == (18, 18)


@pytest.mark.parametrize("tangent", [True, False])
def test_agrees_with_wide_random_networks(tangent, rng):
    """Monte Carlo: the mean over random networks of the products of outputs (and of gradients) is the kernel."""
    import torch

    depth, q, width, draws = 2, 2, 128, 60
    x = torch.from_numpy(random_images(rng, 3, 2, 4, 5))
    generator = torch.Generator().manual_seed(0)
    total = torch.zeros(draws, 3, 3, dtype=torch.float64)
    for draw in range(draws):
        shapes = [(width, 2, q, q), (width, width, q, q), (1, width * 2 * 3)]
        weights = [torch.randn(shape, dtype=torch.float64, generator=generator) for shape in shapes]

        def outputs(*weights: torch.Tensor) -> torch.Tensor:
            h = x
            for weight in weights[:-1]:
                h = torch.nn.functional.conv2d(h, weight) * weight.shape[1] ** -0.5
                h = 2**0.5 * torch.relu(h)
            h = h.flatten(1)
            return (h @ weights[-1].T)[:, 0] * h.shape[1] ** -0.5

        if tangent:
            jacobians = torch.func.jacrev(outputs, argnums=(0, 1, 2))(*weights)
            flat = torch.cat([jacobian.flatten(1) for jacobian in jacobians], dim=1)
        else:
            flat = outputs(*weights)[:, None]
        total[draw] = flat @ flat.T
    expected = (CNTK if tangent else CNNGP)(depth=depth, patch_size=q, backend="reference").gram(x.numpy())
    mean, error = total.mean(0).numpy(), (total.std(0) / draws**0.5).numpy()
    assert (np.abs(mean - expected) < 5 * error + 0.02 * expected.max()).all()
    if tangent:  # the tangent kernel concentrates; a wrong one would be far off
        assert np.abs(mean - expected).max() < 0.1 * expected.max()
