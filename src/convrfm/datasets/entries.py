"""What is known of a data set or a weight file, and where its files lie. Standard library only: rules are planned with it."""

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from convrfm.system.terminal import user_path

__all__ = [
    "MANIFEST", "Entry", "Place", "Remote", "Unpacking", "data_files", "find_place", "fingerprint", "is_hidden", "missing",
    "top_names", "visible_files",
]  # fmt: skip

MANIFEST = "manifest.json"
"""In the home of a data set: the SHA-256 of every file."""

LEFT_BEHIND = {"__macosx", "@eadir", "desktop.ini", "thumbs.db"}
"""What macOS, Synology and Windows leave in folders of images, in small letters."""


@dataclass(frozen=True)
class Unpacking:
    """How an archive is unpacked.

    Attributes:
        into: folder, relative to that of the data set; "" is that folder itself.
        members: pattern of the members that are wanted.
        nested: whether these members are archives themselves, whose content goes into the folder.
    """

    into: str
    members: str = "*"
    nested: bool = False


@dataclass(frozen=True)
class Remote:
    """One file to fetch.

    Attributes:
        path: where it lies, relative to the folder of the data set; the same on a mirror.
        urls: official addresses, in the order in which they are tried.
        checksum: "md5:..." or "sha256:..." as published, the latter perhaps only its first digits; "" if none is known.
        unpacking: how to unpack it; None if it is used as it is.
        gives: the required files and folders (with a slash at the end) that it provides.
    """

    path: str
    urls: tuple[str, ...]
    checksum: str = ""
    unpacking: Unpacking | None = None
    gives: tuple[str, ...] = ()


@dataclass(frozen=True)
class Entry:
    """One data set or weight file.

    Attributes:
        name: its name in paths, rules and configuration.
        title: its name in sentences.
        source: publication or home page.
        licence: terms of use, as far as they are stated.
        megabytes: size on disk with everything unpacked, archives included, in units of 10^6 bytes.
        shape: native shape of an image, (channel, height, width).
        splits: official number of images in each split. The count that is used is always taken from the data.
        classes: official number of classes; again, the data decide.
        obtained: "automatic"; "fragile" (automatic from a host that often refuses); "manual" (see `steps`); "embedded" in
            an installed package; "generated" by the project itself.
        figures: the figures of arXiv 2309.00570 that need it; empty if only the authors' code mentions it.
        reader: of its official format, a name in `convrfm.datasets.reading.formats.READERS`; its own name by default.
        remotes: what is fetched.
        needs: required files and folders (with a slash at the end) that no remote provides.
        steps: what to do by hand.
        class_sorted: splits that are stored class by class, whose first images miss most classes.
        test_part: which part tests. "official": the split of this name in `test_split`; "train": a fifth of the training
            split, as it has no other; "train-published": a fifth of the training split under `published`, as in the
            authors' code, the official one otherwise.
        test_split: name of the official test split.
        recorded_when_read: the files are too many to be hashed at once; each is recorded when it is first read.
        stands_on: data sets that a generated one is made from.
        network: of weights, the network that they belong to, see `convrfm.networks.zoo`; "" for images.
        trained_on: of weights, the data set that they were trained on.
        accuracy: of weights, the published test accuracy in percent.
        notes: traps.
    """

    name: str
    title: str
    source: str
    licence: str
    obtained: Literal["automatic", "fragile", "manual", "embedded", "generated"]
    megabytes: float = 0
    shape: str = ""
    splits: Mapping[str, int] = field(default_factory=dict)
    classes: int = 0
    figures: tuple[str, ...] = ()
    reader: str = ""
    remotes: tuple[Remote, ...] = ()
    needs: tuple[str, ...] = ()
    steps: str = ""
    class_sorted: tuple[str, ...] = ()
    test_part: Literal["official", "train", "train-published"] = "official"
    test_split: str = "test"
    recorded_when_read: bool = False
    stands_on: tuple[str, ...] = ()
    network: str = ""
    trained_on: str = ""
    accuracy: float = 0
    notes: str = ""

    @property
    def most_bytes(self) -> float:
        """What may be fetched of it, or come out of its archives: twice its size, as `megabytes` is rounded."""
        return 2e6 * self.megabytes

    @property
    def required(self) -> tuple[str, ...]:
        """What must lie in the folder of the data set; folders end with a slash."""
        return self.needs or tuple(path for remote in self.remotes for path in remote.gives)

    @property
    def required_folders(self) -> tuple[str, ...]:
        """The folders among `required`."""
        return tuple(path for path in self.required if path.endswith("/"))

    @property
    def archives(self) -> tuple[str, ...]:
        """What is kept of what was fetched, besides the data themselves."""
        return tuple(remote.path for remote in self.remotes if remote.unpacking is not None)

    def is_fixed_draw(self, protocol: str) -> bool:
        """Whether all seeds have the same images: `published` takes the first ones, and the official test part."""
        return protocol == "published" and self.test_part == "official"

    @property
    def has_files(self) -> bool:
        """Whether it is read from files that have to be fetched or put there."""
        return self.obtained not in ("embedded", "generated")


@dataclass(frozen=True)
class Place:
    """The folders of one data set.

    Attributes:
        home: of the manifest, and of the data unless another folder is given.
        given: a filled folder, which is used where it is and never written to.
    """

    home: Path
    given: Path | None = None

    @property
    def files(self) -> Path:
        """The root of the data."""
        return self.given or self.home


def find_place(data_dir: str | Path, name: str, folders: Mapping[str, str]) -> Place:
    """The place of a data set.

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
    """The paths of the files in a folder and below it that are not hidden, nor in a hidden folder, in any order.

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
    """The required files and folders that are missing; a folder without a file counts as missing."""
    return [
        path for path in entry.required
        if not (any(True for _ in _below(place.files, path)) if path.endswith("/") else (place.files / path).is_file())
    ]  # fmt: skip


def _below(root: Path, folder: str) -> Iterator[str]:
    """The files in a folder and below it, without hidden ones, relative to the root."""
    if (root / folder).is_dir():
        for path in visible_files(root / folder, follow_links=False):
            if Path(path).is_file():  # and no broken link
                yield Path(path).relative_to(root).as_posix()


def data_files(entry: Entry, place: Place) -> list[str]:
    """All files that are read, sorted, relative to the root of the data; without folders whose files are recorded when read."""
    found = [path for path in entry.required if not path.endswith("/")]
    if not entry.recorded_when_read:
        found += [file for folder in entry.required_folders for file in _below(place.files, folder)]
    return sorted(found)


def top_names(entry: Entry, place: Place) -> list[str]:
    """What lies directly in the folders whose files are recorded when read, relative to the root; else nothing."""
    if not entry.recorded_when_read:
        return []
    found = (path for folder in entry.required_folders for path in sorted((place.files / folder).glob("*")))
    return [path.relative_to(place.files).as_posix() for path in found if not is_hidden(path.name)]


def fingerprint(entry: Entry, place: Place) -> str:
    """A hash of names, sizes and times of all files: a cheap test for changes since the last check."""
    paths = [path for path in data_files(entry, place) if (place.files / path).exists()]
    digest = hashlib.sha256()
    for path in paths + top_names(entry, place):
        status = (place.files / path).stat()
        digest.update(f"{path}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()
