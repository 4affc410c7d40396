"""Folders of images: classes, files, and what systems leave in them."""

import os
import re

import numpy as np
import pytest
from PIL import Image
from tolerance import assert_close

from convrfm.datasets.acquire import examine
from convrfm.datasets.formats import read_split
from convrfm.datasets.images import class_files
from convrfm.datasets.places import Place
from convrfm.datasets.prepare import read_image_folder
from convrfm.datasets.registry import REGISTRY
from convrfm.errors import AbsentDataError, ConvRFMWarning, CorruptDataError, InputError
from datasets.packing import noise
from datasets.running import present


def litter(folder, image):
    """Leave in a folder what Jupyter, macOS, Synology and Windows leave there."""
    for name in (".ipynb_checkpoints", "__MACOSX", "@eaDir", ".Trashes"):
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name / f"copy{image}").write_bytes(b"no image")
    for name in (f"._a{image}", ".DS_Store", "Thumbs.db", "desktop.ini"):
        (folder / name).write_bytes(b"no image")


@pytest.fixture
def folder(tmp_path):
    """Two classes of grey and coloured images; gives the folder and what is in it."""
    written = {}
    for label, name in enumerate(("cats", "dogs")):
        (tmp_path / "pets" / name / "more").mkdir(parents=True)
        for file, pixels in zip(("b.png", "a.PNG", "more/c.bmp"), noise(3, 8, 6, 3, seed=label), strict=True):
            Image.fromarray(pixels).save(tmp_path / "pets" / name / file)
            written[f"{name}/{file}"] = pixels
    return tmp_path / "pets", written


def test_what_is_read(folder):
    root, written = folder
    found = read_image_folder(root)
    assert found.classes == ("cats", "dogs")
    assert found.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert found.labels.dtype == np.int64
    assert found.files == tuple(f"{name}/{file}" for name in found.classes for file in ("a.PNG", "b.png", "more/c.bmp"))
    assert found.images.dtype == np.float32
    for image, file in zip(found.images, found.files, strict=True):
        assert_close(image, written[file].transpose(2, 0, 1) / 255, "smooth", "float32")


def test_form(folder):
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import Compose, Grayscale, Resize, ToTensor

    root, _ = folder
    assert read_image_folder(root, size=4).images.shape == (6, 3, 4, 4)
    grey = read_image_folder(root, size=5, colour="grey")
    theirs = ImageFolder(root, Compose([Grayscale(), Resize((5, 5)), ToTensor()]))
    assert [os.path.relpath(path, root) for path, _ in theirs.samples] == list(grey.files)
    assert theirs.targets == grey.labels.tolist()
    assert (np.stack([image.numpy() for image, _ in theirs]) == grey.images).all()


def test_photographs_are_turned_upright(folder):
    root, written = folder
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    Image.fromarray(written["cats/b.png"]).save(root / "cats/b.png", exif=exif)
    images = read_image_folder(root).images
    assert_close(images[1], written["cats/b.png"][::-1, ::-1].transpose(2, 0, 1) / 255, "smooth", "float32")


def test_home(folder, monkeypatch):
    root, _ = folder
    monkeypatch.setenv("HOME", str(root.parent))
    assert len(read_image_folder("~/pets").images) == 6
    assert not (root / "~").exists()
    with pytest.raises(InputError, match=r"'~nobody-here/pets' begins with the home folder of an unknown user"):
        read_image_folder("~nobody-here/pets")


def test_links_are_followed(folder):
    root, _ = folder
    (root / "linked").symlink_to(root / "cats", target_is_directory=True)
    (root / "dogs/again").symlink_to(root / "cats/more", target_is_directory=True)
    found = read_image_folder(root)
    assert found.classes == ("cats", "dogs", "linked")
    assert "dogs/again/c.bmp" in found.files


def test_what_systems_leave_is_no_class_and_no_image(folder):
    root, _ = folder
    clean = read_image_folder(root)
    for place in (root, root / "cats", root / "cats/more"):
        litter(place, ".png")
    found = read_image_folder(root)
    assert found.files == clean.files
    assert found.classes == clean.classes


def test_other_files_are_left_out_with_a_warning(folder):
    root, _ = folder
    (root / "README.txt").write_text("by me")
    (root / "cats/image.heic").write_bytes(b"")
    with pytest.warns(ConvRFMWarning, match=r"2 files in .* are left out, as their names are not those of images.*README.txt"):
        assert len(read_image_folder(root).images) == 6


