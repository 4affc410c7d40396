"""From images on disk to arrays: which images of a data set, in which form, with which targets; or all images of a folder."""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from convrfm.datasets.entries import Entry
from convrfm.datasets.images import Split, class_files, explained_reading, from_files
from convrfm.datasets.places import visible_files
from convrfm.datasets.transforms import Appearance, to_array
from convrfm.errors import AbsentDataError, ConvRFMWarning, CorruptDataError, InputError, refuse
from convrfm.numerics.inputs import generator, is_count, stratified_draw
from convrfm.system.machine import free_bytes
from convrfm.system.terminal import track, user_path

__all__ = ["TEST_FRACTION", "LabelledImages", "Part", "Selection", "pair_labels", "read_image_folder", "render", "select"]

TEST_FRACTION = 0.2
"""Share of the training split that serves as test part where there is no other."""


SPLITS = {"train", "training", "test", "testing", "val", "valid", "validation"}
"""Names of folders of splits, in small letters."""


def pair_labels(labels: np.ndarray, pair: tuple[int, int]) -> np.ndarray:
    """Labels of a binary task: 1 for the first class of the pair and 0 for the second, as in the authors' code.

    Their code overwrites the labels of one class after the other, and for the pair (0, 1) every label becomes 0. Here both
    are set at once.

    Raises:
        InputError: labels of another class.
    """
    if not np.isin(labels, pair).all():
        msg = f"Labels must be {pair[0]} or {pair[1]}, but they are {np.unique(labels).tolist()}."
        raise InputError(msg)
    return np.asarray(labels == pair[0], np.int64)


@dataclass(frozen=True)
class Selection:
    """Which images train and which test.

    Attributes:
        train: indices into the training split.
        test: indices into the split that they come from.
        test_from_train: whether that is the training split.
        drawn_from: for a part that was drawn from the first images of a split, as the others are not there, the number of
            these and of all images of the split.
    """

    train: np.ndarray
    test: np.ndarray
    test_from_train: bool
    drawn_from: dict[str, tuple[int, int]]


@dataclass(frozen=True)
class Part:
    """Images of one part, ready for a kernel or a network.

    Attributes:
        images: `(n, channels, height, width)` float32.
        labels: `(n,)` int64.
        targets: `(n, classes)` float32, one-hot in {0, 1}; `(n, 1)`, the label, for a pair of classes.
        indices: `(n,)` int64, where in its split each image was.
    """

    images: np.ndarray
    labels: np.ndarray
    targets: np.ndarray
    indices: np.ndarray


def select(
    entry: Entry, train: Split, test: Split | None, *, counts: tuple[int, int], pair: tuple[int, int] | None,
    protocol: str, seed: int, resampled: bool = False,
) -> Selection:  # fmt: skip
    """Choose images.

    Args:
        entry: of the data set; says where test images come from.
        train: the training split.
        test: the official test split; None if there is none.
        counts: how many train and test.
        pair: two classes, for a binary task; None for all classes.
        protocol: "published" takes the first images in the order of the data set; "corrected" draws them, stratified by
            class.
        seed: of the draws.
        resampled: as in the authors' code for Figure 9: `counts` are the most that are taken, all images where there are
            fewer, and "published" draws them from the whole data set, with replacement.

    Raises:
        AbsentDataError: the official test split of the data set is not there.
        InputError: fewer images than requested, or an unknown class.

    Warns:
        ConvRFMWarning: first images that miss classes, or a draw from a split that is there in part.
    """
    absent = f"The test images of {entry.title} are not there: add them as {entry.test_split}/<class>/<image>."
    refuse(test is None and entry.test_part != "train", absent, AbsentDataError)
    first = protocol == "published"
    from_train = entry.test_part == "train" or (entry.test_part == "train-published" and first)
    train_pool, test_pool = np.arange(len(train)), np.arange(0 if test is None else len(test))
    if from_train:
        train_pool, test_pool = _test_part_of(train.labels, f"test part of {entry.name}", seed, first=first)
    tests = train if from_train or test is None else test
    chosen = []
    drawn_from = {}
    if pair is not None and (pair[0] == pair[1] or not all(0 <= label < len(train.classes) for label in pair)):
        msg = f"A pair must be two of the classes 0 ... {len(train.classes) - 1}, but it is {pair[0]} and {pair[1]}."
        raise InputError(msg)
    for name, split, pool, count in (("train", train, train_pool, counts[0]), ("test", tests, test_pool, counts[1])):
        labels = split.labels
        if pair is not None:
            pool = pool[np.isin(labels[pool], pair)]
        if split.whole is not None:
            there = f"only the first {len(split)} are there, of which {len(pool)} can be taken"
            found = f"n_{name} is {count}, but of the {split.whole} images of {entry.title} {there}"
            refuse(count > len(pool), f"{found}: complete the data set, or lower n_{name}.", InputError)
            if not first or resampled or from_train:
                drawn_from[name] = (len(split), split.whole)
        if resampled:
            count = min(count, len(pool))
        found = f"n_{name} is {count}, but the {name} part of {entry.title} has {len(pool)} images: lower n_{name}."
        refuse(count > len(pool), found, InputError)
        if first and resampled:
            drawn = _draws(entry, name, seed).integers(0, len(pool), count)
        else:
            drawn = np.arange(count) if first else stratified_draw(labels[pool], count, _draws(entry, name, seed))
        chosen.append(pool[drawn])
        if first and not resampled and pair is None:
            _warn_of_classes(entry, name, labels[pool], labels[chosen[-1]])
    for name, (first_ones, whole) in drawn_from.items():
        msg = (
            f"The {name} images of {entry.title} are drawn from the first {first_ones} of {whole}, as the others are not "
            "there: a draw from all of them would give other images."
        )
        warnings.warn(msg, ConvRFMWarning, stacklevel=2)
    return Selection(chosen[0], chosen[1], from_train, drawn_from)


