"""Choosing images, binary pairs, and bringing images into form."""

import json

import numpy as np
import pytest
from PIL import Image

from convrfm.datasets.images import from_arrays, from_files
from convrfm.datasets.prepare import pair_labels, render, select
from convrfm.datasets.registry import REGISTRY, class_pairs
from convrfm.datasets.transforms import SCALINGS, Appearance, black, to_array
from convrfm.errors import AbsentDataError, ConvRFMWarning, CorruptDataError, InputError
from datasets.running import prepare, present


def split_of(labels, classes=None):
    labels = np.asarray(labels)
    images = np.arange(len(labels), dtype=np.uint8)[:, None, None] * np.ones((1, 4, 4), np.uint8)
    return from_arrays(images, labels, [str(i) for i in range(classes or labels.max() + 1)])


def choose(train, test, counts, name="cifar10", pair=None, protocol="published", seed=0, resampled=False):
    return select(REGISTRY[name], train, test, counts=counts, pair=pair, protocol=protocol, seed=seed, resampled=resampled)


def test_all_pairs():
    pairs = class_pairs()
    assert len(pairs) == len(set(pairs)) == 190
    assert all(0 <= a < b < 20 for a, b in pairs)


def test_every_pair_has_right_labels():
    labels = np.tile(np.arange(20), 3)
    for a, b in class_pairs():
        both = labels[np.isin(labels, (a, b))]
        found = pair_labels(both, (a, b))
        assert found.tolist() == [1 if label == a else 0 for label in both]
        assert sorted(found) == [0, 0, 0, 1, 1, 1]
    with pytest.raises(InputError, match="must be 0 or 1"):
        pair_labels(np.array([0, 2]), (0, 1))


def test_the_way_of_the_authors_code_loses_a_class():
    """The control: writing the new labels over the old ones, one class after the other."""
    labels = np.array([0, 1, 0, 1])
    labels[labels == 0] = 1
    labels[labels == 1] = 0
    assert not labels.any()
    assert pair_labels(np.array([0, 1, 0, 1]), (0, 1)).tolist() == [1, 0, 1, 0]


def test_published_takes_the_first():
    train, test = split_of(np.arange(30) % 3), split_of(np.arange(12) % 3)
    chosen = choose(train, test, (10, 5))
    assert chosen.train.tolist() == list(range(10))
    assert chosen.test.tolist() == list(range(5))
    assert not chosen.test_from_train
    paired = choose(train, test, (6, 4), pair=(0, 2))
    assert paired.train.tolist() == [0, 2, 3, 5, 6, 8]


def test_training_images_do_not_stand_in_for_official_test_images_that_are_not_there():
    with pytest.raises(AbsentDataError, match=r"The test images of ImageNet .* are not there: add them as val/<class>"):
        choose(split_of(np.arange(30) % 3), None, (10, 5), name="imagenet")


def test_resampled_as_for_figure_9():
    train, test = split_of(np.sort(np.arange(300) % 3)), split_of(np.arange(12) % 3)
    chosen = choose(train, test, (200, 50), resampled=True)
    assert len(chosen.train) == 200
    assert len(chosen.test) == 12  # there are no more
    # With replacement, from all of the data: about 300 (1 - exp(-2/3)) = 146 different images, of every class.
    assert 125 < len(set(chosen.train)) < 165
    assert set(train.labels[chosen.train]) == {0, 1, 2}
    assert max(chosen.train) > 250
    again = choose(train, test, (200, 50), resampled=True)
    assert (again.train == chosen.train).all()
    assert not np.array_equal(choose(train, test, (200, 50), resampled=True, seed=1).train, chosen.train)
    # Corrected: without replacement, by class, and again no more than there are.
    corrected = choose(train, test, (200, 50), resampled=True, protocol="corrected")
    assert len(set(corrected.train)) == 200
    assert len(set(corrected.test)) == 12
    with pytest.raises(InputError, match="n_train is 400"):
        choose(train, test, (400, 5))


