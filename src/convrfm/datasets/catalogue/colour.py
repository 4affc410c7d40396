"""Colour images of 32x32 and 96x96 pixels, in files that hold many of them."""

from convrfm.datasets.catalogue.google_drive import drive_address
from convrfm.datasets.entries import Entry, Remote, Unpacking

__all__ = ["COLOUR"]

_PCAM_FILES = {
    "train_x": ("1Ka0XfEMiwgCYPdTI-vv6eUElOBnKFKQ2", "1571f514728f59376b705fc836ff4b63"),
    "train_y": ("1269yhu3pZDP8UYFQs-NYs3FPwuK-nGSG", "35c2d7259d906cfc8143347bb8e05be7"),
    "test_x": ("1qV65ZqZvWzuIVthK8eVDhIwrbnsJdbg_", "d8c2d60d490dbd479f8199bdfa0cf6ec"),
    "test_y": ("17BHrSrwWKjYsOgTMmoqrIjDy6Fa2o_gP", "60a7035772fbdb7f34eb86d4420cf66a"),
}

COLOUR: tuple[Entry, ...] = (
    Entry(
        name="cifar10",
        title="CIFAR-10",
        source="Krizhevsky 2009, https://www.cs.toronto.edu/~kriz/cifar.html",
        licence="none stated",
        obtained="automatic",
        megabytes=357,
        shape="3x32x32",
        splits={"train": 50000, "test": 10000},
        classes=10,
        figures=("fig06", "fig08", "fig09", "fig11", "fig12"),
        remotes=(
            Remote(
                path="cifar-10-python.tar.gz",
                urls=("https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",),
                checksum="md5:c58f30108f718f92721af3b95e74349a",
                unpacking=Unpacking(""),
                gives=tuple(
                    f"cifar-10-batches-py/{name}"
                    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta")
                ),
            ),
        ),
    ),
    Entry(
        name="cifar100",
        title="CIFAR-100",
        source="Krizhevsky 2009, https://www.cs.toronto.edu/~kriz/cifar.html",
        licence="none stated",
        obtained="automatic",
        megabytes=355,
        shape="3x32x32",
        splits={"train": 50000, "test": 10000},
        classes=100,
        figures=("fig06", "fig08"),
        remotes=(
            Remote(
                path="cifar-100-python.tar.gz",
                urls=("https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",),
                checksum="md5:eb9058c3a382ffc7106e4002c42a8d85",
                unpacking=Unpacking(""),
                gives=("cifar-100-python/train", "cifar-100-python/test", "cifar-100-python/meta"),
            ),
        ),
    ),
    Entry(
        name="svhn",
        title="SVHN, cropped digits",
        source="Netzer et al. 2011, http://ufldl.stanford.edu/housenumbers/",
        licence="non-commercial use",
        obtained="automatic",
        megabytes=246,
        shape="3x32x32",
        splits={"train": 73257, "test": 26032},
        classes=10,
        figures=("fig03", "fig04", "fig06", "fig08", "fig09", "fig10"),
        remotes=tuple(
            Remote(name, (f"http://ufldl.stanford.edu/housenumbers/{name}",), f"md5:{md5}", gives=(name,))
            for name, md5 in (
                ("train_32x32.mat", "e26dedcc434d2e4c54c9b2d4a06d8373"),
                ("test_32x32.mat", "eb5a983be6a315427106f1b164d9cef3"),
            )
        ),
        notes="The files have label 10 for the digit 0; here it is class 0.",
    ),
    Entry(
        name="stl10",
        title="STL-10",
        source="Coates et al. 2011, https://cs.stanford.edu/~acoates/stl10/",
        licence="none stated; images from ImageNet",
        obtained="automatic",
        megabytes=5780,
        shape="3x96x96",
        splits={"train": 5000, "test": 8000},
        classes=10,
        figures=("fig09",),
        remotes=(
            Remote(
                path="stl10_binary.tar.gz",
                urls=("http://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz",),
                checksum="md5:91f7769df0f17e558f3565bffb0c7dfb",
                unpacking=Unpacking(""),
                gives=tuple(
                    f"stl10_binary/{name}"
                    for name in (
                        "train_X.bin",
                        "train_y.bin",
                        "unlabeled_X.bin",
                        "test_X.bin",
                        "test_y.bin",
                        "class_names.txt",
                    )
                ),
            ),
        ),
        notes="torchvision's loader insists on the unlabelled images, although nothing here reads them.",
    ),
    Entry(
        name="pcam",
        title="PatchCamelyon",
        source="Veeling et al. 2018, https://github.com/basveeling/pcam",
        licence="CC0",
        obtained="fragile",
        megabytes=15600,
        shape="3x96x96",
        splits={"train": 262144, "test": 32768},
        classes=2,
        figures=("fig09",),
        remotes=tuple(
            Remote(
                path=f"pcam/camelyonpatch_level_2_split_{part}.h5.gz",
                urls=(
                    f"https://zenodo.org/records/2546921/files/camelyonpatch_level_2_split_{part}.h5.gz?download=1",
                    drive_address(key),
                ),
                checksum=f"md5:{md5}",
                unpacking=Unpacking("pcam"),
                gives=(f"pcam/camelyonpatch_level_2_split_{part}.h5",),
            )
            for part, (key, md5) in _PCAM_FILES.items()
        ),
        notes="Google Drive, where torchvision fetches it, often answers with a page about its quota; the authors' copy at "
        "Zenodo is tried first.",
    ),
    Entry(
        name="imagenet32",
        title="ImageNet32",
        source="Chrabaszcz et al. 2017, https://image-net.org/download-images.php",
        licence="non-commercial research, account needed",
        obtained="manual",
        megabytes=3560,
        shape="3x32x32",
        splits={"train": 1281167, "val": 50000},
        classes=1000,
        figures=("fig08",),
        needs=(*(f"train_data_batch_{i}" for i in range(1, 11)), "val_data"),
        steps="Log in at https://image-net.org/download-images.php, take the 32x32 training and validation archives of the "
        "section on downsampled images, and unpack them, so that train_data_batch_1 ... train_data_batch_10 and val_data lie "
        "in the folder itself.",
        test_split="val",
        notes="Labels run from 1 to 1000 in the files, from 0 here; their order is that of the downsampled set, not that of "
        "torchvision's classes.",
    ),
)