def _draws(entry: Entry, part: str, seed: int) -> np.random.Generator:
    return generator(seed, f"samples of {entry.name}, {part}")


def _test_part_of(labels: np.ndarray, purpose: str, seed: int, *, first: bool) -> tuple[np.ndarray, np.ndarray]:
    """Split off the test part: at random where first images are taken, as in the authors' code; else stratified."""
    rng, count = generator(seed, purpose), round(TEST_FRACTION * len(labels))
    if first:
        order = rng.permutation(len(labels))
        return order[count:], order[:count]
    test = stratified_draw(labels, count, rng)
    return np.setdiff1d(np.arange(len(labels)), test), test


def _warn_of_classes(entry: Entry, part: str, available: np.ndarray, chosen: np.ndarray) -> None:
    """Warn of first images that miss classes because the data are stored class by class, as the labels show."""
    present, possible = len(np.unique(chosen)), len(np.unique(available))
    if present < possible and (np.diff(available) >= 0).all():
        msg = (
            f"The first {len(chosen)} {part} images of {entry.title} hold {present} of {possible} classes, because they are "
            "stored class by class. The protocol 'corrected' draws them stratified by class."
        )
        warnings.warn(msg, ConvRFMWarning, stacklevel=3)


def render(split: Split, indices: np.ndarray, appearance: Appearance, pair: tuple[int, int] | None, title: str) -> Part:
    """Read the images of a split at some indices and bring them into form; the title is for messages, the pair as in `select`.

    Raises:
        CorruptDataError: an image cannot be read.
        InputError: images of different shapes, with an appearance that keeps them.
    """
    labels = split.labels[indices]
    arrays: list[np.ndarray] = [np.empty(0)] * len(indices)
    # In the order of the files, whatever the order of the draw: some formats hold one batch in memory at a time.
    for place in track(np.argsort(indices, kind="stable"), len(indices), title):
        with explained_reading(f"Image {indices[place]} of {title}"):
            image = split.image(int(indices[place]))
        arrays[place] = to_array(image, appearance)
    shapes = {array.shape for array in arrays}
    if len(shapes) > 1:
        lacking = "size" if len({shape[0] for shape in shapes}) == 1 else "colour"
        msg = f"{title} have {len(shapes)} different shapes, such as {min(shapes)} and {max(shapes)}: give a {lacking}."
        raise InputError(msg)
    if pair is not None:
        labels = pair_labels(labels, pair)
        targets = labels[:, None].astype(np.float32)
    else:
        targets = np.eye(len(split.classes), dtype=np.float32)[labels]
    images = np.stack(arrays) if arrays else np.empty((0, 1, 1, 1), np.float32)
    return Part(images, labels, targets, np.asarray(indices, np.int64))


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
    (`convrfm.datasets.places.is_hidden`); other files that do not look like images by their names are left out with a
    warning. Images are turned as their EXIF orientation says. `convrfm.datasets.images.read_image` says how each kind
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

    Warns:
        ConvRFMWarning: files that are left out; or class folders that are named like splits.
    """
    root = user_path(folder)
    known = colour in ("native", "grey", "rgb")
    refuse(not known, f"colour must be native, grey or rgb, but it is {colour!r}.", InputError)
    whole = size is None or is_count(size)
    refuse(not whole, f"size must be a positive integer, but it is {size!r}.", InputError)
    try:
        if not root.is_dir():
            msg = f"No folder {root}: name a folder that has a folder of images for each class."
            raise AbsentDataError(msg)
        paths, labels, classes = class_files(root)
        others = sorted(set(visible_files(root)) - set(paths))
    except OSError as error:
        msg = f"{error.filename} cannot be read: {error.strerror}."
        raise CorruptDataError(msg) from error
    if others:
        msg = f"{len(others)} files in {root} are left out, as their names are not those of images, such as {others[0]}."
        warnings.warn(msg, ConvRFMWarning, stacklevel=2)
    if {name.lower() for name in classes} <= SPLITS:
        msg = (
            f"The class folders in {root} are named {', '.join(classes)}, like the splits of a data set: if they are splits, "
            "pass one of them."
        )
        warnings.warn(msg, ConvRFMWarning, stacklevel=2)
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
