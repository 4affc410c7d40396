"""What is in the files counts, not who has compressed them; and what a state says of it."""

import gzip
import json
import zipfile
from dataclasses import replace

import pytest

from convrfm.datasets.acquire import acquire, examine
from convrfm.datasets.manifest import verify
from convrfm.datasets.places import Place
from convrfm.datasets.registry import REGISTRY
from convrfm.replication.jobs.datasets import _shown
from datasets.official import MAKERS
from datasets.packing import md5, members, tar_gz, zipped
from datasets.test_acquire import get, no_proxy

__all__ = ["no_proxy"]

LABELS = "MNIST/raw/t10k-labels-idx1-ubyte"


def put(made, home, name="mnist"):
    """Put the unpacked files into a folder, as by hand; gives the entry that knows them."""
    entry = made.entry(name)
    for path, content in made.unpacked(entry).items():
        (home / path).parent.mkdir(parents=True, exist_ok=True)
        (home / path).write_bytes(content)
    return entry


def compressed_again(name, made):
    """The same data in archives that somebody else has made."""
    entry = made.entry(name)
    unpacked = made.unpacked(entry)
    if name == "mnist":
        files = {f"{path}.gz": gzip.compress(content, 1, mtime=77) for path, content in unpacked.items()}
    elif name == "cifar10":
        files = {"cifar-10-python.tar.gz": tar_gz({**unpacked, "cifar-10-batches-py/readme.html": b"new"})}
    elif name == "emnist-letters":
        inner = {f"gzip/{path.rpartition('/')[2]}.gz": gzip.compress(content, 1) for path, content in unpacked.items()}
        files = {"EMNIST/raw/gzip.zip": zipped(inner)}
    else:
        files = {path: again(content) for path, content in made.files.items() if path.endswith("Training_fixed.zip")}
    assert all(md5(content) != md5(made.files[path]) for path, content in files.items())
    return replace(made, files={**made.files, **files})


def again(content: bytes) -> bytes:
    """A zip file, not compressed."""
    return zipped(members("x.zip", content), zipfile.ZIP_STORED)


@pytest.mark.parametrize("by_hand", [True, False])
@pytest.mark.parametrize("name", ["mnist", "cifar10", "emnist-letters", "gtsrb"])
def test_archives_that_somebody_else_has_compressed(tmp_path, name, by_hand):
    made = MAKERS[name]()
    entry, other = made.entry(name), compressed_again(name, made)
    if by_hand:
        other.write(tmp_path)
        state = acquire(entry, Place(tmp_path))
    else:
        state, _ = get(other, tmp_path, name=name, **sums(entry))
    assert state.state == "present", state.reason
    assert state.splits["train"]["images"] == len(made.truth["train"][0])
    # Of images one by one, only the number is known: that is no checksum.
    assert state.verified == (name != "gtsrb")
    assert examine(entry, Place(tmp_path)) == state
    # Fetched again from the official place, where they are compressed in another way.
    assert acquire(entry, Place(tmp_path)) == state


def sums(entry):
    return {"remotes": entry.remotes, "contents": entry.contents}


@pytest.mark.parametrize("name", ["mnist", "cifar10", "emnist-letters", "gtsrb"])
def test_without_known_contents_the_checksum_of_the_archive_decides(tmp_path, name):
    """The control: the same archives are refused."""
    made = MAKERS[name]()
    entry, other = made.entry(name), compressed_again(name, made)
    state, _ = get(other, tmp_path / "fetched", name=name, remotes=entry.remotes, contents={})
    assert state.state == "absent"
    assert "but the published one is" in state.reason
    other.write(tmp_path)
    state = acquire(replace(entry, contents={}), Place(tmp_path))
    assert (state.state, "is not the published file: its MD5 is" in state.reason) == ("corrupt", True)


@pytest.mark.parametrize("name", ["mnist", "cifar10", "gtsrb"])
def test_archives_of_other_content_are_refused(tmp_path, name):
    made = MAKERS[name]()
    entry = made.entry(name)
    contents = {path: "ppm:5" if path.endswith("/") else f"md5:{md5(b'other')}" for path in entry.contents}
    state, _ = get(compressed_again(name, made), tmp_path, name=name, remotes=entry.remotes, contents=contents)
    assert state.state == "absent"
    assert "but the published one is" in state.reason
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} <= {".lock"}


