"""Matrices of the form W^T D W, their correlations, and how sure a correlation is.

Both sides of the Convolutional Neural Feature Ansatz have this form: the CNFM W^T W, where D is the identity, and the
patch-AGOP (see `convrfm.ansatz.agop`). W has a row for each of k filters and a column for each of the d = c q_h q_w numbers of
a patch, in the patch order (channel, row, column). With W^T = Q T, Q an orthonormal basis of r = min(k, d) directions,
the `(d, d)` matrix is Q R Q^T with R = T D T^T `(r, r)`: sums, inner products and powers follow from R, and the large
matrix is formed only on demand. In the last layers of VGG, d is nine times k. A grouped convolution has one such matrix for
each group; all their entries count together.

With more filters than numbers in a patch, k > d, W is split into polar factors, W = V H with H = (W^T W)^{1/2} `(d, d)`, and
V^T D V `(d, d)` determines W^T D W = H (V^T D V) H. Such a *core* is min(k, d) wide, whatever the layer.
"""

from collections.abc import Sequence
from functools import cached_property
from itertools import combinations_with_replacement
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from scipy.special import stdtrit

from convrfm.errors import InputError, ProbeError

__all__ = [
    "BlockCorrelation", "Entries", "Estimate", "FilterForm", "Matrix", "correlate", "inner", "jackknife", "leave_one_out",
    "pearson", "polar", "squared_norm", "without_error",
]  # fmt: skip

Entries = Literal["pearson", "cosine", "off_diagonal"]
"""Which inner product: of centred entries, of entries as they are, of centred entries off the diagonal.

The correlations are Pearson's, as in Figures 1, 7 and 8 of arXiv 2309.00570; the cosine similarity, the "uncentered
correlation" of its Figure 9; and one that two diagonals alone cannot raise.
"""

RANK_TOLERANCE = 1e-13
"""Eigenvalues below this fraction of the largest are rounding errors of a lower rank; powers leave them out."""

ROUNDING = 1e-12
"""Inner products of centred entries are rounding errors, and count as 0, below this fraction of the product before centring."""

LEVEL = 0.95
"""Coverage of the intervals."""


