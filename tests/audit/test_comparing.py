"""What counts as equal, close and different: to the bit in the same surroundings, by the tolerance of each kind elsewhere."""

import numpy as np
import pandas as pd
import pytest

from convrfm.replication.audit.comparing import FIGURE, TOLERANCES, compare
from convrfm.replication.audit.outcome import Result
from convrfm.replication.plan.table import RUNS
from convrfm.system.storage import write_arrays, write_table

RECORD = {
    "job": "a:b", "settings": {"seed": 0}, "best_epoch": 3, "residual": 1e-9, "protocol": "published", "threads": 1,
    "machine": {"processor": "one", "gpu": None, "torch_threads": 1}, "packages": {"torch": "2.0"}, "wall_seconds": 1.0,
}  # fmt: skip
ELSEWHERE = {**RECORD, "machine": {**RECORD["machine"], "processor": "another"}}


def files(folder, *, accuracy=0.75, metric=1.0, label=1):
    """Files of a fit."""
    folder.mkdir(exist_ok=True)
    written = {"metrics": folder / "metrics.parquet", "arrays": folder / "arrays.safetensors"}
    write_table(written["metrics"], pd.DataFrame({"test_accuracy": [0.5, accuracy], "label": [0, label]}))
    write_arrays(written["arrays"], {"metric/0/1": np.array([[metric, 0.5], [0.5, 2.0]])})
    return written


def compared(tmp_path, old=RECORD, new=RECORD, kind="rfm", **changes):
    return compare(files(tmp_path / "old", **changes), files(tmp_path / "new"), (old, new), TOLERANCES[kind])


def test_equal(tmp_path):
    assert compared(tmp_path) == (Result.EQUAL, "")
    # When and for how long it ran is its own.
    assert compared(tmp_path, old={**RECORD, "wall_seconds": 99.0, "resumed_from": "epoch 7"})[0] is Result.EQUAL


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"accuracy": np.nextafter(0.75, 1)}, "row 1, column 'test_accuracy' is 0.75"),
        ({"metric": np.nextafter(1.0, 2)}, "metric/0/1[0, 0] is 1.0000000000000002, not 1.0 (1 entries differ)"),
        ({"label": 2}, "column 'label' is 2, not 1"),
        ({"accuracy": float("nan")}, "column 'test_accuracy' is nan, not 0.75"),
    ],
)
def test_the_last_bit_counts_in_the_same_surroundings(tmp_path, changes, named):
    result, found = compared(tmp_path, **changes)
    assert result is Result.DIFFERENT
    assert named in found
    assert "in the same surroundings" in found


@pytest.mark.parametrize("note", [{"best_epoch": 4}, {"residual": 2e-9}, {"extra": 1}, {"settings": {"seed": 1}}])
def test_what_a_record_says_counts_too(tmp_path, note):
    result, found = compared(tmp_path, old={**RECORD, **note})
    assert result is Result.DIFFERENT
    assert f"{next(iter(note))}" in found


@pytest.mark.parametrize(
    ("changes", "result"),
    [
        ({"accuracy": 0.764}, Result.CLOSE),
        ({"accuracy": 0.766}, Result.DIFFERENT),
        ({"metric": 1.09}, Result.CLOSE),
        ({"metric": 1.11}, Result.DIFFERENT),
        ({"metric": float("nan")}, Result.DIFFERENT),
    ],
)
def test_elsewhere_the_tolerance_of_a_fit_counts(tmp_path, changes, result):
    """0.02 of an accuracy of 0.75, 0.05 of the largest entry, 2, for metrics."""
    came_out, found = compared(tmp_path, old=ELSEWHERE, **changes)
    assert came_out is result
    assert "its processor was another, not one" in found
    assert TOLERANCES["rfm"].in_words() in found


