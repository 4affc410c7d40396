"""Formats that hold many images in one file: idx, pickled batches, .mat, plain binary, HDF5, and text.

torchvision reads idx, SVHN and USPS. Its loaders of CIFAR execute whatever the pickles hold, that of STL-10 hashes 2.6 GB
of unlabelled images each time, and that of PatchCamelyon gives labels one by one: these are read here.
"""

import bisect
import bz2
import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from convrfm.datasets.reading.split import Split, from_arrays
from convrfm.datasets.restricted_pickle import load_pickle
from convrfm.errors import CorruptDataError

if TYPE_CHECKING:
    import h5py

__all__ = ["PACKED"]

MOST_IMAGES, MOST_TEXT, MOST_CHUNK = 2_000_000, 10**8, 2**26
"""Images of a split, bytes of USPS, and bytes that HDF5 unpacks at once: above what any data set has."""


def _idx(images: Path, labels: Path, classes: Sequence[str]) -> Split:
    """The format of LeCun's MNIST files; labels of QMNIST are the first of eight columns."""
    from torchvision.datasets.mnist import read_image_file, read_sn3_pascalvincent_tensor

    found = read_sn3_pascalvincent_tensor(str(labels)).numpy()
    return from_arrays(read_image_file(str(images)).numpy(), found if found.ndim == 1 else found[:, 0], classes)


def _mnist_like(folder: str) -> Callable[[Path, str], Split]:
    def read(root: Path, split: str) -> Split:
        from torchvision.datasets import MNIST, FashionMNIST

        raw, prefix = root / folder / "raw", {"train": "train", "test": "t10k"}[split]
        classes = FashionMNIST.classes if folder == "FashionMNIST" else MNIST.classes
        return _idx(raw / f"{prefix}-images-idx3-ubyte", raw / f"{prefix}-labels-idx1-ubyte", classes)

    return read


def _qmnist(root: Path, split: str) -> Split:
    from torchvision.datasets import QMNIST

    base = f"QMNIST/raw/qmnist-{split}"
    return _idx(root / f"{base}-images-idx3-ubyte", root / f"{base}-labels-idx2-int", QMNIST.classes)


def _emnist_letters(root: Path, split: str) -> Split:
    from torchvision.datasets import EMNIST

    base = f"EMNIST/raw/emnist-letters-{split}"
    classes = EMNIST.classes_split_dict["letters"]
    return _idx(root / f"{base}-images-idx3-ubyte", root / f"{base}-labels-idx1-ubyte", classes)


def _usps(root: Path, split: str) -> Split:
    from torchvision.datasets import USPS

    with bz2.open(root / {"train": "usps.bz2", "test": "usps.t.bz2"}[split]) as file:
        _refuse(len(file.read(MOST_TEXT + 1)) > MOST_TEXT, f"it unpacks to more than {MOST_TEXT} bytes")
    data = USPS(root, train=split == "train")
    return from_arrays(data.data, data.targets, [str(digit) for digit in range(10)])


def _svhn(root: Path, split: str) -> Split:
    from scipy.io import whosmat
    from torchvision.datasets import SVHN

    found = {name: shape for name, shape, _ in whosmat(root / f"{split}_32x32.mat")}
    count = found.get("y", (0,))[0]
    wrong = found != {"X": (32, 32, 3, count), "y": (count, 1)} or count > MOST_IMAGES
    _refuse(wrong, f"{split}_32x32.mat holds arrays of shapes {found}")
    data = SVHN(root, split=split)
    return from_arrays(data.data.transpose(0, 2, 3, 1), data.labels, [str(digit) for digit in range(10)])


def _cifar(
    folder: str, batches: dict[str, list[str]], labels: str, meta: str, names: str
) -> Callable[[Path, str], Split]:
    def read(root: Path, split: str) -> Split:
        parts = [load_pickle(root / folder / name) for name in batches[split]]
        # A row is an image, (channel, row, column).
        images = np.concatenate([part["data"] for part in parts]).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        found = np.concatenate([np.asarray(part[labels]) for part in parts])
        return from_arrays(images, found, load_pickle(root / folder / meta)[names])

    return read


def _stl10(root: Path, split: str) -> Split:
    """Plain bytes, image by image, (channel, column, row); labels from 1."""
    folder = root / "stl10_binary"
    images = np.fromfile(folder / f"{split}_X.bin", np.uint8).reshape(-1, 3, 96, 96).transpose(0, 3, 2, 1)
    labels = np.fromfile(folder / f"{split}_y.bin", np.uint8).astype(np.int64) - 1
    return from_arrays(images, labels, (folder / "class_names.txt").read_text().split())


def _pcam(root: Path, split: str) -> Split:
    """HDF5: images `x` `(n, 96, 96, 3)`, read one by one, and labels `y` `(n, 1, 1, 1)`."""
    import h5py

    base = f"pcam/camelyonpatch_level_2_split_{split}"
    with h5py.File(root / f"{base}_y.h5") as file:
        stored = _stored(file, "y")
        _refuse(
            stored.shape[1:] != (1, 1, 1) or len(stored) > MOST_IMAGES,
            f"{base}_y.h5 has labels of shape {stored.shape}",
        )
        labels = stored[:].reshape(-1)
    with h5py.File(root / f"{base}_x.h5") as file:
        shape = _stored(file, "x").shape
    wrong = f"{base}_x.h5 holds images of shape {shape} for {len(labels)} labels"
    _refuse(shape != (len(labels), 96, 96, 3), wrong)

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


def _imagenet32(root: Path, split: str) -> Split:
    """Pickled batches as in CIFAR, with labels from 1. One batch, 0.4 GB, is held at a time."""
    names = [f"train_data_batch_{i}" for i in range(1, 11)] if split == "train" else ["val_data"]

    @lru_cache(maxsize=1)
    def batch(number: int) -> tuple[np.ndarray, np.ndarray]:
        content = load_pickle(root / names[number])
        images = content["data"].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        labels = np.asarray(content["labels"], np.int64) - 1
        if len(images) != len(labels):
            msg = f"{names[number]} holds {len(images)} images and {len(labels)} labels"
            raise CorruptDataError(msg)
        return images, labels

    labels = [batch(number)[1] for number in range(len(names))]
    starts = np.cumsum([0, *(len(part) for part in labels)]).tolist()

    def image(index: int) -> Image.Image:
        number = bisect.bisect_right(starts, index) - 1
        return Image.fromarray(batch(number)[0][index - starts[number]])

    found = np.concatenate(labels)
    return Split(found, tuple(str(label) for label in range(int(found.max()) + 1)), image, lambda _: [])


PACKED: dict[str, Callable[[Path, str], Split]] = {
    "mnist": _mnist_like("MNIST"),
    "fashion-mnist": _mnist_like("FashionMNIST"),
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
    "cifar100": _cifar(
        "cifar-100-python", {"train": ["train"], "test": ["test"]}, "fine_labels", "meta", "fine_label_names"
    ),
    "stl10": _stl10,
    "pcam": _pcam,
    "imagenet32": _imagenet32,
}
"""Readers by data set: from the root of the data and the name of a split."""
