"""What judges read: the tidy tables of figures as they lie in a folder of results, and what is wrong with them."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd
import pyarrow as pa

from convrfm.audit.files import read_table
from convrfm.audit.records import open_result, received_record
from convrfm.pipeline.paths import RUN_FILES, run_keys

__all__ = ["Bench", "Evidence", "Interval", "Reading", "none_missing"]

Interval = tuple[float, float]

SUBJECTS = ("task", "dataset", "network")
"""Keys of runs that say what they are about."""


@dataclass(frozen=True)
class Reading:
    """One number that a judge has read, before it is held against its condition.

    Attributes:
        condition: name of the condition in the claim.
        on: the task, data set or network.
        what: the quantity in words, with the rest of the case.
        value: NaN where it is not there.
        interval: 95 %; None where there is none.
        comparable: False on stand-in data.
        sources: files, relative to the project.
        bound: in the place of the condition's own.
        gap: why nothing can be decided with it; empty where something can.
    """

    condition: str
    on: str
    what: str
    value: float
    interval: Interval | None
    comparable: bool
    sources: tuple[str, ...]
    bound: float | None = None
    gap: str = ""


@dataclass(frozen=True)
class Evidence:
    """The table of a figure.

    Attributes:
        rows: the table.
        path: relative to the project.
        runs: one file of each run that it was drawn from, relative to the project, as its record names them.
    """

    rows: pd.DataFrame
    path: str
    runs: tuple[str, ...]

    def sources(self, subject: object = None, **keys: object) -> tuple[str, ...]:
        """The table, and the runs behind it that are about something.

        Args:
            subject: task, data set or network; None for all.
            keys: further ones as in the names of runs, such as `sigma=2.0`.
        """
        wanted = {key: f"{value:g}" if isinstance(value, float) else str(value) for key, value in keys.items()}
        chosen = []
        for run in self.runs:
            own = _keys_of(run)
            about = subject is None or str(subject) in (own.get(key) for key in SUBJECTS)
            if about and wanted.items() <= own.items():
                chosen.append(run)
        return (self.path, *chosen)


def _keys_of(run: str) -> dict[str, str]:
    try:
        return run_keys(Path(run).parent)
    except ValueError:
        return {}


def _runs_of(inputs: Iterable[str]) -> tuple[str, ...]:
    """One file of each run among the inputs of a figure: its metrics, or its arrays where these alone were read."""
    files: dict[Path, str] = {}
    for name in (RUN_FILES["metrics"], RUN_FILES["arrays"]):
        for path in map(Path, inputs):
            if path.name == name:
                files.setdefault(path.parent, path.as_posix())
    return tuple(files.values())


@dataclass
class Bench:
    """The table that the evidence on one claim is laid out on.

    Attributes:
        results: the folder of a preset, `results/<preset>`.
        protocol: "published" or "corrected".
        skipped: parts of figures that were not built for want of data, with the reason.
        problems: what is not there or cannot be read, in sentences.
    """

    results: Path
    protocol: str
    skipped: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def project(self) -> Path:
        """The folder that results lie in."""
        return self.results.absolute().parents[1]

    def named(self, path: Path) -> str:
        """A file relative to the project."""
        return path.absolute().relative_to(self.project).as_posix()

    def figure(
        self, name: str, texts: tuple[str, ...], numbers: tuple[str, ...], flags: tuple[str, ...] = ()
    ) -> Evidence | None:
        """The table of a figure; None where it is not there, holds nothing, or is not what it should be, with a note why.

        Args:
            name: such as "fig05".
            texts: columns that must hold words.
            numbers: columns that must hold numbers.
            flags: columns that must hold truth values.
        """
        path = self.results / "figures" / self.protocol / f"{name}.parquet"
        unbuilt = f"The table of {name} has not been built under the protocol {self.protocol}"
        table = self.table(path, unbuilt, read_table)
        if table is None:
            return None
        record = self._record(path.with_suffix(".json"))
        skipped = {str(part): str(reason) for part, reason in record.get("skipped", {}).items()}
        self.skipped |= skipped
        if "status" in table and set(table["status"]) == {"SKIPPED"}:
            # A skipped figure's table says so itself, whatever its record says.
            self.skipped |= {str(row["part"]): str(row["reason"]) for row in table.to_dict("records")}
            return None
        wrong = [
            *(f"{column} (words)" for column in texts if not _is(table, column, pd.api.types.is_string_dtype)),
            *(f"{column} (numbers)" for column in numbers if not _is(table, column, _is_number)),
            *(f"{column} (truth values)" for column in flags if not _is(table, column, pd.api.types.is_bool_dtype)),
        ]
        if wrong or len(table) == 0:
            lacks = f"lacks {', '.join(wrong)}" if wrong else "has no rows"
            self.problems.append(f"{self.named(path)} {lacks}, so that it is not the table of {name}: build it anew")
            return None
        if "protocol" in table and set(table["protocol"]) != {self.protocol}:
            found = ", ".join(sorted(map(str, set(table["protocol"]))))
            self.problems.append(f"{self.named(path)} holds rows of the protocol {found}, not of {self.protocol} alone")
            return None
        inputs = [each["path"] for each in record.get("inputs", {}).values()]
        return Evidence(table, self.named(path), _runs_of(inputs))

    def table(self, path: Path, absent: str, read: Callable[[BinaryIO], pd.DataFrame]) -> pd.DataFrame | None:
        """A table from a file; None where it is not there or cannot be read, with a note why.

        Args:
            path: of the file.
            absent: what it means that it is not there.
            read: reads it.
        """
        try:
            with open_result(self.project, self.named(path)) as file:
                return read(file)
        except FileNotFoundError:
            self.problems.append(absent)
            return None
        except (OSError, ValueError, pa.ArrowException) as error:
            self.problems.append(f"{self.named(path)} cannot be read ({type(error).__name__}): build it anew")
            return None

    def _record(self, path: Path) -> Mapping[str, Any]:
        """The record of a figure; without a readable one nothing is known of runs and skipped parts."""
        try:
            record = received_record(self.project, self.named(path))
            inputs, skipped = record.get("inputs", {}), record.get("skipped", {})
            sound = all(isinstance(each["path"], str) for each in inputs.values()) and isinstance(skipped, dict)
        except (OSError, ValueError, AttributeError, KeyError, TypeError):
            sound = False
        if not sound:
            self.problems.append(f"{self.named(path)} is not there or no record, so that its runs are not known")
            return {}
        return dict(record)


def _is(table: pd.DataFrame, column: str, kind: Callable[[Any], bool]) -> bool:
    return column in table and bool(kind(table[column]))


def _is_number(column: Any) -> bool:
    return bool(pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column))


def none_missing(values: "np.ndarray | pd.Series") -> bool:
    """Whether there are values at all and each is finite."""
    array = np.asarray(values, np.float64)
    return bool(array.size and np.isfinite(array).all())
