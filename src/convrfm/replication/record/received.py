"""Results that somebody else may have made, which are only opened as plain files of an expected size.

Among them is `benchmarks/cost.csv` with its record: the numbers of one machine, which belong to the project and to no preset.
"""

import hashlib
import os
from contextlib import chdir
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO

import pandas as pd
from pyarrow.parquet import read_metadata

from convrfm.errors import refuse
from convrfm.replication.record.closure import closure_hash
from convrfm.replication.record.record import SEAL, Recorder, seal_of
from convrfm.system.storage import open_plain, read_json

__all__ = [
    "COST_TABLE", "check_table", "cost_recorder", "cost_trouble", "hash_of", "open_result", "read_parquet", "received_record",
    "write_cost_record",
]  # fmt: skip

MB = 10**6
LIMITS = {
    ".csv": 200 * MB, ".json": 8 * MB, ".md": 2 * MB, ".parquet": 200 * MB, ".pdf": 100 * MB, ".png": 50 * MB,
    ".safetensors": 20_000 * MB,
}  # fmt: skip
"""Most bytes of a file of results, by its suffix: many times what the largest preset writes."""

MOST_CELLS, MOST_BYTES = 20_000_000, 10**9  # the same for an unpacked table of a Parquet file

COST_TABLE = "benchmarks/cost.csv"
"""Columns `quantity` ("memory", "time", "classes"), `what`, `ours`, `theirs`, `ratio` (theirs over ours), `low`, `high`
(its range over repetitions), `machine`."""

COST_RECORD = "benchmarks/cost.json"

COST_SCRIPTS = ("cost.py", "kernels.py", "measuring.py")  # what measures, beside the package

COST_MODULES = ("convrfm.kernels", "convrfm.kernels.neural_tangents", "convrfm.numerics.patches")
"""What is measured."""


def open_result(project: Path, file: str) -> BufferedReader:
    """Open a file of results, relative to the project; `results/<preset>` itself may be a link, but nothing in it.

    Raises:
        NotPlainError: it is not a plain file, is behind a link, or is larger than its kind ever is.
        OSError: it is missing, or may not be read.
    """
    return open_plain(*_bounds(project, file))


def hash_of(project: Path, file: str) -> str:
    """SHA-256 (hex) of a file of results; arguments and errors as of `open_result`."""
    with open_result(project, file) as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def received_record(project: Path, file: str) -> Any:
    """The content of a record, of any type; arguments as of `open_result`.

    Raises:
        OSError: see `open_result`.
        ValueError: it is not JSON, not UTF-8, or nested too deeply.
    """
    return read_json(*_bounds(project, file))


def _bounds(project: Path, file: str) -> tuple[Path, int, Path]:
    """The path of a file of results, its most bytes, and the folder that it must lie in."""
    parts = Path(file).parts
    root = project.joinpath(*parts[:2]) if parts[:1] == ("results",) and len(parts) > 2 else project
    return project / file, LIMITS.get(Path(file).suffix, LIMITS[".json"]), root


def read_parquet(file: BinaryIO) -> pd.DataFrame:
    """Read a Parquet file; errors as of `check_table`."""
    check_table(file)
    file.seek(0)
    return pd.read_parquet(file)


def check_table(file: BinaryIO) -> None:
    """Refuse a Parquet file by its metadata: a few bytes can stand for many cells.

    Raises:
        OSError, ValueError, ArrowException: it cannot be read, or would unpack to more than any table of results.
    """
    about = read_metadata(file)
    size = sum(about.row_group(i).total_byte_size for i in range(about.num_row_groups))
    cells = about.num_rows * about.num_columns
    lists = any(about.schema.column(i).max_repetition_level for i in range(about.num_columns))
    refuse(lists, "it has columns of lists, which no table of results has", ValueError)
    found = f"it has {cells} cells of {size} bytes; a table of results has at most {MOST_CELLS} of {MOST_BYTES} bytes"
    refuse(cells > MOST_CELLS or size > MOST_BYTES, found, ValueError)


def cost_recorder(project: Path, settings: dict[str, object]) -> Recorder:
    """Start the record of the cost table, whose settings are sizes and repetitions; its clock starts here."""
    return Recorder("benchmarks/cost.py", _cost_code(project), settings)


def write_cost_record(recorder: Recorder, project: Path) -> None:
    """Write the record of the cost table, which must exist.

    Raises:
        StorageError: see `convrfm.system.storage`.
    """
    with chdir(project):
        recorder.write(Path(COST_RECORD), {}, {"table": Path(COST_TABLE)})


def cost_trouble(project: Path) -> tuple[str, str] | None:
    """What is wrong with the cost table: a state of `convrfm.replication.audit.outcome.State`, and a sentence.

    None if nothing is wrong, or without a table.
    """
    if not os.path.lexists(project / COST_TABLE):
        return None
    if not os.path.lexists(project / COST_RECORD):
        return "orphaned", f"Its record {COST_RECORD} is missing."
    try:
        record = received_record(project, COST_RECORD)
        present = hash_of(project, COST_TABLE)
        sealed, written = record[SEAL] == seal_of(record), record["outputs"]["table"]["sha256"]
        code = record["code"]["closure"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return "tampered", f"{COST_RECORD} is not a valid record of it: {type(error).__name__}: {error}."
    if not sealed:
        return "tampered", f"The {SEAL} of {COST_RECORD} is not the hash of its content: it was edited."
    if written != present:
        return "tampered", f"It is not the table that {COST_RECORD} was written for."
    if code != _cost_code(project):
        return "stale", "The kernels or the benchmark have changed since the measurement."
    return None


def _cost_code(project: Path) -> str:
    digest = hashlib.sha256(closure_hash(*COST_MODULES).encode())
    for name in COST_SCRIPTS:
        path = project / "benchmarks" / name
        digest.update(path.read_bytes() if path.is_file() else b"")
    return digest.hexdigest()
