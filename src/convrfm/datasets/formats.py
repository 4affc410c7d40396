"""The official format of every data set and weight file on disk: idx, pickles, .mat, plain binary, HDF5, text, folders.

torchvision's loaders find their files at one place only, take hidden files for images, and execute whatever the pickles of
CIFAR hold. So the formats are read here, from wherever `convrfm.datasets.places.locate` has found the files; names of classes
that no file has come from torchvision.
"""

import bisect
import bz2
import csv
import json
import math
import struct
import warnings
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from convrfm.datasets.entries import CLASS_FOLDERS, Entry
from convrfm.datasets.images import SUFFIXES, Split, class_files, explained_reading, from_arrays, from_files
from convrfm.datasets.local_signal import in_random_greys
from convrfm.datasets.manifest import listed_but_missing, wrong_files
from convrfm.datasets.places import Located, Place, is_hidden, locate
from convrfm.datasets.restricted_pickle import load_pickle, read_weights
from convrfm.errors import ConvRFMWarning, refuse
from convrfm.numerics.inputs import generator
from convrfm.system.machine import require

if TYPE_CHECKING:
    import h5py

__all__ = ["READERS", "read_split", "splits_there", "summarise"]

require("workflow", "PIL", "h5py", "torchvision", what="Reading data sets")

from PIL import Image  # noqa: E402 (named above if it is missing)

MOST_IMAGES, MOST_TEXT, MOST_CHUNK = 2_000_000, 10**8, 2**26
"""Images of a split, bytes of USPS, and bytes that HDF5 unpacks at once: above what any data set has."""

NO_CLASS = "BACKGROUND_Google"
"""A folder among the class folders of Caltech101, with images of no class; torchvision leaves it out as well."""

PATCH_SIZE, PATCHES = 32, 2000
"""Pixels of each side of a patch of a photograph, and patches of each split."""

DIGITS = [str(digit) for digit in range(10)]

Reader = Callable[[Entry, Located, str], Split]
"""From an entry, where its files lie, and the name of a split."""

IDX_TYPES = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4"}
"""Types of numbers in idx files, by their code; those with a fraction hold neither images nor labels."""


def read_idx(located: Located, path: str, limit: float) -> np.ndarray:
    """Read the integers of a file in the format of LeCun's MNIST, at most `limit` bytes, perhaps compressed as .gz.

    Raises:
        CorruptDataError: the header is not one, or the numbers are more or fewer than it says.
        OSError: the file cannot be read, or is not compressed as its name says.
    """
    with located.open(path) as file:
        head = file.read(4)
        wrong = len(head) < 4 or head[:2] != b"\0\0" or head[2] not in IDX_TYPES
        refuse(wrong, f"{located[path]} is not an idx file of integers")
        numbers = file.read(4 * head[3])
        refuse(len(numbers) < 4 * head[3], f"{located[path]} ends in its header")
        shape = struct.unpack(f">{head[3]}I", numbers)
        kind = np.dtype(IDX_TYPES[head[2]])
        size = math.prod(shape) * kind.itemsize
        refuse(size > limit, f"{located[path]} declares {size} bytes, more than the whole data set")
        # One more shows that there are too many; and at its end, a .gz file is compared with its checksum.
        content = file.read(size + 1)
    amount = "more" if len(content) > size else "fewer"
    refuse(len(content) != size, f"{located[path]} has {amount} than the {size} bytes of its header")
    return np.frombuffer(content, kind).reshape(shape)


def _idx(entry: Entry, located: Located, split: str) -> Split:
    """Images and labels in idx files, in a folder named by torchvision's class; QMNIST's labels are the first of 8 columns."""
    from torchvision import datasets

    known = getattr(datasets, entry.required[0].partition("/")[0])
    classes = known.classes_split_dict["letters"] if known is datasets.EMNIST else known.classes
    # Required are images and labels that train, then those that test.
    first = {"train": 0, "test": 2}[split]
    images, labels = (read_idx(located, path, entry.most_bytes) for path in entry.required[first : first + 2])
    return from_arrays(images, labels if labels.ndim == 1 else labels[:, 0], classes)


