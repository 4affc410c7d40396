"""Images that come with scikit-learn."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from convrfm.datasets.reading.split import Split, from_arrays

__all__ = ["EMBEDDED"]


def _digits(root: Path, split: str) -> Split:  # noqa: ARG001 (part of a package)
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return from_arrays(np.round(bunch.images * (255 / 16)).astype(np.uint8), bunch.target, [str(d) for d in range(10)])


def _photographs(root: Path, split: str) -> Split:  # noqa: ARG001 (part of a package)
    from sklearn.datasets import load_sample_images

    bunch = load_sample_images()
    names = [Path(name).stem for name in bunch.filenames]
    return Split(np.arange(len(names)), tuple(names), lambda i: Image.fromarray(bunch.images[i]), lambda _: [])


EMBEDDED: dict[str, Callable[[Path, str], Split]] = {"digits": _digits, "photographs": _photographs}
"""Readers by data set: from a path that they ignore and the name of a split."""
