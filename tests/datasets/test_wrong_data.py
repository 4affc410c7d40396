"""Copies that are not quite the data set: wrong labels, lists, numbers, shapes and folders are not taken in silence."""

import gzip
import io
import json
import os
import pickle
import shutil
from dataclasses import replace

import h5py
import numpy as np
import pytest

from convrfm.datasets import archives
from convrfm.datasets.acquire import acquire, examine
from convrfm.datasets.archives import unpack
from convrfm.datasets.entries import Unpacking
from convrfm.datasets.formats import read_split
from convrfm.datasets.images import Split
from convrfm.datasets.manifest import verify
from convrfm.datasets.places import Place, locate
from convrfm.datasets.prepare import read_image_folder
from convrfm.datasets.registry import REGISTRY
from convrfm.errors import ConvRFMWarning, CorruptDataError
from convrfm.replication.jobs.datasets import _found, _with_command
from datasets.official import MAKERS, rows_of
from datasets.packing import idx, members, noise, picture, tar_gz, zipped
from datasets.running import present
from datasets.test_acquire import QUICK, get, no_proxy
from datasets.test_contents import put
from datasets.test_layouts import class_folders

__all__ = ["no_proxy"]


def given(tmp_path, name):
    """An unpacked copy in a folder of the user; gives the entry of the registry, the place and the folder."""
    put(MAKERS[name](), tmp_path / "given", name)
    return REGISTRY[name], Place(tmp_path / "home", tmp_path / "given"), tmp_path / "given"


# Labels and lists.


@pytest.mark.parametrize("labels", [[0, 1, -1], [0, 1, 2]])
def test_labels_that_are_no_class_are_refused_whatever_the_reader(labels):
    with pytest.raises(CorruptDataError, match=r"labels run from .* but there are 2 classes"):
        Split(np.array(labels), ("a", "b"), lambda _: None, lambda _: [])


def imagenet32(folder, labels):
    """All batches, of four images each, with such labels."""
    folder.mkdir()
    for name in REGISTRY["imagenet32"].required:
        batch = {"data": rows_of(noise(4, 32, 32, 3)), "labels": labels}
        (folder / name).write_bytes(pickle.dumps(batch, protocol=4))


@pytest.mark.parametrize(
    ("labels", "found"), [([0, 1, 2, 5], "from -1 to 4"), ([1, 2, 3, 1001], "from 0 to 1000"), ([1, 2, 3, 1000], "")]
)
def test_labels_of_imagenet32(tmp_path, labels, found):
    imagenet32(tmp_path / "given", labels)
    state = examine(REGISTRY["imagenet32"], Place(tmp_path / "home", tmp_path / "given"))
    assert state.state == ("corrupt" if found else "present")
    assert found in state.reason


@pytest.mark.parametrize("label", [-1, 2])
def test_labels_of_pcam(tmp_path, label):
    entry, place, folder = given(tmp_path, "pcam")
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file["y"] = np.array([0, 1, 0, 1, label], np.int16).reshape(-1, 1, 1, 1)
    (folder / "pcam/camelyonpatch_level_2_split_test_y.h5").write_bytes(buffer.getvalue())
    state = examine(entry, place)
    assert (state.state, "but there are 2 classes" in state.reason) == ("corrupt", True)


def without_class(name, folder, split, left_out):
    """Take a class out of a list of images, or put an unknown one into it."""
    if name == "dtd":
        path = folder / f"dtd/dtd/labels/{split}1.txt"
        path.write_text("".join(f"{line}\n" for line in path.read_text().split() if not line.startswith(left_out)))
    elif name == "food101":
        path = folder / f"food-101/meta/{split}.json"
        path.write_text(json.dumps({key: value for key, value in json.loads(path.read_text()).items() if key != left_out}))
    else:
        path = folder / "fgvc-aircraft-2013b/data/manufacturers.txt"
        path.write_text(path.read_text().replace(f"{left_out}\n", ""))


@pytest.mark.parametrize(("name", "first"), [("dtd", "banded"), ("food101", "apple_pie")])
def test_a_list_without_a_class_does_not_shift_the_others(tmp_path, name, first):
    entry, place, folder = given(tmp_path, name)
    without_class(name, folder, "test", first)
    train, test = (read_split(entry, place, split) for split in ("train", "test"))
    truth = MAKERS[name]().truth["test"][1]
    assert test.classes == train.classes
    assert test.labels.tolist() == [label for label in truth if label]


