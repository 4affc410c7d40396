"""Properties that every kernel and patch-AGOP must have, on random sizes."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tolerance import assert_close

from convrfm.kernels import CNNGP, CNTK, PatchLaplace, cpu
from kernels.cases import random_images, random_metric, singular_images

sizes = st.tuples(
    st.integers(1, 3),  # depth
    st.sampled_from([1, 2, 3]),  # patch size
    st.integers(1, 3),  # channels
    st.integers(1, 37),  # images
    st.integers(0, 3),  # rows beyond the least
    st.integers(0, 3),  # columns beyond the least
)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(sizes, st.integers(0, 2**31))
def test_compiled_equals_reference(size, seed):
    depth, q, channels, n, rows, columns = size
    rng = np.random.default_rng(seed)
    least = depth * (q - 1) + 1
    x = random_images(rng, n, channels, least + rows, least + columns)
    z = random_images(rng, 3, channels, least + rows, least + columns)
    metric = random_metric(rng, channels * q * q)
    alpha = rng.standard_normal((n, 2))
    reference, compiled = (CNTK(depth=depth, patch_size=q, backend=name) for name in ("reference", "cpu"))
    assert_close(compiled.gram(x, None, metric), reference.gram(x, None, metric), "gram")
    assert_close(compiled.gram(z, x, metric), reference.gram(z, x, metric), "gram")
    assert_close(compiled.patch_agop(x, z, alpha, metric), reference.patch_agop(x, z, alpha, metric), "agop")


def test_symmetric_and_positive_semidefinite(rng):
    x = singular_images(rng, 40, 1, 8, 9).astype(np.float32)
    gram = CNTK(depth=3, patch_size=3).gram(x)
    assert (gram == gram.T).all()
    eigenvalues = np.linalg.eigvalsh(gram.astype(np.float64))
    assert eigenvalues[0] > -1e-5 * eigenvalues[-1]


def test_equal_images_have_the_closed_form_exactly(rng):
    x = random_images(rng, 6, 2, 9, 7).astype(np.float32)
    x[5] = x[1]
    gram = CNTK(depth=3, patch_size=3).gram(x)
    assert gram[5, 1] == gram[1, 1] == gram[5, 5] == gram[1, 5]
    exact = CNTK(depth=3, patch_size=3, backend="reference").gram(x)
    # Without it, float32 misses the diagonal by up to 2e-4 of the largest entry.
    assert_close(np.diag(gram), np.diag(exact), "smooth", "float32")


def test_both_zeros_are_equal(rng):
    x = random_images(rng, 2, 1, 6, 6).astype(np.float32)
    x[0, 0, 0] = 0.0
    x[1] = x[0]
    x[1, 0, 0] = -0.0
    gram = CNTK(depth=2).gram(x)
    assert gram[0, 1] == gram[0, 0]


@pytest.mark.parametrize("make", [CNTK, CNNGP])
def test_homogeneous_of_degree_two_and_linear_in_the_metric(rng, make):
    x = random_images(rng, 4, 2, 6, 6)
    metric = random_metric(rng, 18)
    kernel = make(depth=2, patch_size=3)
    gram = kernel.gram(x, None, metric)
    assert_close(kernel.gram(3 * x, None, metric), 9 * gram, "gram")
    assert_close(kernel.gram(x, None, 7 * metric), 7 * gram, "gram")


def test_metric_acts_like_transformed_patches(rng):
    """A metric on the pixels of 1x1 patches is a change of the colour space."""
    x = random_images(rng, 4, 3, 5, 5)
    root = rng.standard_normal((3, 3))
    mixed = np.einsum("ab,nbhw->nahw", root, x)
    kernel = CNTK(depth=2, patch_size=1)
    assert_close(kernel.gram(x, None, root.T @ root), kernel.gram(mixed), "gram")


@pytest.mark.parametrize("make", [CNTK, PatchLaplace])
@pytest.mark.parametrize("with_metric", [True, False])
def test_memory_does_not_change_the_result(rng, make, with_metric):
    x = random_images(rng, 71, 2, 8, 7).astype(np.float32)
    metric = random_metric(rng, 18) if with_metric else None
    alpha = rng.standard_normal((71, 2))
    ample, scarce = make(patch_size=3), make(patch_size=3, memory=1)
    assert_close(scarce.gram(x, None, metric), ample.gram(x, None, metric), "smooth", "float32")
    assert_close(scarce.gram(x[:40], x, metric), ample.gram(x[:40], x, metric), "smooth", "float32")
    assert_close(scarce.patch_agop(x, x, alpha, metric), ample.patch_agop(x, x, alpha, metric), "smooth", "float32")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("memory", [None, 10**6], ids=["kept", "made again"])
def test_blas_and_the_fused_product_agree(monkeypatch, rng, memory, dtype):
    # Several blocks of columns, and several groups of rows that end within one.
    x = random_images(rng, 2 * cpu.COLUMNS_OF_PRODUCTS + 19, 3, 6, 7).astype(dtype)
    metric, alpha = random_metric(rng, 27), rng.standard_normal((len(x), 2))
    kernel = CNTK(depth=2, patch_size=3, memory=memory)

    def computed():
        images, some = kernel.prepare(x, metric), kernel.prepare(x[:41], metric)
        return kernel.gram(images), kernel.gram(some, images), kernel.gram(images, some), kernel.patch_agop(images, some, alpha)

    fused = computed()
    monkeypatch.setattr(cpu, "FUSED_RANK", 0)
    for found, expected in zip(computed(), fused, strict=True):
        assert_close(found, expected, "smooth", dtype)


def test_products_by_blas_are_those_of_the_reference(rng):
    x, z = random_images(rng, 37, 11, 5, 6), random_images(rng, 6, 11, 5, 6)
    metric, alpha = random_metric(rng, 99), rng.standard_normal((37, 2))
    assert len(metric) > cpu.FUSED_RANK
    kernel, reference = (CNTK(depth=2, patch_size=3, backend=name) for name in ("cpu", "reference"))
    assert_close(kernel.gram(x, None, metric), reference.gram(x, None, metric), "gram")
    assert_close(kernel.gram(z, x, metric), reference.gram(z, x, metric), "gram")
    assert_close(kernel.patch_agop(x, z, alpha, metric), reference.patch_agop(x, z, alpha, metric), "agop")


def test_prepared_images_give_the_same(rng):
    x, z = random_images(rng, 9, 1, 7, 7), random_images(rng, 5, 1, 7, 7)
    metric = random_metric(rng, 9)
    alpha = rng.standard_normal((4, 2))
    chosen = [8, 0, 3, 4]
    for backend in ("cpu", "reference", "neural-tangents"):
        kernel = CNTK(depth=2, patch_size=3, backend=backend)
        prepared, points = kernel.prepare(x, metric), kernel.prepare(z, metric)
        assert len(prepared) == 9
        assert_close(kernel.gram(points, prepared), kernel.gram(z, x, metric), "exact")
        taken = prepared.take(chosen)
        assert_close(kernel.gram(taken), kernel.gram(x[chosen], None, metric), "gram")
        assert_close(kernel.patch_agop(taken, z, alpha), kernel.patch_agop(x[chosen], z, alpha, metric), "agop")


def test_agop_is_the_mean_over_points_and_the_sum_over_outputs(rng):
    x, z = random_images(rng, 6, 1, 6, 6), random_images(rng, 4, 1, 6, 6)
    alpha = rng.standard_normal((6, 3))
    kernel = CNTK(depth=2, patch_size=3)
    whole = kernel.patch_agop(x, z, alpha)
    halves = (kernel.patch_agop(x, z[:1], alpha) + 3 * kernel.patch_agop(x, z[1:], alpha)) / 4
    assert_close(halves, whole, "exact")
    outputs = sum(kernel.patch_agop(x, z, alpha[:, [o]]) for o in range(3))
    assert_close(outputs, whole, "exact")


def test_tensors_in_tensors_out(rng):
    x = random_images(rng, 3, 1, 5, 5).astype(np.float32)
    kernel = CNTK(depth=1, patch_size=3)
    gram = kernel.gram(torch.from_numpy(x))
    assert isinstance(gram, torch.Tensor)
    assert gram.dtype == torch.float32
    assert_close(gram.numpy(), kernel.gram(x), "exact")
    agop = kernel.patch_agop(torch.from_numpy(x), torch.from_numpy(x), torch.ones(3, 1))
    assert isinstance(agop, torch.Tensor)
    assert isinstance(kernel.gram(x), np.ndarray)


def test_same_bits_twice(rng):
    x = random_images(rng, 33, 1, 9, 9).astype(np.float32)
    alpha = rng.standard_normal((33, 2))
    metric = random_metric(rng, 9)
    kernel = CNTK(depth=3, patch_size=3)
    assert (kernel.gram(x, None, metric) == kernel.gram(x, None, metric)).all()
    assert (kernel.patch_agop(x, x, alpha, metric) == kernel.patch_agop(x, x, alpha, metric)).all()


def test_cached_code_depends_on_all_compiled_sources():
    """Numba's own cache notices a change of the file that holds the cached function, and of no other."""
    from numba.core.registry import CPUDispatcher

    from convrfm.kernels.compiled import SOURCES, first_layer, simd, sweeps

    cached = 0
    for module in (first_layer, simd, sweeps):
        for function in vars(module).values():
            if isinstance(function, CPUDispatcher) and function.stats.cache_path is not None:
                cells = function.py_func.__closure__ or ()
                assert SOURCES in [cell.cell_contents for cell in cells], function
                cached += 1
    assert cached >= 8


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 5e-15), ("float32", 3e-7)])
def test_functions_to_rounding(dtype, tolerance):
    """kappa0, kappa1 and the exponential on vectors, against NumPy in double precision."""
    import numba

    from convrfm.kernels.compiled import simd, sweeps

    lanes = simd.lanes(dtype)

    @numba.njit
    def evaluate(r, x, kappa0, kappa1, exponential):
        for i in range(0, len(r), lanes):
            one = simd.full(r, 1.0)
            value = simd.load(r, i)
            k, _, angle, _, _ = sweeps._activate(value, one, one, one, True, simd.full(r, 0.0))
            simd.store(kappa0, i, angle)
            simd.store(kappa1, i, k)
            simd.store(exponential, i, simd.exp2_of_minus(simd.load(x, i)))

    r = np.concatenate([np.linspace(-1, 1, 3990), 1 - np.logspace(-14, 0, 100), [0.0, -0.0, 1.0, -1.0, 0.5, -0.5]])
    r = r.astype(dtype)
    x = np.concatenate([np.linspace(0, 120, 4000), np.logspace(-14, 0, 96)]).astype(dtype)
    found = [np.empty(len(r), dtype) for _ in range(3)]
    evaluate(r, x, *found)
    exact = r.astype(np.float64)
    kappa0 = 1 - np.arccos(exact) / np.pi
    assert np.abs(found[0] - kappa0).max() < tolerance
    assert np.abs(found[1] - (exact * kappa0 + np.sqrt((1 - exact) * (1 + exact)) / np.pi)).max() < tolerance
    assert np.abs(found[2] / np.exp2(-x.astype(np.float64)) - 1).max() < tolerance
