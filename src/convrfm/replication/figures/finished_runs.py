"""Finished runs, as figures read them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from safetensors import safe_open

from convrfm.replication.figures.accuracies import ScoredRun, draw_of
from convrfm.replication.record.record import RUN_FILES, read_record, run_keys

__all__ = ["Run", "read_recorded_runs", "read_runs", "read_scored_runs", "runs_with"]

Run = tuple[Mapping[str, str], Mapping[str, Any], pd.DataFrame]
"""Keys of a run, its settings or its whole record, and its metrics."""


def read_runs(metrics: Sequence[Path]) -> list[Run]:
    """Keys, settings and metrics of runs, given their files of metrics, in their order."""
    return [(keys, record["settings"], table) for keys, record, table in read_recorded_runs(metrics)]


def read_recorded_runs(metrics: Sequence[Path]) -> list[Run]:
    """Keys, record and metrics of runs, given their files of metrics, in their order."""
    return [
        (run_keys(path.parent), read_record(path.with_name(RUN_FILES["record"])), pd.read_parquet(path)) for path in metrics
    ]


def read_scored_runs(metrics: Sequence[Path]) -> list[ScoredRun]:
    """Fits and trainings with their result on each test image, given their files of metrics, beside which the arrays are."""
    runs = []
    for path, (keys, record, table) in zip(metrics, read_recorded_runs(metrics), strict=True):
        with safe_open(path.with_name(RUN_FILES["arrays"]), framework="numpy") as file:
            correct = {name: file.get_tensor(name) for name in file.keys() if name.startswith("correct")}  # noqa: SIM118
        runs.append(ScoredRun(keys, record["settings"], table, draw_of(record), correct))
    return runs


def runs_with(files: Sequence[Path], **keys: str) -> list[Path]:
    """Those of the files, one of each run, whose runs have these keys."""
    return [path for path in files if keys.items() <= run_keys(path.parent).items()]
