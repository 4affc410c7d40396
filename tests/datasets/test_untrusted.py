"""Archives and pickles that want more than to be read."""

import bz2
import gzip
import io
import os
import pickle
import pickletools
import struct
import tarfile
import zipfile
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy.io import savemat

from convrfm.datasets import restricted_pickle
from convrfm.datasets.acquire import acquire
from convrfm.datasets.archives import clear_unpacking, unpack
from convrfm.datasets.entries import Unpacking
from convrfm.datasets.formats import read_split
from convrfm.datasets.manifest import read_manifest
from convrfm.datasets.places import Place
from convrfm.datasets.prepare import read_image_folder
from convrfm.datasets.registry import REGISTRY
from convrfm.datasets.restricted_pickle import load_pickle
from convrfm.errors import CorruptDataError
from convrfm.system.storage import load_arrays, sha256
from datasets.official import MAKERS
from datasets.packing import python2_pickle, tar_gz, zipped

OUTSIDE = ["../evil.txt", "/evil.txt", "a/../../evil.txt", "..\\evil.txt", "a/b/../../../evil.txt"]


def tree(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


@pytest.mark.parametrize("pack", [tar_gz, zipped])
@pytest.mark.parametrize("name", OUTSIDE)
def test_nothing_is_written_outside(tmp_path, pack, name):
    root = tmp_path / "data" / "set"
    root.mkdir(parents=True)
    archive = root / "archive"
    archive.write_bytes(pack({"good.txt": b"good", name: b"evil"}))
    with pytest.raises(CorruptDataError, match=r"archive holds .*evil.* outside its folder: it is refused"):
        unpack(archive, root, Unpacking("inside"), 1e6)
    # Not even the good member, and nothing half unpacked.
    assert tree(tmp_path) == {"data", "data/set", "data/set/archive"}
    assert not Path("/evil.txt").exists()


def test_naive_unpacking_would_write_outside(tmp_path):
    """The control: these archives do what they are accused of."""
    folder = tmp_path / "in" / "side"
    folder.mkdir(parents=True)
    with tarfile.open(fileobj=io.BytesIO(tar_gz({"../evil.txt": b"evil"}))) as archive:
        archive.extraction_filter = lambda member, _: member  # Python 3.11.2 has no parameter `filter`
        archive.extractall(folder)
    assert (tmp_path / "in" / "evil.txt").exists()


def tar_with(info: tarfile.TarInfo, content: bytes = b"") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        archive.addfile(info, io.BytesIO(content))
        inner = tarfile.TarInfo("link/evil.txt")
        inner.size = 4
        archive.addfile(inner, io.BytesIO(b"evil"))
    return buffer.getvalue()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_refused(tmp_path, kind):
    info = tarfile.TarInfo("link")
    info.type, info.linkname = kind, str(tmp_path)
    (tmp_path / "set").mkdir()
    (tmp_path / "set/archive").write_bytes(tar_with(info))
    with pytest.raises(CorruptDataError, match="link or a device"):
        unpack(tmp_path / "set/archive", tmp_path / "set", Unpacking(""), 1e6)
    assert tree(tmp_path) == {"set", "set/archive"}


def test_links_in_zip_files_are_refused(tmp_path):
    info = zipfile.ZipInfo("link")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "archive", "w") as archive:
        archive.writestr(info, "/etc")
    with pytest.raises(CorruptDataError, match="link or a device"):
        unpack(tmp_path / "archive", tmp_path, Unpacking(""), 1e6)