def polar(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Split filters W `(groups, k, d)`, k > d, into V `(groups, k, d)` and H = (W^T W)^{1/2} `(groups, d, d)`, W = V H.

    Both are float64, and unique except in directions in which W vanishes; V vanishes there, too.
    """
    directions, triangle = np.linalg.qr(np.asarray(weight, np.float64))
    left, values, right = np.linalg.svd(triangle)
    kept = values > RANK_TOLERANCE * values.max(axis=1, keepdims=True)
    isometry = directions @ ((left * kept[:, None, :]) @ right)
    return isometry, (right.transpose(0, 2, 1) * values[:, None, :]) @ right


class _Basis:
    """An orthonormal basis Q `(groups, d, r)` of the rows of W, with W^T = Q T, T `(groups, r, k)`; for k > d, H^T = Q T."""

    def __init__(self, weight: np.ndarray) -> None:
        self.filters = weight.shape[1]
        self.isometry: np.ndarray | None = None  # V
        if weight.shape[1] > weight.shape[2]:
            self.isometry, weight = polar(weight)
        self.directions, self.coordinates = np.linalg.qr(weight.transpose(0, 2, 1))
        # What each direction adds to the sum of all entries of a matrix.
        self.sums = self.directions.sum(axis=1)


class FilterForm:
    """The matrix W^T D W `(groups, d, d)` of one convolution.

    Args:
        weight: W, `(groups, k, d)`; k filters of each group. Becomes float64.
        core: D, `(groups, k, k)`, symmetric positive semi-definite, or for k > d the smaller V^T D V, `(groups, d, d)`;
            None for the identity.

    Raises:
        InputError: shapes that do not fit.
    """

    def __init__(self, weight: np.ndarray, core: np.ndarray | None = None) -> None:
        weight = np.asarray(weight, np.float64)
        if weight.ndim != 3:
            msg = f"Filters must have shape (groups, k, d), but their shape is {weight.shape}."
            raise InputError(msg)
        self._basis = _Basis(weight)
        self._reduced = self._reduce(core)

    @classmethod
    def of_filters(cls, weight: np.ndarray, groups: int = 1) -> "FilterForm":
        """W^T W for the weight of a convolution or of a linear map, `(filters, channels / groups, ...)`.

        The numbers of a patch come in the order of the weight's axes: (channel, row, column) in two dimensions.

        Raises:
            InputError: a single axis, or a number of filters that the groups do not divide.
        """
        if weight.ndim < 2 or weight.shape[0] % groups:
            msg = f"A weight of shape {weight.shape} does not fit {groups} groups: use (filters, channels / groups, ...)."
            raise InputError(msg)
        return cls(weight.reshape(groups, weight.shape[0] // groups, -1))

    def with_core(self, core: np.ndarray | None) -> "FilterForm":
        """W^T D W for the same filters and another D; cheaper than to begin with W."""
        return self._of(self._reduce(core))

    @property
    def shape(self) -> tuple[int, int, int]:
        """`(groups, d, d)`."""
        groups, dimension, _ = self._basis.directions.shape
        return groups, dimension, dimension

    def dense(self) -> np.ndarray:
        """Form the matrix, `(groups, d, d)`."""
        return np.asarray(self._basis.directions @ self._reduced @ self._basis.directions.transpose(0, 2, 1))

    def total(self) -> float:
        """Sum of all entries."""
        return float(np.einsum("gi,gij,gj->", self._basis.sums, self._reduced, self._basis.sums))

    def diagonal(self) -> np.ndarray:
        """The diagonals, `(groups, d)`."""
        directions = self._basis.directions
        return np.asarray(((directions @ self._reduced) * directions).sum(axis=2))

    def power(self, exponent: float) -> "FilterForm":
        """(W^T D W)^p on the range of the matrix.

        Raises:
            InputError: the exponent is not positive.
        """
        values, vectors = self._raised(exponent)
        return self._of((vectors * values[:, None, :]) @ vectors.transpose(0, 2, 1))

    def factor(self) -> np.ndarray:
        """A matrix L `(groups, r, d)` with L^T L = W^T D W, hence |L x| = |(W^T D W)^{1/2} x|."""
        values, vectors = self._raised(0.5)
        return np.asarray((values[:, :, None] * vectors.transpose(0, 2, 1)) @ self._basis.directions.transpose(0, 2, 1))

    def product(self, other: "FilterForm") -> float:
        """Sum of the products of the entries with those of another form of the same shape."""
        if other._basis is self._basis:
            return float((self._reduced * other._reduced).sum())
        across = self._basis.directions.transpose(0, 2, 1) @ other._basis.directions
        return float((self._reduced * (across @ other._reduced @ across.transpose(0, 2, 1))).sum())

    def product_with(self, matrices: np.ndarray) -> float:
        """Sum of the products of the entries with those of matrices `(groups, d, d)`."""
        directions = self._basis.directions
        return float((self._reduced * (directions.transpose(0, 2, 1) @ matrices @ directions)).sum())

    def _reduce(self, core: np.ndarray | None) -> np.ndarray:
        """R = T D T^T."""
        coordinates, isometry = self._basis.coordinates, self._basis.isometry
        groups, _, size = coordinates.shape
        whole = (groups, self._basis.filters, self._basis.filters)
        if core is not None and isometry is not None and core.shape == whole:
            core = isometry.transpose(0, 2, 1) @ core @ isometry
        if core is not None and core.shape != (groups, size, size):
            msg = f"The core must have shape {(groups, size, size)}, but its shape is {core.shape}."
            raise InputError(msg)
        return np.asarray((coordinates if core is None else coordinates @ core) @ coordinates.transpose(0, 2, 1))

    def _of(self, reduced: np.ndarray) -> "FilterForm":
        form = FilterForm.__new__(FilterForm)
        form._basis, form._reduced = self._basis, reduced
        return form

    def _raised(self, exponent: float) -> tuple[np.ndarray, np.ndarray]:
        """Eigenvalues of R to a power, 0 where they are rounding, and its eigenvectors."""
        if not exponent > 0:
            msg = f"The exponent must be positive, but it is {exponent}."
            raise InputError(msg)
        values, vectors = self._spectrum
        kept = values > RANK_TOLERANCE * values.max(axis=1, keepdims=True)
        return np.where(kept, np.abs(values), 0) ** exponent, vectors

    @cached_property
    def _spectrum(self) -> tuple[np.ndarray, np.ndarray]:
        values, vectors = np.linalg.eigh(self._reduced)
        return values, vectors


Matrix: TypeAlias = FilterForm | np.ndarray
"""A form, or matrices `(groups, d, d)` or `(d, d)` as they are."""


def inner(a: Matrix, b: Matrix, entries: Entries = "pearson") -> float:
    """Inner product of the entries of two matrices, of the same shape.

    Raises:
        InputError: different shapes.
    """
    a, b = (_three_axes(matrix) for matrix in (a, b))
    if a.shape != b.shape:
        msg = f"The matrices differ in shape: {a.shape} and {b.shape}."
        raise InputError(msg)
    groups, dimension, _ = a.shape
    count, first, second, whole = groups * dimension**2, _total(a), _total(b), _product(a, b)
    product = whole
    if entries == "off_diagonal":
        left, right = _diagonal(a), _diagonal(b)
        count -= left.size
        first, second, product = first - left.sum(), second - right.sum(), whole - (left * right).sum()
    if entries == "cosine":
        return float(whole)
    centred = float(product - first * second / max(count, 1))
    return centred if abs(centred) > ROUNDING * abs(whole) else 0.0


def squared_norm(a: Matrix, entries: Entries = "pearson") -> float:
    """Inner product of a matrix with itself, without the rounding that can make a vanishing one negative."""
    return max(inner(a, a, entries), 0.0)


def correlate(a: Matrix, b: Matrix, entries: Entries = "pearson") -> float:
    """Inner product over the norms, in [-1, 1]; NaN where one of the matrices is constant (or zero, for the cosine)."""
    scale = np.sqrt(squared_norm(a, entries)) * np.sqrt(squared_norm(b, entries))
    return inner(a, b, entries) / float(scale) if scale > 0 else float("nan")


def pearson(a: Matrix, b: Matrix) -> float:
    """Pearson correlation over all entries; see `correlate`."""
    return correlate(a, b, "pearson")


def _three_axes(matrix: Matrix) -> Matrix:
    if isinstance(matrix, FilterForm):
        return matrix
    array = np.asarray(matrix, np.float64)
    array = array[None] if array.ndim == 2 else array
    if array.ndim != 3 or array.shape[1] != array.shape[2]:
        msg = f"A matrix must have shape (d, d) or (groups, d, d), but its shape is {np.shape(matrix)}."
        raise InputError(msg)
    return array


def _total(matrix: Matrix) -> float:
    return matrix.total() if isinstance(matrix, FilterForm) else float(matrix.sum())


def _diagonal(matrix: Matrix) -> np.ndarray:
    return matrix.diagonal() if isinstance(matrix, FilterForm) else np.diagonal(matrix, axis1=1, axis2=2)


def _product(a: Matrix, b: Matrix) -> float:
    if isinstance(a, FilterForm):
        return a.product(b) if isinstance(b, FilterForm) else a.product_with(b)
    return b.product_with(a) if isinstance(b, FilterForm) else float((a * b).sum())


class Estimate(NamedTuple):
    """A number with its standard error and 95 % interval; NaN where these cannot be estimated."""

    value: float
    standard_error: float
    low: float
    high: float


def without_error(value: float) -> Estimate:
    """A number without a standard error or interval."""
    return Estimate(value, float("nan"), float("nan"), float("nan"))


def jackknife(value: float, without: Sequence[float]) -> Estimate:
    """The delete-one jackknife of a number, from its values without each of the blocks (Efron 1982).

    The interval is Student's, with one degree of freedom less than blocks.
    """
    blocks = len(without)
    if blocks < 2:
        return without_error(value)
    spread = np.asarray(without) - np.mean(without)
    error = float(np.sqrt((blocks - 1) / blocks * (spread**2).sum()))
    half = float(stdtrit(blocks - 1, (1 + LEVEL) / 2)) * error
    return Estimate(value, error, value - half, value + half)


def leave_one_out(counts: np.ndarray, *, noisy: bool) -> list[np.ndarray]:
    """For each block with units, the indices of the other blocks with units.

    Empty where there are too few for a jackknife: fewer than two, or fewer than three noisy ones, of which two must remain.
    """
    present = np.flatnonzero(counts)
    least = 3 if noisy else 2
    return [np.delete(present, i) for i in range(len(present))] if len(present) >= least else []


class BlockCorrelation:
    """The correlation of a fixed matrix with the mean of a matrix given as sums over the units of blocks.

    Noise in the second matrix raises its norm, which lowers the correlation. If blocks are independent estimates of one
    matrix, inner products of *different* blocks are unbiased for its squared norm; all pairs are used.

    Args:
        fixed: the first matrix.
        blocks: sums over the units of each block.
        counts: the units of each block; blocks without any are left out.
        entries: which correlation.
        noisy: whether the blocks are noisy estimates of one matrix, rather than parts of a population.

    Raises:
        ProbeError: fewer than two noisy blocks.
    """

    def __init__(
        self, fixed: Matrix, blocks: Sequence[Matrix], counts: np.ndarray, entries: Entries = "pearson", *, noisy: bool
    ) -> None:
        self.noisy = noisy
        self.units = np.asarray(counts, np.float64)
        self.present = np.flatnonzero(self.units)
        if noisy and len(self.present) < 2:
            msg = "The noise of the probes needs at least two blocks: use more probes, or more blocks."
            raise ProbeError(msg)
        self._norm = squared_norm(fixed, entries)
        self._with_fixed = np.zeros(len(blocks))
        self._products = np.zeros((len(blocks), len(blocks)))
        numbers = self.present.tolist()
        for i in numbers:
            self._with_fixed[i] = inner(fixed, blocks[i], entries)
        for i, j in combinations_with_replacement(numbers, 2):
            self._products[i, j] = self._products[j, i] = inner(blocks[i], blocks[j], entries)

    def value(self, chosen: np.ndarray | None = None) -> float:
        """The correlation from some of the blocks, by index; from all by default.

        Not clipped: noise may take an estimate beyond 1. NaN where a matrix is constant, in particular zero.

        Raises:
            ProbeError: noisy blocks whose squared norm is not positive.
        """
        chosen = self.present if chosen is None else chosen
        pairs = np.ix_(chosen, chosen)
        units = self.units[chosen]
        some, weights = self._products[pairs], np.outer(units, units)
        if self.noisy:
            apart = ~np.eye(len(chosen), dtype=bool)
            some, weights = some[apart], weights[apart]
        squared = some.sum() / weights.sum()
        if self.noisy and squared <= 0 and self._products[pairs].any():
            msg = "The noise of the probes exceeds the AGOP, whose norm cannot be estimated: use more probes."
            raise ProbeError(msg)
        scale = np.sqrt(self._norm) * np.sqrt(max(squared, 0.0))
        return float(self._with_fixed[chosen].sum() / units.sum() / scale) if scale > 0 else float("nan")

    def estimate(self) -> Estimate:
        """The correlation from all blocks, with its delete-one-block jackknife; errors as `value`."""
        return jackknife(self.value(), [self.value(rest) for rest in leave_one_out(self.units, noisy=self.noisy)])
