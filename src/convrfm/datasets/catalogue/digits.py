"""Handwritten digits and letters, and articles of fashion in the same format: grey, 28x28 or 16x16."""

from convrfm.datasets.entries import Entry, Remote, Unpacking

__all__ = ["DIGITS"]


def _gzipped(folder: str, urls: tuple[str, ...], files: dict[str, str]) -> tuple[Remote, ...]:
    """Files that are compressed one by one."""
    return tuple(
        Remote(
            path=f"{folder}/{name}",
            urls=tuple(url + name for url in urls),
            checksum=f"md5:{md5}",
            unpacking=Unpacking(folder),
            gives=(f"{folder}/{name.removesuffix('.gz')}",),
        )
        for name, md5 in files.items()
    )


DIGITS: tuple[Entry, ...] = (
    Entry(
        name="mnist",
        title="MNIST",
        source="LeCun et al. 1998, http://yann.lecun.com/exdb/mnist/",
        licence="none stated",
        obtained="automatic",
        megabytes=67,
        shape="1x28x28",
        splits={"train": 60000, "test": 10000},
        classes=10,
        figures=("fig04", "fig05"),
        remotes=_gzipped(
            "MNIST/raw",
            ("https://ossci-datasets.s3.amazonaws.com/mnist/", "http://yann.lecun.com/exdb/mnist/"),
            {
                "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
                "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
                "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
                "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
            },
        ),
    ),
    Entry(
        name="fashion-mnist",
        title="FashionMNIST",
        source="Xiao et al. 2017, https://github.com/zalandoresearch/fashion-mnist",
        licence="MIT",
        obtained="automatic",
        megabytes=86,
        shape="1x28x28",
        splits={"train": 60000, "test": 10000},
        classes=10,
        remotes=_gzipped(
            "FashionMNIST/raw",
            ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
            {
                "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
                "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
                "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
                "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
            },
        ),
    ),
    Entry(
        name="qmnist",
        title="QMNIST",
        source="Yadav and Bottou 2019, https://github.com/facebookresearch/qmnist",
        licence="BSD",
        obtained="automatic",
        megabytes=120,
        shape="1x28x28",
        splits={"train": 60000, "test": 60000},
        classes=10,
        figures=("fig09",),
        remotes=_gzipped(
            "QMNIST/raw",
            ("https://raw.githubusercontent.com/facebookresearch/qmnist/master/",),
            {
                "qmnist-train-images-idx3-ubyte.gz": "ed72d4157d28c017586c42bc6afe6370",
                "qmnist-train-labels-idx2-int.gz": "0058f8dd561b90ffdd0f734c6a30e5e4",
                "qmnist-test-images-idx3-ubyte.gz": "1394631089c404de565df7b7aeaf9412",
                "qmnist-test-labels-idx2-int.gz": "5b5b05890a5e13444e108efe57b788aa",
            },
        ),
    ),
    Entry(
        name="emnist-letters",
        title="EMNIST letters",
        source="Cohen et al. 2017, https://www.nist.gov/itl/products-and-services/emnist-dataset",
        licence="none stated",
        obtained="automatic",
        megabytes=680,
        shape="1x28x28",
        splits={"train": 124800, "test": 20800},
        classes=27,
        figures=("fig06", "fig09"),
        test_part="train-published",
        remotes=(
            Remote(
                path="EMNIST/raw/gzip.zip",
                urls=("https://biometrics.nist.gov/cs_links/EMNIST/gzip.zip",),
                checksum="md5:58c8d27c78d21e728a6bc7b3cc06412e",
                unpacking=Unpacking("EMNIST/raw", "gzip/emnist-letters-*.gz", nested=True),
                gives=tuple(
                    f"EMNIST/raw/emnist-letters-{split}-{part}"
                    for split in ("train", "test")
                    for part in ("images-idx3-ubyte", "labels-idx1-ubyte")
                ),
            ),
        ),
        notes="Labels run from 1 to 26; as in torchvision, class 0 exists and is empty, which makes 27 outputs. Images are "
        "stored transposed, and are used so, as in the authors' code, whose test part is a fifth of the training split.",
    ),
    Entry(
        name="usps",
        title="USPS",
        source="Hull 1994, https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/multiclass.html",
        licence="none stated",
        obtained="automatic",
        megabytes=9,
        shape="1x16x16",
        splits={"train": 7291, "test": 2007},
        classes=10,
        remotes=tuple(
            Remote(
                name,
                (f"https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/multiclass/{name}",),
                f"md5:{md5}",
                gives=(name,),
            )
            for name, md5 in (
                ("usps.bz2", "ec16c51db3855ca6c91edd34d0e9b197"),
                ("usps.t.bz2", "8ea070ee2aca1ac39742fdd1ef5ed118"),
            )
        ),
    ),
)
