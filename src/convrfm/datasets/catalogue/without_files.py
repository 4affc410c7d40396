"""Data that come with an installed package, and tasks that the project generates."""

from convrfm.datasets.entries import Entry

__all__ = ["WITHOUT_FILES"]

WITHOUT_FILES: tuple[Entry, ...] = (
    Entry(
        name="digits",
        title="scikit-learn's digits",
        source="Alpaydin and Kaynak 1998 (UCI), through scikit-learn",
        licence="CC BY 4.0",
        obtained="embedded",
        shape="1x8x8",
        splits={"train": 1797},
        classes=10,
        test_part="train",
        notes="Stands in for MNIST and SVHN in the preset quick.",
    ),
    Entry(
        name="photographs",
        title="scikit-learn's photographs",
        source="scikit-learn's load_sample_images: china.jpg, flower.jpg",
        licence="CC BY",
        obtained="embedded",
        shape="3x427x640",
        splits={"train": 2},
        classes=2,
        test_part="train",
        notes="Two natural photographs, each a class of its own; they stand in for ImageNet in the preset quick.",
    ),
    Entry(
        name="photograph-patches",
        title="patches of scikit-learn's photographs",
        source="convrfm.datasets.reading.embedded, from scikit-learn's load_sample_images",
        licence="CC BY",
        obtained="generated",
        shape="3x32x32",
        splits={"train": 2000, "test": 2000},
        classes=2,
        stands_on=("photographs",),
        notes="Random places of two photographs; the class is the photograph. Training patches lie in its left half and test "
        "patches in its right one. They stand in for small colour images in the preset quick.",
    ),
    Entry(
        name="bars",
        title="noisy bars",
        source="Karp et al. 2021; section 4 of arXiv 2309.00570; convrfm.datasets.local_signal",
        licence="generated",
        obtained="generated",
        shape="1x16x32",
        classes=2,
        figures=("fig05",),
    ),
    Entry(
        name="noisy-digits",
        title="noisy digits",
        source="convrfm.datasets.local_signal, from scikit-learn's digits",
        licence="CC BY 4.0",
        obtained="generated",
        shape="1x42x42",
        classes=10,
        stands_on=("digits",),
        notes="Stands in for noisy MNIST in the preset quick.",
    ),
    Entry(
        name="noisy-mnist",
        title="noisy MNIST",
        source="Karp et al. 2021; section 4 of arXiv 2309.00570; convrfm.datasets.local_signal",
        licence="as MNIST",
        obtained="generated",
        shape="1x42x42",
        classes=10,
        figures=("fig04", "fig05"),
        stands_on=("mnist",),
    ),
)