def test_resampled_images_on_disk(tmp_path, monkeypatch):
    """A data set of files, all of which are fewer than what was asked for; an image that was drawn twice is there twice."""
    made, _, _ = present(tmp_path, "dtd", monkeypatch)
    available = len(made.truth["train"][0])
    arrays, _, record = prepare(tmp_path, "dtd", n_train=2000, n_test=2000, resampled=True)
    indices = arrays["train/indices"]
    assert len(indices) == len(arrays["train/images"]) == available
    assert len(set(indices)) < available
    assert (arrays["train/labels"] == np.asarray(made.truth["train"][1])[indices]).all()
    first, second = np.flatnonzero(indices == np.argmax(np.bincount(indices)))[:2]
    assert (arrays["train/images"][first] == arrays["train/images"][second]).all()
    assert record["drawn_with_replacement"]


def test_corrected_draws_by_class():
    labels = np.repeat([0, 1, 2, 3], [40, 30, 20, 10])
    train, test = split_of(labels), split_of(np.repeat([0, 1, 2, 3], 5))
    for seed in range(3):
        chosen = choose(train, test, (20, 8), protocol="corrected", seed=seed)
        assert (np.abs(np.bincount(labels[chosen.train]) - [8, 6, 4, 2]) <= 1).all()
        assert len(set(chosen.train)) == 20
    again = choose(train, test, (20, 8), protocol="corrected", seed=2)
    assert (again.train == chosen.train).all()
    assert not np.array_equal(choose(train, test, (20, 8), protocol="corrected", seed=1).train, chosen.train)
    paired = choose(train, test, (10, 4), pair=(3, 1), protocol="corrected")
    assert set(labels[paired.train]) == {1, 3}


@pytest.mark.parametrize(("name", "protocol", "from_train"), [
    ("emnist-letters", "published", True), ("emnist-letters", "corrected", False),
    ("caltech101", "published", True), ("caltech101", "corrected", True), ("mnist", "published", False),
])  # fmt: skip
def test_where_test_images_come_from(name, protocol, from_train):
    labels = np.arange(100) % 5
    chosen = choose(split_of(labels), split_of(labels[:20]), (80 if from_train else 100, 20), name, protocol=protocol)
    assert chosen.test_from_train == from_train
    if from_train:
        assert sorted([*chosen.train, *chosen.test]) == list(range(100))
    if protocol == "corrected":
        assert set(np.bincount(labels[chosen.test])) == {4}


def test_sorted_data_are_called_out():
    labels = np.repeat(np.arange(43), 20)
    train, test = split_of(labels), split_of(np.arange(43))
    with pytest.warns(ConvRFMWarning, match=r"first 100 train images of GTSRB hold 5 of 43 classes.*'corrected'"):
        choose(train, test, (100, 43), "gtsrb")
    chosen = choose(train, test, (100, 43), "gtsrb", protocol="corrected")  # no warning, which would be an error here
    assert len(set(labels[chosen.train])) == 43


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"counts": (31, 1)}, "n_train is 31, but the train part of CIFAR-10 has 30 images: lower n_train"),
        ({"counts": (1, 13)}, "n_test is 13, but the test part of CIFAR-10 has 12 images: lower n_test"),
        ({"counts": (21, 1), "pair": (0, 1)}, "has 20"),
        ({"counts": (1, 1), "pair": (0, 3)}, "two of the classes 0 ... 2, but it is 0 and 3"),
        ({"counts": (1, 1), "pair": (1, 1)}, "A pair must be two"),
    ],
)
def test_what_the_data_cannot_meet(changes, sentence):
    with pytest.raises(InputError, match=sentence):
        choose(split_of(np.arange(30) % 3), split_of(np.arange(12) % 3), **changes)