def test_archives_in_archives_are_held_in_as_well(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set/outer.zip").write_bytes(zipped({"inner.tar.gz": tar_gz({"../../../evil.txt": b"evil"})}))
    with pytest.raises(CorruptDataError, match="outside its folder"):
        unpack(tmp_path / "set/outer.zip", tmp_path / "set", Unpacking("", "inner.tar.gz", nested=True), 1e6)
    assert tree(tmp_path) == {"set", "set/outer.zip"}


@pytest.mark.parametrize("kind", ["tar.gz", "zip", "gz", "text", "twice"])
def test_damaged_archives(tmp_path, kind):
    noise = os.urandom(200_000)
    content = {
        "tar.gz": tar_gz({"a.bin": noise})[:-1000],
        "zip": zipped({"a.bin": noise}).replace(noise[1000:1100], bytes(100)),
        "gz": gzip.compress(noise)[:-1000],
        "text": b"no archive",
        "twice": zipped({"a/b": b"1"}) if kind != "twice" else tar_gz({"a": b"1", "a/b": b"2"}),
    }[kind]
    archive = tmp_path / f"archive.{'gz' if kind == 'gz' else 'x'}"
    archive.write_bytes(content)
    with pytest.raises(CorruptDataError, match="archive"):
        unpack(archive, tmp_path, Unpacking(""), 1e6)
    assert tree(tmp_path) == {archive.name}


def bomb(kind: str) -> bytes:
    """Ten megabytes from some kilobytes, or more names than content."""
    zeros = b"0" * 10_000_000
    if kind == "gz":
        return gzip.compress(zeros)
    if kind == "many names":
        return zipped({str(number): b"" for number in range(2500)})
    if kind == "a zip in a zip":
        return zipped({"wanted": zipped({"a": zeros})})
    return {"tar.gz": tar_gz, "zip": zipped}[kind.removeprefix("unwanted in a ")](
        {("wanted" if kind in ("tar.gz", "zip") else "other"): zeros}
    )


@pytest.mark.parametrize("kind", ["gz", "tar.gz", "zip", "many names", "a zip in a zip", "unwanted in a tar.gz"])
def test_no_more_is_unpacked_than_is_known_of_the_data(tmp_path, kind):
    archive = tmp_path / "archive.gz"
    archive.write_bytes(bomb(kind))
    assert archive.stat().st_size < 300_000
    wanted = "*" if kind in ("gz", "many names") else "wanted"
    with pytest.raises(CorruptDataError, match=r"archive.gz unpacks to more than 1 MB, twice the size of the data"):
        unpack(archive, tmp_path, Unpacking("", wanted, nested="in a zip" in kind), 1e6)
    assert tree(tmp_path) == {archive.name}


def header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    info = tarfile.TarInfo(name)
    info.type = kind
    info.size = size
    return info.tobuf(tarfile.GNU_FORMAT)


BROKEN = {
    "a header of 4 GB": (gzip.compress(header("pax", 2**32, tarfile.XHDTYPE) + bytes(1024)), "a header of 4294967296 bytes"),
    "members that overlap": (header("a", -1024) + bytes(2048), "archive"),
    "a name that no disk takes": (zipped({"n" * 300: b""}), "name too long"),
    "another compression": (zipped({"a": b"content"}, zipfile.ZIP_LZMA), "in an unknown way"),
    "an unknown compression": (
        zipped({"a": b"content"}).replace(b"PK\x01\x02\x14\x03\x14\0\0\0\x08\0", b"PK\x01\x02\x14\x03\x14\0\0\0\x63\0"),
        "in an unknown way",
    ),
    "an encryption": (
        zipped({"a": b"content"})
        .replace(b"PK\x01\x02\x14\x03\x14\0\0\0", b"PK\x01\x02\x14\x03\x14\0\1\0")
        .replace(b"PK\x03\x04\x14\0\0\0", b"PK\x03\x04\x14\0\1\0"),
        "encrypted",
    ),
    "a cut zip": (zipped({"a": os.urandom(10_000)}).replace(b"PK\x03\x04", b"PK\x03\x05"), "damaged"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_archives_that_the_libraries_stumble_over(tmp_path, name):
    content, reason = BROKEN[name]
    (tmp_path / "archive").write_bytes(content)
    with pytest.raises(CorruptDataError, match=reason):
        unpack(tmp_path / "archive", tmp_path, Unpacking(""), 1e6)
    assert tree(tmp_path) == {"archive"}


@pytest.mark.parametrize("error", [MemoryError(), struct.error("x"), OverflowError("x"), OSError("Invalid data stream")])
def test_whatever_goes_wrong_is_the_archive_s(tmp_path, monkeypatch, error):
    (tmp_path / "archive").write_bytes(zipped({"a": b"content"}))

    def fails(*_):
        raise error

    monkeypatch.setattr("zipfile.ZipExtFile.read", fails)
    with pytest.raises(CorruptDataError, match="archive is damaged"):
        unpack(tmp_path / "archive", tmp_path, Unpacking(""), 1e6)


def test_leftovers_of_a_killed_unpacking_go(tmp_path):
    (tmp_path / ".tmp-unpack-x/outer").mkdir(parents=True)
    (tmp_path / ".tmp-unpack-x/outer/half").write_bytes(b"half")
    (tmp_path / "data").write_bytes(b"whole")
    clear_unpacking(tmp_path)
    assert tree(tmp_path) == {"data"}


ARRAYS = {
    "bytes": np.arange(24, dtype=np.uint8).reshape(2, 3, 4),
    "by column": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "big endian": np.arange(5, dtype=">i4"),
    "flags": np.array([True, False]),
}
CONTENT = {
    "data": ARRAYS, "labels": [1, 2, 3], "names": ("a", "b"), "text": "ä", "float": 0.5, "none": None,
    "big": 2**80, "mean": np.float64(0.25), "nested": [{"x": [np.int16(3)]}],
}  # fmt: skip


def assert_equal(found, expected):
    if isinstance(expected, dict):
        assert set(found) == set(expected)
        for key in expected:
            assert_equal(found[key], expected[key])
    elif isinstance(expected, np.ndarray):
        assert found.dtype == expected.dtype
        assert np.array_equal(found, expected)
    else:
        assert found == expected


@pytest.mark.parametrize("protocol", range(5))
def test_pickles_of_arrays_and_containers_are_read(tmp_path, protocol):
    (tmp_path / "batch").write_bytes(pickle.dumps(CONTENT, protocol=protocol))
    assert_equal(load_pickle(tmp_path / "batch"), CONTENT)


def test_pickles_of_python_2_are_read(tmp_path):
    content = {"data": ARRAYS["bytes"], "labels": [3, 1], "batch_label": "training batch 1 of 5", "filenames": ["a.png"]}
    raw = python2_pickle(content)
    # As in CIFAR's files: byte strings, and NumPy under the name that it had.
    names = {(op.name, str(arg)) for op, arg, _ in pickletools.genops(raw)}
    assert ("GLOBAL", "numpy.core.multiarray _reconstruct") in names
    assert not any(name in ("BINUNICODE", "BINBYTES", "SHORT_BINBYTES") for name, _ in names)
    (tmp_path / "batch").write_bytes(raw)
    assert_equal(load_pickle(tmp_path / "batch"), content)


class Runs:
    """Runs a function when it is unpickled."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def hostile(marker: Path) -> dict[str, bytes]:
    command = f"touch {marker}"
    return {
        "os.system": pickle.dumps(Runs(os.system, command)),
        "in a container": pickle.dumps({"data": [np.zeros(2), Runs(os.system, command)]}),
        "exec": pickle.dumps(Runs(exec, f"open({str(marker)!r}, 'w')")),
        "open": pickle.dumps(Runs(open, str(marker), "w")),
        "getattr": pickle.dumps(Runs(getattr, "x", "format")),
        "object array": pickle.dumps(np.array([Runs(os.system, command)], dtype=object)),
        "object array of numbers": pickle.dumps(np.array([1, 2], dtype=object)),
        "structured": pickle.dumps(np.zeros(2, dtype=[("x", "i4")])),
        "a class": pickle.dumps(OrderedDict(a=1)),
        "a path": pickle.dumps(Path("x")),
        "numpy.load": b"cnumpy\nload\n(V/etc/passwd\ntR.",
        "codec": b"c_codecs\nencode\n(Vx\nVrot13\ntR.",
        "too large an array": pickle.dumps(np.zeros(4, np.uint8)).replace(b"K\x04\x85", b"K\x09\x85"),
        "truncated": pickle.dumps(CONTENT)[:-40],
        "text": b"<html>Moved</html>",
        "empty": b"",
        # Deeply nested: the reader of its content must not die of it.
        "deep": b"(l" * 5000 + b"a" * 4999 + b".",
    }


@pytest.mark.parametrize("name", hostile(Path("x")))
def test_hostile_pickles_are_refused(tmp_path, name):
    marker = tmp_path / "executed"
    (tmp_path / "batch").write_bytes(hostile(marker)[name])
    with pytest.raises(CorruptDataError, match=r"batch is refused .* only arrays, strings, numbers and containers"):
        load_pickle(tmp_path / "batch")
    assert not marker.exists()


def doubled(first: bytes, again: bytes) -> bytes:
    """Each level holds the one below twice: a million million objects, in less than 300 bytes."""
    return b"\x80\x02" + first + b"q\0" + (again + b"q\0") * 40


SMALL_BUT_ENDLESS = {
    "doubled tuples": (doubled(b")", b"h\0h\0\x86") + b".", "a container twice"),
    "doubled lists": (doubled(b"]", b"](h\0h\0e") + b".", "a container twice"),
    "doubled lists, after a step that does nothing": (doubled(b"]Nb", b"](h\0h\0eNb") + b".", "a container twice"),
    "doubled keys": (doubled(b")", b"h\0h\0\x86") + b"}h\0Ns.", "a container twice"),
    "a list in itself": (b"]q\0h\0a.", "a container twice"),
    "the same object twice": (b"N2\x86.", "DUP is not allowed"),
    "a deep key": (b"})" + b"\x85" * 1_000_000 + b"Ns.", "more than 50 levels"),
    "promised bytes": (b"\x80\x04\x8e" + (2**40).to_bytes(8, "little") + b"x.", "bytes should follow"),
    "a promised text": (b"\x80\x04\x8d" + (2**62).to_bytes(8, "little") + b"x.", "bytes should follow"),
    "a promised frame": (b"\x80\x04\x95" + (2**62).to_bytes(8, "little") + b"N.", "bytes should follow"),
    "a place far away": (b"\x80\x02Nr\xff\xff\xff\x7f.", "skips places"),
    "a place far away, in words": (b"Np4000000000\n.", "skips places"),
    "an integer": (b"\x80\x02\x8b" + (2000).to_bytes(4, "little") + b"\x01" * 2000 + b".", "an integer of"),
    "one text many times": (
        b"c_codecs\nencode\np0\n(V" + b"x" * 50_000 + b"\np1\n" + b"g0\ng1\n\x85R" * 5000 + b"l.",
        "again and again",
    ),
    "keys that collide": (
        b"\x80\x02}(" + b"".join(b"\x8a\x0c" + (n * (2**61 - 1)).to_bytes(12, "little") + b"N" for n in range(20_000)) + b"u.",
        "more than 1000 keys",
    ),
    "a set": (pickle.dumps({1, 2}), "EMPTY_SET is not allowed"),
    "marks": (b"(" * 500_000 + b"l" * 500_000 + b".", "more than 50 levels"),
}


@pytest.mark.parametrize("name", SMALL_BUT_ENDLESS)
def test_pickles_that_would_take_for_ever_are_refused(tmp_path, name):
    content, reason = SMALL_BUT_ENDLESS[name]
    (tmp_path / "batch").write_bytes(content)
    with pytest.raises(CorruptDataError, match=reason):
        load_pickle(tmp_path / "batch")


def test_pickles_of_too_many_steps_and_pipes_are_refused(tmp_path, monkeypatch):
    (tmp_path / "batch").write_bytes(pickle.dumps(list(range(100))))
    monkeypatch.setattr(restricted_pickle, "MOST_STEPS", 90)
    with pytest.raises(CorruptDataError, match="more than 90 steps"):
        load_pickle(tmp_path / "batch")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CorruptDataError, match="It is a pipe"):
        load_pickle(tmp_path / "pipe")


@pytest.mark.parametrize("broken", [b"a.", b"l.", b"h\x05.", b"q\0.", b"(t", b"N\x86."])
def test_pickles_whose_stack_is_not_one(tmp_path, broken):
    (tmp_path / "batch").write_bytes(broken)
    with pytest.raises(CorruptDataError, match="batch is refused"):
        load_pickle(tmp_path / "batch")


def test_the_hostile_pickle_is_hostile(tmp_path):
    """The control: the plain unpickler executes it."""
    marker = tmp_path / "executed"
    pickle.loads(hostile(marker)["os.system"])
    assert marker.exists()


def test_what_a_pickle_is_given_cannot_be_spoilt_for_the_next(tmp_path):
    """A pickle may set attributes of a function that it is given: here the default encoding."""
    spoil = b"c_codecs\nencode\nN}V__defaults__\n(Vutf-7\ntus\x86b."
    (tmp_path / "spoil").write_bytes(spoil)
    with suppress(CorruptDataError):
        load_pickle(tmp_path / "spoil")
    assert restricted_pickle._to_bytes.__defaults__ == ("latin1",)


def pcam_with(folder: Path, spoil) -> Path:
    """PCam whose labels are spoilt."""
    made = MAKERS["pcam"]()
    for path, content in made.files.items():
        target = folder / path.removesuffix(".gz")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(gzip.decompress(content))
    with h5py.File(folder / "pcam/camelyonpatch_level_2_split_train_y.h5", "r+") as file:
        del file["y"]
        spoil(file, folder)
    return folder


def external(file, folder):
    (folder / "secret").write_bytes(bytes(9))
    file.create_dataset("y", (9, 1, 1, 1), "u1", external=[(folder / "secret", 0, 9)])


def external_link(file, folder):
    with h5py.File(folder / "other.h5", "w") as other:
        other["y"] = np.zeros((9, 1, 1, 1), np.uint8)
    file["y"] = h5py.ExternalLink(folder / "other.h5", "y")


def virtual(file, folder):
    with h5py.File(folder / "other.h5", "w") as other:
        other["y"] = np.zeros((9, 1, 1, 1), np.uint8)
    layout = h5py.VirtualLayout((9, 1, 1, 1), "u1")
    layout[:] = h5py.VirtualSource(folder / "other.h5", "y", (9, 1, 1, 1))
    file.create_virtual_dataset("y", layout)


HDF5 = {
    "external": external,
    "external link": external_link,
    "virtual": virtual,
    "soft link": lambda file, _: file.update({"y": h5py.SoftLink("/z")}),
    "a group": lambda file, _: file.create_group("y"),
    "texts": lambda file, _: file.create_dataset("y", data=np.array(["x"] * 9, object).reshape(9, 1, 1, 1)),
    "huge": lambda file, _: file.create_dataset("y", (10**12, 1, 1, 1), "u1", chunks=(1000, 1, 1, 1)),
    "huge chunks": lambda file, _: file.create_dataset(
        "y", (9, 1, 1, 1), "u1", chunks=(10**9, 1, 1, 1), maxshape=(None, 1, 1, 1)
    ),
}


@pytest.mark.parametrize("kind", HDF5)
def test_hdf5_that_is_not_what_it_seems(tmp_path, kind):
    with pytest.raises(CorruptDataError, match=r"plain integers of its own|labels of shape \(1000000000000, 1, 1, 1\)"):
        read_split(REGISTRY["pcam"], Place(pcam_with(tmp_path, HDF5[kind])), "train")


def test_bombs_in_mat_files_and_in_usps(tmp_path):
    savemat(tmp_path / "train_32x32.mat", {"X": np.zeros((3000, 3000), np.uint8), "y": [[1]]}, do_compression=True)
    with pytest.raises(CorruptDataError, match=r"holds arrays of shapes .*3000"):
        read_split(REGISTRY["svhn"], Place(tmp_path), "train")
    (tmp_path / "usps.bz2").write_bytes(bz2.compress(b"1 1:0.5\n" * 13_000_000, 1))
    with pytest.raises(CorruptDataError, match="unpacks to more than 100000000 bytes"):
        read_split(REGISTRY["usps"], Place(tmp_path), "train")


def test_a_pipe_among_images_is_not_waited_for(tmp_path):
    (tmp_path / "cats").mkdir()
    os.mkfifo(tmp_path / "cats/a.png")
    with pytest.raises(CorruptDataError, match=r"a\.png is not read: It is a pipe"):
        read_image_folder(tmp_path)
    with pytest.raises(OSError, match="It is a pipe"):
        sha256(tmp_path / "cats/a.png")
    with pytest.raises(OSError, match="It is a pipe"):
        load_arrays(tmp_path / "cats/a.png")
    os.mkfifo(tmp_path / "manifest.json")
    with pytest.raises(CorruptDataError, match="It is a pipe"):
        read_manifest(tmp_path)


def test_a_sparse_file_of_any_size_is_not_read(tmp_path):
    made = MAKERS["mnist"]()
    made.write(tmp_path)
    os.truncate(tmp_path / next(iter(made.files)), 10**13)
    state = acquire(made.entry("mnist"), Place(tmp_path))
    assert (state.state, "has 1e+07 MB, and all of the data set has 1 MB" in state.reason) == ("corrupt", True)
