"""One split of a data set on disk, whatever its format."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from convrfm.datasets.reading.image_files import read_image
from convrfm.errors import ConvRFMError, CorruptDataError

__all__ = ["Split", "explained_reading", "from_arrays", "from_files"]


@dataclass(frozen=True)
class Split:
    """Labels in memory, images read when they are asked for.

    Attributes:
        labels: `(n,)` int64, from 0.
        classes: their names; labels index them.
        image: reads one image by its index, in mode L (grey), RGB, or F (grey in [0, 1], of more than 8 bits).
        files: the files, relative to the root of the data, that reading these images opens beyond those that hold labels.
    """

    labels: np.ndarray
    classes: tuple[str, ...]
    image: Callable[[int], Image.Image]
    files: Callable[[Iterable[int]], list[str]]

    def __len__(self) -> int:
        return len(self.labels)


def from_arrays(images: np.ndarray, labels: Sequence[int] | np.ndarray, classes: Sequence[str]) -> Split:
    """A split that lies in memory: images `(n, height, width)` or `(n, height, width, 3)` uint8.

    Raises:
        CorruptDataError: images and labels do not fit together.
    """
    if images.dtype != np.uint8 or images.ndim not in (3, 4):
        msg = f"images of type {images.dtype} and shape {images.shape} were found, not of uint8 and (n, height, width[, 3])"
        raise CorruptDataError(msg)
    return Split(
        _checked(labels, len(images), classes), tuple(classes), lambda i: Image.fromarray(images[i]), lambda _: []
    )


def from_files(
    root: Path, paths: Sequence[Path | str], labels: Sequence[int], classes: Sequence[str], *, upright: bool = False
) -> Split:
    """A split of one file for each image, below `root`; for `upright`, see `convrfm.datasets.reading.image_files.read_image`.

    Raises:
        CorruptDataError: files and labels do not fit together.
    """

    def image(index: int) -> Image.Image:
        return read_image(paths[index], upright=upright)

    def files(indices: Iterable[int]) -> list[str]:
        return [Path(paths[index]).relative_to(root).as_posix() for index in indices]

    return Split(_checked(labels, len(paths), classes), tuple(classes), image, files)


def _checked(labels: Sequence[int] | np.ndarray, images: int, classes: Sequence[str]) -> np.ndarray:
    found = np.asarray(labels, np.int64)
    if found.shape != (images,):
        msg = f"{images} images and {found.size} labels do not fit together"
        raise CorruptDataError(msg)
    if images == 0:
        msg = "there is no image"
        raise CorruptDataError(msg)
    if found.min() < 0 or found.max() >= len(classes):
        msg = f"labels run from {found.min()} to {found.max()}, but there are {len(classes)} classes"
        raise CorruptDataError(msg)
    return found


@contextmanager
def explained_reading(what: str) -> Iterator[None]:
    """Say of files that cannot be read that they are corrupt.

    Raises:
        CorruptDataError: with `what` and the reason.
    """
    try:
        yield
    except MemoryError:
        raise
    except ConvRFMError as error:
        msg = f"{what} cannot be read: {error}"
        raise CorruptDataError(msg) from error
    except Exception as error:  # the libraries behind the readers fail in all ways
        msg = f"{what} cannot be read ({type(error).__name__}: {error})."
        raise CorruptDataError(msg) from error
