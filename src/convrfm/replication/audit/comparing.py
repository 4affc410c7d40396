"""Files that were written against the same files computed again: equal to the bit, close, or different, in words."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from convrfm.replication.audit.outcome import Result
from convrfm.replication.plan.plan import DRAWS
from convrfm.replication.record.record import SEAL
from convrfm.system.storage import load_arrays, sha256

__all__ = ["FIGURE", "TOLERANCES", "Tolerance", "compare"]


@dataclass(frozen=True)
class Tolerance:
    """What may differ where machine, device or builds of packages are others.

    Columns of tables, by the end of their names, by the largest difference relative to the size of a number or to 1e-3; other
    measured numbers are not compared, and what is no measured number has to be equal. Arrays, by the beginning of their names,
    relative to the largest entry; other floats are not compared, and of truth values as large a part may differ as accuracies
    may.
    """

    columns: Mapping[str, float]
    arrays: Mapping[str, float] = field(default_factory=dict)

    def in_words(self) -> str:
        """Such as "columns ...accuracy 0.02, arrays metric/... 0.05"."""
        columns = [f"columns ...{name} {limit:g}" if name else f"cells {limit:g}" for name, limit in self.columns.items()]
        return ", ".join(columns + [f"arrays {name}... {limit:g}" for name, limit in self.arrays.items()])


EXACT = Tolerance({"": 0.0}, {"": 0.0})

FIGURE = Tolerance({"": 1e-6})
"""Of figures; numbers in captions may differ by one in the last digit, and pictures are not compared."""

# Images are drawn alike everywhere, and resizing rounds.
_IMAGES = Tolerance({"": 0.0}, {"": 1e-5})
# Kernel matrices in float32: instruction sets without AVX gave the same accuracies, and metrics within 2e-4.
_FITS = Tolerance({"accuracy": 0.02}, {"metric/": 0.05})
# Rounding grows over the steps of a training: accuracies alone last.
_TRAININGS = Tolerance({"accuracy": 0.1})
# Sums over images in float32: within 2e-5 and 6e-4.
_MEASURED = Tolerance({"": 1e-3}, {"": 1e-2})

TOLERANCES: dict[str, Tolerance] = {
    **dict.fromkeys(DRAWS, _IMAGES),
    **dict.fromkeys(("rfm", "image-rfm", "variant", "printed-rfm"), _FITS),
    **dict.fromkeys(("features", "sized-features"), replace(_FITS, arrays={"metric/": 0.05, "best": 0.05})),
    **dict.fromkeys(
        ("cnn", "image-cnn", "feature-network", "sized-feature-network", "simplenet", "standin", "shallow"), _TRAININGS
    ),
    **dict.fromkeys(("ansatz", "simplenet-ansatz", "layers", "transformed"), _MEASURED),
}
"""By kind of run."""

OF_THE_OCCASION = {
    "started", "wall_seconds", "peak_memory_mb", "code", "packages", "machine", "inputs", "outputs", "gpu_granted",
    "gpu_unusable", "resumed_from", "rounds", "threads", "device", "backend", SEAL,
}  # fmt: skip
"""What a record holds of when, where and in how many steps a run was made; all else follows from settings and inputs."""

SURROUNDINGS = {"gpu": str | None, **dict.fromkeys(("threads", "torch_threads", "numba_threads"), int)}
"""Types of what a record says of its surroundings, where they are no words: nonsense does not loosen the comparison."""

MAY_DIFFER = ("best_epoch", "best_round")  # what the last bits of scores that are equal decide, in notes and arrays

NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


def compare(
    written: Mapping[str, Path], again: Mapping[str, Path], records: tuple[Mapping[str, Any], Mapping[str, Any]],
    allowed: Tolerance,
) -> tuple[Result, str]:  # fmt: skip
    """Compare the files that a run or figure wrote, by name, with the same computed again, each with its record.

    Returns:
        The result, and what differs in a sentence; a difference is allowed in other surroundings alone.
    """
    before, now = ({key: value for key, value in record.items() if key not in OF_THE_OCCASION} for record in records)
    unequal = [name for name in written if sha256(written[name]) != sha256(again[name])]
    notes = next(_of_values(before, now, exact=True), None)
    if not unequal and notes is None:
        return Result.EQUAL, ""
    if elsewhere := _surroundings(*records):
        differences = chain(_differences(written, again, unequal, allowed), _of_values(before, now, exact=False))
        if (found := next(differences, None)) is None:
            return Result.CLOSE, f"Within the tolerance ({allowed.in_words()}), as {elsewhere}."
        return Result.DIFFERENT, f"{found} ({elsewhere}; allowed: {allowed.in_words()})."
    if not unequal:
        return Result.DIFFERENT, f"Its record and the run disagree: {notes}."
    found = next(_differences(written, again, unequal, EXACT), f"The bytes of {', '.join(unequal)} differ")
    return Result.DIFFERENT, f"{found} (computed again in the same surroundings)."


def _surroundings(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """What is other about the machine, in words; empty if bits have to be the same."""
    # Numbers of threads are known where something was loaded that has any.
    pairs = [
        (old.get("machine", {}), new["machine"], ("processor", "gpu", "torch_threads", "numba_threads")),
        (old.get("packages", {}), new["packages"], new["packages"].keys() - {"python", "convrfm"}),
        (old, new, ("threads", "device", "backend")),
    ]
    return "; ".join(
        f"its {key} was {before[key]}, not {now[key]}"
        for before, now, keys in pairs
        for key in keys
        if key in before and key in now and before[key] != now[key]
        if isinstance(before[key], SURROUNDINGS.get(key, str))
    )


def _of_values(old: Any, new: Any, where: str = "", *, exact: bool) -> Iterator[str]:
    """Leaves that differ; unless they have to be exact, all but `MAY_DIFFER` and measured numbers, which may be missing."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            yield from _of_values(old.get(key), new.get(key), f"{where}.{key}" if where else key, exact=exact)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for i, (a, b) in enumerate(zip(old, new, strict=True)):
            yield from _of_values(a, b, f"{where}[{i}]", exact=exact)
    elif old != new:
        measured = all(value is None or isinstance(value, float) for value in (old, new))
        if exact or not (measured or where in MAY_DIFFER):
            yield f"{where} is {old!r}, not {new!r}"


