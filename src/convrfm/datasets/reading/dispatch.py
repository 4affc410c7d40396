"""The reader of each data set."""

from pathlib import Path

from convrfm.datasets.entries import Entry
from convrfm.datasets.reading.embedded import EMBEDDED
from convrfm.datasets.reading.folders import FOLDERS
from convrfm.datasets.reading.packed import PACKED
from convrfm.datasets.reading.split import Split, explained_reading
from convrfm.system.extras import require

__all__ = ["read_split", "splits_there"]

require("workflow", "h5py", "torchvision", what="Reading data sets")

_READERS = {**PACKED, **FOLDERS, **EMBEDDED}


def splits_there(entry: Entry, root: Path) -> list[str]:
    """The splits that can be read: all, but for ImageNet, whose validation images need not be there."""
    return [split for split in entry.splits if not entry.recorded_when_read or (root / split).is_dir()]


def read_split(entry: Entry, root: Path, split: str) -> Split:
    """Read one split of a data set from its official format.

    Args:
        entry: of images with files, or embedded.
        root: of the data.
        split: a name of `entry.splits`.

    Raises:
        CorruptDataError: the files are not in that format, or do not fit together.
    """
    with explained_reading(f"The split {split} of {entry.title} in {root}"):
        return _READERS[entry.name](root, split)
