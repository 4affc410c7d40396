"""Every data set and weight file, by name. Standard library only: rules are planned with it."""

import difflib
from collections.abc import Mapping
from itertools import combinations

from convrfm.datasets.catalogue import WITH_FILES
from convrfm.datasets.entries import Entry, Remote
from convrfm.errors import DataError

__all__ = [
    "CIFAR_WEIGHTS", "IMAGE_SETS", "PAIRED_CLASSES", "REGISTRY", "WEIGHTS", "class_pairs", "files_behind", "find_entry",
]  # fmt: skip

# fmt: off
_EMBEDDED: tuple[Entry, ...] = (
    Entry(
        name="digits", title="scikit-learn's digits", source="Alpaydin and Kaynak 1998 (UCI), through scikit-learn",
        licence="CC BY 4.0", obtained="embedded", shape="1x8x8", splits={"train": 1797}, classes=10, test_part="train",
        notes="Stands in for MNIST and SVHN where nothing is to be downloaded.",
    ),
    Entry(
        name="street-digits", title="street digits", source="convrfm.datasets.local_signal, from scikit-learn's digits",
        licence="CC BY 4.0", obtained="generated", shape="1x8x8", splits={"train": 1797}, classes=10, test_part="train",
        stands_on=("digits",),
        notes="Each digit in a random grey on a ground of another one: brightness says nothing of the class, as in SVHN, for "
        "which they stand in.",
    ),
    Entry(
        name="photographs", title="scikit-learn's photographs",
        source="scikit-learn's load_sample_images: china.jpg, flower.jpg", licence="CC BY", obtained="embedded",
        shape="3x427x640", splits={"train": 2}, classes=2, test_part="train",
        notes="Two natural photographs, each a class of its own; they stand in for ImageNet.",
    ),
    Entry(
        name="photograph-patches", title="patches of scikit-learn's photographs",
        source="convrfm.datasets.formats, from scikit-learn's load_sample_images", licence="CC BY",
        obtained="generated", shape="3x32x32", splits={"train": 2000, "test": 2000}, classes=2,
        stands_on=("photographs",),
        notes="Random places of two photographs; the class is the photograph. Training patches lie in its left half and test "
        "patches in its right one. They stand in for small colour images.",
    ),
    Entry(
        name="bars", title="noisy bars",
        source="Karp et al. 2021; section 4 of arXiv 2309.00570; convrfm.datasets.local_signal", licence="generated",
        obtained="generated", shape="1x16x32", classes=2, figures=("fig05",),
    ),
    Entry(
        name="noisy-digits", title="noisy digits", source="convrfm.datasets.local_signal, from scikit-learn's digits",
        licence="CC BY 4.0", obtained="generated", shape="1x42x42", classes=10, stands_on=("digits",),
        notes="Stands in for noisy MNIST.",
    ),
    Entry(
        name="noisy-mnist", title="noisy MNIST",
        source="Karp et al. 2021; section 4 of arXiv 2309.00570; convrfm.datasets.local_signal", licence="as MNIST",
        obtained="generated", shape="1x42x42", classes=10, figures=("fig04", "fig05"), stands_on=("mnist",),
    ),
)
# fmt: on
"""Images that come with an installed package, and tasks that the library generates."""

_WEIGHT_FILES: dict[str, tuple[str, float, float]] = {
    "alexnet-v1": ("alexnet-owt-7be5be79.pth", 244.4, 56.522),
    "vgg11-v1": ("vgg11-8a719046.pth", 531.5, 69.02),
    "vgg13-v1": ("vgg13-19584684.pth", 532.2, 69.928),
    "vgg16-v1": ("vgg16-397923af.pth", 553.4, 71.592),
    "vgg19-v1": ("vgg19-dcbb9e9d.pth", 574.7, 72.376),
    "vgg11_bn-v1": ("vgg11_bn-6002323d.pth", 531.5, 70.37),
    "vgg13_bn-v1": ("vgg13_bn-abd245e5.pth", 532.3, 71.586),
    "vgg16_bn-v1": ("vgg16_bn-6c64b313.pth", 553.5, 73.36),
    "vgg19_bn-v1": ("vgg19_bn-c79401a0.pth", 574.8, 74.218),
    "resnet18-v1": ("resnet18-f37072fd.pth", 46.8, 69.758),
    "resnet34-v1": ("resnet34-b627a593.pth", 87.3, 73.314),
    "resnet50-v1": ("resnet50-0676ba61.pth", 102.5, 76.13),
    "resnet101-v1": ("resnet101-63fe2227.pth", 178.8, 77.374),
    "resnet152-v1": ("resnet152-394f9c45.pth", 241.7, 78.312),
    "resnet50-v2": ("resnet50-11ad3fa6.pth", 102.5, 80.858),
    "resnet101-v2": ("resnet101-cd907fc2.pth", 178.8, 81.886),
    "resnet152-v2": ("resnet152-f82ba261.pth", 241.7, 82.284),
}
"""File, megabytes, and published accuracy in percent; the name of a file ends with the first digits of its SHA-256."""


