"""Where the files of a data set may lie: leading folders left out, compressed, in folders of the system, Kaggle's, in part."""

import gzip
import struct
from dataclasses import asdict, replace

import numpy as np
import pytest

from convrfm.datasets.acquire import acquire, examine
from convrfm.datasets.formats import read_idx, read_split
from convrfm.datasets.places import Place, find_place, fingerprint, locate
from convrfm.datasets.prepare import select
from convrfm.datasets.registry import REGISTRY
from convrfm.errors import AbsentDataError, ConvRFMWarning, CorruptDataError, InputError
from convrfm.replication.jobs.datasets import _shown, _with_command
from convrfm.replication.record.data_states import due_attempt
from convrfm.system.storage import write_json
from datasets import mirror as faults
from datasets.official import MAKERS
from datasets.packing import idx, noise, picture
from datasets.running import prepare
from datasets.test_acquire import QUICK, get, no_proxy
from datasets.test_contents import put

__all__ = ["no_proxy"]

ONE_LEVEL = {"mnist": 3, "emnist-letters": 3, "cifar10": 2, "cifar100": 2, "stl10": 2, "dtd": 3, "flowers102": 2, "gtsrb": 2}
"""Levels of folders that the required paths of some data sets have, those of the file included."""


def tree(folder):
    return {path.relative_to(folder).as_posix(): path.stat().st_mtime_ns for path in folder.rglob("*")}


@pytest.mark.parametrize(("name", "left_out"), [(name, n) for name, levels in ONE_LEVEL.items() for n in range(levels)])
def test_leading_folders_may_be_left_out(tmp_path, name, left_out):
    made = MAKERS[name]()
    entry = made.entry(name)
    for path, content in made.unpacked(entry).items():
        target = tmp_path / "given" / "/".join(path.split("/")[left_out:])
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    before = tree(tmp_path / "given")
    place = Place(tmp_path / "home", tmp_path / "given")
    state = examine(entry, place)
    assert state.state == "present", state.reason
    for split, (images, labels) in made.truth.items():
        found = read_split(entry, place, split)
        assert found.labels.tolist() == labels
        assert np.abs(np.asarray(found.image(1), int) - images[1]).max() <= made.tolerance
    assert tree(tmp_path / "given") == before
    # In its home a data set has its official layout; what is fetched is put beside nothing else.
    assert examine(entry, Place(tmp_path / "given")).state == ("present" if left_out == 0 else "absent")


@pytest.mark.parametrize("left_out", [0, 1, 2])
def test_idx_files_may_be_compressed(tmp_path, left_out):
    made = MAKERS["mnist"]()
    entry = made.entry("mnist")
    for path, content in made.unpacked(entry).items():
        target = tmp_path / "given" / "/".join(f"{path}.gz".split("/")[left_out:])
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(gzip.compress(content, 1))
    before = tree(tmp_path / "given")
    place = Place(tmp_path / "home", tmp_path / "given")
    state = examine(entry, place)
    assert (state.state, state.verified) == ("present", True)
    assert read_split(entry, place, "train").labels.tolist() == made.truth["train"][1]
    assert tree(tmp_path / "given") == before
    # The data are the same as elsewhere, and what was prepared from them holds.
    put(made, tmp_path / "plain")
    assert examine(entry, Place(tmp_path / "plain")).digest == state.digest
    # A bit more in what is compressed is seen, one in how it is compressed is not.
    file = next((tmp_path / "given").rglob("t10k-labels*"))
    content = gzip.decompress(file.read_bytes())
    file.write_bytes(gzip.compress(content, 9, mtime=99))
    assert examine(entry, place) == state
    file.write_bytes(gzip.compress(content[:-1] + bytes([content[-1] ^ 1])))
    assert "has changed" in examine(entry, place).reason