def _usps(entry: Entry, located: Located, split: str) -> Split:
    """Lines of text: the label from 1, and 256 grey values in [-1, 1] as `index:value`."""
    with bz2.open(located[{"train": "usps.bz2", "test": "usps.t.bz2"}[split]]) as file:
        content = file.read(MOST_TEXT + 1)
    refuse(len(content) > MOST_TEXT, f"it unpacks to more than {MOST_TEXT} bytes")
    rows = [line.split() for line in content.decode().splitlines()]
    values = np.array([[word.partition(":")[2] for word in row[1:]] for row in rows], np.float32)
    # In single precision and rounded down, as torchvision does it: others may differ by one.
    images = ((values.reshape(-1, 16, 16) + 1) / 2 * 255).astype(np.uint8)
    return from_arrays(images, [int(row[0]) - 1 for row in rows], DIGITS)


def _svhn(entry: Entry, located: Located, split: str) -> Split:
    """A .mat file: images `X` `(32, 32, 3, n)`, and labels `y` `(n, 1)`, 10 for the digit 0."""
    from scipy.io import loadmat, whosmat

    path = located[f"{split}_32x32.mat"]
    found = {name: shape for name, shape, _ in whosmat(path)}
    count = found.get("y", (0,))[0]
    wrong = found != {"X": (32, 32, 3, count), "y": (count, 1)} or count > MOST_IMAGES
    refuse(wrong, f"{path.name} holds arrays of shapes {found}")
    data = loadmat(path)
    labels = data["y"].astype(np.int64).squeeze(1)
    return from_arrays(data["X"].transpose(3, 0, 1, 2), np.where(labels == 10, 0, labels), DIGITS)


def _rows_as_images(rows: np.ndarray) -> np.ndarray:
    """Images `(n, 32, 32, 3)` from rows `(n, 3072)`, (channel, row, column)."""
    return rows.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)


def _batches(entry: Entry, located: Located, split: str) -> tuple[list[str], int | None]:
    """The files of a split that are there, in order, and the images of the whole split where some are not.

    Training images are in `Entry.batches`, if it has any; other splits are in the one file that is named after them.
    """
    in_batches = split == "train" and entry.batches
    wanted = entry.batches if in_batches else [path for path in entry.required if Path(path).name.startswith(split)]
    there = [path for path in wanted if path not in located.absent]
    return there, entry.splits[split] if len(there) < len(wanted) else None


def _cifar(entry: Entry, located: Located, split: str) -> Split:
    """Pickled rows of pixels with labels, and a pickle of the names of the classes; of CIFAR-100, the fine ones."""
    kind = "fine_" if located.reader == "cifar100" else ""
    there, whole = _batches(entry, located, split)
    parts = [load_pickle(located[path]) for path in there]
    images = _rows_as_images(np.concatenate([part["data"] for part in parts]))
    found = np.concatenate([np.asarray(part[f"{kind}labels"]) for part in parts])
    meta = next(path for path in entry.required if path.endswith("meta"))
    return from_arrays(images, found, load_pickle(located[meta])[f"{kind}label_names"], whole=whole)


def _stl10(entry: Entry, located: Located, split: str) -> Split:
    """Plain bytes, image by image, (channel, column, row); labels from 1."""
    pixels, labels = (np.fromfile(located[f"stl10_binary/{split}_{part}.bin"], np.uint8) for part in "Xy")
    images = pixels.reshape(-1, 3, 96, 96).transpose(0, 3, 2, 1)
    names = located["stl10_binary/class_names.txt"].read_text().split()
    return from_arrays(images, labels.astype(np.int64) - 1, names)