@pytest.mark.parametrize("shape", [(17, 40, 3), (40, 17, 3), (32, 32, 3), (33, 50), (400, 300, 3)])
@pytest.mark.parametrize("fit", ["stretch", "crop"])
def test_resizing_is_torchvisions(rng, shape, fit):
    from torchvision.transforms import CenterCrop, Compose, Resize, ToTensor

    image = Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8))
    expected = Compose([Resize((32, 32)), ToTensor()] if fit == "stretch" else [Resize(37), CenterCrop(32), ToTensor()])
    found = to_array(image, Appearance(size=32, fit=fit))
    assert (found == expected(image).numpy()).all()
    assert found.dtype == np.float32
    assert found.flags.c_contiguous


def test_224_pixels_are_cut_from_256():
    image = Image.fromarray(np.zeros((300, 500, 3), np.uint8))
    assert to_array(image, Appearance(size=224, fit="crop")).shape == (3, 224, 224)


def test_colours(rng):
    from torchvision.transforms import Grayscale, ToTensor

    pixels = rng.integers(0, 256, (5, 6, 3), dtype=np.uint8)
    image, grey = Image.fromarray(pixels), Image.fromarray(pixels[:, :, 0])
    assert (to_array(image, Appearance()) == pixels.transpose(2, 0, 1) / np.float32(255)).all()
    assert to_array(grey, Appearance()).shape == (1, 5, 6)
    for colour, channels in (("grey", 1), ("grey-rgb", 3)):
        expected = ToTensor()(Grayscale(channels)(image)).numpy()
        assert (to_array(image, Appearance(colour=colour)) == expected).all()
    assert (to_array(grey, Appearance(colour="rgb")) == np.repeat(pixels[None, :, :, 0], 3, axis=0) / np.float32(255)).all()


@pytest.mark.parametrize("fit", ["stretch", "crop"])
@pytest.mark.parametrize("colour", ["rgb", "grey-rgb"])
def test_grey_becomes_three_equal_channels_whenever_it_is_resized(rng, colour, fit):
    """As if it had been made RGB at first, as torchvision does it."""
    grey = Image.fromarray(rng.integers(0, 256, (33, 50), dtype=np.uint8))
    expected = to_array(grey.convert("RGB"), Appearance(size=32, fit=fit))
    assert (to_array(grey, Appearance(size=32, fit=fit, colour=colour)) == expected).all()


def test_scaling(rng):
    from torchvision.transforms import Compose, Normalize, ToTensor

    image = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
    for name, mean, deviation in (
        ("cifar10", [125.3, 123.0, 113.9], [63.0, 62.1, 66.7]),
        ("cifar100", [129.3, 124.1, 112.4], [68.2, 65.4, 70.4]),
    ):
        constants = [[value / 255 for value in values] for values in (mean, deviation)]
        expected = Compose([ToTensor(), Normalize(*constants)])(image).numpy()
        assert np.abs(to_array(image, Appearance(scaling=name)) - expected).max() < 1e-6
    with pytest.raises(InputError, match="three channels"):
        to_array(image.convert("L"), Appearance(scaling="cifar10"))
    with pytest.raises(InputError, match="one of unit, cifar10"):
        to_array(image, Appearance(scaling="cifar"))


@pytest.mark.parametrize("scaling", SCALINGS)
def test_black_is_what_a_black_image_becomes(scaling):
    array = to_array(Image.new("RGB", (2, 2)), Appearance(scaling=scaling))
    assert (array == black(3, scaling)[:, None, None]).all()
    assert (black(3, scaling) == 0).all() == (scaling == "unit")


def test_order_is_that_of_the_choice():
    split = split_of(np.arange(9) % 3)
    part = render(split, np.array([7, 2, 5]), Appearance(), None, "images")
    assert (part.images[:, 0, 0, 0] * 255).round().tolist() == [7, 2, 5]
    assert part.labels.tolist() == [1, 2, 2]
    assert part.targets.tolist() == [[0, 1, 0], [0, 0, 1], [0, 0, 1]]
    pair = render(split, np.array([7, 2]), Appearance(), (2, 1), "images")
    assert pair.targets.tolist() == [[0], [1]]
    assert render(split, np.array([], int), Appearance(), None, "images").images.shape[0] == 0


