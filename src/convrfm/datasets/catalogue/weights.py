"""Weights of networks trained on ImageNet, from PyTorch's model zoo.

Version 1 is pinned: `weights="DEFAULT"`, which the authors' code uses, is version 2 for ResNet50, 101 and 152 since
torchvision 0.13. Version 2 is an entry of its own where it exists. The name of a file ends with the first digits of its
SHA-256.
"""

from convrfm.datasets.entries import Entry, Remote

__all__ = ["WEIGHTS"]

_FILES: dict[str, tuple[str, float]] = {
    "alexnet-v1": ("alexnet-owt-7be5be79.pth", 244.4),
    "vgg11-v1": ("vgg11-8a719046.pth", 531.5),
    "vgg13-v1": ("vgg13-19584684.pth", 532.2),
    "vgg16-v1": ("vgg16-397923af.pth", 553.4),
    "vgg19-v1": ("vgg19-dcbb9e9d.pth", 574.7),
    "vgg11_bn-v1": ("vgg11_bn-6002323d.pth", 531.5),
    "vgg13_bn-v1": ("vgg13_bn-abd245e5.pth", 532.3),
    "vgg16_bn-v1": ("vgg16_bn-6c64b313.pth", 553.5),
    "vgg19_bn-v1": ("vgg19_bn-c79401a0.pth", 574.8),
    "resnet18-v1": ("resnet18-f37072fd.pth", 46.8),
    "resnet34-v1": ("resnet34-b627a593.pth", 87.3),
    "resnet50-v1": ("resnet50-0676ba61.pth", 102.5),
    "resnet101-v1": ("resnet101-63fe2227.pth", 178.8),
    "resnet152-v1": ("resnet152-394f9c45.pth", 241.7),
    "resnet50-v2": ("resnet50-11ad3fa6.pth", 102.5),
    "resnet101-v2": ("resnet101-cd907fc2.pth", 178.8),
    "resnet152-v2": ("resnet152-f82ba261.pth", 241.7),
}


def _entry(name: str, file: str, megabytes: float) -> Entry:
    network, version = name.split("-")
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
        figures=("fig01", "fig02", "fig07") if network == "vgg11" else ("fig01", "fig07"),
        remotes=(
            Remote(
                path=file,
                urls=(f"https://download.pytorch.org/models/{file}",),
                checksum=f"sha256:{file.removesuffix('.pth').rpartition('-')[2]}",
                gives=(file,),
            ),
        ),
    )


WEIGHTS: tuple[Entry, ...] = tuple(_entry(name, *known) for name, known in _FILES.items())
