"""The CUDA backend against the reference, on a GPU; `test_cuda_simulator` runs the same tests without one."""

import numpy as np
import pytest
import torch
from tolerance import assert_close

from convrfm.kernels import CNNGP, CNTK, PatchLaplace
from kernels.cases import random_images, random_metric, singular_images

pytestmark = pytest.mark.gpu


@pytest.fixture(autouse=True)
def parts():
    """The modules of the backend, without kernels compiled for what another test has changed."""
    from convrfm.kernels import cuda
    from convrfm.kernels.gpu import device_functions, launch, sweeps

    caches = (
        sweeps.forward, sweeps.reverse, device_functions.first_layer,
        device_functions.angles, device_functions.divide, device_functions.windows,
    )  # fmt: skip
    for cached in caches:
        cached.cache_clear()
    return {"cuda": cuda, "device_functions": device_functions, "launch": launch}


def low_rank(rng, dimension, rank):
    root = rng.standard_normal((dimension, rank))
    return root @ root.T


# kernel, depth, patch size, channels, height, width, rank of the metric (None for the identity), dtype
CASES = [
    (CNTK, 1, 3, 3, 3, 6, None, "float64"),
    (CNTK, 2, 3, 2, 7, 6, None, "float64"),
    (CNTK, 3, 3, 1, 7, 9, None, "float32"),
    (CNTK, 3, 2, 3, 5, 4, 12, "float64"),
    (CNTK, 2, 5, 1, 9, 10, 25, "float32"),
    (CNTK, 2, 2, 2, 4, 5, 3, "float32"),
    (CNTK, 2, 1, 2, 3, 4, None, "float64"),
    (CNTK, 2, 1, 3, 2, 3, 3, "float64"),
    (CNNGP, 1, 5, 2, 6, 5, 50, "float64"),
    (CNNGP, 3, 2, 1, 4, 6, None, "float32"),
]


def check(kernel, reference, x, z, metric, rng):
    """Compare kernel matrices, symmetric and rectangular, and the patch-AGOP."""
    alpha, dtype = rng.standard_normal((len(x), 2)), str(x.dtype)
    exact_x, exact_z = x.astype(np.float64), z.astype(np.float64)
    gram = kernel.gram(x, None, metric)
    assert gram.dtype == x.dtype
    assert (gram == gram.T).all()
    assert_close(gram, reference.gram(exact_x, None, metric), "gram", dtype)
    assert_close(kernel.gram(z, x, metric), reference.gram(exact_z, exact_x, metric), "gram", dtype)
    expected = reference.patch_agop(exact_x, exact_z, alpha, metric)
    assert_close(kernel.patch_agop(x, z, alpha, metric), expected, "agop", dtype)


@pytest.mark.parametrize(("kernel", "depth", "q", "channels", "height", "width", "rank", "dtype"), CASES)
@pytest.mark.parametrize("make", [random_images, singular_images])
def test_agrees_with_the_reference(make, kernel, depth, q, channels, height, width, rank, dtype, rng):
    x = make(rng, 5, channels, height, width).astype(dtype)
    # Rectangular, with points that are training images.
    z = np.concatenate([x[[4, 0]], random_images(rng, 1, channels, height, width).astype(dtype)])
    dimension = channels * q * q
    metric = None if rank is None else low_rank(rng, dimension, rank)
    ours, reference = (kernel(depth=depth, patch_size=q, backend=name) for name in ("cuda", "reference"))
    check(ours, reference, x, z, metric, rng)


@pytest.mark.parametrize(
    ("q", "channels", "rank", "dtype"), [(3, 2, None, "float64"), (2, 3, 12, "float32"), (1, 2, 1, "float64")]
)
def test_the_laplace_kernel_agrees_with_the_reference(q, channels, rank, dtype, rng):
    x = singular_images(rng, 5, channels, 5, 6).astype(dtype)
    z = np.concatenate([x[:1], random_images(rng, 2, channels, 5, 6).astype(dtype)])
    metric = None if rank is None else low_rank(rng, channels * q * q, rank)
    ours, reference = (PatchLaplace(patch_size=q, bandwidth=4.0, backend=name) for name in ("cuda", "reference"))
    check(ours, reference, x, z, metric, rng)


def test_more_images_than_a_block_holds(rng):
    x, z = random_images(rng, 11, 1, 4, 4), random_images(rng, 6, 1, 4, 4)
    ours, reference = (CNTK(depth=2, patch_size=2, backend=name) for name in ("cuda", "reference"))
    check(ours, reference, x, z, None, rng)


