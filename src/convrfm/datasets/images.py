"""Splits of a data set whatever their format, folders of classes, and the pixels of image files, faithfully or not at all."""

import math
import os
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from convrfm.datasets.places import is_hidden, visible_files
from convrfm.errors import AbsentDataError, ConvRFMError, CorruptDataError, refuse
from convrfm.system.machine import require
from convrfm.system.storage import NotPlainError, open_plain

require("workflow", "PIL", what="Reading images")

from PIL import Image, ImageOps, UnidentifiedImageError  # noqa: E402 (named above if it is missing)

__all__ = ["FORMATS", "SUFFIXES", "Split", "class_files", "explained_reading", "from_arrays", "from_files", "read_image"]

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""What image files may be, by Pillow's names: it would start other programs for some of the others."""

SUFFIXES = (
    ".bmp", ".gif", ".jfif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp",
)  # fmt: skip
"""How the names of image files end, in small or capital letters."""

EIGHT_BITS = {
    "1": "L", "L": "L", "LA": "L", "P": "RGB", "PA": "RGB", "RGB": "RGB", "RGBA": "RGB", "CMYK": "RGB", "YCbCr": "RGB",
}  # fmt: skip
"""Pillow's modes of 8 bits or fewer a channel, and what each is read as."""

INTEGERS = ("I", "I;16", "I;16B", "I;16L", "I;16N")
"""Pillow's modes of one channel of more than 8 bits."""

BITS_PER_SAMPLE, PHOTOMETRIC, WHITE_IS_ZERO, SAMPLE_FORMAT, SIGNED = 258, 262, 0, 339, 2
"""Tags of TIFF, and a value of the second and of the third."""


@dataclass(frozen=True)
class Split:
    """Labels in memory, images read on demand.

    Attributes:
        labels: `(n,)` int64, from 0.
        classes: their names; labels index them.
        image: reads one image by its index, in mode L (grey), RGB, or F (grey in [0, 1], of more than 8 bits).
        files: the files, relative to the root of the data, that reading these images opens beyond those that hold labels.
        whole: images of the whole split, if only the first ones are there; None if all are.
    """

    labels: np.ndarray
    classes: tuple[str, ...]
    image: Callable[[int], Image.Image]
    files: Callable[[Iterable[int]], list[str]]
    whole: int | None = None

    def __post_init__(self) -> None:
        """Raise `CorruptDataError` without an image, or for labels that are none of the classes, whatever the reader."""
        refuse(not len(self.labels), "no image found")
        first, last, classes = self.labels.min(), self.labels.max(), len(self.classes)
        refuse(first < 0 or last >= classes, f"labels run from {first} to {last}, but there are {classes} classes")

    def __len__(self) -> int:
        return len(self.labels)


def from_arrays(
    images: np.ndarray, labels: Sequence[int] | np.ndarray, classes: Sequence[str], *, whole: int | None = None
) -> Split:
    """A split that lies in memory: images `(n, height, width)` or `(n, height, width, 3)` uint8; for `whole`, see `Split`.

    Raises:
        CorruptDataError: images and labels do not fit together.
    """
    found = f"images of type {images.dtype} and shape {images.shape} were found, not of uint8 and (n, height, width[, 3])"
    refuse(images.dtype != np.uint8 or images.ndim not in (3, 4), found)
    return Split(_labels(labels, len(images)), tuple(classes), lambda i: Image.fromarray(images[i]), lambda _: [], whole)


def from_files(
    root: Path, paths: Sequence[Path | str], labels: Sequence[int], classes: Sequence[str], *, upright: bool = False
) -> Split:
    """A split of one file for each image, below `root`; for `upright`, see `read_image`.

    Raises:
        CorruptDataError: files and labels do not fit together.
    """

    def files(indices: Iterable[int]) -> list[str]:
        return [Path(paths[index]).relative_to(root).as_posix() for index in indices]

    return Split(_labels(labels, len(paths)), tuple(classes), lambda i: read_image(paths[i], upright=upright), files)


def _labels(labels: Sequence[int] | np.ndarray, images: int) -> np.ndarray:
    found = np.asarray(labels, np.int64)
    refuse(found.shape != (images,), f"{images} images and {found.size} labels do not fit together")
    return found


@contextmanager
def explained_reading(what: str) -> Iterator[None]:
    """Raise `CorruptDataError`, with `what` and the reason, for files that cannot be read."""
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


def class_files(
    folder: Path, suffixes: Collection[str] = SUFFIXES, without: str = "", *, by_number: bool = False
) -> tuple[list[str], list[int], list[str]]:
    """List the image files of a folder that has one folder for each class.

    Hidden files and folders, and those that systems leave behind, are passed over (`convrfm.datasets.places.is_hidden`).
    The order is that of torchvision's `ImageFolder`: classes by name, files by the folder below and by name.

    Args:
        folder: with the folders of the classes.
        suffixes: how names of images end, in small letters.
        without: a folder that is no class.
        by_number: whether classes are sorted as numbers where all their names are numbers.

    Returns:
        paths of the files, their labels from 0, and the names of the classes, which are those of their folders.

    Raises:
        AbsentDataError: no class folder.
        CorruptDataError: a class folder without an image.
    """
    folders = (entry.name for entry in os.scandir(folder) if entry.is_dir() and not is_hidden(entry.name))
    classes = sorted(name for name in folders if name != without)
    if by_number and all(name.isdecimal() for name in classes):
        classes.sort(key=int)
    none = f"{folder} has no class folders: put the images of each class into a folder of their own there."
    refuse(not classes, none, AbsentDataError)
    paths: list[str] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        found = sorted(visible_files(folder / name), key=os.path.split)
        images = [path for path in found if path.lower().endswith(tuple(suffixes))]
        if not images:
            msg = (
                f"The class folder {folder / name} has no images (files that end in {', '.join(suffixes)}): add some, or "
                "remove it."
            )
            raise CorruptDataError(msg)
        paths += images
        labels += [label] * len(images)
    return paths, labels, classes


