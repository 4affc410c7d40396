"""Downloads that fail in every way, manifests, and the states that come of it."""

import json
import os
import shutil
import threading
from dataclasses import replace

import pytest

from convrfm.datasets import acquire as acquire_module
from convrfm.datasets.acquire import acquire, examine
from convrfm.datasets.download import Patience, download
from convrfm.datasets.manifest import verify
from convrfm.datasets.places import Place, find_place, fingerprint, locate
from convrfm.datasets.registry import REGISTRY
from convrfm.errors import AbsentDataError, CorruptDataError, StorageError
from convrfm.replication.jobs.datasets import _with_command
from convrfm.system.storage import sha256
from datasets import mirror as faults
from datasets.mirror import mirror
from datasets.official import MAKERS, publish
from datasets.packing import md5, tar_gz

QUICK = Patience(tries=3, wait=0.01, timeout=0.3, slowest=1000)
FIRST = "MNIST/raw/train-images-idx3-ubyte.gz"


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def made():
    return MAKERS["mnist"]()


def served(made, name="mnist"):
    return {f"{name}/{path}": content for path, content in made.files.items()}


def get(made, home, *spoilt, name="mnist", **changes):
    """Fetch a data set from a mirror that spoils the first requests; gives the state and the paths asked for."""
    with mirror(served(made, name), *spoilt) as server:
        state = acquire(replace(made.entry(name), **changes), Place(home), mirror=server.address, patience=QUICK)
    return state, server.requests


def data_below(home):
    return sorted(p.relative_to(home).as_posix() for p in home.rglob("*") if p.is_file() and p.name != ".lock")


def test_a_good_mirror(tmp_path, made):
    state, asked = get(made, tmp_path)
    assert state.state == "present"
    assert asked == [f"/mnist/{path}" for path in made.files]
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["splits"] == {"train": {"images": 30, "classes": 10}, "test": {"images": 12, "classes": 10}}
    for path, content in made.files.items():
        record = manifest["files"][path]
        assert record["bytes"] == len(content)
        assert record["from"].endswith(f"/mnist/{path}")
    assert len(manifest["files"]) == 8  # what was fetched, and what was unpacked from it
    # Present data are not fetched again.
    again, asked = get(made, tmp_path)
    assert (again, asked) == (state, [])


@pytest.mark.parametrize(
    "fault", [faults.truncated, faults.cut_off, faults.server_error, faults.dropped, faults.empty, faults.stalled]
)
def test_a_fault_that_passes_is_tried_again(tmp_path, made, fault):
    spoilt = [fault, fault]
    if fault is faults.cut_off:  # nothing but the checksum can tell, and that is a matter of the address
        state, _ = get(made, tmp_path, fault)
        assert state.state == "absent"
        assert "MD5" in state.reason
        spoilt = []
    state, asked = get(made, tmp_path, *spoilt)
    assert state.state == "present"
    assert len(asked) == len(made.files) + len(spoilt)


