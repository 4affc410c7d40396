"""What is known of a data set or a weight file. Standard library only: rules are planned with it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

__all__ = ["CLASS_FOLDERS", "IDX", "Entry", "Layout", "Remote", "Unpacking"]

IDX = "-idx"
"""In the names of idx files, which are read through gzip as well."""

CLASS_FOLDERS = "class-folders"
"""The reader of a folder for each split with a folder of images for each class."""


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
class Layout:
    """A way in which copies of a data set are laid out, besides the official one.

    Attributes:
        reader: a name in `convrfm.datasets.formats.READERS`.
        needs: required files and folders (with a slash at the end).
        form: how the folder looks, for messages and tables.
    """

    reader: str
    needs: tuple[str, ...]
    form: str


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
        reader: of its official format, a name in `convrfm.datasets.formats.READERS`; its own name by default.
        remotes: what is fetched.
        needs: required files and folders (with a slash at the end) that no remote provides.
        contents: what is published of unpacked files, by their required path: "md5:..." or "sha256:..."; of a folder,
            a suffix and the number of its files that have it, such as "ppm:26640".
        batches: required files that hold the training images one after the other; the first ones are of use by themselves.
        layouts: of copies elsewhere, besides the official one.
        system_folders: where packages of the system put the data set.
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
    contents: Mapping[str, str] = field(default_factory=dict)
    batches: tuple[str, ...] = ()
    layouts: tuple[Layout, ...] = ()
    system_folders: tuple[str, ...] = ()
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
    def fixed_shape(self) -> tuple[int, int, int] | None:
        """Channels, height and width where all images have the same."""
        numbers = self.shape.split("x")
        return tuple(map(int, numbers)) if len(numbers) == 3 and all(map(str.isdecimal, numbers)) else None  # type: ignore[return-value]

    @property
    def required(self) -> tuple[str, ...]:
        """What must lie in the folder of the data set; folders end with a slash."""
        return self.needs or tuple(path for remote in self.remotes for path in remote.gives)

    @property
    def archives(self) -> tuple[str, ...]:
        """What is kept of what was fetched, besides the data themselves."""
        return tuple(remote.path for remote in self.remotes if remote.unpacking is not None)

    @property
    def published(self) -> Mapping[str, str]:
        """Published checksums of the files that are read, by their required path; none of files that are not listed."""
        plain = {remote.path: remote.checksum for remote in self.remotes if remote.unpacking is None and remote.checksum}
        return plain | {path: known for path, known in self.contents.items() if not path.endswith("/")}

    def is_fixed_draw(self, protocol: str) -> bool:
        """Whether all seeds have the same images: `published` takes the first ones, and the official test part."""
        return protocol == "published" and self.test_part == "official"

    @property
    def has_files(self) -> bool:
        """Whether it is read from files that have to be fetched or put there."""
        return self.obtained not in ("embedded", "generated")