def _pcam(entry: Entry, located: Located, split: str) -> Split:
    """HDF5: images `x` `(n, 96, 96, 3)`, read one by one, and labels `y` `(n, 1, 1, 1)`."""
    import h5py

    base = f"pcam/camelyonpatch_level_2_split_{split}"
    with h5py.File(located[f"{base}_y.h5"]) as file:
        stored = _stored(file, "y")
        wrong = stored.shape[1:] != (1, 1, 1) or len(stored) > MOST_IMAGES
        refuse(wrong, f"{base}_y.h5 has labels of shape {stored.shape}")
        labels = stored[:].reshape(-1)
    with h5py.File(located[f"{base}_x.h5"]) as file:
        shape = _stored(file, "x").shape
    wrong = shape != (len(labels), 96, 96, 3)
    refuse(wrong, f"{base}_x.h5 holds images of shape {shape} for {len(labels)} labels")

    def image(index: int) -> Image.Image:
        with h5py.File(located[f"{base}_x.h5"]) as file:
            return Image.fromarray(file["x"][index])

    return Split(labels.astype(np.int64), ("no tumour", "tumour"), image, lambda _: [])


def _stored(file: "h5py.File", name: str) -> "h5py.Dataset":
    """Integers that lie in an HDF5 file itself: not in another one, by a link, as external storage or as a virtual data set."""
    import h5py

    link = file.get(name, getlink=True)
    found = file[name] if isinstance(link, h5py.HardLink) else None
    wrong = (
        not isinstance(found, h5py.Dataset)
        or found.is_virtual
        or found.external is not None
        or found.dtype.kind not in "iu"
        or math.prod(found.chunks or ()) * found.dtype.itemsize > MOST_CHUNK
    )
    refuse(wrong, f"{Path(file.filename).name} does not hold {name} as plain integers of its own")
    return found


def _imagenet32(entry: Entry, located: Located, split: str) -> Split:
    """Pickled batches as in CIFAR, with labels from 1. One batch, 0.4 GB, is held at a time."""
    names, whole = _batches(entry, located, split)

    @lru_cache(maxsize=1)
    def batch(number: int) -> tuple[np.ndarray, np.ndarray]:
        content = load_pickle(located[names[number]])
        images = _rows_as_images(content["data"])
        labels = np.asarray(content["labels"], np.int64) - 1
        refuse(len(images) != len(labels), f"{names[number]} holds {len(images)} images and {len(labels)} labels")
        return images, labels

    labels = [batch(number)[1] for number in range(len(names))]
    starts = np.cumsum([0, *(len(part) for part in labels)]).tolist()

    def image(index: int) -> Image.Image:
        number = bisect.bisect_right(starts, index) - 1
        return Image.fromarray(batch(number)[0][index - starts[number]])

    # The official number: the largest label of a split that lacks classes, or of one with wrong labels, says nothing.
    classes = tuple(str(label) for label in range(entry.classes))
    return Split(np.concatenate(labels), classes, image, lambda _: [], whole)


def _gtsrb(entry: Entry, located: Located, split: str) -> Split:
    """Class folders of training images, and a list of test images with their labels.

    Kaggle's copy has PNG files, folders 0, 1, ..., 42, and paths in the list.
    """
    kaggle = located.reader == "gtsrb-kaggle"
    train, test, table = (located[path] for path in (entry.layouts[0].needs if kaggle else entry.required))
    paths, labels, classes = class_files(train, (".png",) if kaggle else (".ppm",), by_number=kaggle)
    _check_numbers(train, classes, 0)
    if split == "test":
        with table.open(newline="") as file:
            rows = list(csv.DictReader(file, delimiter="," if kaggle else ";"))
        names = [Path(row["Path"]).name if kaggle else row["Filename"] for row in rows]
        paths, labels = [str(test / name) for name in names], [int(row["ClassId"]) for row in rows]
    return from_files(located.place.files, paths, labels, classes)


