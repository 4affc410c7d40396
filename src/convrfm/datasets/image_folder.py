"""A folder of images of one's own, with a folder for each class, as arrays."""

import warnings
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from convrfm.datasets.entries import visible_files
from convrfm.datasets.prepare import render
from convrfm.datasets.reading.images import class_files, from_files
from convrfm.datasets.transforms import Appearance
from convrfm.errors import AbsentDataError, ConvRFMWarning, CorruptDataError, InputError
from convrfm.numerics.inputs import is_count
from convrfm.system.machine import free_bytes
from convrfm.system.terminal import user_path

__all__ = ["LabelledImages", "read_image_folder"]


class LabelledImages(NamedTuple):
    """Images with their classes.

    Attributes:
        images: `(n, channels, height, width)` float32 in [0, 1].
        labels: `(n,)` int64 from 0, indices into `classes`.
        classes: names of the classes, sorted.
        files: the file of each image, relative to the folder.
    """

    images: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    files: tuple[str, ...]


def read_image_folder(
    folder: str | Path, *, size: int | None = None, colour: Literal["native", "grey", "rgb"] = "native"
) -> LabelledImages:
    """Read images that lie in a folder for each class, for the estimators.

    Folders below that of a class belong to it. Hidden files and folders are skipped, and so is what systems leave behind
    (`convrfm.datasets.entries.is_hidden`); other files that do not look like images by their names are left out with a
    warning. Images are turned as their EXIF orientation says. `convrfm.datasets.reading.images.read_image` says how each kind
    of image becomes pixels, and which are refused.

    Args:
        folder: with a folder of images for each class; a leading `~` is the home folder.
        size: pixels of each side, to which images are resized (bilinear, with antialiasing; proportions are not kept); None
            keeps their size, which must then be the same for all.
        colour: "grey" for one channel (ITU-R 601 luma), "rgb" for three; "native" keeps the channels of the images, which
            must then be the same for all.

    Raises:
        AbsentDataError: no such folder, or no class folder in it.
        CorruptDataError: a file is damaged or cannot be read faithfully, or a class folder without an image.
        InputError: a size below 1 or beyond the free memory, an unknown colour, or images of different shapes.
    """
    root = user_path(folder)
    if colour not in ("native", "grey", "rgb"):
        msg = f"colour must be native, grey or rgb, but it is {colour!r}."
        raise InputError(msg)
    if size is not None and not is_count(size):
        msg = f"size must be a positive integer, but it is {size!r}."
        raise InputError(msg)
    try:
        if not root.is_dir():
            msg = f"No folder {root}: name a folder that has a folder of images for each class."
            raise AbsentDataError(msg)
        paths, labels, classes = class_files(root)
        _warn_of_others(root, paths)
    except OSError as error:
        msg = f"{error.filename} cannot be read: {error.strerror}."
        raise CorruptDataError(msg) from error
    if size is not None:
        _check_memory(len(paths), size, 1 if colour == "grey" else 3)
    split = from_files(root, paths, labels, classes, upright=True)
    everything = np.arange(len(split))
    part = render(split, everything, Appearance(size=size, colour=colour), None, f"images in {root}")
    return LabelledImages(part.images, part.labels, split.classes, tuple(split.files(everything)))


def _check_memory(images: int, size: int, channels: int) -> None:
    """Refuse a size at which images, held as a list and as an array, do not fit into memory."""
    needed, free = 2 * images * channels * size**2 * np.dtype(np.float32).itemsize, free_bytes()
    if needed > free:
        msg = (
            f"{images} images of {size}x{size} pixels take {needed / 2**30:.3g} GiB, but {free / 2**30:.3g} GiB are free: "
            "choose a smaller size, or fewer images."
        )
        raise InputError(msg)


def _warn_of_others(root: Path, paths: list[str]) -> None:
    """Warn of visible files that are not read."""
    others = sorted(set(visible_files(root, follow_links=True)) - set(paths))
    if others:
        msg = f"{len(others)} files in {root} are left out, as their names are not those of images, such as {others[0]}."
        warnings.warn(msg, ConvRFMWarning, stacklevel=3)
