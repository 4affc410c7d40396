"""The official format of every data set and weight file on disk: idx, pickles, .mat, plain binary, HDF5, text, folders.

torchvision reads idx, SVHN and USPS. Its loaders of CIFAR execute whatever the pickles hold, that of STL-10 hashes 2.6 GB
of unlabelled images each time, and that of PatchCamelyon gives labels one by one: these are read here. Of data sets with a
file for each image, torchvision's loaders say which file has which label where lists do, and `class_files` where folders do:
torchvision takes hidden files and folders for data. The files are opened here.
"""

import bisect
import bz2
import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from convrfm.datasets.entries import Entry
from convrfm.datasets.local_signal import in_random_greys
from convrfm.datasets.reading.images import Split, class_files, explained_reading, from_arrays, from_files
from convrfm.datasets.restricted_pickle import load_pickle, read_weights
from convrfm.errors import CorruptDataError
from convrfm.numerics.inputs import generator
from convrfm.system.machine import require

if TYPE_CHECKING:
    import h5py

__all__ = ["READERS", "read_split", "splits_there", "summarise"]

require("workflow", "h5py", "torchvision", what="Reading data sets")

MOST_IMAGES, MOST_TEXT, MOST_CHUNK = 2_000_000, 10**8, 2**26
"""Images of a split, bytes of USPS, and bytes that HDF5 unpacks at once: above what any data set has."""

PATCH_SIZE, PATCHES = 32, 2000
"""Pixels of each side of a patch of a photograph, and patches of each split."""

DIGITS = [str(digit) for digit in range(10)]

Reader = Callable[[Entry, Path, str], Split]
"""From an entry, the root of its data and the name of a split."""


def _idx(images: Path, labels: Path, classes: Sequence[str]) -> Split:
    """The format of LeCun's MNIST files; labels of QMNIST are the first of eight columns."""
    from torchvision.datasets.mnist import read_image_file, read_sn3_pascalvincent_tensor

    found = read_sn3_pascalvincent_tensor(str(labels)).numpy()
    return from_arrays(read_image_file(str(images)).numpy(), found if found.ndim == 1 else found[:, 0], classes)


def _mnist(entry: Entry, root: Path, split: str) -> Split:
    """MNIST and what has its names of files, in a folder named by torchvision's class, which knows the classes."""
    from torchvision import datasets

    folder, prefix = entry.required[0].partition("/")[0], {"train": "train", "test": "t10k"}[split]
    raw, classes = root / folder / "raw", getattr(datasets, folder).classes
    return _idx(raw / f"{prefix}-images-idx3-ubyte", raw / f"{prefix}-labels-idx1-ubyte", classes)


def _qmnist(entry: Entry, root: Path, split: str) -> Split:
    from torchvision.datasets import QMNIST

    base = f"QMNIST/raw/qmnist-{split}"
    return _idx(root / f"{base}-images-idx3-ubyte", root / f"{base}-labels-idx2-int", QMNIST.classes)


def _emnist_letters(entry: Entry, root: Path, split: str) -> Split:
    from torchvision.datasets import EMNIST

    base = f"EMNIST/raw/emnist-letters-{split}"
    classes = EMNIST.classes_split_dict["letters"]
    return _idx(root / f"{base}-images-idx3-ubyte", root / f"{base}-labels-idx1-ubyte", classes)


def _usps(entry: Entry, root: Path, split: str) -> Split:
    from torchvision.datasets import USPS

    with bz2.open(root / {"train": "usps.bz2", "test": "usps.t.bz2"}[split]) as file:
        _refuse(len(file.read(MOST_TEXT + 1)) > MOST_TEXT, f"it unpacks to more than {MOST_TEXT} bytes")
    data = USPS(root, train=split == "train")
    return from_arrays(data.data, data.targets, DIGITS)


def _svhn(entry: Entry, root: Path, split: str) -> Split:
    from scipy.io import whosmat
    from torchvision.datasets import SVHN

    found = {name: shape for name, shape, _ in whosmat(root / f"{split}_32x32.mat")}
    count = found.get("y", (0,))[0]
    wrong = found != {"X": (32, 32, 3, count), "y": (count, 1)} or count > MOST_IMAGES
    _refuse(wrong, f"{split}_32x32.mat holds arrays of shapes {found}")
    data = SVHN(root, split=split)
    return from_arrays(data.data.transpose(0, 2, 3, 1), data.labels, DIGITS)


def _rows_as_images(rows: np.ndarray) -> np.ndarray:
    """Images `(n, 32, 32, 3)` from rows `(n, 3072)`, (channel, row, column)."""
    return rows.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)


