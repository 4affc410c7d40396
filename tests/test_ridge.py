"""Ridge regression against NumPy, its certificate, and its fallback."""

import numpy as np
import pytest
import torch
from tolerance import assert_close

from convrfm.errors import ConvRFMWarning, InputError, NonFiniteError
from convrfm.numerics.inputs import one_hot
from convrfm.rfm import device_solve, ridge
from convrfm.rfm.device_solve import solve_on_device, solve_on_gpu
from convrfm.rfm.ridge import accuracy, determination, solve_ridge, squared_error


@pytest.fixture
def kernel(rng):
    root = rng.standard_normal((12, 12))
    return root @ root.T


def test_agrees_with_numpy(kernel, rng):
    targets = rng.standard_normal((12, 3))
    solution = solve_ridge(kernel, targets, 0.1)
    system = kernel + 0.1 * np.eye(12)
    assert_close(solution.alpha, np.linalg.solve(system, targets), "exact")
    assert solution.solver == "cholesky"
    assert solution.residual < 1e-12
    assert 0.1 < solution.condition / np.linalg.cond(system, 1) <= 1.01
    assert solution.condition == float(f"{solution.condition:.3g}")


def test_float32_is_an_option_with_its_own_residual(kernel, rng):
    targets = rng.standard_normal((12, 2))
    single, double = (solve_ridge(kernel, targets, 1e-3, dtype) for dtype in ("float32", "float64"))
    assert 1e-12 < single.residual < 1e-2
    assert double.residual < single.residual


def test_an_indefinite_kernel_is_solved_by_clipping_with_a_warning(kernel, rng):
    values, vectors = np.linalg.eigh(kernel)
    values[0] = -1e-3
    indefinite = (vectors * values) @ vectors.T
    targets = rng.standard_normal((12, 2))
    with pytest.warns(ConvRFMWarning, match="not positive definite at ridge 1e-08"):
        solution = solve_ridge(indefinite, targets, 1e-8)
    assert solution.solver == "clipped eigenvalues"
    nearest = (vectors * np.clip(values, 0, None)) @ vectors.T
    # The clipped direction has eigenvalue 1e-8: the solution is right to the precision that this leaves.
    residual = np.linalg.norm(nearest @ solution.alpha + 1e-8 * solution.alpha - targets) / np.linalg.norm(targets)
    assert residual < 1e-6
    assert solution.residual > 1e-3  # against what was passed: the certificate shows that something was changed


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda k, y: (k[:5], y, 1.0), InputError),
        (lambda k, y: (k, y[:5], 1.0), InputError),
        (lambda k, y: (k, y, 0.0), InputError),
        (lambda k, y: (np.where(k > 0, k, np.nan), y, 1.0), NonFiniteError),
        (lambda k, y: (k, np.full_like(y, np.nan), 1.0), NonFiniteError),
    ],
)
def test_bad_input(kernel, rng, change, error):
    with pytest.raises(error):
        solve_ridge(*change(kernel, rng.standard_normal((12, 2))))


def test_labels_out_of_range():
    with pytest.raises(InputError, match="run from -1 to 1"):
        one_hot(np.array([-1, 1]), 2)


def test_scores():
    outputs = np.array([[0.9, 0.2], [0.1, 0.3], [0.6, 0.5]])
    labels = np.array([0, 1, 1])
    assert accuracy(outputs, labels) == pytest.approx(2 / 3)
    assert (one_hot(labels, 2) == [[1, 0], [0, 1], [0, 1]]).all()
    # 0.01 + 0.04, 0.01 + 0.49, 0.36 + 0.25
    assert squared_error(outputs, labels) == pytest.approx((0.05 + 0.5 + 0.61) / 3)


def test_measures_of_real_targets():
    outputs, targets = np.array([[1.0, 0.0], [2.0, 3.0], [3.0, 3.0]]), np.array([[1.0, 0.0], [2.0, 2.0], [4.0, 4.0]])
    assert squared_error(outputs, targets) == pytest.approx((0 + 1 + 2) / 3)
    spread = ((targets - targets.mean(axis=0)) ** 2).sum(axis=0)
    assert determination(outputs, targets) == pytest.approx((1 - np.array([1, 2]) / spread).mean())
    assert np.isnan(determination(outputs[:1], targets[:1]))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("n", [2, 3, 40, 700])
