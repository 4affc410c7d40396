"""Small archives in the official on-disk format of every data set, with the truth about what is in them."""

import bz2
import csv
import gzip
import io
import json
import pickle

import h5py
import numpy as np
import torch

from datasets.packing import Made, Truth, idx, labels, mat, md5, noise, picture, plain, python2_pickle, tar_gz, zipped


def mnist(folder="MNIST"):
    truth = {split: (noise(n, 28, 28, seed=n), labels(n, 10)) for split, n in (("train", 30), ("test", 12))}
    files = {}
    for split, prefix in (("train", "train"), ("test", "t10k")):
        images, found = truth[split]
        files[f"{folder}/raw/{prefix}-images-idx3-ubyte.gz"] = gzip.compress(idx(np.array(images)))
        files[f"{folder}/raw/{prefix}-labels-idx1-ubyte.gz"] = gzip.compress(idx(np.array(found, np.uint8)))
    return Made(files, truth, 10)


def qmnist():
    truth = {split: (noise(n, 28, 28, seed=n), labels(n, 10)) for split, n in (("train", 31), ("test", 13))}
    files = {}
    for split, (images, found) in truth.items():
        table = np.zeros((len(found), 8), np.int32)
        table[:, 0], table[:, 1:] = found, 77
        files[f"QMNIST/raw/qmnist-{split}-images-idx3-ubyte.gz"] = gzip.compress(idx(np.array(images)))
        files[f"QMNIST/raw/qmnist-{split}-labels-idx2-int.gz"] = gzip.compress(idx(table, code=12))
    return Made(files, truth, 10)


def emnist_letters():
    truth = {split: (noise(n, 28, 28, seed=n), [x + 1 for x in labels(n, 26)]) for split, n in (("train", 60), ("test", 30))}
    inner = {"gzip/emnist-byclass-mapping.txt": b"0 48\n"}
    for split, (images, found) in truth.items():
        base = f"gzip/emnist-letters-{split}"
        inner[f"{base}-images-idx3-ubyte.gz"] = gzip.compress(idx(np.array(images)))
        inner[f"{base}-labels-idx1-ubyte.gz"] = gzip.compress(idx(np.array(found, np.uint8)))
        inner[f"gzip/emnist-digits-{split}-labels-idx1-ubyte.gz"] = gzip.compress(b"not wanted")
    return Made({"EMNIST/raw/gzip.zip": zipped(inner)}, truth, 27)


def usps():
    truth, files = {}, {}
    for split, name, n in (("train", "usps.bz2", 20), ("test", "usps.t.bz2", 11)):
        images, found = noise(n, 16, 16, seed=n), labels(n, 10)
        rows = [
            f"{label + 1} " + " ".join(f"{i}:{2 * int(value) / 255 - 1:.6f}" for i, value in enumerate(image.ravel(), 1))
            for image, label in zip(images, found, strict=True)
        ]
        files[name], truth[split] = bz2.compress("\n".join(rows).encode() + b"\n"), (images, found)
    return Made(files, truth, 10, tolerance=1)


def rows_of(images: list[np.ndarray]) -> np.ndarray:
    return np.array(images).transpose(0, 3, 1, 2).reshape(len(images), -1)


def cifar10():
    truth = {"train": (noise(25, 32, 32, 3), labels(25, 10)), "test": (noise(10, 32, 32, 3), labels(10, 10))}
    files = {"cifar-10-batches-py/batches.meta": python2_pickle({"label_names": [f"class {i}" for i in range(10)]})}
    images, found = truth["train"]
    parts = {f"data_batch_{i + 1}": (images[5 * i : 5 * i + 5], found[5 * i : 5 * i + 5]) for i in range(5)}
    for name, (some, their) in {**parts, "test_batch": truth["test"]}.items():
        batch = {"batch_label": name, "labels": their, "data": rows_of(some), "filenames": ["x.png"] * len(their)}
        files[f"cifar-10-batches-py/{name}"] = python2_pickle(batch)
    return Made({"cifar-10-python.tar.gz": tar_gz(files)}, truth, 10)


def cifar100():
    truth = {"train": (noise(30, 32, 32, 3), labels(30, 100)), "test": (noise(9, 32, 32, 3), labels(9, 100))}
    files = {"cifar-100-python/meta": python2_pickle({"fine_label_names": [f"fine {i}" for i in range(100)]})}
    for split, (images, found) in truth.items():
        batch = {"fine_labels": found, "coarse_labels": [x % 20 for x in found], "data": rows_of(images)}
        files[f"cifar-100-python/{split}"] = python2_pickle(batch)
    return Made({"cifar-100-python.tar.gz": tar_gz(files)}, truth, 100)