def _cifar(folder: str, batches: dict[str, list[str]], labels: str, meta: str, names: str) -> Reader:
    def read(entry: Entry, root: Path, split: str) -> Split:
        parts = [load_pickle(root / folder / name) for name in batches[split]]
        images = _rows_as_images(np.concatenate([part["data"] for part in parts]))
        found = np.concatenate([np.asarray(part[labels]) for part in parts])
        return from_arrays(images, found, load_pickle(root / folder / meta)[names])

    return read


def _stl10(entry: Entry, root: Path, split: str) -> Split:
    """Plain bytes, image by image, (channel, column, row); labels from 1."""
    folder = root / "stl10_binary"
    images = np.fromfile(folder / f"{split}_X.bin", np.uint8).reshape(-1, 3, 96, 96).transpose(0, 3, 2, 1)
    labels = np.fromfile(folder / f"{split}_y.bin", np.uint8).astype(np.int64) - 1
    return from_arrays(images, labels, (folder / "class_names.txt").read_text().split())


def _pcam(entry: Entry, root: Path, split: str) -> Split:
    """HDF5: images `x` `(n, 96, 96, 3)`, read one by one, and labels `y` `(n, 1, 1, 1)`."""
    import h5py

    base = f"pcam/camelyonpatch_level_2_split_{split}"
    with h5py.File(root / f"{base}_y.h5") as file:
        stored = _stored(file, "y")
        wrong = stored.shape[1:] != (1, 1, 1) or len(stored) > MOST_IMAGES
        _refuse(wrong, f"{base}_y.h5 has labels of shape {stored.shape}")
        labels = stored[:].reshape(-1)
    with h5py.File(root / f"{base}_x.h5") as file:
        shape = _stored(file, "x").shape
    wrong = shape != (len(labels), 96, 96, 3)
    _refuse(wrong, f"{base}_x.h5 holds images of shape {shape} for {len(labels)} labels")

    def image(index: int) -> Image.Image:
        with h5py.File(root / f"{base}_x.h5") as file:
            return Image.fromarray(file["x"][index])

    return Split(labels.astype(np.int64), ("no tumour", "tumour"), image, lambda _: [])


def _stored(file: "h5py.File", name: str) -> "h5py.Dataset":
    """Numbers that lie in an HDF5 file itself.

    Raises:
        CorruptDataError: they lie in other files, by a link, as external storage or as a virtual data set; or are no integers,
            or too many to be unpacked at once.
    """
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
    _refuse(wrong, f"{Path(file.filename).name} does not hold {name} as plain integers of its own")
    return found


def _refuse(wrong: bool, found: str) -> None:
    if wrong:
        raise CorruptDataError(found)


def _imagenet32(entry: Entry, root: Path, split: str) -> Split:
    """Pickled batches as in CIFAR, with labels from 1. One batch, 0.4 GB, is held at a time."""
    names = [f"train_data_batch_{i}" for i in range(1, 11)] if split == "train" else ["val_data"]

    @lru_cache(maxsize=1)
    def batch(number: int) -> tuple[np.ndarray, np.ndarray]:
        content = load_pickle(root / names[number])
        images = _rows_as_images(content["data"])
        labels = np.asarray(content["labels"], np.int64) - 1
        _refuse(len(images) != len(labels), f"{names[number]} holds {len(images)} images and {len(labels)} labels")
        return images, labels

    labels = [batch(number)[1] for number in range(len(names))]
    starts = np.cumsum([0, *(len(part) for part in labels)]).tolist()

    def image(index: int) -> Image.Image:
        number = bisect.bisect_right(starts, index) - 1
        return Image.fromarray(batch(number)[0][index - starts[number]])

    found = np.concatenate(labels)
    return Split(found, tuple(str(label) for label in range(int(found.max()) + 1)), image, lambda _: [])


def _gtsrb(entry: Entry, root: Path, split: str) -> Split:
    from torchvision.datasets import GTSRB

    paths, labels, classes = class_files(root / "gtsrb/GTSRB/Training", (".ppm",))
    if split == "test":
        samples = GTSRB(root, split=split)._samples
        paths, labels = [path for path, _ in samples], [label for _, label in samples]
    return from_files(root, paths, labels, classes)


def _listed(loader: str, **arguments: Any) -> Reader:
    """A reader by way of torchvision's loader of this name."""

    def read(entry: Entry, root: Path, split: str) -> Split:
        from torchvision import datasets

        data = getattr(datasets, loader)(root, split=split, **arguments)
        return from_files(root, data._image_files, data._labels, data.classes)

    return read


def _caltech101(entry: Entry, root: Path, split: str) -> Split:
    folder = root / "caltech101" / "101_ObjectCategories"
    return from_files(root, *class_files(folder, (".jpg",), without="BACKGROUND_Google"))