def packed(tmp_path, content):
    (tmp_path / "x-idx1-ubyte.gz").write_bytes(content)
    entry = replace(REGISTRY["mnist"], needs=("x-idx1-ubyte",), contents={}, megabytes=1)
    return entry, locate(entry, Place(tmp_path / "home", tmp_path))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (gzip.compress(idx(np.arange(9, dtype=np.uint8)) + b"x"), "more than the 9 bytes of its header"),
        (gzip.compress(idx(np.arange(9, dtype=np.uint8))[:-1]), "fewer than the 9 bytes of its header"),
        (gzip.compress(struct.pack(">HBBI", 0, 8, 1, 2**32 - 1)), "declares 4294967295 bytes"),
        (gzip.compress(struct.pack(">HBB4I", 0, 8, 4, *[2**32 - 1] * 4)), "more than the whole data set"),
        (gzip.compress(struct.pack(">HBBI", 0, 13, 1, 0)), "not an idx file of integers"),
        (gzip.compress(b"\0\0\x08"), "not an idx file of integers"),
        (gzip.compress(b"\0\0\x08\x03\0"), "ends in its header"),
        (gzip.compress(b"<html>"), "not an idx file of integers"),
    ],
)
def test_idx_files_that_are_none(tmp_path, content, reason):
    entry, located = packed(tmp_path, content)
    with pytest.raises(CorruptDataError, match=reason):
        read_idx(located, "x-idx1-ubyte", entry.most_bytes)


def test_compressed_idx_files_that_are_hostile_or_damaged(tmp_path):
    good = idx(np.arange(9, dtype=np.uint8))
    _, located = packed(tmp_path, gzip.compress(good))
    assert read_idx(located, "x-idx1-ubyte", 100).tolist() == list(range(9))
    for content, reason in (
        (gzip.compress(bytes(10**8)), "unpacks to more than 2 MB, twice the size of the data"),
        (gzip.compress(good)[:-6], "is damaged"),
        (gzip.compress(good)[:-8] + bytes(8), "is damaged"),
        (good, "is damaged"),
        (gzip.compress(good)[:12] + b"\xff" * 20, "is damaged"),
    ):
        entry, _ = packed(tmp_path, content)
        state = examine(entry, Place(tmp_path / "home", tmp_path))
        assert (state.state, reason in state.reason) == ("corrupt", True), state.reason


@pytest.mark.parametrize("kind", [np.uint8, np.int8, np.int16, np.int32])
def test_idx_files_of_every_integer_are_read_as_by_torchvision(tmp_path, kind):
    from torchvision.datasets.mnist import read_sn3_pascalvincent_tensor

    numbers = np.random.default_rng(0).integers(-100, 100, (3, 4, 5)).astype(kind)
    code = {np.uint8: 8, np.int8: 9, np.int16: 11, np.int32: 12}[kind]
    (tmp_path / "plain").write_bytes(idx(numbers, code))
    _, located = packed(tmp_path, gzip.compress(idx(numbers, code)))
    found = read_idx(located, "x-idx1-ubyte", 1000)
    assert (found == numbers).all()
    assert (found == read_sn3_pascalvincent_tensor(str(tmp_path / "plain")).numpy()).all()


# Folders of the system.


def test_folders_of_the_system_are_found_by_themselves(tmp_path):
    made = MAKERS["fashion-mnist"]()
    folder = tmp_path / "system"
    folder.mkdir()
    entry = replace(made.entry("fashion-mnist"), system_folders=(str(tmp_path / "nowhere"), str(folder)))
    home = tmp_path / "data/fashion-mnist"
    # Nothing is there yet.
    assert find_place(tmp_path / "data", entry, {}) == Place(home)
    for path, content in made.files.items():
        (folder / path.rpartition("/")[2]).write_bytes(gzip.compress(gzip.decompress(content), 1))
    place = find_place(tmp_path / "data", entry, {})
    assert place == Place(home, folder, of_system=True)
    before = tree(folder)
    state = acquire(entry, place, mirror="http://127.0.0.1:1", patience=QUICK)
    assert _shown(entry, state) == "present, verified"
    assert tree(folder) == before
    # What the user names, or has, comes first.
    assert find_place(tmp_path / "data", entry, {"fashion-mnist": str(tmp_path)}).given == tmp_path
    made.write(home)
    assert find_place(tmp_path / "data", entry, {}) == Place(home)
    assert acquire(entry, Place(home)).digest == state.digest


def test_a_damaged_folder_of_the_system(tmp_path):
    made = MAKERS["fashion-mnist"]()
    entry = replace(made.entry("fashion-mnist"), system_folders=(str(tmp_path / "system"),))
    put(made, tmp_path / "system", "fashion-mnist")
    next((tmp_path / "system").rglob("t10k-labels*")).write_bytes(b"other")
    place = find_place(tmp_path / "data", entry, {})
    state = _with_command(acquire(entry, place), entry, place)
    assert state.state == "corrupt"
    assert state.remedy == f"Install the package that fills {tmp_path / 'system'} again, or put the data into {place.home}."