@pytest.mark.filterwarnings("ignore:The metric has rank one")
def test_rank_one_metrics(rng):
    x = random_images(rng, 4, 1, 6, 6)
    metric = low_rank(rng, 9, 1)
    ours, reference = (CNTK(depth=2, patch_size=3, backend=name) for name in ("cuda", "reference"))
    assert_close(ours.gram(x, None, metric), reference.gram(x, None, metric), "gram")
    assert np.isfinite(ours.patch_agop(x.astype(np.float32), x.astype(np.float32), np.ones((4, 2)), metric)).all()


@pytest.mark.parametrize("fused_rank", [0, 100])
def test_the_three_ways_into_the_first_layer_agree(monkeypatch, parts, fused_rank, rng):
    x, alpha = random_images(rng, 5, 2, 6, 5), rng.standard_normal((5, 2))
    kernel = CNTK(depth=2, patch_size=3, backend="cuda")
    gram, agop = kernel.gram(x), kernel.patch_agop(x, x, alpha)
    monkeypatch.setattr(parts["cuda"], "FUSED_RANK", fused_rank)
    assert_close(kernel.gram(x, None, np.eye(18)), gram, "gram")
    assert_close(kernel.patch_agop(x, x, alpha, np.eye(18)), agop, "agop")


@pytest.mark.parametrize("kernel", [CNTK(depth=2, patch_size=3), PatchLaplace(patch_size=3)], ids=["CNTK", "Laplace"])
@pytest.mark.parametrize("shared_bytes", [0, 1100 * 8, 1500 * 8])
def test_strips_and_where_numbers_are_kept_change_nothing(monkeypatch, parts, kernel, shared_bytes, rng):
    """Down from one strip in shared memory to narrower ones, of which the last overlaps, and to global memory."""
    x = random_images(rng, 5, 1, 6, 9)
    ours = kernel.__class__(patch_size=3, backend="cuda", **({"depth": 2} if isinstance(kernel, CNTK) else {}))
    whole = ours.gram(x)
    monkeypatch.setattr(parts["launch"], "SHARED_BYTES", shared_bytes)
    assert_close(ours.gram(x), whole, "exact")
    plan = parts["launch"].sweep_plan(ours.spec, (1, 6, 9), 0, 9, np.dtype(np.float64), 100 * 1024)
    assert plan.shared == (0 < plan.block_bytes <= shared_bytes)
    if isinstance(kernel, CNTK):
        assert plan.strips == {0: 1, 1100 * 8: 3, 1500 * 8: 2}[shared_bytes]


def test_fewer_blocks_than_the_pairs_need(monkeypatch, parts, rng):
    """In global memory, blocks take one part of a tile after another."""
    x, z, alpha = random_images(rng, 11, 1, 4, 4), random_images(rng, 5, 1, 4, 4), rng.standard_normal((11, 1))
    kernel = CNTK(depth=2, patch_size=2, backend="cuda")
    gram, agop = kernel.gram(x), kernel.patch_agop(x, z, alpha)
    monkeypatch.setattr(parts["cuda"], "SCRATCH_SHARE", 0)  # one block
    monkeypatch.setattr(parts["launch"], "SHARED_BYTES", 0)
    assert_close(kernel.gram(x), gram, "exact")
    assert_close(kernel.patch_agop(x, z, alpha), agop, "exact")


@pytest.mark.parametrize("make", [CNTK, PatchLaplace])
@pytest.mark.parametrize("with_metric", [True, False])
def test_memory_does_not_change_the_result(make, with_metric, rng):
    x = random_images(rng, 11, 1, 5, 6)
    metric, alpha = random_metric(rng, 4) if with_metric else None, rng.standard_normal((11, 2))
    kind = {"depth": 2} if make is CNTK else {}
    ample, scarce = (make(patch_size=2, backend="cuda", memory=memory, **kind) for memory in (None, 1))
    assert_close(scarce.gram(x, None, metric), ample.gram(x, None, metric), "exact")
    assert_close(scarce.gram(x[:9], x, metric), ample.gram(x[:9], x, metric), "exact")
    assert_close(scarce.patch_agop(x, x[:3], alpha, metric), ample.patch_agop(x, x[:3], alpha, metric), "exact")


def test_equal_images_have_the_closed_form_exactly(rng):
    x = random_images(rng, 6, 2, 7, 7).astype(np.float32)
    x[5] = x[1]
    gram = CNTK(depth=3, patch_size=3, backend="cuda").gram(x)
    assert gram[5, 1] == gram[1, 1] == gram[5, 5] == gram[1, 5]
    exact = CNTK(depth=3, patch_size=3, backend="reference").gram(x)
    assert_close(np.diag(gram), np.diag(exact), "smooth", "float32")


