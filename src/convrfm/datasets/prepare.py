"""From a data set on disk to arrays: which images, in which form, with which targets."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from convrfm.datasets.entries import Entry
from convrfm.datasets.reading.images import Split, explained_reading
from convrfm.datasets.transforms import Appearance, to_array
from convrfm.errors import ConvRFMWarning, InputError
from convrfm.numerics.inputs import generator, stratified_draw
from convrfm.system.terminal import track

__all__ = ["TEST_FRACTION", "Part", "Selection", "pair_labels", "render", "select"]

TEST_FRACTION = 0.2
"""Share of the training split that serves as test part where there is no other."""


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
    """

    train: np.ndarray
    test: np.ndarray
    test_from_train: bool


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
        InputError: fewer images than requested, or an unknown class.
    """
    first = protocol == "published"
    from_train = test is None or entry.test_part == "train" or (entry.test_part == "train-published" and first)
    train_pool, test_pool = np.arange(len(train)), np.arange(0 if test is None else len(test))
    if from_train:
        train_pool, test_pool = _test_part_of(train.labels, f"test part of {entry.name}", seed, first=first)
    tests = train if from_train or test is None else test
    chosen = []
    for name, labels, pool, count in (
        ("train", train.labels, train_pool, counts[0]),
        ("test", tests.labels, test_pool, counts[1]),
    ):
        if pair is not None:
            _check_pair(pair, train)
            pool = pool[np.isin(labels[pool], pair)]
        if resampled:
            count = min(count, len(pool))
        if count > len(pool):
            msg = f"n_{name} is {count}, but the {name} part of {entry.title} has {len(pool)} images: lower n_{name}."
            raise InputError(msg)
        if first and resampled:
            drawn = _draws(entry, name, seed).integers(0, len(pool), count)
        else:
            drawn = np.arange(count) if first else stratified_draw(labels[pool], count, _draws(entry, name, seed))
        chosen.append(pool[drawn])
        if first and not resampled and pair is None:
            _warn_of_classes(entry, name, labels[pool], labels[chosen[-1]])
    return Selection(chosen[0], chosen[1], test_from_train=from_train)


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


def _check_pair(pair: tuple[int, int], split: Split) -> None:
    if pair[0] == pair[1] or not all(0 <= label < len(split.classes) for label in pair):
        msg = f"A pair must be two of the classes 0 ... {len(split.classes) - 1}, but it is {pair[0]} and {pair[1]}."
        raise InputError(msg)


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
    """Read the images of some indices and bring them into form.

    Args:
        split: of the images.
        indices: of the images in the split.
        appearance: the form.
        pair: see `select`.
        title: what they are, for messages.

    Raises:
        CorruptDataError: an image cannot be read.
        InputError: images of different shapes, with an appearance that keeps them.
    """
    labels = split.labels[indices]
    arrays: list[np.ndarray] = [np.empty(0)] * len(indices)
    # In the order of the files, whatever the order of the draw: some formats hold one batch in memory at a time.
    order = np.argsort(indices, kind="stable")
    for place, array in zip(order, track(_arrays(split, indices[order], appearance, title), len(order), title), strict=True):
        arrays[place] = array
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


def _arrays(split: Split, indices: np.ndarray, appearance: Appearance, title: str) -> Iterator[np.ndarray]:
    for index in indices:
        with explained_reading(f"Image {index} of {title}"):
            image = split.image(int(index))
        yield to_array(image, appearance)