def svhn():
    truth = {"train": (noise(24, 32, 32, 3), labels(24, 10)), "test": (noise(11, 32, 32, 3), labels(11, 10))}
    files = {}
    for split, (images, found) in truth.items():
        y = np.array([[10 if label == 0 else label] for label in found], np.uint8)
        files[f"{split}_32x32.mat"] = mat(X=np.array(images).transpose(1, 2, 3, 0), y=y)
    return Made(files, truth, 10)


def stl10():
    truth = {"train": (noise(10, 96, 96, 3), labels(10, 10)), "test": (noise(6, 96, 96, 3), labels(6, 10))}
    files = {"stl10_binary/class_names.txt": b"\n".join(b"name%d" % i for i in range(10)) + b"\n"}
    files["stl10_binary/fold_indices.txt"] = b"0 1 2\n"
    files["stl10_binary/unlabeled_X.bin"] = np.array(noise(1, 96, 96, 3)).tobytes()
    for split, (images, found) in truth.items():
        # Each channel column by column.
        files[f"stl10_binary/{split}_X.bin"] = np.array(images).transpose(0, 3, 2, 1).tobytes()
        files[f"stl10_binary/{split}_y.bin"] = (np.array(found, np.uint8) + 1).astype(np.uint8).tobytes()
    return Made({"stl10_binary.tar.gz": tar_gz(files)}, truth, 10)


def pcam():
    truth = {"train": (noise(9, 96, 96, 3), labels(9, 2)), "test": (noise(5, 96, 96, 3), labels(5, 2))}
    files = {}
    for split, (images, found) in truth.items():
        for key, content in (("x", np.array(images)), ("y", np.array(found, np.uint8).reshape(-1, 1, 1, 1))):
            buffer = io.BytesIO()
            with h5py.File(buffer, "w") as file:
                file[key] = content
            files[f"pcam/camelyonpatch_level_2_split_{split}_{key}.h5.gz"] = gzip.compress(buffer.getvalue())
    return Made(files, truth, 2)


def imagenet32():
    truth = {"train": (noise(40, 32, 32, 3), labels(40, 6)), "val": (noise(12, 32, 32, 3), labels(12, 6))}
    files = {}
    images, found = truth["train"]
    batches = {f"train_data_batch_{i + 1}": (images[4 * i : 4 * i + 4], found[4 * i : 4 * i + 4]) for i in range(10)}
    for name, (some, their) in {**batches, "val_data": truth["val"]}.items():
        batch = {"data": rows_of(some), "labels": [x + 1 for x in their], "mean": rows_of(some).mean(axis=0)}
        files[name] = pickle.dumps(batch, protocol=4)
    return Made(files, truth, 1000)


def gtsrb():
    found = sorted(labels(12, 3))
    truth = {"train": (noise(12, 20, 23, 3), found), "test": (noise(7, 31, 18, 3), labels(7, 3))}
    training, testing = {"GTSRB/Readme-Images.txt": b"signs"}, {}
    for i, (image, label) in enumerate(zip(*truth["train"], strict=True)):
        training[f"GTSRB/Training/{label:05d}/{i:05d}_00000.ppm"] = picture(image, "PPM")
        training[f"GTSRB/Training/{label:05d}/GT-{label:05d}.csv"] = b"Filename;Width\n"
    table = io.StringIO()
    writer = csv.writer(table, delimiter=";")
    writer.writerow(["Filename", "Width", "Height", "Roi.X1", "Roi.Y1", "Roi.X2", "Roi.Y2", "ClassId"])
    for i, (image, label) in enumerate(zip(*truth["test"], strict=True)):
        testing[f"GTSRB/Final_Test/Images/{i:05d}.ppm"] = picture(image, "PPM")
        writer.writerow([f"{i:05d}.ppm", 18, 31, 1, 1, 9, 9, label])
    return Made(
        {
            "gtsrb/GTSRB-Training_fixed.zip": zipped(training),
            "gtsrb/GTSRB_Final_Test_Images.zip": zipped(testing),
            "gtsrb/GTSRB_Final_Test_GT.zip": zipped({"GT-final_test.csv": table.getvalue().encode()}),
        },
        truth,
        3,
    )


def sorted_truth(n_train: int, n_test: int, classes: int) -> dict[str, Truth]:
    return {
        "train": (plain(n_train, 40, 52, 1), sorted(labels(n_train, classes))),
        "test": (plain(n_test, 33, 37, 2), sorted(labels(n_test, classes))),
    }


