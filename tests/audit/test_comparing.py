"""What counts as equal, close and different: to the bit in the same surroundings, by the tolerance of each kind elsewhere."""

import numpy as np
import pandas as pd
import pytest

from convrfm.replication.audit.comparing import FIGURE, TOLERANCES, compare
from convrfm.replication.audit.outcome import Result
from convrfm.replication.plan.plan import RUNS
from convrfm.system.storage import write_arrays, write_table

RECORD = {
    "job": "a:b", "settings": {"seed": 0}, "best_epoch": 3, "residual": 1e-9, "protocol": "published", "threads": 1,
    "machine": {"processor": "one", "gpu": None, "torch_threads": 1}, "packages": {"torch": "2.0"}, "wall_seconds": 1.0,
}  # fmt: skip
NOTES = ({"best_epoch": 4}, {"residual": 2e-9}, {"extra": 1}, {"settings": {"seed": 1}})
ELSEWHERE = {**RECORD, "machine": {**RECORD["machine"], "processor": "another"}}


def files(folder, *, accuracy=0.75, metric=1.0, label=1, wrong=0):
    """Files of a fit."""
    folder.mkdir(exist_ok=True)
    written = {"metrics": folder / "metrics.parquet", "arrays": folder / "arrays.safetensors"}
    write_table(written["metrics"], pd.DataFrame({"test_accuracy": [0.5, accuracy], "label": [0, label]}))
    correct = np.arange(100) >= wrong
    write_arrays(written["arrays"], {"metric/0/1": np.array([[metric, 0.5], [0.5, 2.0]]), "correct/0/0": correct})
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
        ({"accuracy": float("nan")}, "column 'test_accuracy' is nan, not 0.75 (computed again in the same surroundings)"),
        *(({"old": {**RECORD, **note}}, f"Its record and the run disagree: {next(iter(note))}") for note in NOTES),
    ],
)
def test_the_last_bit_counts_in_the_same_surroundings(tmp_path, changes, named):
    result, found = compared(tmp_path, **changes)
    assert result is Result.DIFFERENT
    assert named in found


def other(**changes):
    return {"old": {**ELSEWHERE, **changes}}


LIES = (
    {"threads": "x"}, {"threads": True}, {"packages": {"torch": "2.0", "python": "2.7"}},
    {"machine": {**RECORD["machine"], "processor": 7}},
)  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "result"),
    [
        # 0.02 of an accuracy of 0.75, 0.05 of the largest entry, 2, for metrics.
        ({**other(), "accuracy": 0.764}, Result.CLOSE),
        ({**other(), "accuracy": 0.766}, Result.DIFFERENT),
        ({**other(), "metric": 1.09}, Result.CLOSE),
        ({**other(), "metric": 1.11}, Result.DIFFERENT),
        ({**other(), "metric": float("nan")}, Result.DIFFERENT),
        # Draws are the same anywhere.
        ({**other(), "kind": "draw", "label": 2}, Result.DIFFERENT),
        ({**other(), "kind": "draw", "metric": 1 + 1e-6}, Result.CLOSE),
        ({**other(), "kind": "draw", "metric": 1 + 1e-4}, Result.DIFFERENT),
        ({**other(protocol="corrected"), "kind": "draw"}, Result.DIFFERENT),
        # Threads and builds are surroundings; nonsense about them does not loosen the comparison.
        ({"old": {**RECORD, "threads": 8}, "accuracy": 0.751}, Result.CLOSE),
        ({"old": {**RECORD, "packages": {"torch": "2.0+cu130"}}, "accuracy": 0.751}, Result.CLOSE),
        *(({"old": {**RECORD, **lie}, "accuracy": 0.751}, Result.DIFFERENT) for lie in LIES),
        # Notes may differ in measured numbers alone.
        (other(best_epoch=4), Result.CLOSE),
        (other(residual=2e-9), Result.CLOSE),
        (other(residual=None), Result.CLOSE),
        (other(skipped={"SVHN": "gone"}), Result.DIFFERENT),
        (other(images_fitted=3), Result.DIFFERENT),
        # Answers to test images as far as accuracies.
        ({**other(), "wrong": 1}, Result.CLOSE),
        ({**other(), "wrong": 10}, Result.DIFFERENT),
    ],
)
def test_elsewhere_the_tolerance_of_its_kind_counts(tmp_path, changes, result):
    came_out, found = compared(tmp_path, **changes)
    assert came_out is result
    if changes["old"]["machine"]["processor"] == "another":
        assert "its processor was another, not one" in found
        assert TOLERANCES[changes.get("kind", "rfm")].in_words() in found


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
