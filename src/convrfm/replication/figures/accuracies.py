"""What counts as the accuracy of a method, what one method gains over another, and how figures show both.

A draw is a set of images, told by their hash: seeds with equal images are one draw, whatever they are called, and are averaged
first. Intervals are at 95 % and of one of two kinds, which the column `over` of every table names:

- "draws": Student's over distinct draws, two or more.
- "test images": of a single draw, over its m test images. For an accuracy it is that of Clopper and Pearson. A difference
  is paired and has the score interval of Tango (Statistics in Medicine 17, 1998), which excludes 0 exactly where McNemar's
  test (without continuity correction) rejects at 5 %. Both take the choice of ridge, round and epoch for given.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from safetensors import safe_open

from convrfm.errors import InputError
from convrfm.replication.claims.evidence import Number, interval, with_interval
from convrfm.replication.figures.figure import read_recorded_runs
from convrfm.replication.figures.style import palette
from convrfm.replication.record.record import RUN_FILES
from convrfm.replication.runs.protocols import chosen, selection_score

__all__ = [
    "ACCURACY_NUMBERS", "ACCURACY_WORDS", "DRAWS", "METHODS", "NONE", "ScoredRun", "accuracy_of", "cell_in", "difference",
    "draw_estimates", "draw_of", "estimate_cell", "estimate_in", "gain", "how_chosen", "in_words", "interval_handles",
    "kernel_parts", "kernel_rows", "layer_name", "layer_parts", "method_marks", "network_row", "over_cntk", "paired",
    "read_scored_runs", "with_estimates",
]  # fmt: skip

DRAWS, TEST_IMAGES, NONE = "draws", "test images", ""
"""What an interval is over, as the column `over` names it; nothing where there is no interval."""

IN_WORDS = {DRAWS: "95 % over draws", TEST_IMAGES: "95 % over test images of the one draw", NONE: "no interval"}

CHI_SQUARE = 3.841458820694124
"""The 95 % quantile of the chi-square distribution with one degree of freedom."""

OF_ONE_RUN = (
    "method", "layers", "stage", "seed", "draw", "accuracy", "last_accuracy", "chosen", "ridge", "correct", "train_classes",
    "unseen_classes",
)  # fmt: skip
"""Columns that differ between the runs, or the methods, of one task."""


@dataclass(frozen=True)
class ScoredRun:
    """A fit of the kernels, or a training.

    Attributes:
        keys: of the run: `experiment`, `protocol`, `seed`, and what it is about.
        settings: that it saw.
        metrics: its history.
        draw: hash of its images.
        correct: whether each test image is classified correctly, `(m,)` bool, as `correct/<stage>/<round>`, or `correct` of a
            network at the epoch that is reported; empty where that is not known, so that no interval is over test images.
    """

    keys: Mapping[str, str]
    settings: Mapping[str, Any]
    metrics: pd.DataFrame
    draw: str = ""
    correct: Mapping[str, np.ndarray] = field(default_factory=dict)

    def correct_at(self, name: str, accuracy: float) -> np.ndarray | None:
        """One of `correct`; None where it is not known.

        Raises:
            InputError: its mean is not the accuracy of the history.
        """
        found = self.correct.get(name)
        if found is not None and float(found.mean()) != accuracy:
            msg = (
                f"The accuracy of {dict(self.keys)} is {accuracy} by its history and {found.mean()} by its array {name!r}: "
                "build the run again."
            )
            raise InputError(msg)
        return found


class Estimate(NamedTuple):
    """An accuracy, or a difference of two, as fractions.

    Attributes:
        value: mean over draws.
        low, high: ends of its 95 % interval; NaN where there is none.
        over: what the interval is over: `DRAWS`, `TEST_IMAGES` or `NONE`.
        draws: how many distinct ones.
        images: test images of each.
    """

    value: float
    low: float
    high: float
    over: str
    draws: int
    images: int


def layer_name(layers: int) -> str:
    """Name of the method with so many layers that learn features."""
    return ("CNTK", "ConvRFM")[layers] if layers < 2 else f"ConvRFM in {layers} layers"


def how_chosen(protocol: str) -> str:
    """By what ridge, round and epoch are chosen, in words."""
    if protocol == "published":
        return "by test accuracy, as in the paper"
    return "on a validation split of the training images"


def kernel_parts(history: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The part of a history of `convrfm.rfm.deep.history_of` that each method may choose from.

    CNTK is round 0 of stage 0, ConvRFM the later rounds, and a Deep stage has its own rounds: no method chooses from the
    rounds of one that it is compared with.
    """
    return {
        "CNTK": history[(history["stage"] == 0) & (history["round"] == 0)],
        "ConvRFM": history[(history["stage"] == 0) & (history["round"] >= 1)],
        **{f"Deep ConvRFM, stage {stage}": part for stage, part in history.groupby("stage") if stage > 0},
    }