def dtd():
    truth, names = sorted_truth(9, 6, 3), ["banded", "dotted", "woven"]
    files = {}
    for split, (images, found) in truth.items():
        lines = []
        for i, (image, label) in enumerate(zip(images, found, strict=True)):
            lines.append(f"{names[label]}/{names[label]}_{split}{i:04d}.jpg")
            files[f"dtd/images/{lines[-1]}"] = picture(image)
        files[f"dtd/labels/{split}1.txt"] = ("\n".join(lines) + "\n").encode()
    return Made({"dtd/dtd-r1.0.1.tar.gz": tar_gz(files)}, truth, 3, tolerance=3)


def aircraft():
    truth, names = sorted_truth(8, 6, 4), ["ATR", "Boeing", "British Aerospace", "Cessna"]
    base = "fgvc-aircraft-2013b/data"
    files = {f"{base}/manufacturers.txt": "\n".join(names).encode() + b"\n"}
    for split, (images, found) in truth.items():
        keys = [f"{i + 1000 * (split == 'test'):07d}" for i in range(len(found))]
        lines = [f"{key} {names[label]}" for key, label in zip(keys, found, strict=True)]
        files[f"{base}/images_manufacturer_{split}.txt"] = ("\n".join(lines) + "\n").encode()
        files |= {f"{base}/images/{key}.jpg": picture(image) for key, image in zip(keys, images, strict=True)}
    return Made({"fgvc-aircraft-2013b.tar.gz": tar_gz(files)}, truth, 4, tolerance=3)


def caltech101():
    images, found = plain(15, 30, 41, 3), sorted(labels(15, 3))
    images[2] = images[2][:, :, 0]  # some of them are grey
    names, inner = (
        ["Faces", "accordion", "wrench"],
        {"101_ObjectCategories/BACKGROUND_Google/image_0001.jpg": picture(images[0])},
    )
    counters = dict.fromkeys(range(3), 0)
    for image, label in zip(images, found, strict=True):
        counters[label] += 1
        inner[f"101_ObjectCategories/{names[label]}/image_{counters[label]:04d}.jpg"] = picture(image)
    outer = {"caltech-101/101_ObjectCategories.tar.gz": tar_gz(inner), "caltech-101/Annotations.tar": b"not wanted"}
    return Made({"caltech101/caltech-101.zip": zipped(outer)}, {"train": (images, found)}, 3, tolerance=3)


def flowers102():
    truth = sorted_truth(8, 9, 5)
    order = np.random.default_rng(0).permutation(17) + 1  # identifiers, in the order of the splits
    ids = {"trnid": order[:8], "tstid": order[8:], "valid": order[:1]}
    all_labels = np.zeros(17, np.uint8)
    archive = {}
    for split, key in (("train", "trnid"), ("test", "tstid")):
        for number, image, label in zip(ids[key], *truth[split], strict=True):
            archive[f"jpg/image_{number:05d}.jpg"], all_labels[number - 1] = picture(image), label + 1
    return Made(
        {
            "flowers-102/102flowers.tgz": tar_gz(archive),
            "flowers-102/imagelabels.mat": mat(labels=all_labels),
            "flowers-102/setid.mat": mat(**ids),
        },
        truth,
        102,
        tolerance=3,
    )


def food101():
    truth, names, files = sorted_truth(7, 5, 2), ["apple_pie", "waffles"], {}
    for split, (images, found) in truth.items():
        lists: dict[str, list[str]] = {name: [] for name in names}
        for i, (image, label) in enumerate(zip(images, found, strict=True)):
            lists[names[label]].append(f"{names[label]}/{split}{i}")
            files[f"food-101/images/{names[label]}/{split}{i}.jpg"] = picture(image)
        files[f"food-101/meta/{split}.json"] = json.dumps(lists).encode()
    return Made({"food-101.tar.gz": tar_gz(files)}, truth, 2, tolerance=3)


def celeba():
    truth = {split: (plain(n, 218, 178, n), labels(n, 2)) for split, n in (("train", 8), ("test", 5))}
    images = truth["train"][0] + truth["test"][0]
    smiles = truth["train"][1] + truth["test"][1]
    names = [f"{i + 1:06d}.jpg" for i in range(13)]

    def table(header: list[str], row) -> bytes:
        lines = [*header, *(f"{name} {row(i)}" for i, name in enumerate(names))]
        return ("\n".join(lines) + "\n").encode()

    return Made(
        {
            "celeba/list_attr_celeba.txt": table(["13", "Male Smiling Young"], lambda i: f" 1 {2 * smiles[i] - 1} -1"),
            "celeba/identity_CelebA.txt": table([], lambda i: str(i + 7)),
            "celeba/list_bbox_celeba.txt": table(["13", "image_id x_1 y_1 width height"], lambda _: "1 2 3 4"),
            "celeba/list_landmarks_align_celeba.txt": table(["13", "lefteye_x lefteye_y"], lambda _: "5 6"),
            "celeba/list_eval_partition.txt": table([], lambda i: str(0 if i < 8 else 2)),
            "celeba/img_align_celeba.zip": zipped(
                {f"img_align_celeba/{name}": picture(image) for name, image in zip(names, images, strict=True)}
            ),
        },
        truth,
        2,
        tolerance=3,
    )


