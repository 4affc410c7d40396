"""Kernel ridge regression in float64, alpha = (K + ridge I)^{-1} Y, with a certificate; targets and scores."""

import warnings
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import linalg

from convrfm.errors import ConvRFMWarning, InputError
from convrfm.numerics.inputs import check_finite, targets_of

__all__ = [
    "RidgeSolution", "SolverDtype", "accuracy", "check_ridge", "check_system", "correct", "determination", "solve_ridge",
    "squared_error", "warn_of_clipping",
]  # fmt: skip

SolverDtype = Literal["float64", "float32"]

# Rows of a system that is left to SciPy, at most: OpenBLAS's factorisation by two threads writes beyond its buffers, and kills
# the process, from 16000 rows in float64 on (OpenBLAS issue 1413; more threads reach further).
MOST_FOR_SCIPY = 12_000

COLUMNS_AT_ONCE = 256  # columns of a matrix whose absolute values are held at a time


@dataclass(frozen=True)
class RidgeSolution:
    """A solution and its certificate.

    Attributes:
        alpha: `(n, outputs)` float64.
        ridge: the ridge.
        solver: "cholesky", or "clipped eigenvalues" where the matrix was not positive definite, both on the CPU;
            "cholesky on cuda" and "clipped eigenvalues on cuda" where a GPU solved it.
        residual: |(K + ridge I) alpha - Y| / |Y| in the Frobenius norm, in float64, for the K that was passed.
        condition: estimate of the condition number of K + ridge I in the 1-norm (Cholesky) or 2-norm (eigenvalues), to
            three digits: LAPACK's last digits change with the address of its work space.
    """

    alpha: np.ndarray
    ridge: float
    solver: str
    residual: float
    condition: float


def solve_ridge(kernel: np.ndarray, targets: np.ndarray, ridge: float, dtype: SolverDtype = "float64") -> RidgeSolution:
    """Solve one kernel ridge regression.

    The last bits depend on the number of BLAS threads, see `convrfm.system.machine`. Large systems are solved by PyTorch's
    LAPACK. `convrfm.rfm.device_solve` does the same on a GPU.

    Args:
        kernel: `(n, n)`, symmetric.
        targets: `(n, outputs)`.
        ridge: lambda > 0, on the scale of `kernel`.
        dtype: arithmetic of the factorisation. The authors' code works in float32, where a ridge of 1e-8 is below the
            machine precision.

    Returns:
        The solution. If the Cholesky factorisation fails, because rounding made the kernel indefinite by more than the
        ridge, negative eigenvalues of K are set to zero instead, with a warning.

    Raises:
        InputError: shapes that do not fit, or a ridge that is not positive.
        NonFiniteError: NaN or infinity in the kernel or the targets.
    """
    check_system(kernel.shape, targets, ridge)
    check_finite(kernel, "The kernel matrix")
    if len(kernel) > MOST_FOR_SCIPY:
        # Imported here: smaller systems do without PyTorch, whose import takes seconds.
        from convrfm.rfm.device_solve import solve_by_torch

        return solve_by_torch(kernel, targets, ridge, dtype)
    exact = kernel.astype(np.float64)
    exact[np.diag_indices(len(kernel))] += ridge
    system, right = exact.astype(dtype, copy=False), targets.astype(dtype)
    potrf, pocon = linalg.get_lapack_funcs(("potrf", "pocon"), (system,))
    factor, failed = potrf(system, lower=True, clean=False)
    if failed:
        del factor, system  # the eigenvectors take their place
        alpha, condition = _clipped(kernel, targets, ridge, dtype)
        solver = "clipped eigenvalues"
    else:
        alpha = linalg.cho_solve((factor, True), right, check_finite=False).astype(np.float64)
        # The largest sum of absolute values of a column, without a second matrix of that size.
        strips = (system[:, first : first + COLUMNS_AT_ONCE] for first in range(0, len(system), COLUMNS_AT_ONCE))
        one_norm = np.max([np.abs(strip).sum(axis=0).max() for strip in strips])
        inverse_condition, _ = pocon(factor, one_norm, uplo="L")
        condition = float(1 / inverse_condition) if inverse_condition > 0 else float("inf")
        solver = "cholesky"
    residual = float(np.linalg.norm(exact @ alpha - targets) / max(np.linalg.norm(targets), np.finfo(float).tiny))
    return RidgeSolution(alpha, ridge, solver, residual, float(f"{condition:.3g}"))


