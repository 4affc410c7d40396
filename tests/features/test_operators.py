"""Images through filters and matrices, how alike pictures are, and the controls."""

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_sample_images
from tolerance import assert_close

from convrfm.errors import InputError
from convrfm.numerics.patches import random_metrics, windows
from convrfm.pictures.filtering import (
    angle_between,
    compare_operators,
    compare_with_edges,
    filter_magnitude,
    patch_magnitude,
    picked_edges,
    pixel_pearson,
    top_eigenfilters,
)
from features.test_edges import edge_filter


@pytest.fixture(scope="module")
def photographs():
    crops = [photo[100:196, 200:296].mean(axis=2) for photo in load_sample_images().images]
    return np.stack(crops)[:, None] / 255.0


@pytest.fixture(scope="module")
def edge_metric():
    """A metric that sees two orientations, and brightness least."""
    vectors = [edge_filter(degrees).ravel() for degrees in (90, 0)]
    vectors = [v / np.linalg.norm(v) for v in (*vectors, np.ones(49))]
    return sum(weight * np.outer(v, v) for weight, v in zip((3, 2, 1), vectors, strict=True))


def test_a_filter_is_its_matrix_of_rank_one(rng):
    images, u = rng.standard_normal((3, 2, 7, 6)), rng.standard_normal(18)
    u /= np.linalg.norm(u)
    (found,) = filter_magnitude(images, 5 * u[None], 3)
    assert_close(found, patch_magnitude(images, np.outer(u, u), 3, exponent=1), "exact")


def test_a_filter_of_zeros_is_refused():
    with pytest.raises(InputError, match="A filter is zero"):
        filter_magnitude(np.ones((1, 1, 5, 5)), np.zeros((1, 9)), 3)


def test_pixel_pearson(rng):
    first, second = rng.random((2, 3, 5, 4)), rng.random((2, 3, 5, 4))
    found = pixel_pearson(first, second)
    expected = [[np.corrcoef(first[i, j].ravel(), second[i, j].ravel())[0, 1] for j in range(3)] for i in range(2)]
    assert_close(found, np.array(expected), "exact")
    assert np.isnan(pixel_pearson(np.ones((5, 4)), second[0, 0]))


def test_windows_are_patches_again(rng):
    weight = rng.random((4, 3, 5, 5))
    assert np.array_equal(windows(weight.reshape(4, -1), 5), weight)
    with pytest.raises(InputError, match="x 3 x 3"):
        windows(np.ones((2, 10)), 3)


def test_eigenfilters_are_told_from_the_constant_one(edge_metric):
    filters = top_eigenfilters(edge_metric, 7, 3)
    assert_close(filters.shares, np.array([3, 2, 1]) / 6, "exact")
    assert filters.constant_shares.round(9).tolist() == [0, 0, 1]
    assert angle_between(filters.orientations[:2], np.array([90, 0])).max() < 1
    # The sign does not depend on the solver.
    largest = np.take_along_axis(filters.vectors, np.abs(filters.vectors).argmax(axis=1)[:, None], axis=1)
    assert (largest > 0).all()


def test_oriented_eigenvectors_pick_edges_of_their_orientation(edge_metric, photographs, rng):
    filters = top_eigenfilters(edge_metric, 7, 3)
    rows, pictures = compare_with_edges(filters, photographs, rng, draws=20)
    means = rows[rows["quantity"] == "sobel"].groupby("eigenvector")[["value", "control"]].mean()
    assert (means["value"] - means["control"]).loc[[1, 2]].min() > 0.1
    # Brightness is not an edge.
    assert means.loc[3, "value"] - means.loc[3, "control"] < 0.1
    zero_mean = rows[rows["quantity"] == "sobel_zero_mean"]["control"].mean()
    assert zero_mean > means["control"].mean()
    gaps = picked_edges(filters, pictures, photographs).query("quantity == 'gap'").set_index("eigenvector")
    assert gaps.loc[[1, 2], "value"].max() < 10
    assert gaps.loc[[1, 2], "control"].min() > 20


def test_pictures_in_the_wrong_order_do_not_agree(edge_metric, photographs, rng):
    filters = top_eigenfilters(edge_metric, 7, 2)
    _, pictures = compare_with_edges(filters, photographs, rng, draws=1)
    gaps = picked_edges(filters, pictures[::-1], photographs).query("quantity == 'gap'")
    assert gaps["value"].min() > 60


def test_like_matrices_make_like_pictures_and_random_ones_do_not(edge_metric, photographs, rng):
    # Without brightness, in which pictures of any two matrices are alike.
    edge_metric = edge_metric - np.ones((49, 49)) / 49
    noise = 1e-4 * random_metrics(49, 1, rng)[0]
    found = compare_operators(photographs, {"one": edge_metric, "other": edge_metric + noise}, 7, 1.0, rng, draws=5)
    means = found.rows.groupby("quantity")[["value", "control"]].mean()
    assert means.loc["alike", "value"] > 0.95
    assert means.loc["alike", "value"] - means.loc["alike", "control"] > 0.1
    assert set(means.index) == {"alike", "alike_without_means", "sobel_one", "sobel_other"}
    # A random matrix in place of the second is no better than the control.
    random = random_metrics(49, 1, rng)[0]
    found = compare_operators(photographs, {"one": edge_metric, "other": random}, 7, 1.0, rng, draws=5)
    means = found.rows.groupby("quantity")[["value", "control"]].mean()
    assert means.loc["alike", "value"] - means.loc["alike", "control"] < 0.1


def test_what_matrices_make_of_brightness_can_be_left_out(edge_metric, photographs, rng):
    brighter = edge_metric + 100 * np.ones((49, 49))
    found = compare_operators(photographs, {"one": edge_metric, "other": brighter}, 7, 1.0, rng, draws=2)
    means = found.rows.groupby("quantity")["value"].mean()
    assert means["alike"] < 0.95
    assert means["alike_without_means"] > 0.999


def test_one_matrix_alone_is_compared_with_edges(edge_metric, photographs):
    found = [compare_operators(photographs, {"m": edge_metric}, 7, 0.5, np.random.default_rng(1), 2) for _ in range(2)]
    assert set(found[0].rows["quantity"]) == {"sobel_m"}
    assert set(found[0].pictures) == {"m", "random", "sobel"}
    pd.testing.assert_frame_equal(found[0].rows, found[1].rows)


def test_random_metrics_are_positive_and_without_preference(rng):
    drawn = random_metrics(9, 400, rng)
    assert np.linalg.eigvalsh(drawn).min() > -1e-12
    assert np.abs(drawn.mean(axis=0) - np.eye(9)).max() < 0.15


def test_no_draws_are_refused(edge_metric, photographs, rng):
    with pytest.raises(InputError, match="draws must be an integer of at least 1"):
        compare_operators(photographs, {"m": edge_metric}, 7, 1.0, rng, draws=0)
    with pytest.raises(InputError, match="draws must be an integer of at least 1"):
        compare_with_edges(top_eigenfilters(edge_metric, 7, 2), photographs, rng, draws=0)