def stanford_cars():
    truth, files = {"train": (plain(6, 25, 31, 6), labels(6, 3)), "test": (plain(5, 25, 31, 7), labels(5, 3))}, {}
    places = {"train": "devkit/cars_train_annos.mat", "test": "cars_test_annos_withlabels.mat"}
    for split, (images, found) in truth.items():
        rows = np.zeros(len(found), dtype=[("bbox_x1", object), ("class", object), ("fname", object)])
        for i, (image, label) in enumerate(zip(images, found, strict=True)):
            rows[i] = (1, label + 1, f"{i + 1:05d}.jpg")
            files[f"stanford_cars/cars_{split}/{i + 1:05d}.jpg"] = picture(image)
        files[f"stanford_cars/{places[split]}"] = mat(annotations=rows)
    names = np.array(["AM General Hummer", "Acura RL", "Audi 100"], object)
    files["stanford_cars/devkit/cars_meta.mat"] = mat(class_names=names)
    return Made(files, truth, 3, tolerance=3)


def wordnet_folders(base: str, suffix: str, split: str, images, found) -> dict[str, bytes]:
    wnids = ["n01440764", "n02102040", "n03888257"]
    return {
        f"{base}{split}/{wnids[label]}/{wnids[label]}_{i:04d}.{suffix}": picture(image)
        for i, (image, label) in enumerate(zip(images, found, strict=True))
    }


def imagenet():
    truth = sorted_truth(9, 6, 3)
    truth["val"] = truth.pop("test")
    files = {k: v for split, made in truth.items() for k, v in wordnet_folders("", "JPEG", split, *made).items()}
    return Made(files, truth, 3, tolerance=3)


def imagenette():
    truth = sorted_truth(9, 6, 3)
    truth["val"] = truth.pop("test")
    files = {
        k: v for split, made in truth.items() for k, v in wordnet_folders("imagenette2-320/", "JPEG", split, *made).items()
    }
    return Made({"imagenette2-320.tgz": tar_gz(files)}, truth, 3, tolerance=3)


def weights(network: str) -> bytes:
    """A state dictionary with the names and shapes of a network; one number behind each tensor keeps it small."""
    from torchvision.models import get_model

    with torch.device("meta"):
        expected = get_model(network, weights=None).state_dict()
    buffer = io.BytesIO()
    torch.save({name: torch.full((), 0.5).expand(tensor.shape) for name, tensor in expected.items()}, buffer)
    return buffer.getvalue()


def cifar_weights(model: torch.nn.Module) -> bytes:
    """The weights of a network as the checkpoint of a parallel training from before PyTorch 0.4.1, without counters."""
    buffer, state = io.BytesIO(), model.state_dict()
    kept = {f"module.{name}": tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")}
    torch.save({"best_prec1": 91.5, "state_dict": kept}, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


MAKERS = {
    "mnist": mnist,
    "fashion-mnist": lambda: mnist("FashionMNIST"),
    "qmnist": qmnist,
    "emnist-letters": emnist_letters,
    "usps": usps,
    "cifar10": cifar10,
    "cifar100": cifar100,
    "svhn": svhn,
    "stl10": stl10,
    "pcam": pcam,
    "imagenet32": imagenet32,
    "gtsrb": gtsrb,
    "dtd": dtd,
    "aircraft": aircraft,
    "caltech101": caltech101,
    "flowers102": flowers102,
    "food101": food101,
    "celeba": celeba,
    "stanford-cars": stanford_cars,
    "imagenet": imagenet,
    "imagenette": imagenette,
}


def publish(monkeypatch, made: Made) -> None:
    """Give torchvision's loaders, which compare checksums when they read, those of the files that were made."""
    from torchvision.datasets import STL10, SVHN, CelebA, Flowers102

    def sums(name: str) -> str:
        return next((md5(content) for path, content in made.files.items() if path.endswith(name)), "")

    monkeypatch.setattr(SVHN, "split_list", {k: [u, f, sums(f)] for k, (u, f, _) in SVHN.split_list.items()})
    monkeypatch.setattr(Flowers102, "_file_dict", {k: (f, sums(f)) for k, (f, _) in Flowers102._file_dict.items()})
    monkeypatch.setattr(CelebA, "file_list", [(i, sums(f), f) for i, _, f in CelebA.file_list])
    for name in ("train_list", "test_list"):
        monkeypatch.setattr(STL10, name, [[f, None] for f, _ in getattr(STL10, name)])
