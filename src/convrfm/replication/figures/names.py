"""What figures call data sets and tasks, and which of these stand in for the paper's."""

from collections.abc import Iterable

from convrfm.datasets.registry import find_entry

__all__ = [
    "STAND_INS", "in_sentence", "is_stand_in", "reservation", "short_title", "stand_in_note", "star",
    "starred_note", "starred_reservation", "title", "with_stand_ins",
]  # fmt: skip

STAND_INS = {
    "digits": "scikit-learn digits, not data of the paper",
    "noisy-digits": "scikit-learn digits, not MNIST",
    "street-digits": "scikit-learn digits in random greys, not SVHN or CIFAR-10",
    "photograph-patches": "patches of two photographs, not CIFAR-10 or GTSRB",
    "photographs": "two photographs, not ImageNet",
}
"""Data sets and tasks that stand in for the paper's, with what the figures say of them."""

SHORT = {"digits": "digits", "photographs": "photographs", "photograph-patches": "photograph patches"}
"""Short names of those whose titles are long without a comma."""


def title(dataset: str) -> str:
    """The name of a data set or task in full, with a capital: "Noisy bars", "SVHN, cropped digits".

    Raises:
        DataError: there is no such data set; also from the functions below.
    """
    return _with_capital(find_entry(dataset).title)


def in_sentence(dataset: str) -> str:
    """Its short name within a sentence: "noisy bars", "SVHN"."""
    return SHORT.get(dataset) or find_entry(dataset).title.partition(",")[0]


def short_title(dataset: str) -> str:
    """Its short name, for labels: "Noisy bars", "SVHN"."""
    return _with_capital(in_sentence(dataset))


def _with_capital(name: str) -> str:
    return name[0].upper() + name[1:]


def is_stand_in(dataset: str) -> bool:
    """Whether a data set or task is not the paper's."""
    return dataset in STAND_INS


def stand_in_note(datasets: Iterable[str]) -> str:
    """What the face of a figure says of those that stand in for others; empty where there is none."""
    found = list(dict.fromkeys(STAND_INS[name] for name in datasets if name in STAND_INS))
    return f"stand-in{'s' * (len(found) > 1)}: {'; '.join(found)}" if found else ""


def with_stand_ins(heading: str, datasets: Iterable[str], *, separator: str = " ") -> str:
    """A heading, with what stands in for other data behind it in parentheses."""
    note = stand_in_note(datasets)
    return f"{heading}{separator}({note})" if note else heading


def reservation(dataset: str) -> str:
    """What a caption puts behind the name of a stand-in; empty for the paper's own."""
    return f" ({stand_in_note([dataset])}: not comparable with the paper)" if is_stand_in(dataset) else ""


def star(dataset: str) -> str:
    """What stands behind the name of a stand-in on a figure that has a `starred_note`; empty for the paper's own."""
    return " *" if is_stand_in(dataset) else ""


def starred_note(datasets: Iterable[str]) -> str:
    """What the face of a figure says of stand-ins that have a star there; empty without any."""
    note = stand_in_note(datasets)
    return f"* {note}" if note else ""


def starred_reservation(datasets: Iterable[str]) -> list[str]:
    """The paragraph of its caption on them, in Markdown, behind an empty line."""
    note = starred_note(datasets)
    return ["", f"\\{note}: not comparable with the paper."] if note else []
