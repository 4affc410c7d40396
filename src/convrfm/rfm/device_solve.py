"""Kernel ridge regression on a device of PyTorch, where a GPU is faster than LAPACK (`convrfm.rfm.ridge`).

The kernel matrix goes to the device once, in its own dtype, beside the system that is factorised; only the coefficients
come back. The certificate is that of LAPACK's route: the residual in float64 against the kernel that was passed, and an
estimate of the condition number in the 1-norm by the power method behind LAPACK's `pocon` (Higham 1988; Higham &
Tisseur 2000, in SciPy). A module of its own, since fits on the CPU do without importing PyTorch.
"""

import logging
from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, onenormest

from convrfm.kernels.gpu.launch import free_on, full_precision
from convrfm.numerics.inputs import check_finite
from convrfm.rfm.ridge import RidgeSolution, SolverDtype, check_system, solve_ridge, warn_of_clipping

__all__ = ["DeviceSolution", "free_device", "solve_by_torch", "solve_on_device", "solve_on_gpu"]

LEAST_ON_DEVICE = 3000  # fewest rows of a system that a GPU solves: LAPACK takes half a second for fewer, on one core
ON_DEVICE = " on cuda"  # suffix of the name of a solver that ran on a GPU
ROWS_AT_ONCE = 1024  # rows of the kernel matrix in float64 at a time, for norms and residuals
ROOM = 1.2  # memory of the device for each byte of the matrices: the solver's own, and the coefficients

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DeviceSolution:
    """A solution on a device."""

    alpha: np.ndarray  # `(n, outputs)` float64
    residual: float  # as in `convrfm.rfm.ridge.RidgeSolution`
    condition: float  # likewise, with all its digits
    # None after a Cholesky factorisation; else the smallest eigenvalue of the indefinite kernel, whose negative eigenvalues
    # were set to zero
    smallest: float | None


def solve_on_gpu(kernel: np.ndarray, targets: np.ndarray, ridge: float, dtype: SolverDtype = "float64") -> RidgeSolution:
    """Solve as `convrfm.rfm.ridge.solve_ridge`, with its errors, on the GPU with the most free memory.

    LAPACK solves systems of fewer than `LEAST_ON_DEVICE` rows, and, with a line in the log, those that fit into no GPU.
    """
    if len(kernel) < LEAST_ON_DEVICE:
        return solve_ridge(kernel, targets, ridge, dtype)
    check_system(kernel.shape, targets, ridge)
    check_finite(kernel, "The kernel matrix")
    device, size = free_device(kernel, dtype), f"ridge system of {len(kernel)} rows"
    if device is None:
        log.info("%s: no GPU has enough memory, LAPACK solves it", size)
        return solve_ridge(kernel, targets, ridge, dtype)
    try:
        found = solve_on_device(kernel, targets, ridge, dtype, device)
    except RuntimeError as error:
        # Of PyTorch's allocator, and of the solver's own.
        if not isinstance(error, torch.OutOfMemoryError) and "ALLOC_FAILED" not in str(error):
            raise
        log.warning("%s: %s ran out of memory, LAPACK solves it (%s)", size, device, str(error).splitlines()[0])
        return solve_ridge(kernel, targets, ridge, dtype)
    return _solution(found, ridge, ON_DEVICE)


def solve_by_torch(kernel: np.ndarray, targets: np.ndarray, ridge: float, dtype: SolverDtype = "float64") -> RidgeSolution:
    """Solve as `convrfm.rfm.ridge.solve_ridge`, on the CPU; arguments are not checked."""
    return _solution(solve_on_device(kernel, targets, ridge, dtype, torch.device("cpu")), ridge)


def _solution(found: DeviceSolution, ridge: float, suffix: str = "") -> RidgeSolution:
    """A solution with its certificate, and a warning where eigenvalues were clipped."""
    if found.smallest is not None:
        warn_of_clipping(ridge, found.smallest)
    solver = ("cholesky" if found.smallest is None else "clipped eigenvalues") + suffix
    return RidgeSolution(found.alpha, ridge, solver, found.residual, float(f"{found.condition:.3g}"))