def read_image(path: str | Path, *, upright: bool = False) -> Image.Image:
    """Read the pixels of an image file, faithfully or not at all.

    Grey values of 16 bits are divided by the white of the file, 65535 as a rule. Palettes, CMYK and YCbCr become RGB.
    Colours of 16 bits a channel lose the lower 8, less than 1/255 of white. An alpha channel is dropped if every pixel is
    opaque. Colour profiles are not applied.

    Args:
        path: of a file in one of `FORMATS`, of one image; of a JPEG file with previews, the main image is read.
        upright: whether the image is turned as its EXIF orientation says; torchvision leaves it as it is stored.

    Returns:
        an image in mode L or RGB, of 8 bits, or in mode F, grey in [0, 1].

    Raises:
        CorruptDataError: not an image, a damaged one, or one that cannot be opened; more pixels than
            `PIL.Image.MAX_IMAGE_PIXELS`, several frames, transparent pixels, or values whose black and white are unknown.
    """
    try:
        with warnings.catch_warnings():
            # These are of metadata, or repeat an error.
            warnings.simplefilter("ignore", UserWarning)
            # Pillow warns of so many pixels, and refuses twice as many.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with open_plain(Path(path), math.inf) as file, Image.open(file, formats=FORMATS) as image:
                return _pixels(image, upright=upright)
    except MemoryError:
        raise
    except Exception as error:  # decoders fail in all ways
        msg = f"{path} {_reason(path, error)}."
        raise CorruptDataError(msg) from error


def _reason(path: str | Path, error: Exception) -> str:
    """Why a file cannot be read, and what to do, as a sentence without its subject."""
    if isinstance(error, _Unfaithful):
        return str(error)
    if isinstance(error, NotPlainError):
        return f"is not read: {str(error).rstrip('.')}"
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return f"has too many pixels ({error}): scale it down"
    if isinstance(error, OSError) and error.errno is not None:
        return f"cannot be opened: {error.strerror}"
    reason = f"is damaged ({type(error).__name__}: {error})"
    if isinstance(error, UnidentifiedImageError):
        reason = f"is no image in one of the formats {', '.join(FORMATS)}"
        reason = reason if Path(path).stat().st_size else "is empty"
    return f"{reason}: replace or remove it"


class _Unfaithful(Exception):  # noqa: N818 (a sentence without its subject)
    """Why the pixels of an image cannot be given."""


def _pixels(image: Image.Image, *, upright: bool) -> Image.Image:
    frames = getattr(image, "n_frames", 1)
    several = frames > 1 and image.format != "MPO"
    refuse(several, f"holds {frames} images: save the one you want by itself", _Unfaithful)
    signed = getattr(image, "tag_v2", {}).get(SAMPLE_FORMAT, (1,))[0] == SIGNED and image.mode in EIGHT_BITS
    refuse(signed, "holds signed 8-bit numbers, whose black and white are unknown: save it without sign", _Unfaithful)
    image.load()
    if upright:
        ImageOps.exif_transpose(image, in_place=True)
    _check_opaque(image)
    if image.mode in EIGHT_BITS:
        # By way of alpha: Pillow warns where it drops transparency that a palette has.
        opaque = image.convert("RGBA") if image.mode == "P" and "transparency" in image.info else image
        return opaque.convert(EIGHT_BITS[image.mode])
    if image.mode in INTEGERS or image.mode == "F":
        return Image.fromarray(_grey(image))
    msg = f"has Pillow's mode {image.mode}, which is neither grey nor RGB: save it as one of them"
    raise _Unfaithful(msg)


def _check_opaque(image: Image.Image) -> None:
    """Refuse an image with pixels that are not opaque, as their colour depends on what is behind them."""
    if not image.has_transparency_data:
        return
    if image.mode in INTEGERS:
        opaque = not (np.asarray(image) == image.info["transparency"]).any()
    else:
        opaque = image.convert("RGBA").getchannel("A").getextrema() == (255, 255)
    refuse(not opaque, "has transparent pixels: put it on a background, and save it without an alpha channel", _Unfaithful)


def _grey(image: Image.Image) -> np.ndarray:
    """Grey values in [0, 1], `(height, width)` float32, of one channel of more than 8 bits."""
    tags = getattr(image, "tag_v2", {})  # of TIFF
    values = np.asarray(image, np.float32)
    if image.mode == "F":
        white = 1
        if not (values.min() >= 0 and values.max() <= 1):  # NaN is neither
            msg = f"holds numbers from {values.min():g} to {values.max():g}: scale them to [0, 1], black to white"
            raise _Unfaithful(msg)
    elif image.mode == "I" and tags:
        msg = (
            f"holds integers from {values.min():g} to {values.max():g}, signed or of 32 bits, whose black and white are "
            "unknown: save it with 8 or 16 bits, without sign"
        )
        raise _Unfaithful(msg)
    else:
        # Pillow scales PGM to 16 bits, but not TIFF of 12.
        white = 2 ** tags.get(BITS_PER_SAMPLE, (16,))[0] - 1
    grey = values / np.float32(white)
    return 1 - grey if tags.get(PHOTOMETRIC) == WHITE_IS_ZERO else grey
