"""Every data set and weight file, by name: where they come from, what they hold, and their traps.

Layouts are those that torchvision's loaders expect, with the folder of the data set as their root. Checksums are the
published ones, which torchvision checks as well; those of unpacked idx files were taken from published files. Standard
library only: rules are planned with it.
"""

import difflib
from collections.abc import Mapping
from itertools import combinations
from typing import Any

from convrfm.datasets.entries import CLASS_FOLDERS, Entry, Layout, Remote, Unpacking
from convrfm.errors import DataError

__all__ = [
    "CIFAR_WEIGHTS", "IMAGE_SETS", "PAIRED_CLASSES", "REGISTRY", "WEIGHTS", "class_pairs", "files_behind", "find_entry",
]  # fmt: skip

_CIFAR = "https://www.cs.toronto.edu/~kriz"
_GTSRB = "https://sid.erda.dk/public/archives/daaeac0d7ce1152aea9b61d9f1e19370"
_VGG = "https://www.robots.ox.ac.uk/~vgg/data"
_ZENODO, _PCAM = "https://zenodo.org/records/2546921/files", "camelyonpatch_level_2_split"


def _drive(key: str) -> str:
    """Address of a file on Google Drive, which answers with a web page when its quota is used up."""
    return f"https://drive.usercontent.google.com/download?id={key}&export=download&confirm=t"


def _files(folder: str, base: str, sums: Mapping[str, str]) -> tuple[Remote, ...]:
    """Files that are used as they are, by name with their MD5."""
    return tuple(
        Remote(f"{folder}{name}", (base + name,), f"md5:{md5}", gives=(f"{folder}{name}",)) for name, md5 in sums.items()
    )


def _gzipped(folder: str, bases: tuple[str, ...], sums: Mapping[str, tuple[str, str]]) -> dict[str, Any]:
    """Remotes and contents: files that are compressed one by one, by name with both MD5; the unpacked one is "" if unknown."""
    how, remotes = Unpacking(folder.rstrip("/")), []
    for name, (packed, _) in sums.items():
        urls = tuple(f"{base}{name}.gz" for base in bases)
        remotes.append(Remote(f"{folder}{name}.gz", urls, f"md5:{packed}", how, gives=(f"{folder}{name}",)))
    contents = _contents(folder, {name: unpacked for name, (_, unpacked) in sums.items()})
    return {"remotes": tuple(remotes), "contents": contents}


def _archive(path: str, url: str, md5: str, *gives: str, members: str = "*", nested: bool = False) -> Remote:
    """An archive that is unpacked in the folder where it lies."""
    unpacking = Unpacking(path.rpartition("/")[0], members, nested)
    return Remote(path, (url,), f"md5:{md5}" if md5 else "", unpacking, gives)


def _one_archive(
    path: str, url: str, md5: str, folder: str, sums: Mapping[str, str], *, members: str = "*", nested: bool = False
) -> dict[str, Any]:
    """Remotes and contents: one archive, which gives files in a folder, by name with their MD5, "" if unknown."""
    remote = _archive(path, url, md5, *(f"{folder}{name}" for name in sums), members=members, nested=nested)
    return {"remotes": (remote,), "contents": _contents(folder, sums)}


def _contents(folder: str, sums: Mapping[str, str]) -> dict[str, str]:
    """Known checksums of unpacked files, by their path, from MD5 by name."""
    return {f"{folder}{name}": f"md5:{md5}" for name, md5 in sums.items() if md5}


def _class_folders(*splits: str) -> Layout:
    """A folder for each split, with a folder of images for each class."""
    form = " and ".join(f"{split}/<class>/<image>" for split in splits)
    return Layout(CLASS_FOLDERS, tuple(f"{split}/" for split in splits), form)