def free_device(kernel: np.ndarray, dtype: str) -> torch.device | None:
    """The GPU with the most free memory, if a solve with a kernel `(n, n)` in a dtype fits into it; else None."""
    free = {index: free_on(index) for index in range(torch.cuda.device_count())}
    most = max(free, key=free.__getitem__, default=None)
    needed = ROOM * kernel.size * (kernel.itemsize + np.dtype(dtype).itemsize)
    return None if most is None or free[most] < needed else torch.device("cuda", most)


def solve_on_device(kernel: np.ndarray, targets: np.ndarray, ridge: float, dtype: str, device: torch.device) -> DeviceSolution:
    """Solve (K + ridge I) alpha = Y; arguments as of `convrfm.rfm.ridge.solve_ridge`, not checked.

    If the Cholesky factorisation fails, negative eigenvalues of K are set to zero.

    Raises:
        torch.OutOfMemoryError: the device has too little memory.
    """
    precision: torch.dtype = getattr(torch, dtype)
    with torch.no_grad(), full_precision:
        matrix = _uploaded(kernel, device)
        right = _uploaded(targets, device).double()
        system = matrix.to(precision, copy=True)
        system.diagonal().add_(ridge)
        norm = max(float(part.abs().sum(1).max()) for part in torch.split(system, ROWS_AT_ONCE))
        # The transpose of a symmetric matrix is in the solver's order, and is overwritten.
        factor, failed = system.mT, torch.empty((), dtype=torch.int32, device=device)
        torch.linalg.cholesky_ex(factor, out=(factor, failed))
        smallest = None
        if failed.item():
            del system, factor
            values, vectors = torch.linalg.eigh(matrix.to(precision))
            smallest = float(values[0])
            shifted = values.double().clamp(min=0) + ridge
            vectors = vectors.double()
            alpha = vectors @ ((vectors.mT @ right) / shifted[:, None])
            condition = float(shifted[-1] / shifted[0])
            del vectors
        else:
            alpha = _solved(factor, right.to(precision)).double()
            condition = norm * _inverse_norm(factor)
            del system, factor
        squares = 0.0
        for first in range(0, len(matrix), ROWS_AT_ONCE):
            rows = slice(first, first + ROWS_AT_ONCE)
            missing = matrix[rows].double() @ alpha + ridge * alpha[rows] - right[rows]
            squares += float(missing.square().sum())
        length = float(torch.linalg.norm(right))
    residual = squares**0.5 / max(length, np.finfo(float).tiny)
    return DeviceSolution(alpha.cpu().numpy(), residual, condition, smallest)


def _uploaded(array: np.ndarray, device: torch.device) -> torch.Tensor:
    """An array on the device; PyTorch shares no read-only memory, and only the native byte order."""
    own = array if array.flags.writeable and array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))
    return torch.from_numpy(own).to(device)


def _solved(factor: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Solve L L^T x = b; `torch.cholesky_solve` would copy the factor."""
    half = torch.linalg.solve_triangular(factor, right, upper=False)
    return torch.linalg.solve_triangular(factor.mT, half, upper=True)


def _inverse_norm(factor: torch.Tensor) -> float:
    """Estimate of the 1-norm of (L L^T)^-1, from a few solves."""
    n = len(factor)

    def solve(columns: np.ndarray) -> np.ndarray:
        given = torch.from_numpy(np.ascontiguousarray(columns.reshape(n, -1))).to(factor)
        solved: np.ndarray = _solved(factor, given).double().cpu().numpy()
        return solved.reshape(columns.shape)

    inverse = LinearOperator((n, n), matvec=solve, rmatvec=solve, matmat=solve, rmatmat=solve, dtype=np.float64)
    # With one column, nothing is drawn at random.
    return float(onenormest(inverse, t=1))