@pytest.mark.parametrize(
    ("fault", "tries", "sentence"),
    [
        (faults.truncated, 3, "with {missing} missing (tried 3 times)"),
        (faults.cut_off, 1, "but the published one is {md5}"),
        (faults.other_content, 1, "its MD5 is {wrong}, but the published one is {md5}. It was thrown away."),
        (faults.not_found, 1, "the server answers 404"),
        (faults.server_error, 3, "the server answers 500"),
        (faults.page, 1, "the answer is a web page, not the file"),
        (faults.page_in_disguise, 1, "the answer is a web page, not the file"),
        (faults.dropped, 3, "the connection failed"),
        (faults.empty, 3, "the answer is empty"),
        (faults.stalled, 3, "nothing came for 0.3 s (tried 3 times)"),
        (faults.trickling, 3, "it sends less than 1000 bytes a second (tried 3 times)"),
        (faults.slow_head, 3, "the head of the answer has not come within 1.2 s (tried 3 times)"),
        (faults.endless, 1, "it has more than 2 MB, twice what all of the data set has"),
    ],
)
def test_a_fault_that_lasts_leaves_nothing(tmp_path, made, fault, tries, sentence):
    state, asked = get(made, tmp_path, *[fault] * 9)
    assert state.state == "absent"
    assert len(asked) == tries
    assert data_below(tmp_path) == []
    content = made.files[FIRST]
    numbers = {"md5": md5(content), "wrong": md5(b"x" * len(content)), "missing": len(content) - len(content) // 2}
    assert sentence.format(**numbers) in state.reason
    assert FIRST in state.reason  # which file
    assert "127.0.0.1" in state.reason  # from where
    assert f"By hand: put {FIRST}" in state.remedy  # what to do


def test_the_way_to_a_file_is_not_read_to_its_end(tmp_path, made):
    """Redirects with a body: they are followed, and what comes with them is left."""
    state, asked = get(made, tmp_path, faults.endless_redirect, faults.too_long)
    assert state.state == "present", state.reason
    assert asked[:2] == [f"/mnist/{FIRST}"] * 2


@pytest.mark.parametrize("fault", [faults.page_in_disguise, faults.other_content, faults.cut_off])
def test_without_a_published_checksum_bad_answers_do_not_become_data_either(tmp_path, fault):
    made = MAKERS["aircraft"]()
    remotes = REGISTRY["aircraft"].remotes
    assert remotes[0].checksum == ""
    state, _ = get(made, tmp_path, fault, name="aircraft", remotes=remotes)
    assert state.state in ("absent", "corrupt")
    assert data_below(tmp_path) == []
    # And nothing stands in the way of the next try.
    state, _ = get(made, tmp_path, name="aircraft", remotes=remotes)
    assert state.state == "present", state.reason


def test_an_archive_of_other_things_is_thrown_away(tmp_path):
    made = MAKERS["aircraft"]()
    other = replace(made, files={"fgvc-aircraft-2013b.tar.gz": tar_gz({"readme.txt": b"moved"})})
    state, _ = get(other, tmp_path, name="aircraft")
    assert state.state != "present"
    assert data_below(tmp_path) == []


def test_a_marked_compression_is_not_undone_on_the_way(tmp_path, made):
    state, _ = get(made, tmp_path, *[faults.marked_as_compressed] * 4)
    assert state.state == "present", state.reason


def test_the_wait_grows(tmp_path, made, monkeypatch):
    waits = []
    monkeypatch.setattr("convrfm.datasets.download.time.sleep", waits.append)
    with mirror({}, *[faults.server_error] * 9) as server:
        patient = Patience(tries=4, wait=1.5, timeout=5)
        acquire(made.entry("mnist"), Place(tmp_path), mirror=server.address, patience=patient)
    assert waits == [1.5, 3.0, 6.0]


def test_the_next_address_is_tried(tmp_path):
    with mirror({"good/file": b"content"}) as server:
        remote = REGISTRY["usps"].remotes[0]
        addresses = (f"{server.address}/bad/file", f"{server.address}/good/file")
        _, origin = download(remote, tmp_path / "file", addresses, check=lambda _: None, patience=QUICK, limit=100)
        assert origin == addresses[1]
        with pytest.raises(AbsentDataError, match=r"good/file: It is another one\. It was thrown away"):
            download(remote, tmp_path / "other", addresses, check=lambda _: "It is another one.", patience=QUICK, limit=100)
    assert data_below(tmp_path) == ["file"]


@pytest.mark.parametrize("address", ["ftp://127.0.0.1/x", "not an address", "http://127.0.0.1:1"])
def test_addresses_that_are_none(tmp_path, made, address):
    state = acquire(made.entry("mnist"), Place(tmp_path), mirror=address, patience=QUICK)
    assert state.state == "absent"
    assert "cannot be fetched" in state.reason


def test_no_room(tmp_path, made):
    state, asked = get(made, tmp_path, megabytes=1e12)
    assert state.state == "absent"
    assert asked == []
    assert "It needs 1e+12 MB" in state.reason
    assert "free some, or use another disk" in state.reason


def test_no_room_for_one_file(tmp_path, made, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=1_400_000)
    monkeypatch.setattr("convrfm.datasets.download.shutil.disk_usage", lambda _: usage)

    def huge(handler, content):
        faults.send(handler, b"", length=1_900_000)

    state, asked = get(made, tmp_path, huge)
    assert state.state == "absent"
    assert len(asked) == 1
    assert "it has 2 MB, and 1 MB of the disk are free" in state.reason


def test_a_folder_that_cannot_be_written_to(tmp_path, made):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        acquire(made.entry("mnist"), Place(tmp_path / "file" / "mnist"), patience=QUICK)


def test_a_part_that_failed_is_all_that_is_fetched_the_next_time(tmp_path, made):
    last = list(made.files)[-1]
    broken = replace(made, files={path: content for path, content in made.files.items() if path != last})
    with mirror(served(broken)) as server:
        state = acquire(made.entry("mnist"), Place(tmp_path), mirror=server.address, patience=QUICK)
    assert state.state == "absent"
    state, asked = get(made, tmp_path)
    assert state.state == "present"
    assert asked[-1] == f"/mnist/{last}"


def test_what_a_killed_download_left_is_cleared(tmp_path, made):
    leftovers = [tmp_path / "MNIST/raw" / f".tmp-abc-{FIRST.rpartition('/')[2]}", tmp_path / ".tmp-unpack-x" / "half"]
    for path in leftovers:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"half")
    assert get(made, tmp_path)[0].state == "present"
    assert not [path for path in tmp_path.rglob("*") if ".tmp-" in path.as_posix()]