@pytest.mark.parametrize(("name", "first"), [("dtd", "banded"), ("food101", "apple_pie"), ("aircraft", "ATR")])
def test_a_class_that_is_only_tested_is_refused(tmp_path, name, first):
    entry, place, folder = given(tmp_path, name)
    without_class(name, folder, "train", first)
    with pytest.raises(CorruptDataError, match=f"has the class {first}, which .* does not have"):
        read_split(entry, place, "test")


def test_smiles_are_one_or_minus_one(tmp_path):
    entry, place, folder = given(tmp_path, "celeba")
    path = folder / "celeba/list_attr_celeba.txt"
    path.write_text(path.read_text().replace("  1 -1 -1", "  1 0 -1", 1))
    with pytest.raises(CorruptDataError, match="KeyError: '0'"):
        read_split(entry, place, "train")


LISTED = {
    "gtsrb": "gtsrb/GTSRB/Final_Test/Images/00003.ppm",
    "dtd": "dtd/dtd/images/banded/banded_train0000.jpg",
    "aircraft": "fgvc-aircraft-2013b/data/images/0001002.jpg",
    "food101": "food-101/images/waffles/train6.jpg",
    "stanford-cars": "stanford_cars/cars_test/00003.jpg",
    "flowers102": "flowers-102/jpg/image_00005.jpg",
    "celeba": "celeba/img_align_celeba/000010.jpg",
}


@pytest.mark.parametrize("name", LISTED)
def test_a_listed_image_that_is_missing_is_named_when_it_is_first_seen(tmp_path, name):
    made = MAKERS[name]()
    entry, place, folder = given(tmp_path, name)
    entry = replace(made.entry(name))
    assert examine(entry, Place(tmp_path / "other home", folder)).state == "present"
    (folder / LISTED[name]).unlink()
    state = examine(entry, place)
    assert (state.state, f"{folder / LISTED[name]} is listed but missing." in state.reason) == ("corrupt", True)
    assert "elete" not in state.remedy


def test_a_list_does_not_lead_out_of_its_folder(tmp_path):
    entry, place, folder = given(tmp_path, "gtsrb")
    (folder / "gtsrb/GT-final_test.csv").write_text("Filename;ClassId\n../../../../other.ppm;1\n")
    (tmp_path / "given/other.ppm").write_bytes(picture(noise(1, 9, 9, 3)[0], "PPM"))
    assert "is listed but missing" in examine(entry, place).reason


# Archives.


@pytest.mark.parametrize("moves", [1, 2, 3])
def test_a_killed_unpacking_leaves_whole_folders_or_none(tmp_path, monkeypatch, moves):
    made = MAKERS["gtsrb"]()
    made.write(tmp_path)
    real, moved = os.rename, []

    class KilledError(BaseException):
        pass

    def killed(path, target):
        real(path, target)
        moved.append(target)
        if len(moved) == moves:
            raise KilledError

    for method in ("rename", "replace"):
        monkeypatch.setattr(archives.Path, method, killed)
    with pytest.raises(KilledError):
        acquire(made.entry("gtsrb"), Place(tmp_path))
    monkeypatch.undo()
    state = acquire(made.entry("gtsrb"), Place(tmp_path))
    assert state.state == "present"
    assert state.splits["train"]["images"] == len(made.truth["train"][0])
    assert len(list((tmp_path / "gtsrb/GTSRB/Training").rglob("*.ppm"))) == len(made.truth["train"][0])


def test_folders_without_a_file_are_no_reason_to_move_file_by_file(tmp_path):
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "c").mkdir()
    (tmp_path / "c/mine").write_bytes(b"mine")
    (tmp_path / "e").mkdir()
    (tmp_path / "e/elsewhere").symlink_to(tmp_path / "a disk that is not there")
    inside = {"a/b/1": b"1", "a/2": b"2", "c/mine": b"theirs", "c/d/3": b"3", "e/4": b"4"}
    (tmp_path / "x.zip").write_bytes(zipped(inside))
    found = unpack(tmp_path / "x.zip", tmp_path, Unpacking(""), 1e6)
    assert sorted(path.relative_to(tmp_path).as_posix() for path in found) == ["a/2", "a/b/1", "c/d/3", "e/4"]
    # What somebody has stays.
    assert (tmp_path / "c/mine").read_bytes() == b"mine"
    assert (tmp_path / "e/elsewhere").is_symlink()


