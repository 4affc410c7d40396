"""What judges are given and give: the rule of a claim, the table of a figure with its runs, and numbers read from it.

Figures depend on this module, and on nothing of a claim's prose.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from pydantic import Field, model_validator

from convrfm.replication.config.models import Model
from convrfm.replication.record.record import RUN_FILES, run_keys

__all__ = [
    "Condition", "Evidence", "Interval", "Judge", "Judges", "Number", "Reading", "Rule", "basis_in_words", "bounds",
    "counted", "interval", "mean_of", "none_missing", "runs_of", "spoken_of", "with_interval", "with_room",
]  # fmt: skip


class Condition(Model):
    """What one kind of measurement of a claim has to meet."""

    quantity: str = Field(description="what is measured, in words")
    relation: Literal["above", "at least", "at most", "within"] = Field(
        description="how the value has to stand to the bound; within: its size is at most the bound"
    )
    bound: float | Literal["printed"] = Field(
        description="the number; printed: the tolerance of `convrfm.replication.figures.printed`, which differs from "
        "round to round"
    )
    unit: Literal["", "points", "cosine", "1 - rho", "degrees", "times"] = Field("", description="unit of value and bound")
    clear: bool = Field(False, description="whether the 95 % interval of the value has to lie above 0 as well")
    over: Literal["draws", "any"] = Field(
        "any",
        description="what the interval of a clear condition has to be over: distinct draws of the data; or any, such as the "
        "test images of a draw that the protocol fixes",
    )
    control: bool = Field(
        False, description="that a check can fail: it has to hold for anything to be decided, and proves nothing by itself"
    )
    soft: bool = Field(False, description="reported only: the paper's number is lost, or the paper gives none")

    @model_validator(mode="after")
    def _intervals_are_above(self) -> "Condition":
        if self.clear and self.relation not in ("above", "at least"):
            msg = f"clear is for the relations 'above' and 'at least', but this is {self.relation!r}"
            raise ValueError(msg)
        return self

    def in_words(self, bound: float | None = None) -> str:
        """The condition in words, such as "at least 5 points, with a 95 % interval above 0"; by another bound than its own."""
        number = self.bound if bound is None else bound
        interval = f"a 95 % interval{' over draws' if self.over == 'draws' else ''} above 0"
        if self.clear and self.relation == "above" and number == 0:
            return interval
        shown = "the tolerance" if isinstance(number, str) else f"{number:g} {self.unit}".strip()
        return f"{self.relation} {shown}" + (f", with {interval}" if self.clear else "")


class Rule(Model):
    """What a verdict on a claim follows from. The settings of a figure carry this part of a claim."""

    id: str = Field(pattern=r"^(A\d+|P-[a-z0-9-]+)$", description="its name: A for the paper, P for printed numbers")
    title: str = Field(min_length=1, description="a few words")
    of: list[str] = Field(
        default_factory=list,
        description="tasks or data sets that the claim speaks of, where a table has more; stand-ins come on top",
    )
    conditions: dict[str, Condition] = Field(min_length=1, description="conditions by name")
    one_is_enough: bool = Field(False, description="whether a single measurement that holds decides the claim")
    data: str = Field("the paper's data", description="what the measurements that decide it are on, in words")
    fewest: int = Field(1, ge=1, description="data sets of the paper below which nothing is decided")

    @property
    def printed(self) -> str | None:
        """The run of `convrfm.replication.figures.printed.PRINTED` that it is about, if any."""
        return self.id.removeprefix("P-") if self.id.startswith("P-") else None


Interval = tuple[float, float]

SUBJECTS = ("task", "dataset", "network")
"""Columns of tables, and keys of runs, that say what a row or run is about."""

SHOWN = 4
"""Values of one kind that are listed one by one."""


class Number(NamedTuple):
    """A value with its interval.

    Attributes:
        value: NaN where there is none.
        interval: 95 %; None where there is none.
        gap: why it decides nothing, or nothing.
        over: what the interval is over, such as "draws"; empty where it goes without saying.
        unclear: why it does not fail where it does not meet its bound, or nothing.
    """

    value: float
    interval: Interval | None = None
    gap: str = ""
    over: str = ""
    unclear: str = ""


@dataclass(frozen=True)
class Reading:
    """One number that a judge has read, before it is held against its condition.

    Attributes:
        condition: name of the condition in the claim.
        on: the task, data set or network.
        what: the quantity in words, with the rest of the case.
        number: NaN where it is not there.
        comparable: False on stand-in data.
        sources: files, relative to the project.
        basis: noise levels ("sigma"), training and test images ("n"), images of pictures or AGOPs ("images"), and seeds
            ("seed") that it rests on, each in words; as far as the table knows them.
        bound: in the place of the condition's own.
    """

    condition: str
    on: str
    what: str
    number: Number
    comparable: bool
    sources: tuple[str, ...]
    basis: dict[str, tuple[str, ...]]
    bound: float | None = None


@dataclass(frozen=True)
class Evidence:
    """The table of a figure.

    Attributes:
        rows: the table; empty where it is not there, or is not what it should be.
        path: relative to the project.
        runs: one file of each run that it was drawn from, relative to the project, as its record names them.
        skipped: parts of the figure that were not built for want of data, with the reason.
        problems: what is not there or cannot be read, in sentences; judges add to them.
    """

    rows: pd.DataFrame
    path: str = "This table"
    runs: tuple[str, ...] = ()
    skipped: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def reading(
        self, rows: pd.DataFrame, condition: str, on: str, what: str, number: Number, bound: float | None = None
    ) -> Reading:
        """A number, with what follows from the rows that it was made of: stand-ins, sources and basis; see `Reading`."""
        comparable = not ("stand_in" in rows and rows["stand_in"].any())
        return Reading(condition, on, what, number, comparable, self.sources(rows), _basis(rows), bound)

    def sources(self, rows: pd.DataFrame) -> tuple[str, ...]:
        """The table, and the runs behind it that some rows of it are about: those of which no key contradicts them."""
        keys = {run: _keys_of(run) for run in self.runs}
        names = {name for own in keys.values() for name in own} & set(rows.columns) - {"protocol"}
        known = {
            name: set(map(_in_words, rows[name].dropna().unique())) for name in names | (set(SUBJECTS) & set(rows.columns))
        }
        subjects = set().union(*(known.pop(name, set()) for name in SUBJECTS))
        return (self.path, *(run for run, own in keys.items() if _is_about(own, subjects, known)))


Judge = Callable[[Rule, Evidence], Iterator[Reading]]
"""Reads what the table of a figure says of a claim; what it cannot read it notes among the problems of the evidence."""


class Judges:
    """The judges of one figure's table, by claim, and what the table must hold for them.

    Args:
        figure: such as "fig05".
        texts: columns that must hold words.
        numbers: columns that must hold numbers.
        flags: columns that must hold truth values.
        file: CSV, relative to the project, for a table that belongs to no figure.

    Raises:
        ValueError: the figure has judges already.
    """

    every: dict[str, "Judges"] = {}  # noqa: RUF012 (one for all, filled where judges are defined)
    """By figure; of the modules of judges that were imported."""

    def __init__(
        self, figure: str, texts: Iterable[str], numbers: Iterable[str], flags: Iterable[str] = (), file: str | None = None
    ) -> None:
        kinds = (("words", texts), ("numbers", numbers), ("truth values", flags))
        self.figure, self.file = figure, file
        self.columns = {name: kind for kind, names in kinds for name in names}
        self.functions: dict[str, Judge] = {}
        if figure in self.every:
            msg = f"{figure} has judges already: add to them."
            raise ValueError(msg)
        self.every[figure] = self

    def __call__(self, *claims: str) -> Callable[[Judge], Judge]:
        """Register a function as the judge of claims by this table.

        Raises:
            ValueError: a claim has a judge already.
        """

        def register(judge: Judge) -> Judge:
            for claim in claims:
                if claim in self.functions:
                    msg = f"By {self.figure}, the claim {claim} has a judge already. Remove one of the two."
                    raise ValueError(msg)
                self.functions[claim] = judge
            return judge

        return register


def bounds(row: pd.Series) -> Interval | None:
    """The interval `low` to `high` of a row, if it has one."""
    low, high = float(row["low"]), float(row["high"])
    return (low, high) if math.isfinite(low) and math.isfinite(high) else None


def mean_of(values: "np.ndarray | pd.Series", over: str) -> Number:
    """Mean with Student's interval over what the values are of, such as "draws"; one that is missing makes it missing."""
    if not none_missing(values):
        return Number(math.nan, None, "numbers are missing")
    mean, low, high = interval(np.asarray(values, np.float64))
    return Number(mean, None if len(values) < 2 else (low, high), over=over)


