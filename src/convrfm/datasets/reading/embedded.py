"""Images that come with scikit-learn, and patches of them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from convrfm.datasets.digits import in_random_greys
from convrfm.datasets.reading.split import Split, from_arrays
from convrfm.numerics.sampling import generator

__all__ = ["EMBEDDED"]

PATCH_SIZE, PATCHES = 32, 2000
"""Pixels of each side of a patch of a photograph, and patches of each split."""


def _digits(root: Path, split: str) -> Split:  # noqa: ARG001 (part of a package)
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return from_arrays(np.round(bunch.images * (255 / 16)).astype(np.uint8), bunch.target, [str(d) for d in range(10)])


def _street_digits(root: Path, split: str) -> Split:
    """Digits in random greys, the same for each call."""
    digits = _digits(root, split)
    strokes = np.stack([np.asarray(digits.image(i), np.float64) for i in range(len(digits))]) / 255
    images = in_random_greys(strokes, generator(0, "greys of the street digits"))
    return from_arrays(np.round(images).astype(np.uint8), digits.labels, list(digits.classes))


def _photographs(root: Path, split: str) -> Split:  # noqa: ARG001 (part of a package)
    from sklearn.datasets import load_sample_images

    bunch = load_sample_images()
    names = [Path(name).stem for name in bunch.filenames]
    return Split(np.arange(len(names)), tuple(names), lambda i: Image.fromarray(bunch.images[i]), lambda _: [])


def _photograph_patches(root: Path, split: str) -> Split:  # noqa: ARG001 (part of a package)
    """Patches at places that are always the same, photographs in turn; the halves keep the splits apart."""
    from sklearn.datasets import load_sample_images

    bunch = load_sample_images()
    rng = generator(0, f"places of the photograph patches, {split}")
    labels = np.arange(PATCHES) % len(bunch.images)
    patches = np.empty((PATCHES, PATCH_SIZE, PATCH_SIZE, 3), np.uint8)
    for patch, label in zip(patches, labels, strict=True):
        photograph = bunch.images[label]
        height, half = len(photograph), photograph.shape[1] // 2
        row, column = rng.integers(0, (height - PATCH_SIZE + 1, half - PATCH_SIZE + 1))
        column += half if split == "test" else 0
        patch[:] = photograph[row : row + PATCH_SIZE, column : column + PATCH_SIZE]
    return from_arrays(patches, labels, [Path(name).stem for name in bunch.filenames])


EMBEDDED: dict[str, Callable[[Path, str], Split]] = {
    "digits": _digits,
    "street-digits": _street_digits,
    "photographs": _photographs,
    "photograph-patches": _photograph_patches,
}
"""Readers by data set: from a path that they ignore and the name of a split."""
