"""Where the files of a data set lie. Standard library only: rules are planned with it."""

import gzip
import hashlib
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from convrfm.datasets.entries import IDX, Entry
from convrfm.system.storage import open_plain
from convrfm.system.terminal import user_path

__all__ = [
    "LOCK", "MANIFEST", "STATE", "Located", "Place", "data_files", "find_place", "fingerprint", "is_hidden", "locate",
    "top_names", "visible_files",
]  # fmt: skip

MANIFEST = "manifest.json"
"""In the home of a data set: the SHA-256 of every file."""

STATE = "state.json"
"""In the home of a data set: whether it is present, absent or corrupt."""

LOCK = ".lock"
"""In the home of a data set: held by the process that changes it."""

LEFT_BEHIND = {"__macosx", "@eadir", "desktop.ini", "thumbs.db"}
"""What macOS, Synology and Windows leave in folders of images, in small letters."""


@dataclass(frozen=True)
class Place:
    """The folders of one data set.

    Attributes:
        home: of the manifest, and of the data unless another folder is given.
        given: a filled folder, which is used where it is and never written to.
        of_system: whether it was found as a folder of the system, and not named by the user.
    """

    home: Path
    given: Path | None = None
    of_system: bool = False

    @property
    def files(self) -> Path:
        """The root of the data."""
        return self.given or self.home


@dataclass(frozen=True)
class Located:
    """Where each required file of a data set lies.

    Attributes:
        place: the folders.
        reader: of the layout that was found, a name in `convrfm.datasets.formats.READERS`.
        paths: what was found, by required path.
        lacking: required paths that were not found; a folder without a file counts as lacking.
        absent: batches beyond the first ones, which are not there.
        layout: the form of the layout; "" is the official one.
    """

    place: Place
    reader: str
    paths: Mapping[str, Path]
    lacking: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    layout: str = ""

    def __getitem__(self, path: str) -> Path:
        """The file or folder of a required path; of any other path, the one relative to the root of the data."""
        return self.paths.get(path, self.place.files / path)

    def is_packed(self, path: str) -> bool:
        """Whether the file of a path lies there as .gz."""
        return self[path].suffix == ".gz" and not path.endswith(".gz")

    @contextmanager
    def open(self, path: str) -> Iterator[BinaryIO]:
        """Open a plain file of any size; what is read of a .gz file is its content.

        Raises:
            NotPlainError: see `convrfm.system.storage.open_plain`.
            OSError: the file is missing or unreadable.
        """
        with open_plain(self[path], math.inf) as file:
            if self.is_packed(path):
                with gzip.GzipFile(fileobj=file) as content:
                    yield cast("BinaryIO", content)
            else:
                yield file


def find_place(data_dir: str | Path, entry: Entry, folders: Mapping[str, str]) -> Place:
    """The place of a data set: a named folder, or its own below `data_dir`, or one of the system if that holds nothing.

    Args:
        data_dir: the folder of all data sets; a leading `~` is the home folder, here and in `folders`.
        entry: of the data set.
        folders: filled folders elsewhere, by data set.

    Raises:
        InputError: a leading `~` has no home folder.
    """
    home, named = user_path(data_dir) / entry.name, folders.get(entry.name)
    if named:
        return Place(home, user_path(named))
    # A folder that may not be entered ends no plan: it counts as empty.
    if not any(os.path.exists(home / path) for path in (*entry.required, *entry.archives)):  # noqa: PTH110
        for folder in entry.system_folders:
            place = Place(home, Path(folder), of_system=True)
            with suppress(OSError):
                if not locate(entry, place).lacking:
                    return place
    return Place(home)


def locate(entry: Entry, place: Place) -> Located:
    """Find the required files and folders of a data set.

    In its home they lie at their required paths. A given folder may have any of the layouts of the entry; in the official
    one, leading folders of required paths may be left out, the same number of all, and idx files may be compressed as .gz.

    Returns:
        what was found, in the first layout that lacks nothing; else in the official one.

    Raises:
        OSError: a folder cannot be read.
    """
    levels = 1 if place.given is None else max(len(Path(path).parts) for path in entry.required)
    # From one place: of two copies in a folder, images and labels would be mixed.
    tries = (_look(entry, place, entry.reader or entry.name, entry.required, left_out=count) for count in range(levels))
    official = min(tries, key=lambda found: (len(found.lacking), len(found.absent)))
    if place.given is not None and official.lacking:
        for layout in entry.layouts:
            found = _look(entry, place, layout.reader, layout.needs, layout.form)
            if not found.lacking:
                return found
    return official


