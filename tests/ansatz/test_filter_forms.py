"""Matrices W^T D W through their small cores, against the same on dense matrices."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tolerance import assert_close

from convrfm.ansatz.filter_forms import BlockCorrelation, FilterForm, correlate, inner, pearson
from convrfm.errors import InputError

SIZES = [(1, 3, 8), (1, 8, 3), (1, 5, 5), (3, 2, 4), (2, 1, 1)]


def made(rng: np.random.Generator, size: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    groups, filters, _ = size
    factor = rng.standard_normal((groups, filters, filters))
    return rng.standard_normal(size), factor @ factor.transpose(0, 2, 1)


def dense(weight: np.ndarray, core: np.ndarray | None = None) -> np.ndarray:
    return weight.transpose(0, 2, 1) @ (weight if core is None else core @ weight)


@pytest.mark.parametrize("size", SIZES)
def test_sums_products_and_diagonals(size, rng):
    (weight, core), (other, _) = made(rng, size), made(rng, size)
    form, matrix = FilterForm(weight, core), dense(weight, core)
    assert form.shape == matrix.shape
    assert_close(form.dense(), matrix, "exact")
    assert_close(form.total(), matrix.sum(), "exact")
    assert_close(form.diagonal(), np.diagonal(matrix, axis1=1, axis2=2), "exact")
    for right, same in ((form, matrix), (FilterForm(weight), dense(weight)), (FilterForm(other), dense(other))):
        assert_close(form.product(right), (matrix * same).sum(), "exact")
        assert_close(form.product_with(same), (matrix * same).sum(), "exact")
    assert_close(form.with_core(None).dense(), dense(weight), "exact")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("exponent", [0.125, 0.5, 1.0, 2.0])
def test_powers(size, exponent, rng):
    weight, core = made(rng, size)
    values, vectors = np.linalg.eigh(dense(weight, core))
    values = np.where(values > 1e-12 * values.max(), values, 0)
    expected = (vectors * values[:, None, :] ** exponent) @ vectors.transpose(0, 2, 1)
    assert_close(FilterForm(weight, core).power(exponent).dense(), expected, "smooth")


@pytest.mark.parametrize("size", SIZES)
def test_the_factor_is_a_root(size, rng):
    weight, core = made(rng, size)
    factor = FilterForm(weight, core).factor()
    assert_close(factor.transpose(0, 2, 1) @ factor, dense(weight, core), "exact")


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(SIZES[:4]))
def test_correlations_are_those_of_the_entries(seed, size):
    rng = np.random.default_rng(seed)
    (weight, core), (other, second) = made(rng, size), made(rng, size)
    a, b = dense(weight, core), dense(other, second)
    apart = ~np.eye(size[2], dtype=bool)[None].repeat(size[0], axis=0)
    for left, right in (
        (FilterForm(weight, core), FilterForm(other, second)),
        (FilterForm(weight, core), b),
        (a, FilterForm(other, second)),
        (a, b),
    ):
        assert_close(pearson(left, right), np.corrcoef(a.ravel(), b.ravel())[0, 1], "smooth")
        assert_close(correlate(left, right, "cosine"), (a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b), "smooth")
        assert_close(correlate(left, right, "off_diagonal"), np.corrcoef(a[apart], b[apart])[0, 1], "smooth")
    assert pearson(a, a) == pytest.approx(1, abs=1e-12)
    assert pearson(a, -3 * a + 1) == pytest.approx(-1, abs=1e-9)


def test_a_constant_matrix_correlates_with_nothing(rng):
    weight, core = made(rng, (1, 3, 8))
    assert np.isnan(pearson(np.ones((8, 8)), FilterForm(weight, core)))
    assert np.isnan(correlate(FilterForm(weight, 0 * core), FilterForm(weight), "cosine"))
    for groups, filters, value in ((1, 1, 1 / 9), (1, 3, 1 / 9), (1, 20, 0.7), (2, 1, np.float32(1 / 9))):  # up to rounding
        (weight, core), equal = made(rng, (groups, filters, 18)), np.full((groups, filters, 18), value)
        form, other = FilterForm(equal), FilterForm(weight, core)
        for entries in ("pearson", "off_diagonal"):
            for left, right in ((form, other), (other, form), (form.dense(), other)):
                assert np.isnan(correlate(left, right, entries))
            assert np.isnan(BlockCorrelation(form, [other], np.ones(1), noisy=False).value())
            assert np.isnan(BlockCorrelation(other, [form, form], np.ones(2), noisy=False).value())


def test_correlations_do_not_depend_on_the_scale(rng):
    weight, core = made(rng, (1, 3, 8))
    expected = pearson(FilterForm(weight), FilterForm(weight, core))
    small = FilterForm(1e-44 * weight)
    assert pearson(small, small.with_core(core)) == pytest.approx(expected)
    assert BlockCorrelation(small, [small.with_core(core)], np.ones(1), noisy=False).value() == pytest.approx(expected)


def test_weights_of_convolutions():
    weight = np.arange(4 * 2 * 9.0).reshape(4, 2, 3, 3)
    assert FilterForm.of_filters(weight).shape == (1, 18, 18)
    assert FilterForm.of_filters(weight, 2).shape == (2, 18, 18)
    assert_close(FilterForm.of_filters(weight).dense()[0], weight.reshape(4, -1).T @ weight.reshape(4, -1), "exact")


@pytest.mark.parametrize(
    ("work", "message"),
    [
        (lambda: FilterForm(np.ones((3, 4))), r"\(groups, k, d\), but their shape is \(3, 4\)"),
        (lambda: FilterForm(np.ones((1, 3, 4)), np.ones((3, 3))), r"must have shape \(1, 3, 3\)"),
        (lambda: FilterForm.of_filters(np.ones((3, 1, 2, 2)), 2), "not fit 2 groups"),
        (lambda: FilterForm(np.ones((1, 3, 4))).power(0), "must be positive"),
        (lambda: inner(np.ones((3, 3)), np.ones((4, 4))), "differ in shape"),
        (lambda: inner(np.ones((3, 4)), np.ones((3, 4))), r"shape \(d, d\)"),
    ],
)
def test_bad_arguments(work, message):
    with pytest.raises(InputError, match=message):
        work()
