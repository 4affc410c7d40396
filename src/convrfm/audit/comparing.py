"""Files that were written against the same files computed again: equal to the bit, close, or different, in words."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from convrfm.audit.outcome import Result
from convrfm.pipeline.record import SEAL
from convrfm.storage import load_arrays, sha256

__all__ = ["TOLERANCES", "Tolerance", "compare", "tolerance_of"]


@dataclass(frozen=True)
class Tolerance:
    """What may differ where machine, device or builds of packages are others.

    Attributes:
        columns: of tables, by the end of their names: largest difference, absolute.
        arrays: by the beginning of their names: largest difference, relative to the largest entry.
        why: in a few words.
    """

    columns: Mapping[str, float] = field(default_factory=dict)
    arrays: Mapping[str, float] = field(default_factory=dict)
    why: str = ""


_IMAGES = Tolerance({"": 0.0}, {"": 1e-5}, "images are drawn alike everywhere; resizing rounds")
_FITS = Tolerance({"accuracy": 0.01, "error": 0.01}, {"metric/": 0.05}, "kernel matrices in float32")
_TRAININGS = Tolerance({"accuracy": 0.1}, {}, "rounding grows over the steps of a training; only accuracies last")
_MEASURED = Tolerance({"": 1e-3}, {"": 1e-2}, "sums over images in float32")

TOLERANCES: dict[str, Tolerance] = {
    **dict.fromkeys(("prepare", "resample", "draw", "sized-draw"), _IMAGES),
    **dict.fromkeys(("rfm", "image-rfm", "variant", "printed-rfm"), _FITS),
    "features": replace(_FITS, arrays={"metric/": 0.05, "best": 0.05}),
    **dict.fromkeys(("cnn", "image-cnn", "feature-network", "simplenet", "standin", "shallow"), _TRAININGS),
    **dict.fromkeys(("ansatz", "simplenet-ansatz", "layers", "transformed"), _MEASURED),
}
"""By kind of run."""

FIGURE_TOLERANCE = 1e-6
"""Largest difference of a cell of a figure's table, relative to its size or to 1e-3."""

OF_THE_OCCASION = {
    "started", "wall_seconds", "peak_memory_mb", "code", "packages", "machine", "inputs", "outputs", "gpu_granted",
    "gpu_unusable", "resumed_from", "rounds", "threads", "device", "backend", SEAL,
}  # fmt: skip
"""What a record holds of when, where and in how many steps a run was made; all else follows from settings and inputs."""

NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


def tolerance_of(kind: str, *, is_figure: bool) -> str:
    """What is allowed for a kind of run, or for figures, in words."""
    if is_figure:
        return f"cells of tables {FIGURE_TOLERANCE:g}, numbers in captions one in the last digit; pictures are not compared"
    found = TOLERANCES[kind]
    parts = [f"{name or 'all columns'} {allowed:g}" for name, allowed in found.columns.items()]
    parts += [
        f"arrays {name}{'... ' if name else ''}{allowed:g} of the largest entry"
        for name, allowed in found.arrays.items()
    ]
    return ", ".join(parts)


def compare(
    kind: str, written: Mapping[str, Path], again: Mapping[str, Path], records: tuple[Mapping[str, Any], Mapping[str, Any]],
    *, is_figure: bool,
) -> tuple[Result, str]:  # fmt: skip
    """Compare what a run or figure wrote with the same computed again.

    Args:
        kind: of run, or name of the figure.
        written: its files by name, without the record.
        again: the same, computed here.
        records: of both.
        is_figure: which of the two.

    Returns:
        The result, and what differs in a sentence.
    """
    old, new = records
    unequal = [name for name in written if sha256(written[name]) != sha256(again[name])]
    notes = _first(_of_values(_lasting(old), _lasting(new), exact=True))
    if not unequal and notes is None:
        return Result.EQUAL, ""
    if elsewhere := _surroundings(old, new):
        differences = (
            _beyond_figure(written, again, unequal) if is_figure else _beyond(TOLERANCES[kind], written, again, unequal)
        )
        found = _first(differences) or _first(_of_values(_lasting(old), _lasting(new), exact=False))
        if found is None:
            return Result.CLOSE, f"Within the tolerance ({tolerance_of(kind, is_figure=is_figure)}), as {elsewhere}."
        return Result.DIFFERENT, f"{found} ({elsewhere}; allowed: {tolerance_of(kind, is_figure=is_figure)})."
    if not unequal:
        return Result.DIFFERENT, f"Its record says otherwise than the run: {notes}."
    found = (
        _first(_in_words(written, again, unequal)) or f"The bytes of {', '.join(unequal)} differ, in no cell or entry"
    )
    return Result.DIFFERENT, f"{found} (computed again in the same surroundings)."


