"""Tables and captions of figures, made anew in memory from their runs and compared with what lies there, cell by cell."""

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt

from convrfm.audit.outcome import Finding, State
from convrfm.audit.records import Product
from convrfm.audit.replay import job_of
from convrfm.pipeline.jobs.theorem1 import caption_of
from convrfm.pipeline.plan.table import FIGURES
from convrfm.pipeline.session import load_job
from convrfm.storage import write_table

__all__ = ["FLOAT_TOLERANCE", "check_csv", "check_redrawn"]

FLOAT_TOLERANCE = 1e-6
"""Largest difference of a cell from the same cell drawn anew, relative to its size or to 1e-3: rounding on another machine."""

DRAWN = ("parquet", "csv", "md")
"""The files of a figure that are made anew; pictures are compared by hash alone."""

NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


def check_csv(project: Path, product: Product) -> Iterator[Finding]:
    """Compare the CSV of a figure with its Parquet table, which must hold the same cells in the same order."""
    file = product.files["csv"]
    try:
        table = pd.read_parquet(project / product.files["parquet"])
        lines = (project / file).read_text().splitlines()
    except (OSError, ValueError) as error:
        yield Finding(State.TAMPERED, file, f"It cannot be read beside its Parquet table: {error}.")
        return
    with tempfile.TemporaryDirectory() as folder:
        again = Path(folder) / "table.csv"
        write_table(again, table)
        expected = again.read_text().splitlines()
    if lines == expected:
        return
    row = next(
        (i for i, (a, b) in enumerate(zip(lines, expected, strict=False)) if a != b), min(len(lines), len(expected))
    )
    found = f"It disagrees with {Path(product.files['parquet']).name} from line {row + 1} on."
    yield Finding(State.TAMPERED, file, found)


def check_redrawn(project: Path, product: Product, *, stale: bool) -> Iterator[Finding]:
    """Make the table and the caption of a figure anew from its runs, with the job that makes it, and compare.

    This finds an edit whose author has also put the new hashes into the record. Theorem 1, which is computed and not drawn from
    runs, takes long: of it the caption is compared with its own table, and `convrfm.audit.theorem_checks` computes a part.

    Args:
        project: the folder of the project.
        product: a figure that the plan knows; its inputs must be there.
        stale: whether its code, configuration or environment has changed since: a difference is no proof of an edit then.
    """
    state, reason = (State.STALE, "by today's code") if stale else (State.TAMPERED, "by what it was drawn from")
    caption = (project / product.files["md"]).read_text()
    if not FIGURES[product.kind].inputs:
        table = pd.read_parquet(project / product.files["parquet"])
        difference = _text_difference(caption, caption_of(job_of(project, product, {}), table))
        if difference is not None:
            yield Finding(state, product.files["md"], f"{difference} ({reason}).")
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            _draw(project, product, folder)
        except Exception as error:  # noqa: BLE001 (whatever the job stumbles over in these runs is what was found)
            found = f"It cannot be drawn anew from its runs: {type(error).__name__}: {error}"
            yield Finding(state, product.files["parquet"], found)
            return
        table, again = pd.read_parquet(project / product.files["parquet"]), pd.read_parquet(folder / "figure.parquet")
        if (difference := _difference(table, again)) is not None:
            yield Finding(state, product.files["parquet"], f"{difference} ({reason}).")
            return
        if (difference := _text_difference(caption, (folder / "figure.md").read_text())) is not None:
            yield Finding(state, product.files["md"], f"{difference} ({reason}).")


def _draw(project: Path, product: Product, folder: Path) -> None:
    """Run the job of a figure, with outputs in another folder.

    It is the job that the plan names: what the record says, anybody may have written.
    """
    outputs = {form: folder / f"figure.{form}" for form in (*DRAWN, "record")}
    try:
        load_job(FIGURES[product.kind].job)(job_of(project, product, outputs))
    finally:
        plt.close("all")


def _difference(table: pd.DataFrame, again: pd.DataFrame) -> str | None:
    """The first cell that differs, in words."""
    # Some tables have their columns in the order of settings, which a record sorts.
    if sorted(table.columns) != sorted(again.columns) or len(table) != len(again):
        return f"It has {len(table)} rows of {list(table.columns)}, not {len(again)} of {list(again.columns)}"
    for column in table.columns:
        left, right = table[column], again[column]
        if pd.api.types.is_float_dtype(left) and pd.api.types.is_float_dtype(right):
            x, y = left.to_numpy(np.float64), right.to_numpy(np.float64)
            with np.errstate(invalid="ignore"):
                close = np.abs(x - y) <= FLOAT_TOLERANCE * np.maximum(np.abs(y), 1e-3)
            wrong = ~(close | (x == y) | (np.isnan(x) & np.isnan(y)))
        else:
            wrong = (left.astype(object).fillna("") != right.astype(object).fillna("")).to_numpy()
        if wrong.any():
            row = int(np.argmax(wrong))
            return f"Row {row}, column {column!r} is {left.iloc[row]!r}, not {right.iloc[row]!r}"
    return None


def _text_difference(text: str, again: str) -> str | None:
    """The first line that differs by more than one in the last digit of a number, in words."""
    lines, others = text.splitlines(), again.splitlines()
    if len(lines) != len(others):
        return f"It has {len(lines)} lines, not {len(others)}"
    for number, (line, other) in enumerate(zip(lines, others, strict=True), 1):
        if line != other and not _same_but_rounding(line, other):
            return f"Line {number} is {line!r}, not {other!r}"
    return None


def _same_but_rounding(line: str, other: str) -> bool:
    if NUMBER.sub("#", line) != NUMBER.sub("#", other):
        return False
    return all(map(_within_last_digit, NUMBER.findall(line), NUMBER.findall(other)))


def _within_last_digit(number: str, other: str) -> bool:
    """Whether two numbers are equal, or have decimals and differ by one in the last."""
    decimals = len(other.partition(".")[2])
    return number == other or (decimals > 0 and abs(float(number) - float(other)) <= 1.01 * 10.0**-decimals)
