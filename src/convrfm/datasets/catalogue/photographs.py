"""Data sets of photographs: one file for each image."""

from convrfm.datasets.catalogue.google_drive import drive_address
from convrfm.datasets.entries import Entry, Remote, Unpacking

__all__ = ["PHOTOGRAPHS"]

_GTSRB = "https://sid.erda.dk/public/archives/daaeac0d7ce1152aea9b61d9f1e19370"
_VGG = "https://www.robots.ox.ac.uk/~vgg/data"
_FLOWERS = f"{_VGG}/flowers/102"


def _google_drive(folder: str, files: dict[str, tuple[str, str]]) -> tuple[Remote, ...]:
    """Files that are used as they are, from Google Drive."""
    return tuple(
        Remote(f"{folder}/{name}", (drive_address(key),), f"md5:{md5}", gives=(f"{folder}/{name}",))
        for name, (key, md5) in files.items()
    )


PHOTOGRAPHS: tuple[Entry, ...] = (
    Entry(
        name="gtsrb",
        title="GTSRB",
        source="Stallkamp et al. 2012, https://benchmark.ini.rub.de/gtsrb_news.html",
        licence="none stated",
        obtained="automatic",
        megabytes=740,
        shape="3x15x15 to 3x250x250",
        splits={"train": 26640, "test": 12630},
        classes=43,
        figures=("fig06", "fig08", "fig09", "fig11", "fig12"),
        class_sorted=("train",),
        remotes=(
            Remote(
                path="gtsrb/GTSRB-Training_fixed.zip",
                urls=(f"{_GTSRB}/GTSRB-Training_fixed.zip",),
                checksum="md5:513f3c79a4c5141765e10e952eaa2478",
                unpacking=Unpacking("gtsrb"),
                gives=("gtsrb/GTSRB/Training/",),
            ),
            Remote(
                path="gtsrb/GTSRB_Final_Test_Images.zip",
                urls=(f"{_GTSRB}/GTSRB_Final_Test_Images.zip",),
                checksum="md5:c7e4e6327067d32654124b0fe9e82185",
                unpacking=Unpacking("gtsrb"),
                gives=("gtsrb/GTSRB/Final_Test/Images/",),
            ),
            Remote(
                path="gtsrb/GTSRB_Final_Test_GT.zip",
                urls=(f"{_GTSRB}/GTSRB_Final_Test_GT.zip",),
                checksum="md5:fe31e9c9270bbcd7b84b7f21a9d9d9e5",
                unpacking=Unpacking("gtsrb"),
                gives=("gtsrb/GT-final_test.csv",),
            ),
        ),
        notes="The first 5000 training images hold only about 5 of the 43 classes.",
    ),
    Entry(
        name="dtd",
        title="DTD, partition 1",
        source="Cimpoi et al. 2014, https://www.robots.ox.ac.uk/~vgg/data/dtd/",
        licence="research use",
        obtained="automatic",
        megabytes=1250,
        shape="3x300x300 to 3x640x640",
        splits={"train": 1880, "test": 1880},
        classes=47,
        figures=("fig06", "fig09"),
        class_sorted=("train", "test"),
        remotes=(
            Remote(
                path="dtd/dtd-r1.0.1.tar.gz",
                urls=(f"{_VGG}/dtd/download/dtd-r1.0.1.tar.gz",),
                checksum="md5:fff73e5086ae6bdbea199a49dfb8a4c1",
                unpacking=Unpacking("dtd"),
                gives=("dtd/dtd/labels/train1.txt", "dtd/dtd/labels/test1.txt", "dtd/dtd/images/"),
            ),
        ),
    ),
    Entry(
        name="aircraft",
        title="FGVC-Aircraft, manufacturers",
        source="Maji et al. 2013, https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/",
        licence="non-commercial research",
        obtained="automatic",
        megabytes=5500,
        shape="3, about 1 Mpx",
        splits={"train": 3334, "test": 3333},
        classes=30,
        figures=("fig06", "fig09"),
        class_sorted=("train", "test"),
        remotes=(
            Remote(
                path="fgvc-aircraft-2013b.tar.gz",
                urls=(f"{_VGG}/fgvc-aircraft/archives/fgvc-aircraft-2013b.tar.gz",),
                unpacking=Unpacking(""),
                gives=(
                    "fgvc-aircraft-2013b/data/manufacturers.txt",
                    "fgvc-aircraft-2013b/data/images_manufacturer_train.txt",
                    "fgvc-aircraft-2013b/data/images_manufacturer_test.txt",
                    "fgvc-aircraft-2013b/data/images/",
                ),
            ),
        ),
        notes="No checksum is published. torchvision's documentation says 41 manufacturers; the file lists 30.",
    ),
    Entry(
        name="caltech101",
        title="Caltech101",
        source="Li et al. 2004, https://data.caltech.edu/records/mzrjq-6wc02",
        licence="CC BY 4.0",
        obtained="fragile",
        megabytes=410,
        shape="1 or 3, about 300x200",
        splits={"train": 8677},
        classes=101,
        figures=("fig09",),
        class_sorted=("train",),
        test_part="train",
        remotes=(
            Remote(
                path="caltech101/caltech-101.zip",
                urls=("https://data.caltech.edu/records/mzrjq-6wc02/files/caltech-101.zip",),
                checksum="md5:3138e1922a9193bfa496528edbbc45d0",
                unpacking=Unpacking("caltech101", "caltech-101/101_ObjectCategories.tar.gz", nested=True),
                gives=("caltech101/101_ObjectCategories/",),
            ),
        ),
        notes="No official split: a fifth tests. Some images are grey. The class of background images is left out.",
    ),
    Entry(
        name="flowers102",
        title="Flowers102",
        source="Nilsback and Zisserman 2008, https://www.robots.ox.ac.uk/~vgg/data/flowers/102/",
        licence="none stated",
        obtained="automatic",
        megabytes=690,
        shape="3, about 500x600",
        splits={"train": 1020, "test": 6149},
        classes=102,
        class_sorted=("train", "test"),
        remotes=(
            Remote(
                path="flowers-102/102flowers.tgz",
                urls=(f"{_FLOWERS}/102flowers.tgz",),
                checksum="md5:52808999861908f626f3c1f4e79d11fa",
                unpacking=Unpacking("flowers-102"),
                gives=("flowers-102/jpg/",),
            ),
            *(
                Remote(f"flowers-102/{name}", (f"{_FLOWERS}/{name}",), f"md5:{md5}", gives=(f"flowers-102/{name}",))
                for name, md5 in (
                    ("imagelabels.mat", "e0620be6f572b9609742df49c70aed4d"),
                    ("setid.mat", "a5357ecc9cb78c4bef273ce3793fc85c"),
                )
            ),
        ),
    ),
    Entry(
        name="food101",
        title="Food101",
        source="Bossard et al. 2014, https://data.vision.ee.ethz.ch/cvl/datasets_extra/food-101/",
        licence="none stated; images from Foodspotting",
        obtained="automatic",
        megabytes=10200,
        shape="3, up to 512x512",
        splits={"train": 75750, "test": 25250},
        classes=101,
        class_sorted=("train", "test"),
        remotes=(
            Remote(
                path="food-101.tar.gz",
                urls=("http://data.vision.ee.ethz.ch/cvl/food-101.tar.gz",),
                checksum="md5:85eeb15f3717b99a5da872d97d918f87",
                unpacking=Unpacking(""),
                gives=("food-101/meta/train.json", "food-101/meta/test.json", "food-101/images/"),
            ),
        ),
    ),
    Entry(
        name="celeba",
        title="CelebA, attribute Smiling",
        source="Liu et al. 2015, https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html",
        licence="non-commercial research",
        obtained="fragile",
        megabytes=3200,
        shape="3x218x178",
        splits={"train": 162770, "test": 19962},
        classes=2,
        remotes=(
            *_google_drive(
                "celeba",
                {
                    "list_attr_celeba.txt": ("0B7EVK8r0v71pblRyaVFSWGxPY0U", "75e246fa4810816ffd6ee81facbd244c"),
                    "identity_CelebA.txt": ("1_ee_0u7vcNLOfNLegJRHmolfH5ICW-XS", "32bd1bd63d3c78cd57e08160ec5ed1e2"),
                    "list_bbox_celeba.txt": ("0B7EVK8r0v71pbThiMVRxWXZ4dU0", "00566efa6fedff7a56946cd1c10f1c16"),
                    "list_landmarks_align_celeba.txt": (
                        "0B7EVK8r0v71pd0FJY3Blby1HUTQ",
                        "cc24ecafdb5b50baae59b03474781f8c",
                    ),
                    "list_eval_partition.txt": ("0B7EVK8r0v71pY0NSMzRuSXJEVkk", "d32c9cbf5e040fd4025c592c306e6668"),
                },
            ),
            Remote(
                path="celeba/img_align_celeba.zip",
                urls=(drive_address("0B7EVK8r0v71pZjFTYXZWM3FlRnM"),),
                checksum="md5:00d2c5bc6d35e252742224ab0c1e8fcb",
                unpacking=Unpacking("celeba"),
                gives=("celeba/img_align_celeba/",),
            ),
        ),
        notes="The authors' loader takes the vector of 40 attributes as a class, which has no meaning; here the class is one "
        "attribute, Smiling.",
    ),
    Entry(
        name="stanford-cars",
        title="StanfordCars",
        source="Krause et al. 2013, https://ai.stanford.edu/~jkrause/cars/car_dataset.html (off line)",
        licence="non-commercial research",
        obtained="manual",
        megabytes=2000,
        shape="3, variable",
        splits={"train": 8144, "test": 8041},
        classes=196,
        needs=(
            "stanford_cars/devkit/cars_meta.mat",
            "stanford_cars/devkit/cars_train_annos.mat",
            "stanford_cars/cars_test_annos_withlabels.mat",
            "stanford_cars/cars_train/",
            "stanford_cars/cars_test/",
        ),
        steps="The original server is gone. Take car_devkit.tgz, cars_train.tgz, cars_test.tgz and "
        "cars_test_annos_withlabels.mat from a copy that you trust and unpack them into stanford_cars/, so that "
        "stanford_cars/devkit/, stanford_cars/cars_train/ and stanford_cars/cars_test/ exist.",
    ),
    Entry(
        name="imagenet",
        title="ImageNet (ILSVRC 2012)",
        source="Russakovsky et al. 2015, https://image-net.org/challenges/LSVRC/2012/",
        licence="non-commercial research, account needed",
        obtained="manual",
        megabytes=144000,
        shape="3, variable",
        splits={"train": 1281167, "val": 50000},
        classes=1000,
        figures=("fig01", "fig02", "fig03", "fig07", "fig11"),
        class_sorted=("train", "val"),
        needs=("train/",),
        steps="Log in at https://image-net.org, take ILSVRC2012_img_train.tar, and unpack it and the 1000 archives in it: "
        "then train/n01440764/*.JPEG ... exist. For validation images, bring ILSVRC2012_img_val.tar into the same form, "
        "val/n01440764/*.JPEG .... An unpacked copy that is there already, such as Kaggle's ILSVRC/Data/CLS-LOC, can be "
        "named in data_folders.",
        test_split="val",
        recorded_when_read=True,
    ),
    Entry(
        name="imagenette",
        title="Imagenette, 320 px",
        source="Howard 2019, https://github.com/fastai/imagenette",
        licence="Apache 2.0; images from ImageNet",
        obtained="automatic",
        megabytes=690,
        shape="3, shorter side 320",
        splits={"train": 9469, "val": 3925},
        classes=10,
        class_sorted=("train", "val"),
        remotes=(
            Remote(
                path="imagenette2-320.tgz",
                urls=("https://s3.amazonaws.com/fast-ai-imageclas/imagenette2-320.tgz",),
                checksum="md5:3df6f0d01a2c9592104656642f5e78a3",
                unpacking=Unpacking(""),
                gives=("imagenette2-320/train/", "imagenette2-320/val/"),
            ),
        ),
        test_split="val",
        notes="Ten classes of ImageNet that need no account: photographs for figures that ask for some of ImageNet.",
    ),
)