def test_a_mirror_may_compress_again_what_it_had_before(tmp_path):
    made = MAKERS["mnist"]()
    good, _ = get(made, tmp_path)
    for path in [*tmp_path.rglob("*-ubyte*")]:
        path.unlink()
    state, _ = get(compressed_again("mnist", made), tmp_path, **sums(made.entry("mnist")))
    assert (state.state, state.digest) == ("present", good.digest)


def test_a_folder_unpacked_by_hand(tmp_path):
    made = MAKERS["mnist"]()
    entry = put(made, tmp_path)
    state = examine(entry, Place(tmp_path))
    assert (state.state, _shown(entry, state)) == ("present", "present, verified")
    assert json.loads((tmp_path / "manifest.json").read_text())["files"][LABELS]["published"] == entry.contents[LABELS]
    # The same files, where no checksum is known.
    (tmp_path / "manifest.json").unlink()
    unknown = replace(entry, contents={})
    state = examine(unknown, Place(tmp_path))
    assert (state.state, _shown(unknown, state)) == ("present", "present, as first seen")
    # Where it is known of all files but one, not all of them were compared.
    (tmp_path / "manifest.json").unlink()
    partly = replace(entry, contents={path: known for path, known in entry.contents.items() if path != LABELS})
    assert not examine(partly, Place(tmp_path)).verified


@pytest.mark.parametrize("where", ["home", "given"])
def test_a_wrong_file_unpacked_by_hand_is_refused(tmp_path, where):
    made, folder = MAKERS["mnist"](), tmp_path / where
    entry = put(made, folder)
    content = (folder / LABELS).read_bytes()
    (folder / LABELS).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    place = Place(tmp_path / "home", folder if where == "given" else None)
    state = examine(entry, place)
    assert state.state == "corrupt"
    assert f"{folder / LABELS} is not the published file: its MD5 is {md5((folder / LABELS).read_bytes())}" in state.reason
    assert f"but the published one is {md5(content)}" in state.reason
    with pytest.raises(Exception, match="is not the published file"):
        verify(entry, place)


def test_files_of_a_verified_archive_are_verified(tmp_path):
    """Of images one by one no checksum is published, but the archive has one."""
    made = MAKERS["dtd"]()
    state, _ = get(made, tmp_path / "fetched", name="dtd")
    assert state.verified
    records = json.loads((tmp_path / "fetched/manifest.json").read_text())["files"]
    (archive,) = made.entry("dtd").remotes
    assert {record["published"] for record in records.values()} == {archive.checksum}
    assert {record["from"] for path, record in records.items() if path != archive.path} == {archive.path}
    assert examine(made.entry("dtd"), Place(tmp_path / "fetched")) == state
    # The same files by hand, even beside the right archive: it is not known to have given them.
    entry = put(made, tmp_path / "by hand", "dtd")
    made.write(tmp_path / "by hand")
    state = examine(entry, Place(tmp_path / "by hand"))
    assert (state.state, state.verified) == ("present", False)


def test_data_without_any_published_checksum_are_as_first_seen(tmp_path):
    made = MAKERS["aircraft"]()
    state, _ = get(made, tmp_path, name="aircraft", remotes=REGISTRY["aircraft"].remotes)
    assert (state.state, state.verified) == ("present", False)


@pytest.mark.parametrize("right", [True, False])
def test_an_old_manifest_stays_valid(tmp_path, right):
    """Made before contents were known here: nothing in it says what was compared."""
    made = MAKERS["mnist"]()
    entry = put(made, tmp_path)
    before = examine(replace(entry, contents={}), Place(tmp_path))
    path = tmp_path / "manifest.json"
    assert "published" not in path.read_text()
    if not right:
        entry = replace(entry, contents={**entry.contents, LABELS: f"md5:{md5(b'other')}"})
    state = examine(entry, Place(tmp_path))
    assert (state.state, state.digest) == ("present", before.digest)
    assert state.verified == right
    assert list(verify(entry, Place(tmp_path))) == list(entry.required)


def test_unpacking_leaves_what_somebody_has(tmp_path):
    """A file that was put there is neither overwritten by that of an archive, nor removed with it."""
    made, path = MAKERS["cifar10"](), tmp_path / "cifar-10-batches-py/data_batch_3"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"mine")
    state, asked = get(made, tmp_path, name="cifar10")
    assert len(asked) == 1
    assert (state.state, "data_batch_3 is not the published file" in state.reason) == ("corrupt", True)
    assert [file.name for file in tmp_path.rglob("*") if file.is_file() and file.name != ".lock"] == ["data_batch_3"]
    assert path.read_bytes() == b"mine"
