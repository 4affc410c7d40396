"""Results that somebody else may have made: opened where they are plain files of a size that can be expected."""

import hashlib
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO

import pandas as pd
from pyarrow.parquet import read_metadata

from convrfm.system.plain_files import open_plain, read_json

__all__ = ["check_table", "hash_of", "open_result", "read_parquet", "received_record"]

MB = 10**6
LIMITS = {
    ".csv": 200 * MB, ".json": 8 * MB, ".md": 2 * MB, ".parquet": 200 * MB, ".pdf": 100 * MB, ".png": 50 * MB,
    ".safetensors": 20_000 * MB,
}  # fmt: skip
"""Bytes that a file of results may have, by its suffix: many times what the largest preset writes."""

MOST_CELLS, MOST_BYTES = 20_000_000, 10**9
"""Of a table in a Parquet file, unpacked: likewise."""


def open_result(project: Path, file: str) -> BufferedReader:
    """Open a file of results that somebody else may have made.

    Args:
        project: the folder of the project.
        file: relative to it; `results/<preset>` itself may be a link, what lies in it may not.

    Raises:
        NotPlainError: it is no plain file, lies behind a link, or is larger than its kind ever is.
        OSError: it is not there, or may not be read.
    """
    return open_plain(project / file, _limit(file), _root(project, file))


def hash_of(project: Path, file: str) -> str:
    """SHA-256 (hex) of such a file; arguments and errors as of `open_result`."""
    with open_result(project, file) as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _limit(file: str) -> int:
    return LIMITS.get(Path(file).suffix, LIMITS[".json"])


def _root(project: Path, file: str) -> Path:
    parts = Path(file).parts
    return project.joinpath(*parts[:2]) if parts[:1] == ("results",) and len(parts) > 2 else project


def received_record(project: Path, file: str) -> Any:
    """What a record holds that somebody else may have made, of any kind.

    Args:
        project: the folder of the project.
        file: relative to it.

    Raises:
        OSError: see `open_result`.
        ValueError: it is no JSON, not in UTF-8, or nested as no record is.
    """
    return read_json(project / file, _limit(file), _root(project, file))


def read_parquet(file: BinaryIO) -> pd.DataFrame:
    """Read a Parquet file that somebody else may have made.

    Raises:
        OSError, ValueError, ArrowException: it cannot be read, or would unpack to more than any table of ours.
    """
    check_table(file)
    file.seek(0)
    return pd.read_parquet(file)


def check_table(file: BinaryIO) -> None:
    """Refuse a table by what its file says of it: a few bytes can stand for many cells.

    Raises:
        OSError, ValueError, ArrowException: it cannot be read, or would unpack to more than any table of ours.
    """
    about = read_metadata(file)
    size = sum(about.row_group(i).total_byte_size for i in range(about.num_row_groups))
    cells = about.num_rows * about.num_columns
    if any(about.schema.column(i).max_repetition_level for i in range(about.num_columns)):
        msg = "it has columns of lists, which no table of results has"
        raise ValueError(msg)
    if cells > MOST_CELLS or size > MOST_BYTES:
        msg = f"it holds {cells} cells of {size} bytes, and a table of results may have {MOST_CELLS} and {MOST_BYTES} bytes"
        raise ValueError(msg)