def layer_parts(history: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The part of a history of `convrfm.rfm.deep.history_of` that each number of layers that learn features may choose from.

    Without any layer it is the CNTK. In round 0 a stage has learned nothing yet: m layers have the later rounds of stage m - 1.
    """
    learned = history[history["round"] >= 1].groupby("stage")
    later = {layer_name(int(stage) + 1): part for stage, part in learned}
    return {layer_name(0): kernel_parts(history)["CNTK"], **later}


def kernel_rows(
    run: ScoredRun, parts: Callable[[pd.DataFrame], dict[str, pd.DataFrame]] = kernel_parts
) -> list[dict[str, Any]]:
    """The rows of all methods of a fit, which are the keys of its `parts`: `method`, `stage`, those of `chosen`, `correct`."""
    rows = []
    for method, part in parts(run.metrics).items():
        row, stage = chosen(part, selection_score(run.keys["protocol"])), int(part["stage"].iloc[0])
        correct = run.correct_at(f"correct/{stage}/{row['chosen']}", row["accuracy"])
        rows.append({"method": method, "stage": stage, **row, "correct": correct})
    return rows


def network_row(run: ScoredRun) -> dict[str, Any]:
    """The row of a network: the best epoch, as the paper reports it, and the last one; fields as from `kernel_rows`."""
    trained = run.metrics[run.metrics["epoch"] > 0]
    best = trained.loc[trained["selection_accuracy"].idxmax()]
    return {
        "accuracy": best["test_accuracy"],
        "last_accuracy": trained["test_accuracy"].iloc[-1],
        "chosen": int(best["epoch"]),
        "ridge": float("nan"),
        "correct": run.correct_at("correct", best["test_accuracy"]),
    }


def draw_of(record: Mapping[str, Any]) -> str:
    """The draw that a run was made from, by its record: the hash (12 hex digits) of its input `draw` or `images`.

    Raises:
        KeyError: it has neither.
    """
    inputs = record["inputs"]
    return str(inputs["draw/0" if "draw/0" in inputs else "images/0"]["sha256"][:12])


def accuracy_of(runs: pd.DataFrame) -> Estimate:
    """The accuracy of one method on one task: of its runs `draw`, `accuracy`, `n_test`, and `correct` where it is known."""
    means = _by_draw(runs).to_numpy()
    correct = _of_one_draw(runs)
    if len(means) > 1 or correct is None:
        return _over_draws(means, runs)
    from scipy.stats import binomtest  # takes most of a second, and planning needs none

    low, high = binomtest(int(correct.sum()), len(correct)).proportion_ci(0.95, "exact")
    return Estimate(float(means[0]), float(low), float(high), TEST_IMAGES, 1, len(correct))


def paired(runs: pd.DataFrame, method: str, against: str) -> pd.Series:
    """Differences of the accuracies of two methods by draw, of those that both have; arguments as of `difference`."""
    first, second = (_by_draw(runs[runs["method"] == name]) for name in (method, against))
    shared = first.index.intersection(second.index)
    return first[shared] - second[shared]


def difference(runs: pd.DataFrame, method: str, against: str) -> Estimate | None:
    """What a method gains over another on one task, paired by draw; None where no draw has both.

    The runs are of the task: `method`, and what `accuracy_of` takes.
    """
    values = paired(runs, method, against)
    if values.empty:
        return None
    shared = runs[runs["draw"].isin(values.index)]
    first, second = (_of_one_draw(shared[shared["method"] == name]) for name in (method, against))
    if len(values) > 1 or first is None or second is None:
        return _over_draws(values.to_numpy(), shared)
    alone = int((first & ~second).sum()), int((second & ~first).sum())
    value = (alone[0] - alone[1]) / len(first)
    return Estimate(value, *_score_interval(*alone, len(first)), TEST_IMAGES, 1, len(first))


def _by_draw(runs: pd.DataFrame) -> pd.Series:
    """Accuracy of each draw, mean over its runs; NaN where one is missing."""
    return runs.groupby("draw")["accuracy"].agg(lambda found: float(np.mean(found.to_numpy())))


def _over_draws(values: np.ndarray, runs: pd.DataFrame) -> Estimate:
    """Mean and Student's interval; none for a single draw, and where a value is missing."""
    mean, low, high = interval(values)
    return Estimate(mean, low, high, DRAWS if np.isfinite(low) else NONE, len(values), int(runs["n_test"].iloc[0]))


def _of_one_draw(runs: pd.DataFrame) -> np.ndarray | None:
    """`correct` of the runs of one method on a single draw; None where it is not known, or runs differ in it."""
    found = list(runs["correct"]) if "correct" in runs else [None]
    if found[0] is None or not all(other is not None and np.array_equal(found[0], other) for other in found[1:]):
        return None
    return np.asarray(found[0])


def _score_interval(first: int, second: int, m: int) -> tuple[float, float]:
    """The 95 % interval of Tango for the difference of two paired proportions, each of which alone succeeds in so many of m."""
    from scipy.optimize import brentq  # takes most of a second, and planning needs none

    def excess(difference: float) -> float:
        """The squared score at a difference over the 95 % quantile, minus 1."""
        away = first - second - m * difference
        if away == 0:
            return -1.0
        linear = (2 * m - first + second) * difference - first - second
        root = math.sqrt(max(0.0, linear**2 + 8 * m * second * difference * (1 - difference)))
        alone = (root - linear) / (4 * m)  # the most likely probability that the second alone succeeds
        variance = m * (2 * alone + difference * (1 - difference))
        return away**2 / (CHI_SQUARE * variance) - 1 if variance > 0 else math.inf

    value, edge = (first - second) / m, 1 - 1e-12
    low = -1.0 if second == m else brentq(excess, -edge, value)
    high = 1.0 if first == m else brentq(excess, value, edge)
    return float(low), float(high)


def over_cntk(methods: Iterable[str]) -> list[tuple[str, str]]:
    """Pairs of methods to compare: each with CNTK, and each stage of Deep ConvRFM with ConvRFM."""
    there = list(dict.fromkeys(methods))
    deep = [(method, "ConvRFM") for method in there if method.startswith("Deep")]
    return [(method, "CNTK") for method in there if method != "CNTK"] + deep


def with_estimates(
    runs: pd.DataFrame, of: list[str], pairs: Callable[[Iterable[str]], list[tuple[str, str]]], counted: pd.Series | None = None
) -> pd.DataFrame:
    """Put estimates below the runs that they are of.

    Args:
        runs: a row for each run and method: what `accuracy_of` takes, `method`, `seed`, and whatever else.
        of: columns that tell one task from another.
        pairs: gives the methods to compare of those that are there.
        counted: which runs are estimated from; None for all.

    Returns:
        the rows of the runs, with `quantity` "run"; then for each task those of each method, "accuracy", and of each pair,
        "difference" (of `method` over `against`), with the fields of `Estimate`. Of a run, `value` is its accuracy.
    """
    shared = [name for name in runs if name not in OF_ONE_RUN]
    rows: list[dict[str, Any]] = []
    for _, part in (runs if counted is None else runs[counted]).groupby(of, sort=False):
        common, methods = part.iloc[0][shared].to_dict(), list(dict.fromkeys(part["method"]))
        found = {(method, ""): accuracy_of(part[part["method"] == method]) for method in methods}
        compared = {(method, against): difference(part, method, against) for method, against in pairs(methods)}
        found |= {names: estimate for names, estimate in compared.items() if estimate is not None}
        for (method, against), estimate in found.items():
            names = {"quantity": "difference" if against else "accuracy", "method": method, "against": against}
            rows.append({**common, **names, **estimate._asdict()})
    of_runs = runs.rename(columns={"accuracy": "value"}).drop(columns="correct", errors="ignore")
    of_runs = of_runs.assign(quantity="run", against="", low=np.nan, high=np.nan, over=NONE, draws=1, images=runs["n_test"])
    table = pd.concat([of_runs, pd.DataFrame(rows)], ignore_index=True)
    first = [*shared, "quantity", "method", "against", *Estimate._fields]
    integers = dict.fromkeys(("seed", "chosen"), "Int64")
    return table[[*first, *(name for name in of_runs if name not in first)]].astype(integers).fillna({"draw": ""})


def estimate_in(table: pd.DataFrame, method: str, against: str = "") -> Estimate | None:
    """An accuracy, or a difference to another method, that the rows of one task from `with_estimates` hold, if they do."""
    kind = "difference" if against else "accuracy"
    rows = table[(table["quantity"] == kind) & (table["method"] == method) & (table["against"] == against)]
    return None if rows.empty else Estimate(*rows.iloc[0][list(Estimate._fields)])


def in_words(over: Iterable[str], marked: str = "where marked †") -> str:
    """What the intervals of a table, or of a part of it, are over; with both kinds, by what the second one is marked."""
    kinds = set(over) - {NONE}
    if kinds == {DRAWS, TEST_IMAGES}:
        return f"{IN_WORDS[DRAWS]}; {marked}, {IN_WORDS[TEST_IMAGES].removeprefix('95 % ')}"
    return IN_WORDS[kinds.pop() if kinds else NONE]


ACCURACY_WORDS = ("task", "method", "quantity", "against", "over")
ACCURACY_NUMBERS = ("sigma", "value", "low", "high")
"""Columns of a table of accuracies that its judges read."""


def gain(rows: pd.DataFrame, method: str, against: str) -> Number:
    """Points that a method gains over another by rows of one task and noise level: the mean, NaN where there is none."""
    found = estimate_in(rows, method, against)
    if found is None:
        return Number(math.nan, None, f"no draw has both {method} and {against}")
    if not math.isfinite(found.value):
        return Number(math.nan, None, f"accuracies of {method} or {against} are missing")
    if not (math.isfinite(found.low) and math.isfinite(found.high) and found.over):
        return Number(100 * found.value)
    return Number(100 * found.value, (100 * found.low, 100 * found.high), over=found.over)


METHODS = ("CNTK", "ConvRFM", "Deep ConvRFM", "CNN")
"""In the order of legends; "Deep ConvRFM" is its best stage from stage 1 on."""


def method_marks() -> dict[str, tuple[Any, str]]:
    """Colour and marker of each method, as in Figure 5."""
    colours = palette("colorblind", len(METHODS))
    return {method: (colour, marker) for method, colour, marker in zip(METHODS, colours, "osD^", strict=True)}


def estimate_cell(found: Estimate | None, *, gain: bool = True) -> str:
    """A difference in points, or an accuracy in per cent, as a cell of a table, with its interval; a dash for none.

    A dagger marks intervals over test images.
    """
    if found is None:
        return "-"
    value, low, high = (100 * number for number in (found.value, found.low, found.high))
    shown = with_interval(value, low, high, "+.1f" if gain else ".1f")
    return shown + ("" if gain else " %") + ("†" if found.over == TEST_IMAGES else "")


def cell_in(table: pd.DataFrame, method: str, against: str = "") -> str:
    """The `estimate_cell` of what `estimate_in` finds."""
    return estimate_cell(estimate_in(table, method, against), gain=bool(against))


def draw_estimates(
    axes: Axes, places: Sequence[float], rows: pd.DataFrame, *, colour: Any, marker: str, label: str, horizontal: bool = False,
    line: str = "none",
) -> None:  # fmt: skip
    """Draw estimates in per cent, or points, with their intervals: open marks where these are over test images.

    The rows are of `with_estimates`. Their places are on the axis of the tasks, which is the upright one where `horizontal`;
    `line` is the style of the line between the marks.
    """
    if rows.empty:
        return
    values, low, high = (100 * rows[name].to_numpy() for name in ("value", "low", "high"))
    span = axes.hlines if horizontal else axes.vlines
    span(places, low, high, color=colour, linewidth=1, zorder=2)
    for kind, face in ((False, colour), (True, "white")):
        those = (rows["over"] == TEST_IMAGES).to_numpy() == kind
        at = np.asarray(places)[those]
        ends = (values[those], at) if horizontal else (at, values[those])
        axes.plot(*ends, linestyle="none", marker=marker, color=colour, markerfacecolor=face, zorder=4)
    ends = (values, places) if horizontal else (places, values)
    axes.plot(*ends, linestyle=line, color=colour, zorder=3)
    axes.plot([], [], linestyle=line, marker=marker, color=colour, label=label)


def interval_handles(over: pd.Series) -> list[Line2D]:
    """Handles of a legend that say what the intervals of a figure are over, of the kinds that it has."""
    faces = {DRAWS: "0.35", TEST_IMAGES: "white"}
    words = {kind: text.replace(" of the one draw", "\nof the one draw") for kind, text in IN_WORDS.items()}
    return [
        Line2D([], [], marker="o", color="0.35", markerfacecolor=face, linewidth=1, label=words[kind])
        for kind, face in faces.items()
        if (over == kind).any()
    ]


def read_scored_runs(metrics: Sequence[Path]) -> list[ScoredRun]:
    """Fits and trainings with their result on each test image, given their files of metrics, beside which the arrays are."""
    runs = []
    for path, (keys, record, table) in zip(metrics, read_recorded_runs(metrics), strict=True):
        with safe_open(path.with_name(RUN_FILES["arrays"]), framework="numpy") as file:
            correct = {name: file.get_tensor(name) for name in file.keys() if name.startswith("correct")}  # noqa: SIM118
        runs.append(ScoredRun(keys, record["settings"], table, draw_of(record), correct))
    return runs