def test_two_processes_fetch_once(tmp_path, made):
    states = []
    with mirror(served(made)) as server:

        def fetch():
            states.append(acquire(made.entry("mnist"), Place(tmp_path), mirror=server.address, patience=QUICK))

        threads = [threading.Thread(target=fetch) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(server.requests) == 4
    assert [state.state for state in states] == ["present"] * 3


# What happens to data that were good.


def changed(tmp_path, made):
    get(made, tmp_path)
    path = tmp_path / "MNIST/raw/t10k-labels-idx1-ubyte"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    return path


def test_one_changed_bit_is_seen(tmp_path, made):
    good, _ = get(made, tmp_path)
    path = changed(tmp_path, made)
    state = examine(made.entry("mnist"), Place(tmp_path))
    assert state.state == "corrupt"
    known = json.loads((tmp_path / "manifest.json").read_text())["files"]["MNIST/raw/t10k-labels-idx1-ubyte"]["sha256"]
    assert f"{path} has changed: its SHA-256 is {sha256(path)}, but it was {known}" in state.reason
    assert "Delete" in state.remedy
    # A file that somebody has is never removed for him, and never fetched over.
    state, asked = get(made, tmp_path)
    assert (state.state, asked) == ("corrupt", [])
    assert path.exists()
    with pytest.raises(CorruptDataError, match="has changed"):
        verify(REGISTRY["mnist"], Place(tmp_path), ["MNIST/raw/t10k-labels-idx1-ubyte"])
    # Deleted, it comes out of the archive again, and is what it was.
    path.unlink()
    state, asked = get(made, tmp_path)
    assert (state.digest, asked) == (good.digest, [])


def test_a_changed_archive_is_seen(tmp_path, made):
    get(made, tmp_path)
    (tmp_path / FIRST).write_bytes(b"other")
    assert "has changed" in examine(made.entry("mnist"), Place(tmp_path)).reason
    (tmp_path / FIRST).unlink()  # to save space: that is allowed
    assert examine(made.entry("mnist"), Place(tmp_path)).state == "present"


def test_a_mirror_that_gives_other_data_later(tmp_path):
    made = MAKERS["aircraft"]()
    remotes = REGISTRY["aircraft"].remotes  # without a published checksum
    get(made, tmp_path, name="aircraft", remotes=remotes)
    first = json.loads((tmp_path / "manifest.json").read_text())["files"]["fgvc-aircraft-2013b.tar.gz"]["sha256"]
    shutil.rmtree(tmp_path / "fgvc-aircraft-2013b")
    (tmp_path / "fgvc-aircraft-2013b.tar.gz").unlink()
    content = dict(made.files) | {"fgvc-aircraft-2013b.tar.gz": tar_gz({"fgvc-aircraft-2013b/data/x": b"other"})}
    state, _ = get(replace(made, files=content), tmp_path, name="aircraft", remotes=remotes)
    assert state.state == "absent"
    assert f"but it was {first} when it was first seen" in state.reason


@pytest.mark.parametrize("damage", ["gone", "extra", "changed"])
def test_folders_of_images_are_watched_file_by_file(tmp_path, damage):
    made = MAKERS["dtd"]()
    get(made, tmp_path, name="dtd")
    image = min((tmp_path / "dtd/dtd/images/woven").iterdir())
    if damage == "gone":
        image.unlink()
    elif damage == "extra":
        (image.parent / "other.jpg").write_bytes(image.read_bytes())
    else:
        image.write_bytes(image.read_bytes() + b"x")
    state = examine(made.entry("dtd"), Place(tmp_path))
    assert state.state == "corrupt"
    assert "woven" in state.reason
    assert {"gone": "is gone", "extra": "does not belong", "changed": "has changed"}[damage] in state.reason


def test_what_a_user_puts_there_is_compared_with_what_is_published(tmp_path, made):
    (tmp_path / FIRST).parent.mkdir(parents=True)
    (tmp_path / FIRST).write_bytes(b"something else")
    state, _ = get(made, tmp_path)
    assert state.state == "corrupt"
    assert f"but the published one is {md5(made.files[FIRST])}" in state.reason
    assert (tmp_path / FIRST).exists()


@pytest.mark.parametrize("damage", ["truncated", "html", "counts"])
def test_files_that_nobody_vouches_for_are_read_through(tmp_path, made, damage):
    made.write(tmp_path)
    entry = replace(made.entry("mnist"), contents={})
    acquire(entry, Place(tmp_path))
    for path in [*tmp_path.glob("MNIST/raw/*.gz"), tmp_path / "manifest.json"]:
        path.unlink()
    path = tmp_path / "MNIST/raw/t10k-images-idx3-ubyte"
    labels = tmp_path / "MNIST/raw/t10k-labels-idx1-ubyte"
    content = {"truncated": path.read_bytes()[:-100], "html": faults.HTML, "counts": path.read_bytes()}[damage]
    path.write_bytes(content)
    if damage == "counts":
        shutil.copy(tmp_path / "MNIST/raw/train-labels-idx1-ubyte", labels)
    state = examine(entry, Place(tmp_path))
    assert state.state == "corrupt"
    assert "The split test of MNIST" in state.reason
    assert not (tmp_path / "manifest.json").exists()  # bad files are not recorded as good ones


def test_a_damaged_manifest(tmp_path, made):
    get(made, tmp_path)
    (tmp_path / "manifest.json").write_text("{")
    state = examine(made.entry("mnist"), Place(tmp_path))
    assert state.state == "corrupt"
    assert "manifest.json is damaged" in state.reason


def test_a_filled_folder_is_used_where_it_is(tmp_path, made):
    given, home = tmp_path / "given", tmp_path / "home"
    made.write(given)
    acquire(made.entry("mnist"), Place(given))  # unpacked
    for path in (*given.glob("MNIST/raw/*.gz"), given / "manifest.json", given / ".lock"):
        path.unlink()
    before = data_below(given)
    place = find_place(tmp_path, replace(REGISTRY["mnist"], name="home"), {"home": str(given)})
    assert place == Place(home, given)
    state = acquire(made.entry("mnist"), place, mirror="http://127.0.0.1:1", patience=QUICK)
    assert state.state == "present"
    assert data_below(given) == before
    assert data_below(home) == ["manifest.json"]
    # Nothing is fetched into it.
    (given / "MNIST/raw/t10k-labels-idx1-ubyte").unlink()
    state = acquire(made.entry("mnist"), place, mirror="http://127.0.0.1:1", patience=QUICK)
    assert state.state == "absent"
    assert f"Fill {given}" in state.remedy


def test_manual_data_say_what_to_do(tmp_path):
    state = acquire(REGISTRY["stanford-cars"], Place(tmp_path))
    assert state.state == "absent"
    assert "cars_train.tgz" in state.remedy
    assert str(tmp_path) in state.remedy
    for entry in REGISTRY.values():
        assert (entry.obtained == "manual") == bool(entry.steps)


def test_the_workflow_names_its_command(tmp_path, made):
    """The library knows of no commands: the job adds them to the remedy."""
    entry, place = made.entry("mnist"), Place(tmp_path)
    absent = _with_command(examine(entry, place), entry, place)
    assert absent.remedy.startswith("`snakemake -c1 download_mnist` fetches it. By hand: put")
    assert absent.remedy.endswith("Or name a filled folder in data_folders.")
    get(made, tmp_path)
    present = examine(entry, place)
    assert _with_command(present, entry, place) == present
    changed(tmp_path, made)
    corrupt = _with_command(examine(entry, place), entry, place)
    assert corrupt.remedy == (
        f"Delete it and fetch it again. Or, if the data set was changed on purpose, delete {tmp_path / 'manifest.json'}. "
        "`snakemake -c1 download_mnist` fetches what is not there."
    )
    given = Place(tmp_path / "home", tmp_path / "given")
    assert _with_command(examine(entry, given), entry, given).remedy.endswith(
        "Or name another folder in data_folders, or take mnist out of it."
    )
    manual = examine(REGISTRY["stanford-cars"], Place(tmp_path / "cars"))
    assert _with_command(manual, REGISTRY["stanford-cars"], Place(tmp_path / "cars")) == manual


def test_imagenet_is_recorded_as_it_is_read(tmp_path, monkeypatch):
    made = MAKERS["imagenet"]()
    publish(monkeypatch, made)
    made.write(tmp_path)
    entry, place = REGISTRY["imagenet"], Place(tmp_path)
    assert examine(entry, place).state == "present"
    assert json.loads((tmp_path / "manifest.json").read_text())["files"] == {}
    first = min(path for path in made.files if path.startswith("train/"))
    found = verify(entry, place, [first])
    assert verify(entry, place, [first]) == found
    assert list(json.loads((tmp_path / "manifest.json").read_text())["files"]) == [first]
    (tmp_path / first).write_bytes(b"other")
    assert "has changed" in examine(entry, place).reason


def test_fingerprints_change_with_the_files(tmp_path, made):
    get(made, tmp_path)
    entry, place = REGISTRY["mnist"], Place(tmp_path)
    before = fingerprint(entry, place)
    assert fingerprint(entry, place) == before
    path = tmp_path / "MNIST/raw/t10k-labels-idx1-ubyte"
    os.utime(path, ns=(1, 1))
    assert fingerprint(entry, place) != before
    path.unlink()
    assert locate(entry, place).lacking == ("MNIST/raw/t10k-labels-idx1-ubyte",)
    assert fingerprint(entry, place) != before


def test_without_the_check_a_changed_file_would_pass(tmp_path, made, monkeypatch):
    """The control: it is the comparison with the manifest that sees it."""
    changed(tmp_path, made)
    monkeypatch.setattr(acquire_module, "check_files", lambda *_: {})
    assert examine(made.entry("mnist"), Place(tmp_path)).state == "present"
