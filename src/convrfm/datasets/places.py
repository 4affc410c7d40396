"""Where the files of a data set lie, and whether they have changed. Standard library only: rules are planned with it."""

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from convrfm.datasets.entries import Entry
from convrfm.system.terminal import user_path

__all__ = [
    "MANIFEST", "STATE", "Place", "data_files", "find_place", "fingerprint", "is_hidden", "missing", "visible_files",
]  # fmt: skip

MANIFEST = "manifest.json"
"""In the home of a data set: the SHA-256 of every file."""

STATE = "state.json"
"""In the home of a data set: whether it is present, absent or corrupt; what the workflow looks at."""

LEFT_BEHIND = {"__macosx", "@eadir", "desktop.ini", "thumbs.db"}
"""What macOS, Synology and Windows leave in folders of images, in small letters."""


@dataclass(frozen=True)
class Place:
    """The folders of one data set.

    Attributes:
        home: manifest and state lie here, and the data where no other folder is given.
        given: a filled folder, which is used where it is and never written to.
    """

    home: Path
    given: Path | None = None

    @property
    def files(self) -> Path:
        """The root of the data."""
        return self.given or self.home


def find_place(data_dir: str | Path, name: str, folders: Mapping[str, str]) -> Place:
    """Give the place of a data set.

    Args:
        data_dir: the folder of all data sets; a leading `~` is the home folder, here and in `folders`.
        name: of the data set.
        folders: filled folders elsewhere, by data set.

    Raises:
        InputError: a leading `~` has no home folder.
    """
    given = folders.get(name)
    return Place(user_path(data_dir) / name, user_path(given) if given else None)


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is no data: it begins with a dot, or systems leave it behind."""
    return name.startswith(".") or name.lower() in LEFT_BEHIND


def visible_files(folder: Path, *, follow_links: bool) -> Iterator[str]:
    """Give the paths of the files in a folder and below it that are not hidden, nor in a hidden folder, in any order.

    Args:
        folder: may be hidden itself.
        follow_links: whether folders behind links count.

    Raises:
        OSError: a folder cannot be read.
    """

    def stop(error: OSError) -> None:
        raise error

    for parent, folders, names in os.walk(folder, onerror=stop, followlinks=follow_links):
        # A link to a folder above would be followed for ever.
        real = Path(parent).resolve()
        folders[:] = [
            name
            for name in folders
            if not is_hidden(name) and not real.is_relative_to(os.path.realpath(os.path.join(parent, name)))  # noqa: PTH118
        ]
        yield from (os.path.join(parent, name) for name in names if not is_hidden(name))  # noqa: PTH118 (a million files)


def missing(entry: Entry, place: Place) -> list[str]:
    """The required files and folders that are not there; a folder without a file counts as not there."""
    return [path for path in entry.required if not _is_there(place.files, path)]


def _is_there(root: Path, path: str) -> bool:
    if path.endswith("/"):
        return any(True for _ in _below(root, path))
    return (root / path).is_file()


def _below(root: Path, folder: str) -> Iterator[str]:
    """The files in a folder and below it, without hidden ones, relative to the root."""
    if (root / folder).is_dir():
        for path in visible_files(root / folder, follow_links=False):
            if Path(path).is_file():  # and no broken link
                yield Path(path).relative_to(root).as_posix()


def data_files(entry: Entry, place: Place) -> list[str]:
    """All files that are read, sorted, relative to the root of the data.

    The content of folders is left out where it is recorded when it is read.
    """
    found = [path for path in entry.required if not path.endswith("/")]
    if not entry.recorded_when_read:
        found += [file for path in entry.required if path.endswith("/") for file in _below(place.files, path)]
    return sorted(found)


def fingerprint(entry: Entry, place: Place) -> str:
    """A hash of names, sizes and times of all files: it tells cheaply that something has changed since the last check."""
    paths = [path for path in data_files(entry, place) if (place.files / path).exists()]
    if entry.recorded_when_read:
        folders = (place.files / path for path in entry.required if path.endswith("/"))
        paths += [
            path.relative_to(place.files).as_posix()
            for folder in folders
            for path in sorted(folder.glob("*"))
            if not is_hidden(path.name)
        ]
    digest = hashlib.sha256()
    for path in paths:
        status = (place.files / path).stat()
        digest.update(f"{path}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()