def _differences(written: Mapping[str, Path], again: Mapping[str, Path], names: list[str], allowed: Tolerance) -> Iterator[str]:
    """What differs by more than is allowed, in those files that can be read."""
    for path, other in ((written[name], again[name]) for name in names):
        if path.suffix in (".parquet", ".csv"):
            read = pd.read_parquet if path.suffix == ".parquet" else pd.read_csv
            yield from _of_tables(read(path), read(other), allowed.columns, path.name)
        elif path.suffix == ".safetensors":
            yield from _of_arrays(load_arrays(path), load_arrays(other), allowed, path.name)
        elif path.suffix == ".md":
            texts = path.read_text("utf-8", "replace"), other.read_text("utf-8")
            yield from _of_texts(*texts, path.name, exact=allowed is EXACT)


def _of_tables(table: pd.DataFrame, again: pd.DataFrame, columns: Mapping[str, float], name: str) -> Iterator[str]:
    """The first cell of each column that differs by more than is allowed."""
    # Some tables have their columns in the order of settings, which a record sorts.
    if sorted(table.columns) != sorted(again.columns) or len(table) != len(again):
        yield f"{name} has {len(table)} rows of {list(table.columns)}, not {len(again)} of {list(again.columns)}"
        return
    for column in table.columns:
        left, right, limit = table[column], again[column], _longest(columns, column, str.endswith)
        measured = pd.api.types.is_float_dtype(right)
        if limit is None and measured and column != "ridge":
            continue
        if measured and pd.api.types.is_float_dtype(left):
            x, y = left.to_numpy(), right.to_numpy()
            wrong = _apart(x, y, (limit or 0.0) * np.maximum(np.abs(y), 1e-3))
        else:
            wrong = (left.astype(object).fillna("") != right.astype(object).fillna("")).to_numpy()
        if wrong.any():
            row = int(np.argmax(wrong))
            yield f"{name}: row {row}, column {column!r} is {left.iloc[row]}, not {right.iloc[row]}"


def _of_arrays(
    arrays: Mapping[str, np.ndarray], again: Mapping[str, np.ndarray], allowed: Tolerance, name: str
) -> Iterator[str]:
    """The first entry of each array that differs by more than is allowed."""
    if arrays.keys() != again.keys():
        yield f"{name} has other arrays: {', '.join(sorted(arrays.keys() ^ again.keys())[:6])}"
        return
    for key, array in arrays.items():
        limit, other = _longest(allowed.arrays, key, str.startswith), again[key]
        if array.shape != other.shape or array.dtype != other.dtype:
            yield f"{name}: {key} is {array.dtype}{list(array.shape)}, not {other.dtype}{list(other.shape)}"
        elif not array.size:
            continue
        elif array.dtype == bool:
            part = float(np.mean(array != other))
            if part > allowed.columns.get("accuracy", 0.0):
                yield f"{name}: {key} differs in {part:.3g} of its entries"
        elif limit is not None or not (array.dtype.kind == "f" or key.startswith(MAY_DIFFER)):
            x, y = np.asarray(array, np.float64), np.asarray(other, np.float64)
            wrong = _apart(x, y, (limit or 0.0) * np.abs(y).max())
            if wrong.any():
                place = tuple(int(i) for i in np.argwhere(wrong)[0])
                yield f"{name}: {key}{list(place)} is {x[place]}, not {y[place]} ({int(wrong.sum())} entries differ)"


def _apart(x: np.ndarray, y: np.ndarray, limit: np.ndarray | float) -> np.ndarray:
    """Where numbers differ by more than a limit; NaN and infinity have to be the same."""
    with np.errstate(invalid="ignore"):
        close: np.ndarray = (np.abs(x - y) <= limit) | (x == y) | (np.isnan(x) & np.isnan(y))
    return ~close


def _longest(allowed: Mapping[str, float], name: str, fits: Callable[[str, str], bool]) -> float | None:
    """The tolerance of the longest part that a name begins or ends with; None if it has none."""
    matching = [part for part in allowed if fits(name, part)]
    return allowed[max(matching, key=len)] if matching else None


def _of_texts(text: str, again: str, name: str, *, exact: bool) -> Iterator[str]:
    """The first line that differs; unless it has to be exact, by more than one in the last digit of a number."""
    lines, others = text.splitlines(), again.splitlines()
    if len(lines) != len(others):
        yield f"{name} has {len(lines)} lines, not {len(others)}"
    for number, (line, other) in enumerate(zip(lines, others, strict=False), 1):
        rounded = NUMBER.sub("#", line) == NUMBER.sub("#", other) and all(
            map(_within_last_digit, NUMBER.findall(line), NUMBER.findall(other))
        )
        if line != other and (exact or not rounded):
            yield f"{name}: line {number} is {line!r}, not {other!r}"
            return


def _within_last_digit(number: str, other: str) -> bool:
    """Whether two numbers are equal, or have decimals and differ by one in the last."""
    decimals = len(other.partition(".")[2])
    return number == other or (decimals > 0 and abs(float(number) - float(other)) <= 1.01 * 10.0**-decimals)