def test_the_state_follows_the_files_wherever_they_lie(tmp_path, monkeypatch):
    made = MAKERS["fashion-mnist"]()
    entry = replace(made.entry("fashion-mnist"), system_folders=(str(tmp_path / "system"),))
    monkeypatch.setattr("convrfm.replication.record.data_states.find_entry", lambda _: entry)
    put(made, tmp_path / "system", "fashion-mnist")
    place = find_place(tmp_path / "data", entry, {})
    content = asdict(acquire(entry, place)) | {"attempt": 3, "fingerprint": fingerprint(entry, place)}
    write_json(place.home / "state.json", content)
    assert due_attempt("fashion-mnist", find_place(tmp_path / "data", entry, {})) == 3
    next((tmp_path / "system").rglob("t10k-labels*")).unlink()
    assert due_attempt("fashion-mnist", find_place(tmp_path / "data", entry, {})) == 4


# Kaggle's GTSRB, and folders of classes.


def kaggle(folder, classes=12, test_labels=(10, 2, 11, 0)):
    """Kaggle's GTSRB; gives the images of both splits in the order of classes by number, and their labels."""
    truth = {"train": (noise(2 * classes, 9, 8, 3), [i // 2 for i in range(2 * classes)])}
    truth["test"] = (noise(len(test_labels), 8, 9, 3), list(test_labels))
    for i, (image, label) in enumerate(zip(*truth["train"], strict=True)):
        path = folder / f"Train/{label}/{label:05d}_{i:05d}_00000.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(image, "PNG"))
    (folder / "Test").mkdir()
    lines = ["Width,Height,Roi.X1,Roi.Y1,Roi.X2,Roi.Y2,ClassId,Path"]
    for i, (image, label) in enumerate(zip(*truth["test"], strict=True)):
        (folder / f"Test/{i:05d}.png").write_bytes(picture(image, "PNG"))
        lines.append(f"9,8,1,1,7,7,{label},Test/{i:05d}.png")
    (folder / "Test.csv").write_text("\n".join(lines) + "\n")
    return truth


def test_kaggles_gtsrb(tmp_path):
    truth = kaggle(tmp_path / "given")
    # Beside it lies the same in small letters, with test images that no folder of a class has.
    (tmp_path / "given/test").mkdir()
    (tmp_path / "given/test/00000.png").write_bytes(b"")
    entry, place = REGISTRY["gtsrb"], Place(tmp_path / "home", tmp_path / "given")
    state = examine(entry, place)
    assert _shown(entry, state) == "present, as first seen", state.reason
    for split, (images, labels) in truth.items():
        found = read_split(entry, place, split)
        assert found.labels.tolist() == labels
        assert found.classes == tuple(map(str, range(12)))
        for index, image in enumerate(images):
            assert (np.asarray(found.image(index)) == image).all()
    # The control: in the order of names, class 2 would come after class 11, and test labels would be those of others.
    assert sorted(map(str, range(12))).index("2") != 2
    # It is not written to, nor taken for the official layout where it would be fetched.
    assert acquire(entry, Place(tmp_path / "given"), mirror="http://127.0.0.1:1", patience=QUICK).state == "absent"


def test_class_numbers_without_one_are_refused(tmp_path):
    kaggle(tmp_path)
    (tmp_path / "Train/4").rename(tmp_path / "Train/12")
    state = examine(REGISTRY["gtsrb"], Place(tmp_path / "home", tmp_path))
    assert (state.state, "not numbered from 0 without gaps: 5" in state.reason) == ("corrupt", True)


def class_folders(folder, names, split, seed=0):
    images = noise(len(names), 9, 8, 3, seed=seed)
    for i, (image, name) in enumerate(zip(images, names, strict=True)):
        path = folder / f"{split}/{name}/{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(image, "PNG"))


@pytest.mark.parametrize("name", ["gtsrb", "dtd", "aircraft", "flowers102", "food101", "stanford-cars"])
def test_folders_of_classes(tmp_path, name):
    class_folders(tmp_path / "given", [*map(str, range(10, -1, -1))], "train")
    class_folders(tmp_path / "given", ["10", "2"], "test", seed=1)  # one class is missing: labels are still the same
    entry, place = REGISTRY[name], Place(tmp_path / "home", tmp_path / "given")
    state = examine(entry, place)
    assert _shown(entry, state) == "present, as first seen", state.reason
    train, test = (read_split(entry, place, split) for split in ("train", "test"))
    assert train.classes == test.classes == tuple(map(str, range(11)))
    assert (train.labels.tolist(), test.labels.tolist()) == ([*range(11)], [2, 10])
    write_json(tmp_path / "state.json", asdict(state))
    _, _, record = prepare(tmp_path, name, n_train=2, n_test=2, protocol="corrected", folders={name: str(tmp_path / "given")})
    assert record["layout"] == "train/<class>/<image> and test/<class>/<image>"
    class_folders(tmp_path / "given", ["11"], "test")
    with pytest.raises(CorruptDataError, match=r"has the class 11, which .*train does not have"):
        read_split(entry, place, "test")


def test_a_folder_that_nothing_fits_says_how_it_has_to_look(tmp_path):
    (tmp_path / "given").mkdir()
    for name, parts in {
        "mnist": ["MNIST/raw/train-images-idx3-ubyte", "Leading folders may be left out, and files may be compressed as .gz."],
        "gtsrb": [
            "gtsrb/GTSRB/Training/",
            "Or it may contain Train/<class>/*.png, Test/*.png and Test.csv",
            "Or it may contain train/<class>/",
        ],
        "usps": ["it must contain usps.bz2, usps.t.bz2."],
    }.items():
        state = acquire(REGISTRY[name], Place(tmp_path / "home", tmp_path / "given"))
        assert state.state == "absent"
        assert f"Fill {tmp_path / 'given'}: it must contain" in state.remedy
        for part in parts:
            assert part in state.remedy
    assert "left out" not in state.remedy
    assert ".gz" not in state.remedy


# In part.

BATCHES = REGISTRY["cifar10"].batches


def cifar_in_part(folder, *numbers):
    made = MAKERS["cifar10"]()
    entry = made.entry("cifar10")
    for path, content in made.unpacked(entry).items():
        if path not in BATCHES or BATCHES.index(path) + 1 in numbers:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
    return made, entry


@pytest.mark.parametrize(("numbers", "there"), [((1,), 5), ((1, 2, 3), 15), ((1, 2, 4), 10), ((1, 3, 4, 5), 5)])
def test_the_first_batches_are_a_part(tmp_path, numbers, there):
    made, entry = cifar_in_part(tmp_path / "given", *numbers)
    place = Place(tmp_path / "home", tmp_path / "given")
    state = acquire(entry, place)
    assert _shown(entry, state) == f"present in part ({there} of 50000), verified"
    assert state.part == {"train": (there, 50000)}
    found = read_split(entry, place, "train")
    images, labels = made.truth["train"]
    assert (found.labels.tolist(), found.whole) == (labels[:there], 50000)
    assert (np.asarray(found.image(there - 1)) == images[there - 1]).all()
    assert read_split(entry, place, "test").whole is None


@pytest.mark.parametrize("lacking", [BATCHES[0], "cifar-10-batches-py/test_batch"])
def test_the_first_batch_and_the_test_batch_are_required(tmp_path, lacking):
    _, entry = cifar_in_part(tmp_path / "given", 1, 2)
    (tmp_path / "given" / lacking).unlink()
    state = acquire(entry, Place(tmp_path / "home", tmp_path / "given"))
    assert (state.state, lacking in state.reason) == ("absent", True)


def test_a_part_grows_and_does_not_shrink(tmp_path):
    made, entry = cifar_in_part(tmp_path / "given", 1, 2)
    place = Place(tmp_path / "home", tmp_path / "given")
    first = acquire(entry, place)
    cifar_in_part(tmp_path / "given", 1, 2, 3, 4, 5)
    whole = acquire(entry, place)
    assert _shown(entry, whole) == "present, verified"
    assert whole.splits["train"]["images"] == len(made.truth["train"][0])
    assert whole.digest != first.digest
    (tmp_path / "given" / BATCHES[4]).unlink()
    state = acquire(entry, place)
    assert (state.state, "data_batch_5 is gone" in state.reason) == ("corrupt", True)


def test_a_part_at_home_is_completed_if_it_can_be(tmp_path):
    made, _ = cifar_in_part(tmp_path, 1)
    state, asked = get(made, tmp_path, *[faults.not_found] * 3, name="cifar10")
    assert (state.state, state.part) == ("present", {"train": (5, 50000)})
    assert "404" in state.reason
    assert len(asked) == 1
    before = (tmp_path / BATCHES[0]).stat().st_mtime_ns
    state, _ = get(made, tmp_path, name="cifar10")
    assert (state.state, state.part, state.verified) == ("present", {}, True)
    assert state.splits["train"]["images"] == 25
    assert (tmp_path / BATCHES[0]).stat().st_mtime_ns == before


def test_imagenet32_in_part(tmp_path):
    made, entry = MAKERS["imagenet32"](), REGISTRY["imagenet32"]
    for path in ("train_data_batch_1", "train_data_batch_2", "val_data"):
        (tmp_path / path).write_bytes(made.files[path])
    state = examine(entry, Place(tmp_path))
    assert _shown(entry, state) == "present in part (8 of 1281167), as first seen"
    found = read_split(entry, Place(tmp_path), "train")
    assert (found.labels.tolist(), found.whole) == (made.truth["train"][1][:8], 1281167)


def chosen(tmp_path, protocol="published", counts=(4, 3), **changes):
    entry = REGISTRY["cifar10"]
    place = Place(tmp_path)
    train, test = (read_split(entry, place, split) for split in ("train", "test"))
    return select(entry, train, test, counts=counts, protocol=protocol, **{"pair": None, "seed": 0, **changes})


def test_what_can_be_chosen_from_a_part(tmp_path):
    cifar_in_part(tmp_path, 1, 2)
    first = chosen(tmp_path, counts=(10, 10))
    assert (first.train.tolist(), first.drawn_from) == (list(range(10)), {})
    for protocol in ("published", "corrected"):
        with pytest.raises(InputError, match="n_train is 11, but of the 50000 images of CIFAR-10 only the first 10 are there"):
            chosen(tmp_path, protocol, (11, 3))
    # Of fewer images than wanted, all would be taken: but there are more, only not here.
    with pytest.raises(InputError, match="n_train is 11, but of the 50000"):
        chosen(tmp_path, counts=(11, 3), resampled=True)
    for changes in ({"protocol": "corrected"}, {"resampled": True}):
        with pytest.warns(ConvRFMWarning, match="train images of CIFAR-10 are drawn from the first 10 of 50000"):
            assert chosen(tmp_path, **changes).drawn_from == {"train": (10, 50000)}


def test_a_draw_from_a_part_is_recorded(tmp_path):
    _, entry = cifar_in_part(tmp_path / "cifar10", 1)
    write_json(
        tmp_path / "state.json",
        asdict(acquire(entry, Place(tmp_path / "cifar10"), mirror="http://127.0.0.1:1", patience=QUICK)),
    )
    arrays, _, record = prepare(tmp_path, "cifar10", n_train=5)
    assert "drawn_from" not in record
    with pytest.warns(ConvRFMWarning, match="drawn from the first 5 of 50000"):
        _, _, record = prepare(tmp_path, "cifar10", n_train=5, protocol="corrected")
    assert record["drawn_from"] == {"train": [5, 50000]}
    # The first images are those of the whole data set.
    cifar_in_part(tmp_path / "cifar10", 1, 2, 3, 4, 5)
    acquire(entry, Place(tmp_path / "cifar10"))
    again, _, _ = prepare(tmp_path, "cifar10", n_train=5)
    assert (again["train/images"] == arrays["train/images"]).all()


def test_the_job_says_which_file_is_gone(tmp_path):
    """A folder of the system that the node of a job lacks, for one."""
    made = MAKERS["mnist"]()
    entry = put(made, tmp_path / "mnist")
    write_json(tmp_path / "state.json", asdict(acquire(entry, Place(tmp_path / "mnist"))))
    (tmp_path / "mnist" / entry.required[2]).unlink()
    with pytest.raises(AbsentDataError, match=r"MNIST is absent: MNIST/raw/t10k-images-idx3-ubyte not found in"):
        prepare(tmp_path, "mnist")


def test_no_file_of_the_wrong_kind_is_taken(tmp_path):
    """A folder in the place of a file, and a file in that of a folder."""
    (tmp_path / "usps.bz2").mkdir()
    assert "usps.bz2" in locate(REGISTRY["usps"], Place(tmp_path)).lacking
    (tmp_path / "train").write_bytes(b"")
    assert locate(REGISTRY["imagenet"], Place(tmp_path)).lacking == ("train/",)
