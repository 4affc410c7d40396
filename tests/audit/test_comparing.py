"""What counts as equal, close and different: to the bit in the same surroundings, by the tolerance of each kind elsewhere."""

import numpy as np
import pandas as pd
import pytest

from convrfm.replication.audit.comparing import FIGURE, TOLERANCES, compare
from convrfm.replication.audit.outcome import Result
from convrfm.replication.plan.plan import RUNS
from convrfm.system.storage import write_arrays, write_table

EQUAL, CLOSE, DIFFERENT, IMPOSSIBLE = Result
RECORD = {
    "settings": {"seed": 0}, "best_epoch": 3, "residual": 1e-9, "protocol": "published", "threads": 1, "wall_seconds": 1.0,
    "machine": {"processor": "one", "gpu": None, "torch_threads": 1}, "packages": {"torch": "2.0", "python": "3.12"},
}  # fmt: skip
ANOTHER = {"machine": {**RECORD["machine"], "processor": "another"}}


def fit(folder, *, accuracy=0.75, metric=1.0, label=1, wrong=0):
    written = {"metrics": folder / "metrics.parquet", "arrays": folder / "arrays.safetensors"}
    write_table(written["metrics"], pd.DataFrame({"test_accuracy": [0.5, accuracy], "label": [0, label]}))
    correct = np.arange(100) >= wrong
    write_arrays(written["arrays"], {"metric/0/1": np.array([[metric, 0.5], [0.5, 2.0]]), "correct/0/0": correct})
    return written


def figure(folder, *, number="0.5", cell=0.5, csv_cell=None, picture=b"png"):
    table = pd.DataFrame({"value": [cell], "what": ["a"]})
    write_table(folder / "f.parquet", table)
    write_table(folder / "f.csv", table.assign(value=[csv_cell or cell]))
    (folder / "f.md").write_text(f"**Figure**\n\nIt is {number}.\n")
    for name in ("png", "pdf"):
        (folder / f"f.{name}").write_bytes(picture)
    return {name: folder / f"f.{name}" for name in ("png", "pdf", "parquet", "csv", "md")}


def compared(tmp_path, kind="rfm", old=(), **changes):
    """What was written, with changes to it and to its record, against what is computed again here."""
    make, allowed = (figure, FIGURE) if kind == "figure" else (fit, TOLERANCES[kind])
    return compare(make(tmp_path / "old", **changes), make(tmp_path / "new"), (RECORD | dict(old), RECORD), allowed)


def test_equal(tmp_path):
    # When and for how long it ran is its own.
    for old in ({}, {"wall_seconds": 99.0, "resumed_from": "epoch 7"}, ANOTHER):
        assert compared(tmp_path, "rfm", old) == compared(tmp_path, "figure", old) == (EQUAL, "")


CASES = [
    # 0.02 of an accuracy of 0.75, 0.05 of the largest entry, 2, for metrics; answers to test images as far as accuracies.
    ("rfm", "accuracy", [np.nextafter(0.75, 1), 0.764], [0.766, np.nan], "row 1, column 'test_accuracy' is {}, not 0.75"),
    ("rfm", "metric", [np.nextafter(1.0, 2), 1.09], [1.11, np.nan], "metric/0/1[0, 0] is {}, not 1.0 (1 entries differ)"),
    ("rfm", "label", [], [2], "column 'label' is {}, not 1"),
    ("rfm", "wrong", [1], [10], "correct/0/0 differs in 0."),
    # Draws are the same anywhere.
    ("draw", "label", [], [2], "column 'label' is {}, not 1"),
    ("draw", "metric", [1 + 1e-6], [1 + 1e-4], "metric/0/1[0, 0] is {}, not 1.0 (1 entries differ)"),
    ("draw", "old", [], [{"protocol": "corrected"}], ""),
    # Notes may differ in measured numbers alone.
    ("rfm", "old", [{"best_epoch": 4}, {"residual": 2e-9}, {"residual": None}], [], ""),
    ("rfm", "old", [], [{"extra": 1}, {"settings": {"seed": 1}}, {"skipped": {"SVHN": "gone"}}], ""),
    # Numbers in captions by one in the last digit, and pictures not at all.
    ("figure", "picture", [b"other"], [], "The bytes of png, pdf differ"),
    ("figure", "number", ["0.6"], ["0.7"], "f.md: line 3 is 'It is {}.', not 'It is 0.5.'"),
    ("figure", "number", [], ["0.5.\n\nThe CNN tests at 99.9 %"], "f.md has 5 lines, not 3"),
    ("figure", "cell", [0.5 + 1e-7], [0.5 + 1e-5], "row 0, column 'value' is {}, not 0.5"),
    ("figure", "csv_cell", [], [0.9], "f.csv: row 0, column 'value' is {}, not 0.5"),
]
"""What differs in a kind of run, or in figures: what is close elsewhere, what is not, and how it is told here."""


@pytest.mark.parametrize(
    ("kind", "what", "value", "elsewhere", "told"),
    [
        (kind, what, value, result, told.format(value))
        for kind, what, close, different, told in CASES
        for value, result in [*((value, CLOSE) for value in close), *((value, DIFFERENT) for value in different)]
    ],
)
def test_the_last_bit_counts_in_the_same_surroundings_and_a_tolerance_elsewhere(tmp_path, kind, what, value, elsewhere, told):
    result, found = compared(tmp_path, kind, **{what: value})
    assert result is DIFFERENT
    assert found.endswith(" (computed again in the same surroundings).") == (what != "old")
    assert (f"Its record and the run disagree: {next(iter(value))}" if what == "old" else told) in found
    changes = {"old": {**value, **ANOTHER}} if what == "old" else {"old": ANOTHER, what: value}
    result, found = compared(tmp_path, kind, **changes)
    assert result is elsewhere
    assert "its processor was another, not one" in found
    assert TOLERANCES.get(kind, FIGURE).in_words() in found


SURROUNDINGS = ({"threads": 8}, {"packages": {"torch": "2.0+cu130"}})
NONSENSE = (
    {"threads": "x"}, {"threads": True}, {"packages": {"torch": "2.0", "python": "2.7"}},
    {"machine": {**RECORD["machine"], "processor": 7}},
)  # fmt: skip


@pytest.mark.parametrize("old", [*SURROUNDINGS, *NONSENSE])
def test_threads_and_builds_are_surroundings_and_nonsense_about_them_loosens_nothing(tmp_path, old):
    assert compared(tmp_path, old=old, accuracy=0.751)[0] is (CLOSE if old in SURROUNDINGS else DIFFERENT)


def test_every_kind_of_run_has_a_tolerance():
    assert TOLERANCES.keys() == RUNS.keys()
