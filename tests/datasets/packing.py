"""What the official archives are made of: images, labels, containers, and the truth about what is in them."""

import gzip
import hashlib
import io
import pickle
import struct
import tarfile
import zipfile
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import ClassVar

import numpy as np
from PIL import Image
from scipy.io import savemat

from convrfm.datasets.entries import Entry
from convrfm.datasets.registry import REGISTRY

Truth = tuple[list[np.ndarray], list[int]]


@dataclass(frozen=True)
class Made:
    """Files by their path in the folder of the data set, and by split the images, uint8, and labels in them."""

    files: dict[str, bytes]
    truth: dict[str, Truth]
    classes: int
    tolerance: int = 0  # of grey values: JPEG loses some, text rounds them

    def write(self, home) -> None:
        for path, content in self.files.items():
            (home / path).parent.mkdir(parents=True, exist_ok=True)
            (home / path).write_bytes(content)

    def entry(self, name: str) -> Entry:
        """The entry of the registry with the checksums and the size of these files."""
        entry = REGISTRY[name]
        remotes = tuple(replace(remote, checksum=f"md5:{md5(self.files[remote.path])}") for remote in entry.remotes)
        unpacked = self.unpacked(entry)
        sums = {path: f"md5:{md5(unpacked[path])}" for path in entry.contents if not path.endswith("/")}
        counts = {
            path: f"ppm:{sum(file.startswith(path) and file.endswith('.ppm') for file in unpacked)}"
            for path in entry.contents
            if path.endswith("/")
        }
        return replace(entry, remotes=remotes, contents=sums | counts, megabytes=1)

    def unpacked(self, entry: Entry) -> dict[str, bytes]:
        """The files that are read, by their path in the folder of the data set, as somebody would unpack them by hand."""
        found = {}
        for path, content in self.files.items():
            how = next((remote.unpacking for remote in entry.remotes if remote.path == path), None)
            if how is None:
                found[path] = content
                continue
            inside = members(path.rpartition("/")[2], content)
            wanted = {name: member for name, member in inside.items() if fnmatch(name, how.members)}
            if how.nested:
                wanted = {k: v for name, member in wanted.items() for k, v in members(Path(name).name, member).items()}
            found |= {f"{how.into}/{name}".lstrip("/"): member for name, member in wanted.items()}
        return found


def members(name: str, content: bytes) -> dict[str, bytes]:
    """The files in a zip, tar or gzip file, by their names in it."""
    if zipfile.is_zipfile(io.BytesIO(content)):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return {info.filename: archive.read(info) for info in archive.infolist()}
    try:
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            return {info.name: archive.extractfile(info).read() for info in archive if info.isreg()}
    except tarfile.ReadError:
        return {name.removesuffix(".gz"): gzip.decompress(content)}


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def tar_gz(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def zipped(files: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def mat(**content) -> bytes:
    buffer = io.BytesIO()
    savemat(buffer, content)
    return buffer.getvalue()


def noise(n: int, *shape: int, seed: int = 0) -> list[np.ndarray]:
    return list(np.random.default_rng([seed, n, *shape]).integers(0, 256, (n, *shape), dtype=np.uint8))


def labels(n: int, classes: int) -> list[int]:
    """Mixed, with every class in them if there is room."""
    return [int(label) for label in np.random.default_rng(classes).permutation(np.arange(n) % classes)]


def plain(n: int, height: int, width: int, seed: int) -> list[np.ndarray]:
    """Images of one colour each, which survive JPEG."""
    colours = np.random.default_rng(seed).integers(20, 236, (n, 3), dtype=np.uint8)
    return [np.broadcast_to(colour, (height + i, width + 2 * i, 3)).copy() for i, colour in enumerate(colours)]


def picture(array: np.ndarray, kind: str = "JPEG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, kind, **({"quality": 95} if kind == "JPEG" else {}))
    return buffer.getvalue()


def idx(array: np.ndarray, code: int = 8) -> bytes:
    header = struct.pack(f">HBB{array.ndim}I", 0, code, array.ndim, *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


class Python2Pickler(pickle._Pickler):
    """Writes what cPickle of Python 2 wrote: text and bytes alike as byte strings, NumPy under its old name."""

    dispatch: ClassVar[dict] = dict(pickle._Pickler.dispatch)

    def save_text(self, value):
        raw = value.encode("latin1") if isinstance(value, str) else value
        self.write(pickle.BINSTRING + struct.pack("<i", len(raw)) + raw)
        self.memoize(value)

    dispatch[str] = dispatch[bytes] = save_text

    def save_global(self, obj, name=None):
        module = obj.__module__.replace("numpy._core", "numpy.core")
        self.write(pickle.GLOBAL + f"{module}\n{name or obj.__qualname__}\n".encode())
        self.memoize(obj)


Python2Pickler.dispatch[type] = Python2Pickler.save_global
Python2Pickler.dispatch[type(len)] = Python2Pickler.save_global


def python2_pickle(value) -> bytes:
    buffer = io.BytesIO()
    Python2Pickler(buffer, protocol=2).dump(value)
    return buffer.getvalue()