# fmt: off
IMAGE_SETS: tuple[Entry, ...] = (
    # Digits, letters and articles of fashion: grey, 28x28 or 16x16.
    Entry(
        name="mnist", title="MNIST", source="LeCun et al. 1998, http://yann.lecun.com/exdb/mnist/", licence="none stated",
        obtained="automatic", megabytes=67, shape="1x28x28", splits={"train": 60000, "test": 10000}, classes=10,
        figures=("fig04", "fig05"),
        **_gzipped("MNIST/raw/", ("https://ossci-datasets.s3.amazonaws.com/mnist/", "http://yann.lecun.com/exdb/mnist/"), {
            "train-images-idx3-ubyte": ("f68b3c2dcbeaaa9fbdd348bbdeb94873", "6bbc9ace898e44ae57da46a324031adb"),
            "train-labels-idx1-ubyte": ("d53e105ee54ea40749a09fcbcd1e9432", "a25bea736e30d166cdddb491f175f624"),
            "t10k-images-idx3-ubyte": ("9fb629c4189551a2d022fa330f9573f3", "2646ac647ad5339dbf082846283269ea"),
            "t10k-labels-idx1-ubyte": ("ec29112dd5afa0611ce80d1b7f02629c", "27ae3e4e09519cfbb04c329615203637"),
        }),
    ),
    Entry(
        name="fashion-mnist", title="FashionMNIST", source="Xiao et al. 2017, https://github.com/zalandoresearch/fashion-mnist",
        licence="MIT", obtained="automatic", megabytes=86, shape="1x28x28", splits={"train": 60000, "test": 10000}, classes=10,
        reader="mnist",
        **_gzipped("FashionMNIST/raw/", ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",), {
            "train-images-idx3-ubyte": ("8d4fb7e6c68d591d4c3dfef9ec88bf0d", "f4a8712d7a061bf5bd6d2ca38dc4d50a"),
            "train-labels-idx1-ubyte": ("25c81989df183df01b3e8a0aad5dffbe", "9018921c3c673c538a1fc5bad174d6f9"),
            "t10k-images-idx3-ubyte": ("bef4ecab320f06d8554ea6380940ec79", "8181f5470baa50b63fa0f6fddb340f0a"),
            "t10k-labels-idx1-ubyte": ("bb300cfdad3c16e7a12a480ee83cd310", "15d484375f8d13e6eb1aabb0c3f46965"),
        }),
        system_folders=("/usr/share/datasets/fashion-mnist",),
    ),
    Entry(
        name="qmnist", title="QMNIST", source="Yadav and Bottou 2019, https://github.com/facebookresearch/qmnist",
        licence="BSD", obtained="automatic", megabytes=120, shape="1x28x28", splits={"train": 60000, "test": 60000}, classes=10,
        figures=("fig09",),
        **_gzipped("QMNIST/raw/", ("https://raw.githubusercontent.com/facebookresearch/qmnist/master/",), {
            "qmnist-train-images-idx3-ubyte": ("ed72d4157d28c017586c42bc6afe6370", ""),
            "qmnist-train-labels-idx2-int": ("0058f8dd561b90ffdd0f734c6a30e5e4", ""),
            "qmnist-test-images-idx3-ubyte": ("1394631089c404de565df7b7aeaf9412", ""),
            "qmnist-test-labels-idx2-int": ("5b5b05890a5e13444e108efe57b788aa", ""),
        }),
    ),
    Entry(
        name="emnist-letters", title="EMNIST letters",
        source="Cohen et al. 2017, https://www.nist.gov/itl/products-and-services/emnist-dataset", licence="none stated",
        obtained="automatic", megabytes=680, shape="1x28x28", splits={"train": 124800, "test": 20800}, classes=27,
        figures=("fig06", "fig09"), test_part="train-published",
        **_one_archive(
            "EMNIST/raw/gzip.zip", "https://biometrics.nist.gov/cs_links/EMNIST/gzip.zip", "58c8d27c78d21e728a6bc7b3cc06412e",
            "EMNIST/raw/emnist-letters-", {
                "train-images-idx3-ubyte": "6b7a6cdb4e8ae8838780bb5aeda8ab2a",
                "train-labels-idx1-ubyte": "49ecae16ee4c7ab14dcf3e8d8c39090b",
                "test-images-idx3-ubyte": "811ee95d607652077616dbaaea581e1d",
                "test-labels-idx1-ubyte": "dd1687ca8200da91c0dfd6321518806d",
            }, members="gzip/emnist-letters-*.gz", nested=True,
        ),
        notes="Labels run from 1 to 26; as in torchvision, class 0 exists and is empty, which makes 27 outputs. Images are "
        "stored transposed, and are used so, as in the authors' code, whose test part is a fifth of the training split.",
    ),
    Entry(
        name="usps", title="USPS", source="Hull 1994, https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/multiclass.html",
        licence="none stated", obtained="automatic", megabytes=9, shape="1x16x16", splits={"train": 7291, "test": 2007},
        classes=10,
        remotes=_files("", "https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/multiclass/", {
            "usps.bz2": "ec16c51db3855ca6c91edd34d0e9b197", "usps.t.bz2": "8ea070ee2aca1ac39742fdd1ef5ed118",
        }),
    ),
    # Colour images of 32x32 and 96x96 pixels, in files that hold many of them.
    Entry(
        name="cifar10", title="CIFAR-10", source="Krizhevsky 2009, https://www.cs.toronto.edu/~kriz/cifar.html",
        licence="none stated", obtained="automatic", megabytes=357, shape="3x32x32", splits={"train": 50000, "test": 10000},
        classes=10, figures=("fig06", "fig08", "fig09", "fig11", "fig12"),
        **_one_archive(
            "cifar-10-python.tar.gz", f"{_CIFAR}/cifar-10-python.tar.gz", "c58f30108f718f92721af3b95e74349a",
            "cifar-10-batches-py/", {
                "data_batch_1": "c99cafc152244af753f735de768cd75f", "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
                "data_batch_3": "54ebc095f3ab1f0389bbae665268c751", "data_batch_4": "634d18415352ddfa80567beed471001a",
                "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb", "test_batch": "40351d587109b95175f43aff81a1287e",
                "batches.meta": "5ff9c542aee3614f3951f8cda6e48888",
            },
        ),
        batches=tuple(f"cifar-10-batches-py/data_batch_{i}" for i in range(1, 6)),
    ),
    Entry(
        name="cifar100", title="CIFAR-100", source="Krizhevsky 2009, https://www.cs.toronto.edu/~kriz/cifar.html",
        licence="none stated", obtained="automatic", megabytes=355, shape="3x32x32", splits={"train": 50000, "test": 10000},
        classes=100, figures=("fig06", "fig08"),
        **_one_archive(
            "cifar-100-python.tar.gz", f"{_CIFAR}/cifar-100-python.tar.gz", "eb9058c3a382ffc7106e4002c42a8d85",
            "cifar-100-python/", {
                "train": "16019d7e3df5f24257cddd939b257f8d", "test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
                "meta": "7973b15100ade9c7d40fb424638fde48",
            },
        ),
    ),
    Entry(
        name="svhn", title="SVHN, cropped digits", source="Netzer et al. 2011, http://ufldl.stanford.edu/housenumbers/",
        licence="non-commercial use", obtained="automatic", megabytes=246, shape="3x32x32",
        splits={"train": 73257, "test": 26032}, classes=10, figures=("fig03", "fig04", "fig06", "fig08", "fig09", "fig10"),
        remotes=_files("", "http://ufldl.stanford.edu/housenumbers/", {
            "train_32x32.mat": "e26dedcc434d2e4c54c9b2d4a06d8373", "test_32x32.mat": "eb5a983be6a315427106f1b164d9cef3",
        }),
        notes="The files have label 10 for the digit 0; here it is class 0.",
    ),
    Entry(
        name="stl10", title="STL-10", source="Coates et al. 2011, https://cs.stanford.edu/~acoates/stl10/",
        licence="none stated; images from ImageNet", obtained="automatic", megabytes=5780, shape="3x96x96",
        splits={"train": 5000, "test": 8000}, classes=10, figures=("fig09",),
        **_one_archive(
            "stl10_binary.tar.gz", "http://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz",
            "91f7769df0f17e558f3565bffb0c7dfb", "stl10_binary/", {
                "train_X.bin": "918c2871b30a85fa023e0c44e0bee87f", "train_y.bin": "5a34089d4802c674881badbb80307741",
                "test_X.bin": "7f263ba9f9e0b06b93213547f721ac82", "test_y.bin": "36f9794fa4beb8a2c72628de14fa638e",
                "class_names.txt": "",
            },
        ),
        notes="The unlabelled images, on which torchvision's loader insists, are not read here and may be missing.",
    ),
    Entry(
        name="pcam", title="PatchCamelyon", source="Veeling et al. 2018, https://github.com/basveeling/pcam", licence="CC0",
        obtained="fragile", megabytes=15600, shape="3x96x96", splits={"train": 262144, "test": 32768}, classes=2,
        figures=("fig09",),
        remotes=tuple(
            Remote(
                f"pcam/{_PCAM}_{part}.h5.gz", (f"{_ZENODO}/{_PCAM}_{part}.h5.gz?download=1", _drive(key)),
                f"md5:{md5}", Unpacking("pcam"), gives=(f"pcam/{_PCAM}_{part}.h5",),
            )
            for part, key, md5 in (
                ("train_x", "1Ka0XfEMiwgCYPdTI-vv6eUElOBnKFKQ2", "1571f514728f59376b705fc836ff4b63"),
                ("train_y", "1269yhu3pZDP8UYFQs-NYs3FPwuK-nGSG", "35c2d7259d906cfc8143347bb8e05be7"),
                ("test_x", "1qV65ZqZvWzuIVthK8eVDhIwrbnsJdbg_", "d8c2d60d490dbd479f8199bdfa0cf6ec"),
                ("test_y", "17BHrSrwWKjYsOgTMmoqrIjDy6Fa2o_gP", "60a7035772fbdb7f34eb86d4420cf66a"),
            )
        ),
        notes="Google Drive, where torchvision fetches it, often answers with a page about its quota; the authors' copy at "
        "Zenodo is tried first.",
    ),
    Entry(
        name="imagenet32", title="ImageNet32", source="Chrabaszcz et al. 2017, https://image-net.org/download-images.php",
        licence="non-commercial research, account needed", obtained="manual", megabytes=3560, shape="3x32x32",
        splits={"train": 1281167, "val": 50000}, classes=1000, figures=("fig08",),
        needs=(*(f"train_data_batch_{i}" for i in range(1, 11)), "val_data"),
        batches=tuple(f"train_data_batch_{i}" for i in range(1, 11)),
        steps="Log in at https://image-net.org/download-images.php, take the 32x32 training and validation archives of the "
        "section on downsampled images, and unpack them into the folder itself, as train_data_batch_1 ... "
        "train_data_batch_10 and val_data.",
        test_split="val",
        notes="Labels run from 1 to 1000 in the files, from 0 here; their order is that of the downsampled set, not that of "
        "torchvision's classes.",
    ),
    # Photographs: one file for each image.
    Entry(
        name="gtsrb", title="GTSRB", source="Stallkamp et al. 2012, https://benchmark.ini.rub.de/gtsrb_news.html",
        licence="none stated", obtained="automatic", megabytes=740, shape="3x15x15 to 3x250x250",
        splits={"train": 26640, "test": 12630}, classes=43, figures=("fig06", "fig08", "fig09", "fig11", "fig12"),
        class_sorted=("train",),
        remotes=tuple(
            _archive(f"gtsrb/{name}.zip", f"{_GTSRB}/{name}.zip", md5, f"gtsrb/{given}")
            for name, md5, given in (
                ("GTSRB-Training_fixed", "513f3c79a4c5141765e10e952eaa2478", "GTSRB/Training/"),
                ("GTSRB_Final_Test_Images", "c7e4e6327067d32654124b0fe9e82185", "GTSRB/Final_Test/Images/"),
                ("GTSRB_Final_Test_GT", "fe31e9c9270bbcd7b84b7f21a9d9d9e5", "GT-final_test.csv"),
            )
        ),
        contents={"gtsrb/GTSRB/Training/": "ppm:26640", "gtsrb/GTSRB/Final_Test/Images/": "ppm:12630"},
        layouts=(
            Layout("gtsrb-kaggle", ("Train/", "Test/", "Test.csv"), "Train/<class>/*.png, Test/*.png and Test.csv (Kaggle)"),
            _class_folders("train", "test"),
        ),
        notes="The first 5000 training images hold only about 5 of the 43 classes. Kaggle's copy has the 39209 images of the "
        "final training set; torchvision, and so the authors' code, has 26640.",
    ),
    Entry(
        name="dtd", title="DTD, partition 1", source="Cimpoi et al. 2014, https://www.robots.ox.ac.uk/~vgg/data/dtd/",
        licence="research use", obtained="automatic", megabytes=1250, shape="3x300x300 to 3x640x640",
        splits={"train": 1880, "test": 1880}, classes=47, figures=("fig06", "fig09"), class_sorted=("train", "test"),
        layouts=(_class_folders("train", "test"),),
        remotes=(_archive(
            "dtd/dtd-r1.0.1.tar.gz", f"{_VGG}/dtd/download/dtd-r1.0.1.tar.gz", "fff73e5086ae6bdbea199a49dfb8a4c1",
            *(f"dtd/dtd/{name}" for name in ("labels/train1.txt", "labels/test1.txt", "images/")),
        ),),
    ),
    Entry(
        name="aircraft", title="FGVC-Aircraft, manufacturers",
        source="Maji et al. 2013, https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/", licence="non-commercial research",
        obtained="automatic", megabytes=5500, shape="3, about 1 Mpx", splits={"train": 3334, "test": 3333}, classes=30,
        figures=("fig06", "fig09"), class_sorted=("train", "test"), layouts=(_class_folders("train", "test"),),
        remotes=(_archive(
            "fgvc-aircraft-2013b.tar.gz", f"{_VGG}/fgvc-aircraft/archives/fgvc-aircraft-2013b.tar.gz", "",
            "fgvc-aircraft-2013b/data/manufacturers.txt", "fgvc-aircraft-2013b/data/images_manufacturer_train.txt",
            "fgvc-aircraft-2013b/data/images_manufacturer_test.txt", "fgvc-aircraft-2013b/data/images/",
        ),),
        notes="No checksum is published. torchvision's documentation says 41 manufacturers; the file lists 30.",
    ),
    Entry(
        name="caltech101", title="Caltech101", source="Li et al. 2004, https://data.caltech.edu/records/mzrjq-6wc02",
        licence="CC BY 4.0", obtained="fragile", megabytes=410, shape="1 or 3, about 300x200", splits={"train": 8677},
        classes=101, figures=("fig09",), class_sorted=("train",), test_part="train", layouts=(_class_folders("train"),),
        remotes=(_archive(
            "caltech101/caltech-101.zip", "https://data.caltech.edu/records/mzrjq-6wc02/files/caltech-101.zip",
            "3138e1922a9193bfa496528edbbc45d0", "caltech101/101_ObjectCategories/",
            members="caltech-101/101_ObjectCategories.tar.gz", nested=True,
        ),),
        notes="No official split: a fifth tests. Some images are grey. The class of background images is left out.",
    ),
    Entry(
        name="flowers102", title="Flowers102",
        source="Nilsback and Zisserman 2008, https://www.robots.ox.ac.uk/~vgg/data/flowers/102/", licence="none stated",
        obtained="automatic", megabytes=690, shape="3, about 500x600", splits={"train": 1020, "test": 6149}, classes=102,
        class_sorted=("train", "test"), layouts=(_class_folders("train", "test"),),
        remotes=(
            _archive(
                "flowers-102/102flowers.tgz", f"{_VGG}/flowers/102/102flowers.tgz", "52808999861908f626f3c1f4e79d11fa",
                "flowers-102/jpg/",
            ),
            *_files("flowers-102/", f"{_VGG}/flowers/102/", {
                "imagelabels.mat": "e0620be6f572b9609742df49c70aed4d", "setid.mat": "a5357ecc9cb78c4bef273ce3793fc85c",
            }),
        ),
    ),
    Entry(
        name="food101", title="Food101",
        source="Bossard et al. 2014, https://data.vision.ee.ethz.ch/cvl/datasets_extra/food-101/",
        licence="none stated; images from Foodspotting", obtained="automatic", megabytes=10200, shape="3, up to 512x512",
        splits={"train": 75750, "test": 25250}, classes=101, class_sorted=("train", "test"),
        layouts=(_class_folders("train", "test"),),
        remotes=(_archive(
            "food-101.tar.gz", "http://data.vision.ee.ethz.ch/cvl/food-101.tar.gz",
            "85eeb15f3717b99a5da872d97d918f87",
            *(f"food-101/{name}" for name in ("meta/train.json", "meta/test.json", "images/")),
        ),),
    ),
    Entry(
        name="celeba", title="CelebA, attribute Smiling",
        source="Liu et al. 2015, https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html", licence="non-commercial research",
        obtained="fragile", megabytes=3200, shape="3x218x178", splits={"train": 162770, "test": 19962}, classes=2,
        remotes=(
            *(
                Remote(f"celeba/{name}", (_drive(key),), f"md5:{md5}", gives=(f"celeba/{name}",))
                for name, key, md5 in (
                    ("list_attr_celeba.txt", "0B7EVK8r0v71pblRyaVFSWGxPY0U", "75e246fa4810816ffd6ee81facbd244c"),
                    ("identity_CelebA.txt", "1_ee_0u7vcNLOfNLegJRHmolfH5ICW-XS", "32bd1bd63d3c78cd57e08160ec5ed1e2"),
                    ("list_bbox_celeba.txt", "0B7EVK8r0v71pbThiMVRxWXZ4dU0", "00566efa6fedff7a56946cd1c10f1c16"),
                    ("list_landmarks_align_celeba.txt", "0B7EVK8r0v71pd0FJY3Blby1HUTQ", "cc24ecafdb5b50baae59b03474781f8c"),
                    ("list_eval_partition.txt", "0B7EVK8r0v71pY0NSMzRuSXJEVkk", "d32c9cbf5e040fd4025c592c306e6668"),
                )
            ),
            _archive(
                "celeba/img_align_celeba.zip", _drive("0B7EVK8r0v71pZjFTYXZWM3FlRnM"),
                "00d2c5bc6d35e252742224ab0c1e8fcb", "celeba/img_align_celeba/",
            ),
        ),
        notes="The authors' loader takes the vector of 40 attributes as a class, which has no meaning; here the class is one "
        "attribute, Smiling.",
    ),
    Entry(
        name="stanford-cars", title="StanfordCars",
        source="Krause et al. 2013, https://ai.stanford.edu/~jkrause/cars/car_dataset.html (off line)",
        licence="non-commercial research", obtained="manual", megabytes=2000, shape="3, variable",
        splits={"train": 8144, "test": 8041}, classes=196, layouts=(_class_folders("train", "test"),),
        needs=(
            "stanford_cars/devkit/cars_meta.mat", "stanford_cars/devkit/cars_train_annos.mat",
            "stanford_cars/cars_test_annos_withlabels.mat", "stanford_cars/cars_train/", "stanford_cars/cars_test/",
        ),
        steps="The original server is gone. Take car_devkit.tgz, cars_train.tgz, cars_test.tgz and "
        "cars_test_annos_withlabels.mat from a copy that you trust and unpack them into stanford_cars/, as "
        "stanford_cars/devkit/, stanford_cars/cars_train/ and stanford_cars/cars_test/.",
    ),
    Entry(
        name="imagenet", title="ImageNet (ILSVRC 2012)",
        source="Russakovsky et al. 2015, https://image-net.org/challenges/LSVRC/2012/",
        licence="non-commercial research, account needed", obtained="manual", megabytes=144000, shape="3, variable",
        splits={"train": 1281167, "val": 50000}, classes=1000, figures=("fig01", "fig02", "fig03", "fig07", "fig11"),
        reader="class-folders", class_sorted=("train", "val"), needs=("train/",),
        steps="Log in at https://image-net.org, take ILSVRC2012_img_train.tar, and unpack it and the 1000 archives in it, as "
        "train/n01440764/*.JPEG .... For validation images, bring ILSVRC2012_img_val.tar into the same form, "
        "val/n01440764/*.JPEG .... An unpacked copy elsewhere, such as Kaggle's ILSVRC/Data/CLS-LOC, may be used where it is.",
        test_split="val", recorded_when_read=True,
    ),
    Entry(
        name="imagenette", title="Imagenette, 320 px", source="Howard 2019, https://github.com/fastai/imagenette",
        licence="Apache 2.0; images from ImageNet", obtained="automatic", megabytes=690, shape="3, shorter side 320",
        splits={"train": 9469, "val": 3925}, classes=10, class_sorted=("train", "val"),
        remotes=(_archive(
            "imagenette2-320.tgz", "https://s3.amazonaws.com/fast-ai-imageclas/imagenette2-320.tgz",
            "3df6f0d01a2c9592104656642f5e78a3", "imagenette2-320/train/", "imagenette2-320/val/",
        ),),
        test_split="val", notes="Ten classes of ImageNet that need no account: photographs in place of some of ImageNet.",
    ),
    # Images that come with an installed package, and tasks that the library generates.
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
        source="convrfm.datasets.formats, from scikit-learn's load_sample_images", licence="CC BY", obtained="generated",
        shape="3x32x32", splits={"train": 2000, "test": 2000}, classes=2, stands_on=("photographs",),
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
        name=name, title=f"weights of torchvision's {network}, IMAGENET1K_{version.upper()}", megabytes=megabytes,
        source="https://pytorch.org/vision/stable/models.html", obtained="automatic",
        licence="BSD code; trained on ImageNet, whose terms are for non-commercial research",
        shape="3x224x224", classes=1000, network=network, trained_on="imagenet", accuracy=accuracy,
        figures=("fig01", "fig02", "fig07") if network == "vgg11" else ("fig01", "fig07"),
        remotes=(Remote(file, (f"https://download.pytorch.org/models/{file}",), checksum, gives=(file,)),),
    )  # fmt: skip


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
        name=f"{network}-cifar10", title=f"weights of {network} for CIFAR-10", megabytes=megabytes,
        source=f"https://github.com/{project}", obtained="automatic", licence="BSD",
        shape="3x32x32", classes=10, network=network, trained_on="cifar10", accuracy=accuracy,
        remotes=(Remote(file, (url,), f"sha256:{sha256}", gives=(file,)),),
    )  # fmt: skip


CIFAR_WEIGHTS: tuple[Entry, ...] = tuple(_cifar_weights(network, *known) for network, known in _CIFAR_FILES.items())
"""Weights of residual networks trained on all training images of CIFAR-10, which are beyond the paper's list."""

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