@pytest.mark.parametrize(
    ("change", "kind", "sentence"),
    [
        (lambda root: (root / "birds").mkdir(), CorruptDataError, r"class folder .*pets/birds has no images.*\.png"),
        (lambda root: litter(root / "empty", ".png"), CorruptDataError, "class folder .*pets/empty has no images"),
        (lambda root: (root / "cats/b.png").write_bytes(b""), CorruptDataError, r"pets/cats/b.png is empty: replace"),
        (
            lambda root: (root / "cats/b.png").write_bytes((root / "cats/b.png").read_bytes()[:60]),
            CorruptDataError,
            r"pets/cats/b.png is damaged \(.*\): replace or remove it",
        ),
        (
            lambda root: Image.new("RGB", (9, 9)).save(root / "cats/b.png"),
            InputError,
            r"images in .*pets have 2 different shapes.*: give a size",
        ),
        (lambda root: Image.new("L", (6, 8)).save(root / "cats/b.png"), InputError, "different shapes.*: give a colour"),
    ],
)
def test_what_is_wrong_is_named(folder, change, kind, sentence):
    root, _ = folder
    change(root)
    with pytest.raises(kind, match=sentence):
        read_image_folder(root)


def test_what_is_no_folder_of_classes(tmp_path):
    with pytest.raises(AbsentDataError, match=r"No folder .*nowhere: name a folder"):
        read_image_folder(tmp_path / "nowhere")
    Image.new("L", (4, 4)).save(tmp_path / "a.png")
    with pytest.raises(AbsentDataError, match="has no class folders: put the images of each class into a folder of their own"):
        read_image_folder(tmp_path)
    with pytest.raises(InputError, match="colour must be native, grey or rgb, but it is 'gray'"):
        read_image_folder(tmp_path, colour="gray")
    with pytest.raises(InputError, match="size must be a positive integer, but it is 0"):
        read_image_folder(tmp_path, size=0)


def test_a_folder_that_cannot_be_read(folder, monkeypatch):
    root, _ = folder

    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(CorruptDataError, match=rf"{re.escape(str(root))} cannot be read: Permission denied"):
        read_image_folder(root)


def test_order_is_that_of_torchvision(tmp_path):
    from torchvision.datasets import ImageFolder

    for name in ("a-b/1.png", "a/2.png", "a/x/3.png", "a/x-y/4.png", "a/x/Z.png", "B/5.png", "a/10.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    theirs = ImageFolder(tmp_path)
    assert class_files(tmp_path) == ([path for path, _ in theirs.samples], theirs.targets, theirs.classes)


BY_FOLDERS = {
    "gtsrb": "gtsrb/GTSRB/Training", "caltech101": "caltech101/101_ObjectCategories", "imagenet": "train",
    "imagenette": "imagenette2-320/train", "dtd": "dtd/dtd/images", "food101": "food-101/images",
}  # fmt: skip


@pytest.mark.parametrize("name", BY_FOLDERS)
def test_what_systems_leave_does_not_change_a_data_set(tmp_path, monkeypatch, name):
    made, state, home = present(tmp_path, name, monkeypatch)
    root = home / BY_FOLDERS[name]
    suffix = ".ppm" if name == "gtsrb" else ".jpeg" if name == "imagenette" else ".jpg"
    first = next(path for path in sorted(root.iterdir()) if path.is_dir())
    clean = {split: read_split(REGISTRY[name], Place(home), split) for split in made.truth}
    litter(root, suffix)
    litter(first, suffix)
    for split, before in clean.items():
        found = read_split(REGISTRY[name], Place(home), split)
        assert found.labels.tolist() == before.labels.tolist() == list(made.truth[split][1])
        assert found.classes == before.classes
        assert found.files(range(len(found))) == before.files(range(len(before)))
    again = examine(made.entry(name), Place(home))
    assert (again.state, again.reason, again.digest) == ("present", "", state.digest)


def test_hidden_files_that_were_recorded_once_may_go(tmp_path, monkeypatch):
    """Earlier versions took images in hidden folders for data."""
    from convrfm.datasets import places

    monkeypatch.setattr(places, "is_hidden", lambda name: False)
    made, state, home = present(tmp_path, "dtd", monkeypatch)
    hidden = home / "dtd/dtd/images/.ipynb_checkpoints/a.jpg"
    (home / "manifest.json").unlink()
    hidden.parent.mkdir()
    hidden.write_bytes(b"a copy")
    assert examine(made.entry("dtd"), Place(home)).state == "present"
    assert ".ipynb_checkpoints" in (home / "manifest.json").read_text()
    monkeypatch.undo()
    assert examine(made.entry("dtd"), Place(home)).digest == state.digest


def test_links_in_a_circle_are_not_followed(folder):
    root, _ = folder
    before = read_image_folder(root, size=4, colour="grey").files
    (root / "cats" / "again").symlink_to(root / "cats")
    (root / "dogs" / "all").symlink_to(root)
    assert read_image_folder(root, size=4, colour="grey").files == before


@pytest.mark.parametrize("size", ["8", 2.5, True, (4, 4)])
def test_sizes_of_wrong_types(folder, size):
    with pytest.raises(InputError, match="size must be a positive integer"):
        read_image_folder(folder[0], size=size)