def test_elsewhere_draws_are_the_same(tmp_path):
    assert compared(tmp_path, old=ELSEWHERE, kind="draw", label=2)[0] is Result.DIFFERENT
    assert compared(tmp_path, old=ELSEWHERE, kind="draw", metric=1 + 1e-6)[0] is Result.CLOSE
    assert compared(tmp_path, old=ELSEWHERE, kind="draw", metric=1 + 1e-4)[0] is Result.DIFFERENT
    assert compared(tmp_path, old={**ELSEWHERE, "protocol": "corrected"}, kind="draw")[0] is Result.DIFFERENT


def test_threads_and_builds_are_surroundings(tmp_path):
    for old in ({**RECORD, "threads": 8}, {**RECORD, "packages": {"torch": "2.0+cu130"}}):
        assert compared(tmp_path, old=old, accuracy=0.751)[0] is Result.CLOSE


@pytest.mark.parametrize("lie", [{"threads": "x"}, {"threads": True}, {"packages": {"torch": "2.0", "python": "2.7"}},
                                 {"machine": {**RECORD["machine"], "processor": 7}}])  # fmt: skip
def test_nonsense_about_the_surroundings_does_not_loosen_the_comparison(tmp_path, lie):
    assert compared(tmp_path, old={**RECORD, **lie}, accuracy=0.751)[0] is Result.DIFFERENT


@pytest.mark.parametrize(
    ("note", "result"),
    [({"best_epoch": 4}, Result.CLOSE), ({"residual": 2e-9}, Result.CLOSE), ({"residual": None}, Result.CLOSE),
     ({"skipped": {"SVHN": "gone"}}, Result.DIFFERENT), ({"images_fitted": 3}, Result.DIFFERENT)],
)  # fmt: skip
def test_elsewhere_notes_may_differ_in_measured_numbers_alone(tmp_path, note, result):
    assert compared(tmp_path, old={**ELSEWHERE, **note})[0] is result


def test_elsewhere_answers_may_differ_as_far_as_accuracies(tmp_path):
    results = []
    for changed in (1, 10):
        paths = [files(tmp_path / f"{which}{changed}") for which in ("old", "new")]
        right = np.ones(100, bool)
        other = right.copy()
        other[:changed] = False
        for path, answers in zip(paths, (right, other), strict=True):
            write_arrays(path["arrays"], {"correct/0/0": answers})
        results.append(compare(*paths, (ELSEWHERE, RECORD), TOLERANCES["rfm"])[0])
    assert results == [Result.CLOSE, Result.DIFFERENT]


def test_every_kind_of_run_has_a_tolerance():
    assert TOLERANCES.keys() == RUNS.keys()


def drawn(folder, *, number="0.5", cell=0.5, csv_cell=0.5, picture=b"png"):
    folder.mkdir(exist_ok=True)
    table = pd.DataFrame({"value": [cell], "what": ["a"]})
    write_table(folder / "f.parquet", table)
    write_table(folder / "f.csv", table.assign(value=[csv_cell]))
    (folder / "f.md").write_text(f"**Figure**\n\nIt is {number}.\n")
    for name in ("png", "pdf"):
        (folder / f"f.{name}").write_bytes(picture)
    return {name: folder / f"f.{name}" for name in ("png", "pdf", "parquet", "csv", "md")}


@pytest.mark.parametrize(
    ("changes", "here", "there"),
    [
        ({"picture": b"other"}, Result.DIFFERENT, Result.CLOSE),
        ({"number": "0.6"}, Result.DIFFERENT, Result.CLOSE),
        ({"number": "0.7"}, Result.DIFFERENT, Result.DIFFERENT),
        ({"cell": 0.5 + 1e-7, "csv_cell": 0.5 + 1e-7}, Result.DIFFERENT, Result.CLOSE),
        ({"cell": 0.5 + 1e-5, "csv_cell": 0.5 + 1e-5}, Result.DIFFERENT, Result.DIFFERENT),
        ({"csv_cell": 0.9}, Result.DIFFERENT, Result.DIFFERENT),
    ],
)
def test_figures(tmp_path, changes, here, there):
    old, new = drawn(tmp_path / "old", **changes), drawn(tmp_path / "new")
    for record, result in ((RECORD, here), (ELSEWHERE, there)):
        assert compare(old, new, (record, RECORD), FIGURE)[0] is result