def _check_numbers(folder: Path, classes: list[str], *starts: int) -> None:
    """Refuse numbered class folders with a gap: the labels of all classes behind it would be those of others."""
    numbers = [int(name) if name.isdecimal() else -1 for name in classes]
    start = numbers[0] if numbers[0] in starts else starts[0]
    wrong = [name for place, name in enumerate(classes) if numbers[place] != start + place]
    shown = " or ".join(map(str, starts))
    refuse(bool(wrong), f"the class folders in {folder} are not numbered from {shown} without gaps: {', '.join(wrong[:1])}")


def _indices(found: list[str], classes: list[str], where: Path, known: Path) -> list[int]:
    """The labels of names of classes, which index the classes that `known` has."""
    label_of = {name: label for label, name in enumerate(classes)}
    unknown = sorted(set(found) - set(label_of))
    refuse(bool(unknown), f"{where} has the class {', '.join(unknown[:1])}, which {known} does not have")
    return [label_of[name] for name in found]


def _dtd(entry: Entry, located: Located, split: str) -> Split:
    """A list of images of each split, by class; the classes are those of the training images."""
    train, table = (located[f"dtd/dtd/labels/{name}1.txt"] for name in ("train", split))
    classes = sorted({line.partition("/")[0] for line in train.read_text().split()})
    lines = table.read_text().split()
    labels = _indices([line.partition("/")[0] for line in lines], classes, table, train)
    return from_files(located.place.files, [located["dtd/dtd/images/"] / line for line in lines], labels, classes)


def _aircraft(entry: Entry, located: Located, split: str) -> Split:
    """A list of images of each split with their manufacturers, whose names have spaces."""
    base = "fgvc-aircraft-2013b/data"
    names, table = (located[f"{base}/{name}.txt"] for name in ("manufacturers", f"images_manufacturer_{split}"))
    classes, lines = names.read_text().splitlines(), table.read_text().splitlines()
    labels = _indices([line.partition(" ")[2] for line in lines], classes, table, names)
    paths = [located[f"{base}/images/"] / f"{line.partition(' ')[0]}.jpg" for line in lines]
    return from_files(located.place.files, paths, labels, classes)


def _caltech101(entry: Entry, located: Located, split: str) -> Split:
    found = class_files(located["caltech101/101_ObjectCategories/"], (".jpg",), without=NO_CLASS)
    return from_files(located.place.files, *found)


def _flowers102(entry: Entry, located: Located, split: str) -> Split:
    """Numbers of the images of each split, and labels of all of them, from 1."""
    from scipy.io import loadmat
    from torchvision.datasets import Flowers102

    ids = loadmat(located["flowers-102/setid.mat"], squeeze_me=True)[{"train": "trnid", "test": "tstid"}[split]]
    labels = loadmat(located["flowers-102/imagelabels.mat"], squeeze_me=True)["labels"].astype(np.int64) - 1
    paths = [located["flowers-102/jpg/"] / f"image_{number:05d}.jpg" for number in ids]
    return from_files(located.place.files, paths, labels[ids.astype(np.int64) - 1].tolist(), Flowers102.classes)


def _food101(entry: Entry, located: Located, split: str) -> Split:
    """Lists of the images of each class; the classes are those of the training images."""
    train, table = (located[f"food-101/meta/{name}.json"] for name in ("train", split))
    classes, lists = sorted(json.loads(train.read_text())), json.loads(table.read_text())
    lines = [(name, line) for name in sorted(lists) for line in lists[name]]
    labels = _indices([name for name, _ in lines], classes, table, train)
    paths = [located["food-101/images/"] / f"{line}.jpg" for _, line in lines]
    return from_files(located.place.files, paths, labels, classes)


def _celeba(entry: Entry, located: Located, split: str) -> Split:
    """Tables by image: the part that it belongs to, and 40 attributes, which are 1 or -1."""
    _, header, *rows = located["celeba/list_attr_celeba.txt"].read_text().splitlines()
    column = header.split().index("Smiling") + 1
    smiles = {row.split()[0]: {"1": 1, "-1": 0}[row.split()[column]] for row in rows}
    part = {"train": "0", "test": "2"}[split]
    lines = (line.split() for line in located["celeba/list_eval_partition.txt"].read_text().splitlines())
    names = [name for name, number in lines if number == part]
    paths = [located["celeba/img_align_celeba/"] / name for name in names]
    return from_files(located.place.files, paths, [smiles[name] for name in names], ("not smiling", "smiling"))


