"""Ridge regression against NumPy, its certificate, and its fallback."""

import numpy as np
import pytest
from tolerance import assert_close

from convrfm.errors import ConvRFMWarning, InputError, NonFiniteError
from convrfm.ridge import accuracy, determination, one_hot, solve_ridge, squared_error


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
