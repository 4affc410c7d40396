"""What figures call data sets: names, and what stands in for the paper's data."""

import pytest

from convrfm.datasets.registry import REGISTRY, files_behind
from convrfm.errors import DataError
from convrfm.replication.figures.style import (
    STAND_INS,
    in_sentence,
    is_stand_in,
    reservation,
    short_title,
    stand_in_note,
    starred_reservation,
    title,
    with_stand_ins,
)


def test_stand_ins_are_what_stands_on_no_files_but_the_task_that_the_paper_draws_itself():
    without_files = {name for name in REGISTRY if not files_behind(name)}
    assert without_files == {*STAND_INS, "bars"}


def test_names():
    assert (title("svhn"), short_title("svhn"), in_sentence("svhn")) == ("SVHN, cropped digits", "SVHN", "SVHN")
    assert (title("bars"), short_title("bars"), in_sentence("bars")) == ("Noisy bars", "Noisy bars", "noisy bars")
    assert (title("digits"), short_title("digits"), in_sentence("digits")) == ("Scikit-learn's digits", "Digits", "digits")
    for name in REGISTRY:
        assert short_title(name)[0].isupper()
        assert "," not in short_title(name)
    with pytest.raises(DataError, match=r"Unknown data set 'svhm'.*Did you mean 'svhn'"):
        short_title("svhm")


def test_notes_of_stand_ins():
    assert not is_stand_in("svhn")
    assert stand_in_note(["svhn", "imagenet"]) == ""
    assert stand_in_note(["noisy-digits", "noisy-digits"]) == "stand-in: scikit-learn digits, not MNIST"
    assert stand_in_note(["digits", "svhn", "photographs"]).startswith("stand-ins: ")
    assert with_stand_ins("Noisy bars", ["bars"]) == "Noisy bars"
    assert with_stand_ins("SVHN", ["svhn"]) == "SVHN"
    assert with_stand_ins("Digits", ["digits"]) == "Digits (stand-in: scikit-learn digits, not data of the paper)"
    assert with_stand_ins("A", ["noisy-digits"], separator="\n") == "A\n(stand-in: scikit-learn digits, not MNIST)"
    assert (reservation("svhn"), starred_reservation(["svhn"])) == ("", [])
    assert reservation("noisy-digits") == " (stand-in: scikit-learn digits, not MNIST: not comparable with the paper)"
    assert starred_reservation(["svhn", "noisy-digits"]) == [
        "", "\\* stand-in: scikit-learn digits, not MNIST: not comparable with the paper.",
    ]  # fmt: skip