def test_after_a_try_that_failed_folders_are_moved_whole_again(tmp_path, monkeypatch):
    made = MAKERS["aircraft"]()
    remotes = REGISTRY["aircraft"].remotes
    inside = members("x.tar.gz", made.files["fgvc-aircraft-2013b.tar.gz"])
    wrong = {name: b"" if name.endswith("train.txt") else content for name, content in inside.items()}
    files = {"fgvc-aircraft-2013b.tar.gz": tar_gz(wrong)}
    assert get(replace(made, files=files), tmp_path, name="aircraft", remotes=remotes)[0].state == "corrupt"
    assert (tmp_path / "fgvc-aircraft-2013b/data/images").is_dir()
    renamed, real = [], archives.Path.rename
    monkeypatch.setattr(archives.Path, "rename", lambda path, target: (renamed.append(target), real(path, target))[1])
    assert get(made, tmp_path, name="aircraft", remotes=remotes)[0].state == "present"
    assert renamed == [tmp_path / "fgvc-aircraft-2013b"]


@pytest.mark.parametrize("name", ["manifest.json", "state.json", ".lock", "./manifest.json", "Manifest.JSON"])
@pytest.mark.parametrize("pack", [tar_gz, zipped])
def test_an_archive_does_not_bring_its_own_verdict(tmp_path, name, pack):
    made = MAKERS["aircraft"]()
    inside = members("x.tar.gz", made.files["fgvc-aircraft-2013b.tar.gz"])
    files = {"fgvc-aircraft-2013b.tar.gz": pack({**inside, name: b"[]"})}
    state, _ = get(replace(made, files=files), tmp_path, name="aircraft", remotes=REGISTRY["aircraft"].remotes)
    assert state.state == "corrupt"
    assert "a name kept for records of what was fetched" in state.reason
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [".lock"]


def test_names_that_are_written_here_may_lie_deeper(tmp_path):
    (tmp_path / "x.zip").write_bytes(zipped({"a/manifest.json": b"1", "state.json": b"2"}))
    assert len(unpack(tmp_path / "x.zip", tmp_path, Unpacking("set"), 1e6)) == 2


def test_images_without_content_are_refused(tmp_path):
    made = MAKERS["gtsrb"]()
    path = "gtsrb/GTSRB-Training_fixed.zip"
    inside = members("x.zip", made.files[path])
    empty = {name: b"" if name.endswith("00001.ppm") or "00005" in name else content for name, content in inside.items()}
    replace(made, files={**made.files, path: zipped({**inside, **empty})}).write(tmp_path)
    state = acquire(made.entry("gtsrb"), Place(tmp_path))
    assert (state.state, ".ppm is empty." in state.reason) == ("corrupt", True)


# Shapes, and where files lie.


@pytest.mark.parametrize("split", ["train", "test"])
def test_images_of_another_shape_are_refused(tmp_path, split):
    entry, place, folder = given(tmp_path, "qmnist")
    count = len(MAKERS["qmnist"]().truth[split][0])
    (folder / f"QMNIST/raw/qmnist-{split}-images-idx3-ubyte").write_bytes(idx(np.array(noise(count, 20, 24))))
    state = examine(entry, place)
    assert (state.state, "its shape is 1x20x24, not 1x28x28" in state.reason) == ("corrupt", True)