def test_a_device_gives_what_lapack_gives(rng, n, dtype):
    root = rng.standard_normal((n, max(2, n // 2)))
    kernel, targets = (root @ root.T / n).astype(np.float32), rng.standard_normal((n, 3))
    kernel.flags.writeable = False
    expected = solve_ridge(kernel, targets, 0.1, dtype)
    found = solve_on_device(kernel, targets, 0.1, dtype, torch.device("cpu"))
    scale = np.abs(expected.alpha).max()
    assert np.abs(found.alpha - expected.alpha).max() < {"float64": 1e-10, "float32": 1e-4}[dtype] * scale
    assert found.alpha.dtype == np.float64
    assert found.smallest is None
    # The same meaning: in float64, against the kernel that was passed.
    system = kernel.astype(float) + 0.1 * np.eye(n)
    missing = np.linalg.norm(system @ found.alpha - targets) / np.linalg.norm(targets)
    assert found.residual == pytest.approx(missing, abs=1e-14, rel=1e-3)
    assert found.residual < {"float64": 1e-13, "float32": 1e-4}[dtype]
    assert found.condition == pytest.approx(expected.condition, rel={"float64": 0.005, "float32": 0.02}[dtype])


def test_a_condition_of_a_device_is_not_deceived():
    """By a system of whole numbers that is built against the power method, whose first vectors see an inverse of norm 1."""
    inverse_factor = np.array([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, -2, 1, 0], [0, -2, 2, 1]])
    system = np.linalg.inv(inverse_factor.T @ inverse_factor).round()
    kernel, targets = system - np.eye(4), np.ones((4, 1))
    found = solve_on_device(kernel, targets, 1.0, "float64", torch.device("cpu"))
    by_lapack, exact = solve_ridge(kernel, targets, 1.0).condition, np.linalg.cond(system, 1)
    assert by_lapack <= found.condition <= exact * (1 + 1e-12)


def test_large_systems_are_not_left_to_scipy(kernel, rng, monkeypatch):
    """From 16000 rows on, OpenBLAS's factorisation by two threads kills the process."""
    targets = rng.standard_normal((12, 3))
    expected = solve_ridge(kernel, targets, 0.1)
    monkeypatch.setattr(ridge, "MOST_FOR_SCIPY", 11)
    monkeypatch.setattr(ridge.linalg, "get_lapack_funcs", None)
    found = solve_ridge(kernel, targets, 0.1)
    assert_close(found.alpha, expected.alpha, "exact")
    assert (found.solver, found.condition) == ("cholesky", expected.condition)
    with pytest.warns(ConvRFMWarning, match="not positive definite"):
        assert solve_ridge(kernel - 2 * np.eye(12), targets, 0.1).solver == "clipped eigenvalues"


@pytest.fixture
def on_device(monkeypatch):
    """Let the CPU stand for a GPU that solves systems of any size; gives the devices that were asked."""
    asked = []

    def solve(*given):
        asked.append(given[-1])
        return solve_on_device(*given)

    monkeypatch.setattr(device_solve, "LEAST_ON_DEVICE", 5)
    monkeypatch.setattr(device_solve, "free_device", lambda *_: torch.device("cpu"))
    monkeypatch.setattr(device_solve, "solve_on_device", solve)
    return asked


def test_a_gpu_solves_what_is_large_enough(kernel, rng, on_device):
    targets = rng.standard_normal((12, 3))
    by_lapack, by_device = (solve(kernel, targets, 0.1) for solve in (solve_ridge, solve_on_gpu))
    assert (by_lapack.solver, by_device.solver) == ("cholesky", "cholesky on cuda")
    assert_close(by_device.alpha, by_lapack.alpha, "exact")
    assert by_device.condition == by_lapack.condition
    small = solve_on_gpu(kernel[:4, :4], targets[:4], 0.1)
    assert np.array_equal(small.alpha, solve_ridge(kernel[:4, :4], targets[:4], 0.1).alpha)
    assert small.solver == "cholesky"
    assert len(on_device) == 1


def test_a_gpu_clips_an_indefinite_kernel_too(kernel, rng, on_device):
    values, vectors = np.linalg.eigh(kernel)
    values[0] = -1e-3
    indefinite, targets = (vectors * values) @ vectors.T, rng.standard_normal((12, 2))
    with pytest.warns(ConvRFMWarning, match="not positive definite at ridge 0.0001 .smallest eigenvalue of K -0.001"):
        by_device = solve_on_gpu(indefinite, targets, 1e-4)
    with pytest.warns(ConvRFMWarning, match="not positive definite"):
        by_lapack = solve_ridge(indefinite, targets, 1e-4)
    assert by_device.solver == "clipped eigenvalues on cuda"
    assert np.allclose(by_device.alpha, by_lapack.alpha, rtol=1e-9, atol=0)
    assert by_device.residual == pytest.approx(by_lapack.residual)
    assert by_device.condition == by_lapack.condition
    assert len(on_device) == 1


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory."), RuntimeError("cusolver error: CUSOLVER_STATUS_ALLOC_FAILED")]
)
def test_lapack_takes_over_where_a_gpu_runs_out_of_memory(kernel, rng, on_device, monkeypatch, caplog, error):
    def fail(*_):
        raise error

    monkeypatch.setattr(device_solve, "solve_on_device", fail)
    targets = rng.standard_normal((12, 3))
    found = solve_on_gpu(kernel, targets, 0.1)
    assert np.array_equal(found.alpha, solve_ridge(kernel, targets, 0.1).alpha)
    assert found.solver == "cholesky"
    assert "ridge system of 12 rows: cpu ran out of memory, LAPACK solves it" in caplog.text


def test_other_errors_of_a_gpu_are_no_reason_to_go_on(kernel, rng, on_device, monkeypatch):
    def fail(*_):
        msg = "CUDA error: an illegal memory access was encountered"
        raise RuntimeError(msg)

    monkeypatch.setattr(device_solve, "solve_on_device", fail)
    with pytest.raises(RuntimeError, match="illegal memory access"):
        solve_on_gpu(kernel, rng.standard_normal((12, 3)), 0.1)


def test_the_gpu_with_the_most_free_memory_is_taken_if_it_suffices(monkeypatch, caplog):
    free = {0: 10**6, 1: 3 * 10**6}
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(free))
    monkeypatch.setattr(device_solve, "free_on", free.__getitem__)
    # In float32 and float64: 12 bytes for each entry, and a fifth more.
    assert device_solve.free_device(np.eye(400, dtype=np.float32), "float64") == torch.device("cuda", 1)
    assert device_solve.free_device(np.eye(500, dtype=np.float32), "float64") is None
    assert device_solve.free_device(np.eye(500, dtype=np.float32), "float32") == torch.device("cuda", 1)
    monkeypatch.setattr(device_solve, "LEAST_ON_DEVICE", 5)
    caplog.set_level("INFO")
    assert solve_on_gpu(np.eye(500, dtype=np.float32), np.ones((500, 1)), 1.0).solver == "cholesky"
    assert "no GPU has enough memory" in caplog.text


@pytest.mark.gpu
def test_a_real_gpu_gives_what_lapack_gives(rng):
    if not torch.cuda.is_available():
        pytest.skip("Numba's simulator has no solver")
    n = device_solve.LEAST_ON_DEVICE
    root = rng.standard_normal((n, n // 2))
    kernel, targets = (root @ root.T / n).astype(np.float32), rng.standard_normal((n, 10))
    for dtype, bound in (("float64", 1e-10), ("float32", 1e-3)):
        expected, found = (solve(kernel, targets, 0.1, dtype) for solve in (solve_ridge, solve_on_gpu))
        assert found.solver == "cholesky on cuda"
        assert np.abs(found.alpha - expected.alpha).max() < bound * np.abs(expected.alpha).max()
        assert found.condition == pytest.approx(expected.condition, rel=0.02)