def test_images_of_many_shapes_need_a_size(tmp_path):
    paths = []
    for i in range(2):
        paths.append(tmp_path / f"{i}.png")
        Image.fromarray(np.zeros((4, 4 + i, 3), np.uint8)).save(paths[-1])
    split = from_files(tmp_path, paths, [0, 1], ["a", "b"])
    with pytest.raises(InputError, match=r"2 different shapes, such as \(3, 4, 4\) and \(3, 4, 5\): give a size"):
        render(split, np.arange(2), Appearance(), None, "these")
    assert render(split, np.arange(2), Appearance(size=4), None, "these").images.shape == (2, 3, 4, 4)
    paths[0].write_bytes(paths[0].read_bytes()[:40])
    with pytest.raises(CorruptDataError, match="Image 0 of these cannot be read"):
        render(split, np.arange(2), Appearance(size=4), None, "these")
    (tmp_path / "0.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\n")
    with pytest.raises(CorruptDataError, match=r"0.png is no image in one"):  # EPS would start Ghostscript
        render(split, np.arange(1), Appearance(size=4), None, "these")


@pytest.mark.parametrize(
    ("images", "labels", "sentence"),
    [
        (np.zeros((3, 4, 4), np.uint8), [0, 1], "3 images and 2 labels"),
        (np.zeros((2, 4, 4), np.uint8), [0, 5], "labels run from 0 to 5, but there are 2 classes"),
        (np.zeros((2, 4, 4), np.uint8), [-1, 0], "labels run from -1"),
        (np.zeros((0, 4, 4), np.uint8), [], "no image"),
        (np.zeros((2, 4, 4)), [0, 1], "type float64"),
        (np.zeros((2, 4), np.uint8), [0, 1], r"shape \(2, 4\)"),
    ],
)
def test_splits_that_do_not_fit_together(images, labels, sentence):
    with pytest.raises(CorruptDataError, match=sentence):
        from_arrays(images, labels, ["a", "b"])


def test_the_job_under_corrected(tmp_path, monkeypatch):
    """A validation part of the training images, and a binary task in the way of the authors' code."""
    present(tmp_path, "cifar10", monkeypatch)
    arrays, counts, record = prepare(tmp_path, "cifar10", protocol="corrected", n_train=20, n_test=10, seed=3)
    assert len(arrays["train/validation"]) == 4
    assert set(arrays["train/validation"]) <= set(range(20))
    assert counts[counts["split"] == "test"]["count"].tolist() == [1] * 10
    arrays, _, _ = prepare(tmp_path, "cifar10", protocol="published", n_train=20, n_test=10)
    assert arrays["train/validation"].size == 0
    arrays, _, record = prepare(tmp_path, "cifar10", pair=[0, 1], n_train=4, n_test=2)
    assert arrays["train/targets"].shape == (4, 1)
    assert sorted(arrays["test/labels"]) == [0, 1]
    assert record["outputs_per_image"] == 1
    assert set(record["outputs"]) == {"arrays", "metrics"}


def test_the_job_checks_what_it_reads(tmp_path, monkeypatch):
    _, _, home = present(tmp_path, "dtd", monkeypatch)
    prepare_some = {"n_train": 2, "n_test": 2, "protocol": "corrected"}
    prepare(tmp_path, "dtd", **prepare_some)
    for image in (home / "dtd/dtd/images").rglob("*.jpg"):
        image.write_bytes(image.read_bytes() + b"x")  # still an image, but not the one that was seen
    with pytest.raises(CorruptDataError, match="has changed"):
        prepare(tmp_path, "dtd", **prepare_some)


@pytest.mark.parametrize(("state", "kind"), [("absent", AbsentDataError), ("corrupt", CorruptDataError)])
def test_the_job_says_what_is_not_there(tmp_path, state, kind):
    content = {"dataset": "stanford-cars", "state": state, "reason": "It is not there.", "remedy": "Put it there."}
    (tmp_path / "state.json").write_text(json.dumps(content))
    with pytest.raises(kind, match=r"It is not there\. Put it there\."):
        prepare(tmp_path, "stanford-cars")
