"""Data sets of one file for each image.

Which file has which label, torchvision's loaders say where lists do, and `class_files` where folders do: torchvision takes
hidden files and folders for data. Files are opened here.
"""

from collections.abc import Callable
from pathlib import Path

from convrfm.datasets.reading.image_files import class_files
from convrfm.datasets.reading.split import Split, from_files

__all__ = ["FOLDERS"]


def _gtsrb(root: Path, split: str) -> Split:
    from torchvision.datasets import GTSRB

    paths, labels, classes = class_files(root / "gtsrb/GTSRB/Training", (".ppm",))
    if split == "test":
        samples = GTSRB(root, split=split)._samples
        paths, labels = [path for path, _ in samples], [label for _, label in samples]
    return from_files(root, paths, labels, classes)


def _dtd(root: Path, split: str) -> Split:
    from torchvision.datasets import DTD

    data = DTD(root, split=split, partition=1)
    return from_files(root, data._image_files, data._labels, data.classes)


def _aircraft(root: Path, split: str) -> Split:
    from torchvision.datasets import FGVCAircraft

    data = FGVCAircraft(root, split=split, annotation_level="manufacturer")
    return from_files(root, data._image_files, data._labels, data.classes)


def _caltech101(root: Path, split: str) -> Split:  # noqa: ARG001 (all of it is one split)
    folder = root / "caltech101" / "101_ObjectCategories"
    return from_files(root, *class_files(folder, (".jpg",), without="BACKGROUND_Google"))


def _flowers102(root: Path, split: str) -> Split:
    from torchvision.datasets import Flowers102

    data = Flowers102(root, split=split)
    return from_files(root, data._image_files, data._labels, data.classes)


def _food101(root: Path, split: str) -> Split:
    from torchvision.datasets import Food101

    data = Food101(root, split=split)
    return from_files(root, data._image_files, data._labels, data.classes)


def _celeba(root: Path, split: str) -> Split:
    from torchvision.datasets import CelebA

    data = CelebA(root, split=split)
    labels = data.attr[:, data.attr_names.index("Smiling")]
    paths = [root / "celeba" / "img_align_celeba" / name for name in data.filename]
    return from_files(root, paths, labels.tolist(), ("not smiling", "smiling"))


def _stanford_cars(root: Path, split: str) -> Split:
    from torchvision.datasets import StanfordCars

    data = StanfordCars(root, split=split)
    paths, labels = zip(*data._samples, strict=True)
    return from_files(root, paths, labels, data.classes)


def _imagenet(root: Path, split: str) -> Split:
    """Folders named by WordNet ids, in the order of torchvision's weights; torchvision's own loader wants the archives."""
    return from_files(root, *class_files(root / split))


def _imagenette(root: Path, split: str) -> Split:
    from torchvision.datasets import Imagenette

    paths, labels, folders = class_files(root / "imagenette2-320" / split, (".jpeg",))
    return from_files(root, paths, labels, [Imagenette._WNID_TO_CLASS[name][0] for name in folders])


FOLDERS: dict[str, Callable[[Path, str], Split]] = {
    "gtsrb": _gtsrb,
    "dtd": _dtd,
    "aircraft": _aircraft,
    "caltech101": _caltech101,
    "flowers102": _flowers102,
    "food101": _food101,
    "celeba": _celeba,
    "stanford-cars": _stanford_cars,
    "imagenet": _imagenet,
    "imagenette": _imagenette,
}
"""Readers by data set: from the root of the data and the name of a split."""