def _stanford_cars(entry: Entry, located: Located, split: str) -> Split:
    """A .mat file of names and labels, from 1, of each split."""
    from scipy.io import loadmat

    tables = {"train": "devkit/cars_train_annos.mat", "test": "cars_test_annos_withlabels.mat"}
    rows = np.atleast_1d(loadmat(located[f"stanford_cars/{tables[split]}"], squeeze_me=True)["annotations"])
    names = loadmat(located["stanford_cars/devkit/cars_meta.mat"], squeeze_me=True)["class_names"].tolist()
    paths = [located[f"stanford_cars/cars_{split}/"] / str(row["fname"]) for row in rows]
    return from_files(located.place.files, paths, [int(row["class"]) - 1 for row in rows], names)


def _class_folders(entry: Entry, located: Located, split: str) -> Split:
    """A folder for each split with one for each class; classes whose names are numbers are in their order."""
    paths, labels, classes = _by_class(located["train/"], located[f"{split}/"], SUFFIXES)
    if all(name.isdecimal() for name in classes):
        _check_numbers(located["train/"], classes, *((0,) if entry.name == "gtsrb" else (0, 1)))
    return from_files(located.place.files, paths, labels, classes)


def _imagenette(entry: Entry, located: Located, split: str) -> Split:
    from torchvision.datasets import Imagenette

    train, folder = (located[f"imagenette2-320/{name}/"] for name in ("train", split))
    paths, labels, names = _by_class(train, folder, (".jpeg",))
    return from_files(located.place.files, paths, labels, [Imagenette._WNID_TO_CLASS[name][0] for name in names])


def _by_class(train: Path, folder: Path, suffixes: tuple[str, ...]) -> tuple[list[str], list[int], list[str]]:
    """Images by class in a folder, with labels that index the classes of the training images."""
    paths, labels, names = class_files(folder, suffixes, without=NO_CLASS, by_number=True)
    if folder == train:
        return paths, labels, names
    classes = class_files(train, suffixes, without=NO_CLASS, by_number=True)[2]
    return paths, _indices([names[label] for label in labels], classes, folder, train), classes


def _digits(entry: Entry, located: Located, split: str) -> Split:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return from_arrays(np.round(bunch.images * (255 / 16)).astype(np.uint8), bunch.target, DIGITS)


def _street_digits(entry: Entry, located: Located, split: str) -> Split:
    """Digits in random greys, the same for each call."""
    digits = _digits(entry, located, split)
    strokes = np.stack([np.asarray(digits.image(i), np.float64) for i in range(len(digits))]) / 255
    images = in_random_greys(strokes, generator(0, "greys of the street digits"))
    return from_arrays(np.round(images).astype(np.uint8), digits.labels, DIGITS)


def _photographs(entry: Entry, located: Located, split: str) -> Split:
    from sklearn.datasets import load_sample_images

    bunch = load_sample_images()
    names = [Path(name).stem for name in bunch.filenames]
    return from_arrays(np.stack(bunch.images), range(len(names)), names)


def _photograph_patches(entry: Entry, located: Located, split: str) -> Split:
    """Patches at places that are always the same, photographs in turn; the halves keep the splits apart."""
    from sklearn.datasets import load_sample_images

    bunch = load_sample_images()
    rng = generator(0, f"places of the photograph patches, {split}")
    labels = np.arange(PATCHES) % len(bunch.images)
    patches = np.empty((PATCHES, PATCH_SIZE, PATCH_SIZE, 3), np.uint8)
    for patch, label in zip(patches, labels, strict=True):
        photograph = bunch.images[label]
        height, half = len(photograph), photograph.shape[1] // 2
        row, column = rng.integers(0, (height - PATCH_SIZE + 1, half - PATCH_SIZE + 1))
        column += half if split == "test" else 0
        patch[:] = photograph[row : row + PATCH_SIZE, column : column + PATCH_SIZE]
    return from_arrays(patches, labels, [Path(name).stem for name in bunch.filenames])


