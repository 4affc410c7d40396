"""What sections ask of data sets, against what the registry has of these: names, classes, numbers and sizes of images.

Numbers are checked where they are fixed: not of data sets that copies of another layout may hold more images of.
"""

from typing import Annotated

from convrfm.datasets.prepare import TEST_FRACTION
from convrfm.datasets.registry import IMAGE_SETS, REGISTRY
from convrfm.errors import refuse
from convrfm.replication.config.models import one_of

__all__ = ["PREPARED", "PreparedSet", "check_classes", "check_count", "check_counts", "check_patches", "check_task"]

PREPARED = tuple(entry.name for entry in IMAGE_SETS if entry.splits)
"""Data sets whose images can be prepared; the others are drawn."""

PreparedSet = Annotated[str, one_of(PREPARED)]  # the name of one of them


def check_classes(key: str, count: int, dataset: str) -> None:
    """Check that a data set has so many classes.

    Raises:
        ValueError: it has fewer.
    """
    _check_most(key, count, REGISTRY[dataset].classes, f"classes of {dataset}")


def check_count(key: str, count: int, dataset: str, part: str) -> None:
    """Check that so many images can be taken from "train" or "test" of a set, as `convrfm.datasets.prepare.select` does.

    Raises:
        ValueError: there are fewer, whatever the protocol.
    """
    if (most := _most(dataset, part)) is not None:
        _check_most(key, count, most, f"{'training' if part == 'train' else 'test'} images of {dataset}")


def check_counts(dataset: str, n_train: int, n_test: int) -> None:
    """Check the numbers `n_train` and `n_test` of a data set, see `check_count`."""
    check_count("n_train", n_train, dataset, "train")
    check_count("n_test", n_test, dataset, "test")


def check_task(task: str, n_train: int, n_test: int, depth: int, patch_size: int) -> None:
    """Check the numbers of images of a local-signal task, and their size.

    Raises:
        ValueError: there are not so many digits to make them from, or they are too small.
    """
    for base in REGISTRY[task].stands_on:
        if REGISTRY[base].has_files:
            check_counts(base, n_train, n_test)
        else:
            _check_most("n_train + n_test", n_train + n_test, sum(REGISTRY[base].splits.values()), f"{base} for {task}")
    check_patches(depth, patch_size, None, task)


def check_patches(depth: int, patch_size: int, size: int | None, dataset: str) -> None:
    """Check that images, of `size` pixels each side or of their own size, are large enough for so many unpadded convolutions.

    Raises:
        ValueError: they are too small.
    """
    least, shape = depth * (patch_size - 1) + 1, REGISTRY[dataset].fixed_shape
    small = f"size must be at least {least} for depth {depth} and patch_size {patch_size}, but it is {size}"
    refuse(size is not None and size < least, small, ValueError)
    if size is None and shape is not None and min(shape[1:]) < least:
        msg = (
            f"depth {depth} and patch_size {patch_size} need images of at least {least}x{least} pixels, but those of {dataset} "
            f"have {shape[1]}x{shape[2]}: lower one of them"
        )
        raise ValueError(msg)


def _check_most(key: str, count: int, most: int, of: str) -> None:
    refuse(count > most, f"{key} must be at most {most}, the number of {of}, but it is {count}", ValueError)


def _most(dataset: str, part: str) -> int | None:
    """The most images that any protocol can take from a part of a data set; None where their number is not fixed."""
    entry = REGISTRY[dataset]
    if entry.layouts:
        return None
    whole, split_off = entry.splits["train"], round(TEST_FRACTION * entry.splits["train"])
    if entry.test_part == "train":
        return whole - split_off if part == "train" else split_off
    official = {"train": whole, "test": entry.splits[entry.test_split]}
    # Under `published`, the test part may be a fifth of the training split.
    return max(official[part], split_off) if entry.test_part == "train-published" else official[part]