def test_all_files_come_from_one_place(tmp_path):
    entry, place, folder = given(tmp_path, "qmnist")
    raw = folder / "QMNIST/raw"
    images = raw / "qmnist-train-images-idx3-ubyte"
    other = idx(np.array(noise(31, 28, 28, seed=77)))
    # A second copy, of which one file is all there is.
    (folder / images.name).write_bytes(other)
    assert {path.parent for path in locate(entry, place).paths.values()} == {raw}
    # Half here and half there is no copy.
    images.unlink()
    state = examine(entry, place)
    assert (state.state, "QMNIST/raw/qmnist-train-images-idx3-ubyte not found" in state.reason) == ("absent", True)
    # Whole in another place than the first one.
    for path in raw.iterdir():
        (folder / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
    assert examine(entry, place).state == "present"
    assert {path.parent for path in locate(entry, place).paths.values()} == {folder}


# Classes.


def test_classes_that_are_there_in_part_are_counted_against_the_official_number(tmp_path):
    entry, place, _ = given(tmp_path, "gtsrb")
    found = _found(entry, examine(entry, place))
    assert (
        found
        == "train 12 images, 3 classes (official: 26640, 43 classes); test 7 images, 3 classes (official: 12630, 43 classes)"
    )
    made = MAKERS["mnist"]()
    for _ in range(2):
        state, _ = get(made, tmp_path / "mnist")
        assert _found(REGISTRY["mnist"], state).startswith("train 30 images, 10 classes (official: 60000); test")


@pytest.mark.parametrize(
    ("name", "folders", "first"),
    [
        ("gtsrb", ["0", "2", "10"], "2"),
        ("gtsrb", ["1", "2"], "1"),
        ("gtsrb", ["00000", "00002"], "00002"),
        ("gtsrb", ["0", "00", "1"], "0"),
        ("flowers102", ["1", "3"], "3"),
        ("flowers102", ["2", "3"], "2"),
        ("gtsrb", ["00000", "00001", "00002"], ""),
        ("flowers102", ["1", "2"], ""),
        ("flowers102", ["0", "1"], ""),
        ("dtd", ["banded", "10"], ""),
    ],
)
def test_numbered_class_folders_keep_their_numbers(tmp_path, name, folders, first):
    for split in ("train", "test"):
        class_folders(tmp_path / "given", folders, split)
    state = examine(REGISTRY[name], Place(tmp_path / "home", tmp_path / "given"))
    assert state.state == ("corrupt" if first else "present"), state.reason
    if first:
        assert "without gaps: " in state.reason


def test_the_background_of_caltech101_is_no_class_in_any_layout(tmp_path, monkeypatch):
    made, state, home = present(tmp_path, "caltech101", monkeypatch)
    folder = tmp_path / "given/train"
    shutil.copytree(home / "caltech101/101_ObjectCategories", folder)
    assert (folder / "BACKGROUND_Google").is_dir()
    place = Place(tmp_path / "other home", tmp_path / "given")
    assert examine(REGISTRY["caltech101"], place).splits == state.splits
    found = read_split(REGISTRY["caltech101"], place, "train")
    assert found.labels.tolist() == made.truth["train"][1]
    assert "BACKGROUND_Google" not in found.classes


@pytest.mark.parametrize(("classes", "warned"), [(["test", "Train"], True), (["train"], True), (["train", "ship"], False)])
def test_parts_are_no_classes(tmp_path, classes, warned, recwarn):
    for name in classes:
        class_folders(tmp_path, ["cat", "dog"], name)
    read_image_folder(tmp_path, size=4)
    found = [str(warning.message) for warning in recwarn if issubclass(warning.category, ConvRFMWarning)]
    assert [
        f"The class folders in {tmp_path} are named" in text and "like the splits of a data set" in text for text in found
    ] == [True] * warned


# Right data that were refused.


@pytest.mark.parametrize("linked", [["0", "1", "2"], ["2"], []])
@pytest.mark.parametrize("name", ["gtsrb", "imagenet"])
def test_class_folders_may_be_links(tmp_path, name, linked):
    entry = REGISTRY[name]
    splits = ("train", entry.test_split)
    for split in splits:
        class_folders(tmp_path / "real", ["0", "1", "2"], split)
        (tmp_path / "given" / split).mkdir(parents=True)
        for label in ("0", "1", "2"):
            target, link = tmp_path / "real" / split / label, tmp_path / "given" / split / label
            if label in linked:
                link.symlink_to(target)
            else:
                shutil.copytree(target, link)
    place = Place(tmp_path / "home", tmp_path / "given")
    for _ in range(2):
        state = examine(entry, place)
        assert state.state == "present", state.reason
    assert state.splits["train"] == {"images": 3, "classes": 3}
    found = read_split(entry, place, "train")
    assert found.labels.tolist() == [0, 1, 2]
    assert len(verify(entry, place, found.files(range(3)))) == 3


def test_links_in_a_circle_of_two_are_not_followed_for_ever(tmp_path):
    class_folders(tmp_path, ["a", "b"], "train")
    for one, other in (("a", "b"), ("b", "a")):
        for number in range(6):
            (tmp_path / f"train/{one}/again{number}").symlink_to(tmp_path / f"train/{other}")
    found = read_image_folder(tmp_path / "train", size=4)
    # Those of each other, by each of the links, and no further.
    assert len(found.files) == 2 * (1 + 6)
    (tmp_path / "train/a/self").symlink_to(tmp_path / "train/a/self")
    with pytest.warns(ConvRFMWarning, match=r"7 files in .* are left out.*/self"):
        assert read_image_folder(tmp_path / "train", size=4).files == found.files


def test_another_folder_is_not_called_damage(tmp_path):
    """A folder of classes first, then the official copy in another folder."""
    entry, place, folder = given(tmp_path, "gtsrb")
    for split in ("train", "test"):
        class_folders(tmp_path / "classes", ["0", "1"], split)
    first = Place(tmp_path / "home", tmp_path / "classes")
    assert examine(entry, first).state == "present"
    state = _with_command(examine(entry, place), entry, place)
    assert state.state == "corrupt"
    assert f"It was first seen in {tmp_path / 'classes'}, and the files in {folder} differ: " in state.reason
    assert state.remedy.startswith(
        f"Take the data from {tmp_path / 'classes'} again; or delete {tmp_path / 'home/manifest.json'} to take them from {folder}."
    )
    # Both remedies help.
    assert examine(entry, first).state == "present"
    (tmp_path / "home/manifest.json").unlink()
    assert examine(entry, place).state == "present"


def test_the_same_files_in_another_folder_are_the_same_data(tmp_path):
    entry, place, folder = given(tmp_path, "dtd")
    state = examine(entry, place)
    folder.rename(tmp_path / "moved")
    moved = Place(tmp_path / "home", tmp_path / "moved")
    assert examine(entry, moved) == state
    # What is wrong there from now on is no matter of another folder.
    next((tmp_path / "moved/dtd/dtd/images/woven").iterdir()).unlink()
    found = examine(entry, moved)
    assert "is gone" in found.reason
    assert "first seen in" not in found.reason
    assert f"if the data set was changed on purpose, delete {tmp_path / 'home/manifest.json'}." in found.remedy


def test_a_batch_that_was_taken_out_says_how_to_go_on(tmp_path):
    made = MAKERS["cifar10"]()
    entry, folder = put(made, tmp_path / "given", "cifar10"), tmp_path / "given"
    place = Place(tmp_path / "home", folder)
    assert examine(entry, place).verified
    (folder / "cifar-10-batches-py/data_batch_5").unlink()
    state = _with_command(examine(entry, place), entry, place)
    assert (state.state, "data_batch_5 is gone; in all, 1 of 7 files are." in state.reason) == ("corrupt", True)
    assert "fetch it again" not in state.remedy
    assert f"delete {tmp_path / 'home/manifest.json'}." in state.remedy
    (tmp_path / "home/manifest.json").unlink()
    assert examine(entry, place).part == {"train": (20, 50000)}


@pytest.mark.parametrize("inside", [["ILSVRC2012_val_00000001.JPEG"], []])
def test_validation_images_without_class_folders_are_not_read(tmp_path, inside, recwarn):
    class_folders(tmp_path / "given", ["n01", "n02"], "train")
    (tmp_path / "given/val").mkdir()
    for name in inside:
        (tmp_path / "given/val" / name).write_bytes(picture(noise(1, 9, 9, 3)[0]))
    place = Place(tmp_path / "home", tmp_path / "given")
    state = examine(REGISTRY["imagenet"], place)
    assert (state.state, list(state.splits)) == ("present", ["train"])
    found = [str(warning.message) for warning in recwarn if issubclass(warning.category, ConvRFMWarning)]
    assert [f"{tmp_path / 'given/val'} has no class folders and is left out: " in text for text in found] == [True] * len(
        inside
    )


def test_the_unlabelled_images_of_stl10_may_be_missing(tmp_path):
    made = MAKERS["stl10"]()
    entry = put(made, tmp_path / "given", "stl10")
    (tmp_path / "given/stl10_binary/unlabeled_X.bin").unlink()
    state = examine(entry, Place(tmp_path / "home", tmp_path / "given"))
    assert (state.state, state.splits["train"]["images"]) == ("present", len(made.truth["train"][0]))


def test_a_folder_of_somebody_else_is_not_to_be_deleted(tmp_path):
    """FashionMNIST, where MNIST was meant."""
    folder, other = tmp_path / "system", MAKERS["fashion-mnist"]()
    folder.mkdir()
    for path, content in other.files.items():
        (folder / path.rpartition("/")[2]).write_bytes(content)
    entry, place = replace(REGISTRY["mnist"], megabytes=1), Place(tmp_path / "home", folder)
    state = _with_command(acquire(entry, place, mirror="http://127.0.0.1:1", patience=QUICK), entry, place)
    assert (state.state, "is not the published file: its MD5 is" in state.reason) == ("corrupt", True)
    assert "elete" not in state.reason + state.remedy
    assert f"The folder {folder} holds wrong or damaged files" in state.remedy
    assert state.remedy.endswith("Or name another folder in data_folders, or take mnist out of it.")
