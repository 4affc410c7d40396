"""The operator of section 2.2: the factored route against the dense one."""

import numpy as np
import pytest
from tolerance import assert_close

from convrfm.ansatz.filter_forms import FilterForm
from convrfm.errors import InputError
from convrfm.pictures.filtering import patch_magnitude


def core_of(rng, filters):
    root = rng.standard_normal((filters, filters))
    return root @ root.T


@pytest.mark.parametrize(("channels", "filters", "size"), [(3, 5, 3), (2, 30, 3), (1, 4, 5), (2, 3, 2), (4, 6, 1)])
@pytest.mark.parametrize("exponent", [0.5, 1.0])
@pytest.mark.parametrize("given", [False, True])
def test_filters_give_what_the_dense_matrix_gives(rng, channels, filters, size, exponent, given):
    images = rng.standard_normal((2, channels, 7, 6))
    weight = rng.standard_normal((1, filters, channels * size**2))
    form = FilterForm(weight, core_of(rng, filters)[None] if given else None)
    dense = patch_magnitude(images, form.dense()[0], size, exponent)
    assert dense.shape == (2, 7, 6)
    # Roots of matrices whose rank is below d cost half the digits.
    np.testing.assert_allclose(patch_magnitude(images, form, size, exponent), dense, rtol=1e-6, atol=1e-6 * dense.max())


def test_the_norm_is_that_of_the_filtered_patches(rng):
    """Against the definition, at one pixel: wrapped around the border, patch order (channel, row, column)."""
    images = rng.standard_normal((1, 2, 5, 5))
    weight = rng.standard_normal((1, 3, 18))
    core = core_of(rng, 3)
    around = np.take(np.take(images[0], [4, 0, 1], axis=1), [3, 4, 0], axis=2).reshape(-1)
    filtered = weight[0] @ around
    found = patch_magnitude(images, FilterForm(weight, core[None]), 3)[0, 0, 4]
    assert_close(np.array([found]), np.array([np.sqrt(filtered @ core @ filtered)]), "exact")
    # The order of a patch matters: rows and columns exchanged give something else.
    turned = weight.reshape(1, 3, 2, 3, 3).transpose(0, 1, 2, 4, 3).reshape(1, 3, 18)
    assert abs(patch_magnitude(images, FilterForm(turned, core[None]), 3)[0, 0, 4] / found - 1) > 1e-3


def test_images_do_not_mix(rng):
    images = rng.standard_normal((3, 2, 5, 4))
    form = FilterForm(rng.standard_normal((1, 4, 18)))
    together = patch_magnitude(images, form, 3)
    for image, expected in zip(images, together, strict=True):
        assert np.array_equal(patch_magnitude(image[None], form, 3)[0], expected)


def test_groups_are_refused(rng):
    form = FilterForm(rng.standard_normal((2, 4, 9)))
    with pytest.raises(InputError, match="A grouped convolution, with 2 groups"):
        patch_magnitude(rng.standard_normal((1, 1, 5, 5)), form, 3)
