"""The registry: complete, and in agreement with torchvision's tables."""

import pytest

from convrfm.datasets.registry import IMAGE_SETS, REGISTRY, WEIGHTS, find_entry
from convrfm.errors import DataError


def test_all_of_the_paper_is_there():
    wanted = (
        "mnist emnist-letters qmnist fashion-mnist usps cifar10 cifar100 svhn gtsrb stl10 pcam dtd aircraft caltech101 "
        "flowers102 food101 celeba stanford-cars imagenet imagenet32 imagenette bars noisy-mnist digits photographs"
    )
    assert set(wanted.split()) <= set(REGISTRY)
    networks = {entry.network for entry in WEIGHTS}
    assert networks == {
        "alexnet", *(f"vgg{n}{bn}" for n in (11, 13, 16, 19) for bn in ("", "_bn")),
        *(f"resnet{n}" for n in (18, 34, 50, 101, 152)),
    }  # fmt: skip
    from torchvision.models import get_model_weights

    # Version 1 always; version 2 where torchvision has it.
    for network in networks:
        versions = {version.name.removeprefix("IMAGENET1K_").lower() for version in get_model_weights(network)}
        ours = {entry.name.rpartition("-")[2] for entry in WEIGHTS if entry.network == network}
        assert ours == versions & {"v1", "v2"}
    figures = {figure for entry in REGISTRY.values() for figure in entry.figures}
    assert figures == {f"fig{n:02d}" for n in range(1, 13)}


@pytest.mark.parametrize("entry", REGISTRY.values(), ids=REGISTRY)
def test_entries_are_complete(entry):
    assert entry.title
    assert entry.source
    assert entry.licence
    assert entry.shape
    assert entry.classes > 1
    assert entry.has_files == bool(entry.required)
    assert (entry.obtained in ("automatic", "fragile")) == bool(entry.remotes)
    if entry.has_files:
        assert entry.megabytes > 0
    if entry in IMAGE_SETS and entry.obtained != "generated":
        assert "train" in entry.splits
        assert (entry.test_split in entry.splits) == (entry.test_part != "train")
    assert set(entry.class_sorted) <= set(entry.splits)
    assert all(base in REGISTRY for base in entry.stands_on)
    for remote in entry.remotes:
        assert remote.gives
        assert remote.urls
        assert all(url.startswith(("https://", "http://")) for url in remote.urls)


def test_unknown_names():
    with pytest.raises(DataError, match=r"Unknown data set 'cifar-10'.*Did you mean 'cifar10'"):
        find_entry("cifar-10")


def torchvision_tables():
    """Checksum by file name, and whole addresses, as torchvision has them."""
    from torchvision import datasets as tv

    for kind in (tv.MNIST, tv.FashionMNIST):
        yield kind.__name__, dict(kind.resources), list(kind.mirrors)
    qmnist = dict(tv.QMNIST.resources["train"] + tv.QMNIST.resources["test"])
    yield "QMNIST", {url.rpartition("/")[2]: md5 for url, md5 in qmnist.items()}, list(qmnist)
    for kind in (tv.CIFAR10, tv.CIFAR100, tv.STL10):
        yield kind.__name__, {kind.filename: kind.tgz_md5}, [kind.url]
    for kind in (tv.SVHN, tv.USPS):
        parts = [part for name, part in kind.split_list.items() if name != "extra"]
        yield kind.__name__, {file: md5 for _, file, md5 in parts}, [url for url, _, _ in parts]
    yield "EMNIST", {"gzip.zip": tv.EMNIST.md5}, [tv.EMNIST.url]
    yield "DTD", {"dtd-r1.0.1.tar.gz": tv.DTD._MD5}, [tv.DTD._URL]
    yield "Food101", {"food-101.tar.gz": tv.Food101._MD5}, [tv.Food101._URL]
    yield "FGVCAircraft", {}, [tv.FGVCAircraft._URL]
    url, md5 = tv.Imagenette._ARCHIVES["320px"]
    yield "Imagenette", {"imagenette2-320.tgz": md5}, [url]
    yield "Flowers102", dict(tv.Flowers102._file_dict.values()), [tv.Flowers102._download_url_prefix]
    yield "CelebA", {file: md5 for _, md5, file in tv.CelebA.file_list}, [key for key, _, _ in tv.CelebA.file_list]
    pcam = [file for split in ("train", "test") for file in tv.PCAM._FILES[split].values()]
    yield "PCAM", {f"{file}.gz": md5 for file, _, md5 in pcam}, [key for _, key, _ in pcam]


NAMES = {
    "MNIST": "mnist", "FashionMNIST": "fashion-mnist", "QMNIST": "qmnist", "CIFAR10": "cifar10", "CIFAR100": "cifar100",
    "STL10": "stl10", "SVHN": "svhn", "USPS": "usps", "EMNIST": "emnist-letters", "DTD": "dtd", "Food101": "food101",
    "FGVCAircraft": "aircraft", "Imagenette": "imagenette", "Flowers102": "flowers102", "CelebA": "celeba", "PCAM": "pcam",
}  # fmt: skip


def test_checksums_and_addresses_are_torchvisions():
    compared = 0
    for kind, sums, addresses in torchvision_tables():
        entry = REGISTRY[NAMES[kind]]
        assert {r.path.rpartition("/")[2]: r.checksum.removeprefix("md5:") for r in entry.remotes if r.checksum} == sums
        urls = " ".join(url for remote in entry.remotes for url in remote.urls)
        assert all(address in urls for address in addresses), kind
        compared += len(sums)
    assert compared == 4 + 4 + 4 + 3 + 2 + 2 + 1 + 1 + 1 + 1 + 3 + 6 + 4


def test_checksums_of_contents_are_torchvisions():
    from torchvision.datasets import CIFAR10, CIFAR100, STL10

    for kind, name in ((CIFAR10, "cifar10"), (CIFAR100, "cifar100"), (STL10, "stl10")):
        sums = {f"{kind.base_folder}/{file}": md5 for file, md5 in (*kind.train_list, *kind.test_list)}
        if hasattr(kind, "meta"):
            sums[f"{kind.base_folder}/{kind.meta['filename']}"] = kind.meta["md5"]
        assert {path: known.removeprefix("md5:") for path, known in REGISTRY[name].contents.items()} == {
            path: md5 for path, md5 in sums.items() if path in REGISTRY[name].required
        }


def test_contents_are_of_what_is_required():
    for entry in REGISTRY.values():
        assert set(entry.contents) <= set(entry.required)
        assert set(entry.batches) <= set(entry.required)
        for path, known in entry.contents.items():
            assert known.startswith("ppm:" if path.endswith("/") else "md5:")
            assert known not in {remote.checksum for remote in entry.remotes}


def test_gtsrb_is_where_torchvision_fetches_it():
    import inspect

    from torchvision.datasets import GTSRB

    source = inspect.getsource(GTSRB.download)
    for remote in REGISTRY["gtsrb"].remotes:
        assert remote.checksum.removeprefix("md5:") in source
        assert remote.urls[0].rpartition("/")[0] + "/" in source
        assert remote.urls[0].rpartition("/")[2] in source


def test_caltech101_is_where_torchvision_fetches_it():
    import inspect

    from torchvision.datasets import Caltech101

    (remote,) = REGISTRY["caltech101"].remotes
    source = inspect.getsource(Caltech101.download)
    assert remote.urls[0] in source
    assert remote.checksum.removeprefix("md5:") in source
