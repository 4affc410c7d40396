"""Edges: the Sobel magnitude against skimage's definition by hand, and orientations of filters that are known."""

import numpy as np
import pytest
from sklearn.datasets import load_sample_images
from tolerance import assert_close

from convrfm.errors import InputError
from convrfm.pictures.filtering import angle_between, filter_magnitude, filter_orientation, picked_orientation, sobel_magnitude


def edge_filter(degrees, size=7, channels=1):
    """A step across an edge at an angle, anticlockwise from the horizontal, under a Gaussian window."""
    angle = np.deg2rad(degrees)
    row, column = np.mgrid[:size, :size] - (size - 1) / 2
    # Rows go down: the edge runs along (cos, -sin) in (column, row), so that this is the distance from it.
    across = np.sin(angle) * column + np.cos(angle) * row
    window = across * np.exp(-(row**2 + column**2) / (2 * (size / 4) ** 2))
    return np.repeat(window[None], channels, axis=0)


@pytest.fixture(scope="module")
def photographs():
    crops = [photo[100:260, 200:360] for photo in load_sample_images().images]
    return np.stack(crops).transpose(0, 3, 1, 2) / 255.0


def test_sobel_magnitude_by_hand(rng):
    images = rng.random((3, 2, 6, 5))
    down = np.outer([-1, 0, 1], [1, 2, 1])
    expected = np.zeros((3, 6, 5))
    for n, i, j in np.ndindex(expected.shape):
        for image in images[n]:
            window = np.take(np.take(image, range(i - 1, i + 2), 0, mode="wrap"), range(j - 1, j + 2), 1, mode="wrap")
            expected[n, i, j] += (window * down).sum() ** 2 + (window * down.T).sum() ** 2
    assert_close(sobel_magnitude(images), np.sqrt(expected), "exact")


def test_images_and_channels_stay_apart(rng):
    images = rng.random((4, 3, 8, 8))
    together = sobel_magnitude(images)
    assert_close(together[2], sobel_magnitude(images[2:3])[0], "exact")
    by_channel = sum(sobel_magnitude(images[:, [c]]) ** 2 for c in range(3))
    assert_close(together**2, by_channel, "exact")


@pytest.mark.parametrize(("window", "degrees"), [
    ([[-1, 0, 1]] * 3, 90),
    ([[-1, -1, -1], [0, 0, 0], [1, 1, 1]], 0),
    ([[0, 1, 1], [-1, 0, 1], [-1, -1, 0]], 135),
    ([[1, 1, 0], [1, 0, -1], [0, -1, -1]], 45),
    ([[-1, 2, -1]] * 3, 90),
])  # fmt: skip
@pytest.mark.parametrize("sign", [1, -1])
def test_filters_whose_orientation_one_sees(window, degrees, sign):
    filters = sign * np.array(window, float)[None, None]
    orientation, coherence = filter_orientation(filters)
    assert angle_between(orientation[0], degrees) < 1
    assert coherence[0] > 0.5


@pytest.mark.parametrize("degrees", [0, 45, 90, 135])
@pytest.mark.parametrize("size", [3, 7])
def test_edge_filters_look_like_their_edge(degrees, size):
    orientation, _ = filter_orientation(edge_filter(degrees, size, channels=3)[None])
    assert angle_between(orientation[0], degrees) < 1


def test_a_filter_without_orientation_says_so():
    row, column = np.mgrid[:7, :7] - 3
    blob = np.exp(-(row**2 + column**2) / 4.0)
    flat = np.ones((7, 7))
    _, coherence = filter_orientation(np.stack([blob, flat])[:, None])
    assert coherence[0] < 1e-12
    assert coherence[1] == 0


@pytest.mark.parametrize("degrees", [0, 20, 45, 77, 90, 135, 160])
def test_edge_filters_pick_their_edges_in_photographs(photographs, degrees):
    window = edge_filter(degrees, channels=3)
    (response,) = filter_magnitude(photographs, window.reshape(1, -1), 7)
    picked, selectivity = picked_orientation(response, photographs, scale=1.2)
    assert angle_between(picked, degrees) < 6
    assert selectivity > 0.2
    # Rows and columns mixed up would be seen.
    if degrees not in (45, 135):
        assert angle_between(picked, 90 - degrees) > 20


def test_a_response_to_all_edges_alike_has_no_orientation(photographs):
    _, selectivity = picked_orientation(sobel_magnitude(photographs), photographs, scale=0.5)
    assert selectivity < 0.1


def test_images_without_edges_give_no_orientation():
    _, selectivity = picked_orientation(np.ones((1, 8, 8)), np.ones((1, 1, 8, 8)), scale=1.0)
    assert selectivity == 0


def test_angles_go_around():
    assert angle_between(179, 1) == 2
    assert angle_between(90, 0) == 90
    assert angle_between(np.array([10.0, 100.0]), 190).tolist() == [0, 90]


def test_a_single_pixel_has_no_orientation():
    with pytest.raises(InputError, match="2x2"):
        filter_orientation(np.ones((1, 1, 1, 1)))