def check_system(shape: tuple[int, ...], targets: np.ndarray, ridge: float) -> None:
    """Check the arguments of `solve_ridge` but for the entries of the kernel matrix, of this shape; errors as there."""
    if targets.ndim != 2 or shape != (len(targets), len(targets)):
        msg = f"kernel must be (n, n) and targets (n, outputs), but their shapes are {shape}, {targets.shape}."
        raise InputError(msg)
    check_ridge(ridge)
    check_finite(targets, "The targets")


def check_ridge(ridge: float) -> None:
    """Refuse a ridge that is not positive.

    Raises:
        InputError: it is not.
    """
    if not ridge > 0:
        msg = f"The ridge must be positive, but it is {ridge}."
        raise InputError(msg)


def warn_of_clipping(ridge: float, smallest: float) -> None:
    """Warn that negative eigenvalues of a kernel were set to zero in a solution, the smallest of which is given."""
    warnings.warn(
        f"K + ridge I is not positive definite at ridge {ridge:.3g} (smallest eigenvalue of K {smallest:.3g}): "
        "its negative eigenvalues are set to zero for this solution. A larger ridge avoids this.",
        ConvRFMWarning,
        stacklevel=4,
    )


def _clipped(kernel: np.ndarray, targets: np.ndarray, ridge: float, dtype: SolverDtype) -> tuple[np.ndarray, float]:
    """Solve with the nearest positive semi-definite kernel; gives alpha and the condition number."""
    # In LAPACK's order, or it would work on a copy.
    eigenvalues, eigenvectors = linalg.eigh(kernel.astype(dtype, order="F"), overwrite_a=True)
    warn_of_clipping(ridge, eigenvalues[0])
    shifted = np.clip(eigenvalues, 0, None).astype(np.float64) + ridge
    basis = eigenvectors.astype(np.float64, copy=False)
    return basis @ ((basis.T @ targets) / shifted[:, None]), float(shifted[-1] / shifted[0])


def correct(outputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Whether the largest entry of each row of outputs `(n, classes)` is at the label, `(n,)` bool.

    A single output `(n, 1)` means 1 above 1/2, and 0 otherwise. The authors' code rounds it; 1.6 then counts as wrong.
    """
    decided = outputs[:, 0] > 0.5 if outputs.shape[1] == 1 else outputs.argmax(axis=1)
    return np.asarray(decided == labels)


def accuracy(outputs: np.ndarray, labels: np.ndarray) -> float:
    """Fraction of images that are classified correctly, see `correct`."""
    return float(correct(outputs, labels).mean())


def determination(outputs: np.ndarray, targets: np.ndarray) -> float:
    """Give R^2 of outputs `(n, outputs)`, averaged over outputs as in scikit-learn's `r2_score`; NaN for one row."""
    from sklearn.metrics import r2_score  # takes a second, and classification does not need it

    return float(r2_score(targets, outputs)) if len(outputs) > 1 else float("nan")


def squared_error(outputs: np.ndarray, labels: np.ndarray) -> float:
    """Squared distance of outputs `(n, outputs)` to their targets: summed over outputs, averaged over rows.

    `labels` are integer labels `(n,)`, see `targets_of`, or the targets themselves `(n, outputs)`.
    """
    targets = labels if labels.ndim == 2 else targets_of(labels, outputs.shape[1])
    return float(((outputs - targets) ** 2).sum(axis=1).mean())