def _celeba(entry: Entry, root: Path, split: str) -> Split:
    from torchvision.datasets import CelebA

    data = CelebA(root, split=split)
    labels = data.attr[:, data.attr_names.index("Smiling")]
    paths = [root / "celeba" / "img_align_celeba" / name for name in data.filename]
    return from_files(root, paths, labels.tolist(), ("not smiling", "smiling"))


def _stanford_cars(entry: Entry, root: Path, split: str) -> Split:
    from torchvision.datasets import StanfordCars

    data = StanfordCars(root, split=split)
    paths, labels = zip(*data._samples, strict=True)
    return from_files(root, paths, labels, data.classes)


def _class_folders(entry: Entry, root: Path, split: str) -> Split:
    """A folder for each split with one for each class; for ImageNet, torchvision's own loader wants the archives."""
    return from_files(root, *class_files(root / split))


def _imagenette(entry: Entry, root: Path, split: str) -> Split:
    from torchvision.datasets import Imagenette

    paths, labels, folders = class_files(root / "imagenette2-320" / split, (".jpeg",))
    return from_files(root, paths, labels, [Imagenette._WNID_TO_CLASS[name][0] for name in folders])


def _digits(entry: Entry, root: Path, split: str) -> Split:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return from_arrays(np.round(bunch.images * (255 / 16)).astype(np.uint8), bunch.target, DIGITS)


def _street_digits(entry: Entry, root: Path, split: str) -> Split:
    """Digits in random greys, the same for each call."""
    digits = _digits(entry, root, split)
    strokes = np.stack([np.asarray(digits.image(i), np.float64) for i in range(len(digits))]) / 255
    images = in_random_greys(strokes, generator(0, "greys of the street digits"))
    return from_arrays(np.round(images).astype(np.uint8), digits.labels, DIGITS)


def _photographs(entry: Entry, root: Path, split: str) -> Split:
    from sklearn.datasets import load_sample_images

    bunch = load_sample_images()
    names = [Path(name).stem for name in bunch.filenames]
    return Split(np.arange(len(names)), tuple(names), lambda i: Image.fromarray(bunch.images[i]), lambda _: [])


def _photograph_patches(entry: Entry, root: Path, split: str) -> Split:
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
    "mnist": _mnist,
    "qmnist": _qmnist,
    "emnist-letters": _emnist_letters,
    "usps": _usps,
    "svhn": _svhn,
    "cifar10": _cifar(
        "cifar-10-batches-py",
        {"train": [f"data_batch_{i}" for i in range(1, 6)], "test": ["test_batch"]},
        "labels",
        "batches.meta",
        "label_names",
    ),
    "cifar100": _cifar("cifar-100-python", {"train": ["train"], "test": ["test"]}, "fine_labels", "meta", "fine_label_names"),
    "stl10": _stl10,
    "pcam": _pcam,
    "imagenet32": _imagenet32,
    "gtsrb": _gtsrb,
    "dtd": _listed("DTD", partition=1),
    "aircraft": _listed("FGVCAircraft", annotation_level="manufacturer"),
    "caltech101": _caltech101,
    "flowers102": _listed("Flowers102"),
    "food101": _listed("Food101"),
    "celeba": _celeba,
    "stanford-cars": _stanford_cars,
    "class-folders": _class_folders,
    "imagenette": _imagenette,
    "digits": _digits,
    "street-digits": _street_digits,
    "photographs": _photographs,
    "photograph-patches": _photograph_patches,
}
"""By `Entry.reader`, or by the name of the data set."""


def splits_there(entry: Entry, root: Path) -> list[str]:
    """The splits that can be read: all, except for ImageNet, whose validation images may be missing."""
    return [split for split in entry.splits if not entry.recorded_when_read or (root / split).is_dir()]


def read_split(entry: Entry, root: Path, split: str) -> Split:
    """Read one split of a data set from its official format.

    Args:
        entry: of images with files, or embedded.
        root: of the data.
        split: a name of `entry.splits`.

    Raises:
        CorruptDataError: the files are not in that format, or do not fit together.
    """
    with explained_reading(f"The split {split} of {entry.title} in {root}"):
        return READERS[entry.reader or entry.name](entry, root, split)


def summarise(entry: Entry, root: Path) -> dict[str, Any]:
    """Read a data set through, as far as its labels and the first image of each split go.

    Returns:
        for images, by split: `images` and `classes`, their numbers; for weights, under "weights": `tensors` and
        `parameters`.

    Raises:
        CorruptDataError: it cannot be read.
    """
    if entry.network:
        tensors = read_weights(entry, root)
        return {"weights": {"tensors": len(tensors), "parameters": sum(tensor.numel() for tensor in tensors.values())}}
    found = {}
    for name in splits_there(entry, root):
        split = read_split(entry, root, name)
        with explained_reading(f"The first image of the split {name} of {entry.title}"):
            split.image(0)
        found[name] = {"images": len(split), "classes": len(split.classes)}
    return found
