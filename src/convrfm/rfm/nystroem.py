"""Kernel ridge regression on many images: Nyström's approximation, and conjugate gradients that it preconditions.

With landmarks S among the training images, Nyström's approximation of the kernel matrix is B B^T, with
B = K[:, S] K[S, S]^(-1/2).

- `solve_nystroem` takes it as the kernel: the predictor is a sum over the landmarks, f(z) = K(z, S) beta, whose beta minimises
  |K[:, S] beta - Y|^2 + ridge beta^T K[S, S] beta. With n images and m landmarks, n m entries of the kernel suffice (Williams &
  Seeger 2000; Rudi et al. 2015, arXiv 1507.04717).
- `solve_pcg` solves the whole system, which it never factorises: conjugate gradients, preconditioned by the eigenvectors of the
  approximation (Frangella et al. 2023, arXiv 2110.02820). Products with K are in the dtype of K, and the residual that decides
  when to stop is in float64: whenever it has fallen by `INNER`, the gradients start again from it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import linalg

from convrfm.errors import InputError
from convrfm.numerics.inputs import check_finite
from convrfm.rfm.ridge import RidgeSolution, check_ridge, check_system

__all__ = ["RESIDUAL", "KernelPart", "solve_nystroem", "solve_pcg"]

RESIDUAL = 1e-9
"""Largest residual |(K + ridge I) alpha - Y| / |Y| of a solution by conjugate gradients, in the Frobenius norm."""

INNER = 1e-4  # fall of the residual in float32 arithmetic before it is computed in float64
STEPS = 200  # of conjugate gradients between two residuals in float64, at most
RANK = 500  # landmarks of the preconditioner, at most
STRIP_BYTES = 64 * 2**20  # rows of a kernel matrix that are held as a copy at a time


@dataclass(frozen=True)
class KernelPart:
    """Some rows and columns of a kernel matrix, divided by a number: what products need, without a matrix of its own.

    Attributes:
        gram: `(n, m)`, float32 or float64; it may lie in a file.
        rows, columns: indices.
        scale: the number.
    """

    gram: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    scale: float

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of rows and columns."""
        return len(self.rows), len(self.columns)

    def take(self, columns: np.ndarray) -> np.ndarray:
        """Some of the columns, by their places in `columns`, as float64 `(rows, len(columns))`."""
        return self.gram[np.ix_(self.rows, self.columns[columns])].astype(np.float64) / self.scale

    def product(self, x: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """Multiply by x `(columns, k)` in the arithmetic of a dtype, strip by strip; gives float64 `(rows, k)`."""
        padded = np.zeros((self.gram.shape[1], x.shape[1]), dtype)
        padded[self.columns] = x / self.scale
        out = np.empty((len(self.rows), x.shape[1]))
        step = max(1, STRIP_BYTES // (self.gram.shape[1] * dtype.itemsize))
        for first in range(0, len(out), step):
            rows = self.rows[first : first + step]
            # A range of rows is read in place.
            strip = self.gram[rows[0] : rows[-1] + 1] if rows[-1] - rows[0] + 1 == len(rows) else self.gram[rows]
            out[first : first + step] = strip.astype(dtype, copy=False) @ padded
        return out

    def __matmul__(self, x: np.ndarray) -> np.ndarray:
        """Multiply by x `(columns, k)` in float64."""
        return self.product(x, np.dtype(np.float64))


def solve_nystroem(kernel: np.ndarray, square: np.ndarray, targets: np.ndarray, ridge: float) -> RidgeSolution:
    """Solve kernel ridge regression with Nyström's approximation of the kernel.

    Args:
        kernel: entries of n images with m landmarks `(n, m)`.
        square: entries of the landmarks with each other `(m, m)`, symmetric; on the same scale.
        targets: `(n, outputs)`.
        ridge: lambda > 0, on the scale of `kernel`.

    Returns:
        The solution, with alpha `(m, outputs)` for the landmarks, and solver "nystroem". Residual and condition are
        those of (B^T B + ridge I) w = B^T Y. Eigenvalues of `square` below its precision are left out.

    Raises:
        InputError: shapes that do not fit, or a ridge that is not positive.
        NonFiniteError: NaN or infinity in the kernel or the targets.
    """
    n, m = len(targets), len(square)
    if targets.ndim != 2 or kernel.shape != (n, m) or square.shape != (m, m):
        shapes = f"{kernel.shape}, {square.shape}, {targets.shape}"
        msg = f"kernel must be (n, m), square (m, m) and targets (n, outputs), but their shapes are {shapes}."
        raise InputError(msg)
    check_ridge(ridge)
    for name, values in {"kernel matrix": kernel, "kernel of the landmarks": square, "targets": targets}.items():
        check_finite(values, f"The {name}")
    whitening = _whitening(square, square.dtype)
    system = np.zeros([whitening.shape[1]] * 2)
    right = np.zeros((len(system), targets.shape[1]))
    step = max(1, STRIP_BYTES // (8 * m))
    for first in range(0, n, step):
        features = kernel[first : first + step].astype(np.float64) @ whitening
        system += features.T @ features
        right += features.T @ targets[first : first + step]
    values, vectors = linalg.eigh(system)
    shifted = np.clip(values, 0, None) + ridge
    weights = vectors @ ((vectors.T @ right) / shifted[:, None])
    missing = system @ weights + ridge * weights - right
    residual = float(np.linalg.norm(missing) / max(np.linalg.norm(right), np.finfo(float).tiny))
    condition = float(f"{shifted[-1] / shifted[0]:.3g}")
    return RidgeSolution(whitening @ weights, ridge, "nystroem", residual, condition)


def solve_pcg(kernel: KernelPart, targets: np.ndarray, ridge: float) -> RidgeSolution:
    """Solve kernel ridge regression by conjugate gradients, to a residual of `RESIDUAL`.

    Outputs on the images of the system differ from the exact ones by at most the residual times |Y|, since |K (K + ridge I)^-1|
    is below 1. Beside the kernel matrix, it takes memory for `RANK` columns of it in float64, three times.

    Args:
        kernel: square and symmetric.
        targets: `(n, outputs)`.
        ridge: lambda > 0, on the scale of `kernel`.

    Returns:
        The solution, with solver "pcg", and NaN as the condition, which is not known without a factorisation.

    Raises:
        InputError: shapes that do not fit; a ridge that is not positive, or so small that in the precision of K the
            system is not positive definite, or the residual stops falling.
        NonFiniteError: NaN or infinity in the targets.
    """
    check_system(kernel.shape, targets, ridge)
    precondition = _preconditioner(kernel, ridge)
    length = max(float(np.linalg.norm(targets)), np.finfo(float).tiny)
    alpha, missing, residual, last = np.zeros(targets.shape), targets.astype(np.float64), 1.0, np.inf
    while residual > RESIDUAL:
        if not residual < last / 2:
            msg = (
                f"Conjugate gradients do not converge at ridge {ridge:.3g}: the residual stays at {residual:.2g} of the "
                "targets. Use larger ridges, or solver='cholesky'."
            )
            raise InputError(msg)
        last = residual
        alpha += _conjugate_gradients(kernel, missing, ridge, precondition)
        missing = targets - (kernel @ alpha + ridge * alpha)
        residual = float(np.linalg.norm(missing)) / length
    return RidgeSolution(alpha, ridge, "pcg", residual, float("nan"))


def _whitening(square: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """K[S, S]^(-1/2) `(m, rank)` in float64, of the eigenvalues above the precision of a matrix computed in this dtype."""
    values, vectors = linalg.eigh(square.astype(np.float64))
    # Rounding of single entries changes eigenvalues by less than that of the largest.
    kept = values > np.finfo(dtype).eps * values[-1]
    whitening: np.ndarray = vectors[:, kept] / np.sqrt(values[kept])
    return whitening


def _preconditioner(kernel: KernelPart, ridge: float) -> Callable[[np.ndarray], np.ndarray]:
    """(lambda_min + ridge) U (Lambda + ridge)^-1 U^T + I - U U^T, where U Lambda U^T is Nyström's approximation."""
    n = len(kernel.rows)
    landmarks = np.unique(np.linspace(0, n - 1, min(n, RANK)).round().astype(int))
    columns = kernel.take(landmarks)
    features = columns @ _whitening(columns[landmarks], kernel.gram.dtype)
    values, vectors = linalg.eigh(features.T @ features)
    kept = values > len(values) * np.finfo(np.float64).eps * values[-1]
    basis = features @ (vectors[:, kept] / np.sqrt(values[kept]))
    factors = (values[kept][0] + ridge) / (values[kept] + ridge) - 1
    return lambda vector: vector + basis @ (factors[:, None] * (basis.T @ vector))


def _conjugate_gradients(
    kernel: KernelPart, right: np.ndarray, ridge: float, precondition: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """Solve (K + ridge I) x = right `(n, outputs)` in the arithmetic of K, until the residual of each column is `INNER`."""
    x, missing = np.zeros_like(right), right.copy()
    ahead = np.zeros_like(right)
    before = np.ones(right.shape[1])
    enough = INNER * np.linalg.norm(right, axis=0)
    for _ in range(STEPS):
        active = np.linalg.norm(missing, axis=0) > enough
        if not active.any():
            break
        steep = precondition(missing)
        now = np.einsum("no,no->o", missing, steep)
        ahead = steep + ahead * np.where(active, now / before, 0)
        before = np.where(active, now, 1)
        image = kernel.product(ahead, kernel.gram.dtype) + ridge * ahead
        curvature = np.einsum("no,no->o", ahead, image)
        if not (curvature[active] > 0).all():
            msg = (
                f"K + ridge I is not positive definite at ridge {ridge:.3g} in {kernel.gram.dtype}: use larger ridges, or "
                "solver='cholesky', which sets negative eigenvalues to zero."
            )
            raise InputError(msg)
        length = np.where(active, now / np.where(active, curvature, 1), 0)
        x += ahead * length
        missing -= image * length
    return x