def _look(entry: Entry, place: Place, reader: str, needs: tuple[str, ...], layout: str = "", *, left_out: int = 0) -> Located:
    paths = {}
    for path in needs:
        parts = Path(path).parts
        candidates = [place.files.joinpath(*parts[min(left_out, len(parts) - 1) :])]
        if place.given is not None and IDX in candidates[0].name:
            candidates.append(candidates[0].with_name(f"{candidates[0].name}.gz"))
        real = next((file for file in candidates if _is_there(file, folder=path.endswith("/"))), None)
        if real is not None:
            paths[path] = real
    absent: tuple[str, ...] = ()
    if not layout and entry.batches:
        run = next((i for i, path in enumerate(entry.batches) if path not in paths), len(entry.batches))
        # Behind a gap, images would have other indices than in the whole data set.
        absent = entry.batches[run:] if run else ()
    paths = {path: real for path, real in paths.items() if path not in absent}
    lacking = tuple(path for path in needs if path not in paths and path not in absent)
    return Located(place, reader, paths, lacking, absent, layout)


def _is_there(path: Path, *, folder: bool) -> bool:
    if not folder:
        return path.is_file()
    return path.is_dir() and any(Path(file).is_file() for file in visible_files(path))


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is no data: it begins with a dot, or systems leave it behind."""
    return name.startswith(".") or name.lower() in LEFT_BEHIND


def visible_files(folder: str | Path, above: tuple[str, ...] = ()) -> Iterator[str]:
    """The paths of the files in a folder and below it that are not hidden, nor in a hidden folder, in any order.

    Links are followed, to folders as well as to files, as copies of a data set are often made of them.

    Args:
        folder: may be hidden itself.
        above: the real paths of the folders on the way to it.

    Raises:
        OSError: a folder cannot be read.
    """
    here = (*above, os.path.realpath(folder))
    with os.scandir(folder) as entries:
        for entry in entries:
            if is_hidden(entry.name):
                continue
            if not _leads_to_folder(entry):
                yield entry.path
            # A link to a folder on the way would be followed for ever.
            elif not (entry.is_symlink() and any(Path(path).is_relative_to(os.path.realpath(entry.path)) for path in here)):
                yield from visible_files(entry.path, here)


def _leads_to_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def data_files(entry: Entry, located: Located) -> list[str]:
    """All files that are read, sorted: required paths, and files in required folders, relative to the root of the data.

    Folders whose files are recorded when read are left out.

    Raises:
        OSError: a folder cannot be read.
    """
    found = [path for path in located.paths if not path.endswith("/")]
    if not entry.recorded_when_read:
        found += [
            Path(file).relative_to(located.place.files).as_posix()
            for path, folder in located.paths.items()
            if path.endswith("/")
            for file in visible_files(folder)
            if Path(file).is_file()  # and no broken link
        ]
    return sorted(found)


def top_names(entry: Entry, located: Located) -> list[str]:
    """What lies directly in the folders whose files are recorded when read, relative to the root; else nothing."""
    if not entry.recorded_when_read:
        return []
    found = (path for name, folder in located.paths.items() if name.endswith("/") for path in sorted(folder.glob("*")))
    return [path.relative_to(located.place.files).as_posix() for path in found if not is_hidden(path.name)]


def fingerprint(entry: Entry, place: Place) -> str:
    """A hash of names, sizes and times of all files: a cheap test for changes since the last check.

    It is "" where they cannot be read: that is no state that holds.
    """
    digest = hashlib.sha256()
    try:
        located = locate(entry, place)
        for path in data_files(entry, located) + top_names(entry, located):
            status = located[path].stat()
            digest.update(f"{path}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    except OSError:
        return ""
    return digest.hexdigest()