def spoken_of(claim: Rule, rows: pd.DataFrame, column: str) -> pd.DataFrame:
    """The rows whose task or network, in a column of that name, is one that a claim speaks of, or stands in for one."""
    return rows[rows[column].isin(claim.of) | rows["stand_in"]]


def with_room(claim: Rule, controls: pd.Series) -> str:
    """The condition for correlations that have to exceed those of a control: "excess".

    Where the control leaves no room for that below 1, it is "without_room", which is soft.
    """
    bound = claim.conditions["excess"].bound
    return "without_room" if isinstance(bound, float) and 1 < controls.mean() + bound < math.inf else "excess"


def none_missing(values: "np.ndarray | pd.Series | pd.DataFrame") -> bool:
    """Whether there are values at all and each is finite."""
    array = np.asarray(values, np.float64)
    return bool(array.size and np.isfinite(array).all())


def runs_of(inputs: Iterable[str]) -> tuple[str, ...]:
    """One file of each run among the inputs of a figure: its metrics, or its arrays where these alone were read."""
    found: dict[Path, str] = {}
    for name in (RUN_FILES["metrics"], RUN_FILES["arrays"]):
        for path in map(Path, inputs):
            if path.name == name:
                found.setdefault(path.parent, path.as_posix())
    return tuple(found.values())