READERS: dict[str, Reader] = {
    **dict.fromkeys(("mnist", "qmnist", "emnist-letters"), _idx),
    **dict.fromkeys(("cifar10", "cifar100"), _cifar),
    "usps": _usps,
    "svhn": _svhn,
    "stl10": _stl10,
    "pcam": _pcam,
    "imagenet32": _imagenet32,
    **dict.fromkeys(("gtsrb", "gtsrb-kaggle"), _gtsrb),
    "dtd": _dtd,
    "aircraft": _aircraft,
    "caltech101": _caltech101,
    "flowers102": _flowers102,
    "food101": _food101,
    "celeba": _celeba,
    "stanford-cars": _stanford_cars,
    CLASS_FOLDERS: _class_folders,
    "imagenette": _imagenette,
    "digits": _digits,
    "street-digits": _street_digits,
    "photographs": _photographs,
    "photograph-patches": _photograph_patches,
}
"""By the reader of a layout, which is `Entry.reader` or the name of the data set in the official one."""


def splits_there(entry: Entry, place: Place) -> list[str]:
    """The splits that can be read: all, except for ImageNet, whose validation images may be missing.

    Warns:
        ConvRFMWarning: validation images that do not lie in class folders, as in Kaggle's copy, and so cannot be read.
    """
    if not entry.recorded_when_read:
        return list(entry.splits)
    found = []
    for split in entry.splits:
        folder = place.files / split
        inside = [path for path in folder.iterdir() if not is_hidden(path.name)] if folder.is_dir() else []
        if any(path.is_dir() for path in inside):
            found.append(split)
        elif inside:
            msg = f"{folder} has no class folders and is left out: arrange its images as {split}/<class>/<image>."
            warnings.warn(msg, ConvRFMWarning, stacklevel=2)
    return found


def read_split(entry: Entry, place: Place, split: str) -> Split:
    """Read one split of a data set of images, by its name in `entry.splits`, in whatever layout it is there.

    Raises:
        CorruptDataError: the files are not in that format, or do not fit together.
    """
    with explained_reading(f"The split {split} of {entry.title} in {place.files}"):
        located = locate(entry, place)
        return READERS[located.reader](entry, located, split)


def summarise(entry: Entry, place: Place, files: Sequence[str]) -> dict[str, Any]:
    """Read a data set through, as far as its labels, the names of its images and the first image of each split go.

    All of its files are given, as by `convrfm.datasets.places.data_files`.

    Returns:
        for images, by split: `images` and `classes`, their numbers; for weights, under "weights": `tensors` and
        `parameters`.

    Raises:
        CorruptDataError: it cannot be read, lists an image that is not there or is empty, or has images of another shape.
    """
    if entry.network:
        tensors = read_weights(entry, place.files)
        return {"weights": {"tensors": len(tensors), "parameters": sum(tensor.numel() for tensor in tensors.values())}}
    found, known = {}, set(files)
    for name in splits_there(entry, place):
        split = read_split(entry, place, name)
        if not entry.recorded_when_read:
            with explained_reading(f"The list of images of the split {name} of {entry.title}"):
                listed = split.files(range(len(split)))
            for path in listed:
                file = place.files / path
                if path not in known:
                    raise listed_but_missing(place, file)
                if not file.stat().st_size:
                    raise wrong_files(place, f"{file} is empty.")
        with explained_reading(f"The first image of the split {name} of {entry.title}"):
            image = split.image(0)
            shape = len(image.getbands()), image.height, image.width
            wrong = entry.fixed_shape not in (None, shape)
            refuse(wrong, f"its shape is {'x'.join(map(str, shape))}, not {entry.shape}")
        found[name] = {"images": len(split), "classes": len(split.classes)}
    return found