def test_negligible_patches_count_as_zero(rng):
    x = 1e6 * random_images(rng, 3, 1, 6, 6).astype(np.float32)
    dim, black = x.copy(), x.copy()
    dim[0, :, :, :3] = 1e-20
    black[0, :, :, :3] = 0
    kernel = CNTK(depth=1, backend="cuda")
    assert_close(kernel.gram(dim), kernel.gram(black), "smooth", "float32")
    alpha = np.ones((3, 1))
    assert_close(kernel.patch_agop(dim, dim, alpha), kernel.patch_agop(black, black, alpha), "smooth", "float32")
    # Dim patches have a direction.
    dim[0, :, :, :3] = 1e-12
    expected = CNTK(depth=1, backend="reference").patch_agop(dim.astype(np.float64), dim.astype(np.float64), alpha)
    assert_close(kernel.patch_agop(dim, dim, alpha), expected, "smooth", "float32")


def test_tensors_in_tensors_out(parts, rng):
    device = parts["launch"].current().name
    x = torch.from_numpy(random_images(rng, 3, 1, 5, 5).astype(np.float32)).to(device)
    kernel = CNTK(depth=1, patch_size=3, backend="cuda")
    gram, agop = kernel.gram(x), kernel.patch_agop(x, x, torch.ones(3, 1))
    assert gram.device == agop.device == x.device
    assert_close(gram.cpu().numpy(), CNTK(depth=1, backend="cpu").gram(x.cpu().numpy()), "smooth", "float32")


def test_same_bits_twice(rng):
    x, alpha, metric = random_images(rng, 9, 1, 5, 5), rng.standard_normal((9, 2)), random_metric(rng, 9)
    kernel = CNTK(depth=2, patch_size=3, backend="cuda")
    assert (kernel.gram(x, None, metric) == kernel.gram(x, None, metric)).all()
    assert (kernel.patch_agop(x, x, alpha, metric) == kernel.patch_agop(x, x, alpha, metric)).all()


def test_precision_is_what_it_was_before(parts):
    matmul, full_precision = torch.backends.cuda.matmul, parts["launch"].full_precision
    before = matmul.fp32_precision
    with full_precision:
        with full_precision:
            assert matmul.fp32_precision == "ieee"
        assert matmul.fp32_precision == "ieee"
    assert matmul.fp32_precision == before


def test_a_broken_chain_rule_is_seen(monkeypatch, parts, rng):
    x, metric = random_images(rng, 4, 1, 5, 5), random_metric(rng, 9)
    ours, reference = (CNTK(depth=2, patch_size=3, backend=name) for name in ("cuda", "reference"))
    monkeypatch.setattr(parts["cuda"], "chain", lambda root, inner: np.linalg.pinv(root) @ inner @ np.linalg.pinv(root).T)
    with pytest.raises(AssertionError, match="agop"):
        check(ours, reference, x, x, metric, rng)


def test_a_wrong_singular_rule_is_seen(monkeypatch, parts, rng):
    x = singular_images(rng, 5, 1, 6, 6)
    ours, reference = (CNTK(depth=2, patch_size=3, backend=name) for name in ("cuda", "reference"))
    monkeypatch.setattr(parts["launch"], "SINGULARITY", {np.dtype(np.float64): 0.9})
    with pytest.raises(AssertionError, match=r"gram|agop"):
        check(ours, reference, x, x, None, rng)


def test_a_window_too_small_is_seen(monkeypatch, parts, rng):
    x = random_images(rng, 4, 1, 6, 6)
    ours, reference = (CNTK(depth=2, patch_size=3, backend=name) for name in ("cuda", "reference"))
    windows = parts["device_functions"].windows
    from convrfm.kernels.gpu import sweeps

    monkeypatch.setattr(sweeps, "windows", lambda q, dtype: windows(2, dtype))
    with pytest.raises(AssertionError, match="gram"):
        check(ours, reference, x, x, None, rng)


@pytest.mark.parametrize(("dtype", "n"), [("float32", 300), ("float64", 90)])
def test_agrees_with_the_cpu_at_the_size_of_the_paper(parts, dtype, n, rng):
    if parts["launch"].SIMULATED:
        pytest.skip("too large for the simulator")
    x = rng.random((n, 3, 32, 32)).astype(dtype)
    alpha, metric = rng.standard_normal((n, 10)), random_metric(rng, 27)
    for given in (None, metric):
        ours, theirs = (CNTK(depth=3, patch_size=3, backend=name) for name in ("cuda", "cpu"))
        assert_close(ours.gram(x, None, given), theirs.gram(x, None, given), "gram", dtype)
        points = x[:17]
        assert_close(ours.patch_agop(x, points, alpha, given), theirs.patch_agop(x, points, alpha, given), "agop", dtype)