def _keys_of(run: str) -> dict[str, str]:
    try:
        return run_keys(Path(run).parent)
    except ValueError:
        return {}


def _is_about(keys: dict[str, str], subjects: set[str], known: dict[str, set[str]]) -> bool:
    own = next((keys[name] for name in SUBJECTS if name in keys), None)
    return (not subjects or own in subjects) and all(keys[name] in known[name] for name in keys.keys() & known if known[name])


def _in_words(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _basis(rows: pd.DataFrame) -> dict[str, tuple[str, ...]]:
    found = {name: rows[name].dropna().sort_values() for name in ("sigma", "images", "seed") if name in rows}
    if {"n_train", "n_test"} <= set(rows):
        # What such tables count as `images` are the test images again.
        found.pop("images", None)
        sizes = rows[["n_train", "n_test"]].drop_duplicates()
        found["n"] = sizes["n_train"].astype(str) + "/" + sizes["n_test"].astype(str)
    if "image" in rows:
        pictures = rows.loc[rows["image"] >= 0, [name for name in ("source", "image") if name in rows]]
        found["images"] = pd.Series([len(pictures.drop_duplicates())] * bool(len(pictures)))
    return {name: tuple(map(_in_words, values.unique())) for name, values in found.items()}


def basis_in_words(bases: Iterable[dict[str, tuple[str, ...]]]) -> str:
    """What several numbers rest on together, such as "sigma = 2, n = 2000/1000, seeds 0, 1, 2"."""
    together: dict[str, list[str]] = {}
    for basis in bases:
        for name, own in basis.items():
            together.setdefault(name, []).extend(own)
    parts = []
    for name, form in (("sigma", "sigma = {}"), ("n", "n = {}"), ("images", "{} images"), ("seed", "seed{s} {}")):
        values = list(dict.fromkeys(together.get(name, [])))
        if values:
            listed = ", ".join(values) if len(values) <= SHOWN else f"{values[0]} to {values[-1]} ({len(values)})"
            parts.append(form.format(listed, s="s" * (len(values) > 1)))
    return ", ".join(parts)


def interval(values: np.ndarray) -> tuple[float, float, float]:
    """Give mean and 95 % Student interval of the mean; the interval is NaN for fewer than two values, and all for none."""
    mean = float(np.mean(values)) if len(values) else math.nan
    if len(values) < 2:
        return mean, math.nan, math.nan
    from scipy import stats  # takes most of a second, and planning needs none

    half = float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))
    return mean, mean - half, mean + half


def counted(number: int, one: str, many: str = "") -> str:
    """A number with a noun in the form that it takes."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def with_interval(mean: float, low: float, high: float, form: str) -> str:
    """Write a number with its interval behind it in brackets, if there is one; all in the same format, such as "+.3f"."""
    return f"{mean:{form}}" if np.isnan(low) else f"{mean:{form}} [{low:{form}}, {high:{form}}]"