def _weights(name: str, file: str, megabytes: float, accuracy: float) -> Entry:
    network, version = name.split("-")
    checksum = f"sha256:{file.removesuffix('.pth').rpartition('-')[2]}"
    return Entry(
        name=name,
        title=f"weights of torchvision's {network}, IMAGENET1K_{version.upper()}",
        source="https://pytorch.org/vision/stable/models.html",
        licence="BSD code; trained on ImageNet, whose terms are for non-commercial research",
        obtained="automatic",
        megabytes=megabytes,
        shape="3x224x224",
        classes=1000,
        network=network,
        trained_on="imagenet",
        accuracy=accuracy,
        figures=("fig01", "fig02", "fig07") if network == "vgg11" else ("fig01", "fig07"),
        remotes=(Remote(file, (f"https://download.pytorch.org/models/{file}",), checksum, gives=(file,)),),
    )


WEIGHTS: tuple[Entry, ...] = tuple(_weights(name, *known) for name, known in _WEIGHT_FILES.items())
"""Weights of networks trained on ImageNet, from PyTorch's model zoo.

Version 1 is pinned: `weights="DEFAULT"`, which the authors' code uses, is version 2 for ResNet50, 101 and 152 since
torchvision 0.13. Version 2 is an entry of its own where it exists.
"""

_CIFAR_FILES: dict[str, tuple[str, float, float]] = {
    "resnet20": ("12fca82f0bebc4135bf1f32f6e3710e61d5108578464b84fd6d7f5c1b04036c8", 1.1, 91.73),
    "resnet32": ("d509ac1820d7f25398913559d7e81a13229b1e7adc5648e3bfa5e22dc137f850", 1.9, 92.63),
    "resnet44": ("014dd6541728a1c700b1642ab640e211dc6eb8ed507d70697458dc8f8a0ae2e4", 2.7, 93.10),
    "resnet56": ("4bfd97631478d6b638d2764fd2baff3edb1d7d82252d54439343b6596b9b5367", 3.5, 93.39),
}
"""SHA-256, with whose first digits the name of the file ends; megabytes; and published accuracy in percent."""


def _cifar_weights(network: str, sha256: str, megabytes: float, accuracy: float) -> Entry:
    project, file = "akamaster/pytorch_resnet_cifar10", f"{network}-{sha256[:8]}.th"
    commit = "d5489e8995e81e91ce6b1d69dcc98ad579b0b153"
    url = f"https://raw.githubusercontent.com/{project}/{commit}/pretrained_models/{file}"
    return Entry(
        name=f"{network}-cifar10",
        title=f"weights of {network} for CIFAR-10",
        source=f"https://github.com/{project}",
        licence="BSD",
        obtained="automatic",
        megabytes=megabytes,
        shape="3x32x32",
        classes=10,
        network=network,
        trained_on="cifar10",
        accuracy=accuracy,
        remotes=(Remote(file, (url,), f"sha256:{sha256}", gives=(file,)),),
    )


CIFAR_WEIGHTS: tuple[Entry, ...] = tuple(_cifar_weights(network, *known) for network, known in _CIFAR_FILES.items())
"""Weights of residual networks trained on all training images of CIFAR-10, which are beyond the paper's list."""

IMAGE_SETS: tuple[Entry, ...] = (*WITH_FILES, *_EMBEDDED)

REGISTRY: Mapping[str, Entry] = {entry.name: entry for entry in (*IMAGE_SETS, *WEIGHTS, *CIFAR_WEIGHTS)}

PAIRED_CLASSES = 20
"""The authors' binary tasks are all pairs among the first 20 classes of a data set."""


def find_entry(name: str) -> Entry:
    """The entry of a name.

    Raises:
        DataError: there is none.
    """
    if name not in REGISTRY:
        close = difflib.get_close_matches(name, REGISTRY, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        msg = f"Unknown data set {name!r}; the registry has {', '.join(REGISTRY)}.{hint}"
        raise DataError(msg)
    return REGISTRY[name]


def files_behind(name: str) -> tuple[str, ...]:
    """Names of the data sets with files that one is made from, itself included if it has files."""
    entry = find_entry(name)
    own = (name,) if entry.has_files else ()
    return own + tuple(base for other in entry.stands_on for base in files_behind(other))


def class_pairs(classes: int = PAIRED_CLASSES) -> list[tuple[int, int]]:
    """All pairs c1 < c2 of the first classes: 190 of 20."""
    return list(combinations(range(classes), 2))