def _first(differences: Iterator[str]) -> str | None:
    return next(differences, None)


def _surroundings(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """What is other about the machine, in words; empty where bits have to be the same."""
    parts = [
        f"its {key.replace('_', ' ')} was {old['machine'][key]}, not {new['machine'][key]}"
        for key in ("processor", "gpu", "torch_threads", "numba_threads")
        # Numbers of threads are there where something was loaded that has any.
        if key in old.get("machine", {}) and key in new["machine"] and old["machine"][key] != new["machine"][key]
    ]
    parts += [
        f"its {key} was {old[key]}, not {new[key]}"
        for key in ("threads", "device", "backend")
        if key in old and key in new and old[key] != new[key]
    ]
    parts += [
        f"its {name} was {found}, not {new['packages'][name]}"
        for name, found in old.get("packages", {}).items()
        if name in new["packages"] and new["packages"][name] != found
    ]
    return "; ".join(sorted(parts)[:3])


def _lasting(record: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key not in OF_THE_OCCASION}


def _of_values(old: Any, new: Any, where: str = "", *, exact: bool) -> Iterator[str]:
    """Leaves that differ; unless they have to be exact, words and truth values alone."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            yield from _of_values(old.get(key), new.get(key), f"{where}.{key}" if where else key, exact=exact)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for i, (a, b) in enumerate(zip(old, new, strict=True)):
            yield from _of_values(a, b, f"{where}[{i}]", exact=exact)
    elif old != new and (exact or isinstance(old, str | bool)):
        yield f"{where} is {old!r}, not {new!r}"


def _in_words(written: Mapping[str, Path], again: Mapping[str, Path], names: list[str]) -> Iterator[str]:
    """The first cell, entry or line that differs at all, for each file that can be read so."""
    for name in names:
        path, other = written[name], again[name]
        if path.suffix == ".parquet":
            yield from _of_tables(pd.read_parquet(path), pd.read_parquet(other), {"": 0.0}, path.name)
        elif path.suffix == ".safetensors":
            yield from _of_arrays(load_arrays(path), load_arrays(other), {"": 0.0}, path.name)
        elif path.suffix in (".md", ".csv"):
            yield from _of_texts(path.read_text("utf-8", "replace"), other.read_text("utf-8"), path.name, exact=True)


def _beyond(
    allowed: Tolerance, written: Mapping[str, Path], again: Mapping[str, Path], names: list[str]
) -> Iterator[str]:
    """What differs by more than is allowed in the files of a run."""
    for name in names:
        if name == "metrics":
            yield from _of_tables(pd.read_parquet(written[name]), pd.read_parquet(again[name]), allowed.columns, name)
        else:
            yield from _of_arrays(load_arrays(written[name]), load_arrays(again[name]), allowed.arrays, name)


def _beyond_figure(written: Mapping[str, Path], again: Mapping[str, Path], names: list[str]) -> Iterator[str]:
    """The same for a figure, whose pictures are not compared; its two tables have to agree to the letter."""
    table = pd.read_parquet(written["parquet"])
    if "parquet" in names:
        yield from _of_tables(table, pd.read_parquet(again["parquet"]), None, "table")
    if "md" in names:
        yield from _of_texts(
            written["md"].read_text("utf-8", "replace"), again["md"].read_text("utf-8"), "caption", exact=False
        )
    if "csv" in names:
        # Its cells are those of the table, as pandas writes them.
        cells = table.to_csv(index=False, lineterminator="\n")
        yield from _of_texts(written["csv"].read_text("utf-8", "replace"), cells, "csv", exact=True)


def _of_tables(
    table: pd.DataFrame, again: pd.DataFrame, columns: Mapping[str, float] | None, name: str
) -> Iterator[str]:
    """Cells that differ; numbers by more than the tolerance of their column, or by that of figures where there is none."""
    # Some tables have their columns in the order of settings, which a record sorts.
    if sorted(table.columns) != sorted(again.columns) or len(table) != len(again):
        yield f"{name} has {len(table)} rows of {list(table.columns)}, not {len(again)} of {list(again.columns)}"
        return
    for column in table.columns:
        left, right = table[column], again[column]
        numbers = pd.api.types.is_float_dtype(left) and pd.api.types.is_float_dtype(right)
        allowed = FIGURE_TOLERANCE if columns is None else _longest(columns, column, str.endswith)
        if allowed is None:
            continue
        if numbers:
            x, y = left.to_numpy(np.float64), right.to_numpy(np.float64)
            scale = np.maximum(np.abs(y), 1e-3) if columns is None else 1.0
            with np.errstate(invalid="ignore"):
                close = np.abs(x - y) <= allowed * scale
            wrong = ~(close | (x == y) | (np.isnan(x) & np.isnan(y)))
        else:
            wrong = (left.astype(object).fillna("") != right.astype(object).fillna("")).to_numpy()
        if wrong.any():
            row = int(np.argmax(wrong))
            yield f"{name}: row {row}, column {column!r} is {left.iloc[row]}, not {right.iloc[row]}"


def _of_arrays(
    arrays: Mapping[str, np.ndarray], again: Mapping[str, np.ndarray], allowed: Mapping[str, float], name: str
) -> Iterator[str]:
    """Entries that differ by more than the tolerance of their array."""
    if arrays.keys() != again.keys():
        yield f"{name} has other arrays: {', '.join(sorted(arrays.keys() ^ again.keys())[:6])}"
        return
    for key, array in arrays.items():
        limit, other = _longest(allowed, key, str.startswith), again[key]
        if array.shape != other.shape or array.dtype != other.dtype:
            yield f"{name}: {key} is {array.dtype}{list(array.shape)}, not {other.dtype}{list(other.shape)}"
        elif limit is not None and array.size:
            x, y = np.asarray(array, np.float64), np.asarray(other, np.float64)
            with np.errstate(invalid="ignore"):
                wrong = ~((np.abs(x - y) <= limit * np.abs(y).max(initial=0.0)) | (np.isnan(x) & np.isnan(y)))
            if wrong.any():
                place = tuple(int(i) for i in np.argwhere(wrong)[0])
                yield f"{name}: {key}{list(place)} is {x[place]!s}, not {y[place]!s} ({int(wrong.sum())} entries differ)"


def _longest(allowed: Mapping[str, float], name: str, fits: Any) -> float | None:
    """The tolerance of the longest part that a name begins or ends with; None where it has none."""
    matching = [part for part in allowed if fits(name, part)]
    return allowed[max(matching, key=len)] if matching else None


def _of_texts(text: str, again: str, name: str, *, exact: bool) -> Iterator[str]:
    """The first line that differs; unless it has to be exact, by more than one in the last digit of a number."""
    lines, others = text.splitlines(), again.splitlines()
    if len(lines) != len(others):
        yield f"{name} has {len(lines)} lines, not {len(others)}"
    for number, (line, other) in enumerate(zip(lines, others, strict=False), 1):
        if line != other and (exact or not _same_but_rounding(line, other)):
            yield f"{name}: line {number} is {line!r}, not {other!r}"
            return


def _same_but_rounding(line: str, other: str) -> bool:
    return NUMBER.sub("#", line) == NUMBER.sub("#", other) and all(
        map(_within_last_digit, NUMBER.findall(line), NUMBER.findall(other))
    )


def _within_last_digit(number: str, other: str) -> bool:
    """Whether two numbers are equal, or have decimals and differ by one in the last."""
    decimals = len(other.partition(".")[2])
    return number == other or (decimals > 0 and abs(float(number) - float(other)) <= 1.01 * 10.0**-decimals)
