"""A10 to A13: accuracies of CNTK, ConvRFM, Deep ConvRFM and networks, from the tables of Figures 5 and 6.

Each method is what `convrfm.replication.figures.accuracies` makes of it: ConvRFM has learned once at least, each stage of Deep ConvRFM
stands by itself, and none chooses from the rounds of one that it is compared with. Differences and their intervals are those
of the tables, over draws or over the test images of the one draw that a protocol fixes; what a claim takes, it says itself.
"""

import math
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pandas as pd

from convrfm.replication.claims.evidence import Evidence, Judges, Number, Reading, Rule
from convrfm.replication.figures.accuracies import NONE, estimate_in, layer_name
from convrfm.replication.figures.names import short_title

__all__ = ["FIG05", "FIG06", "gain"]

WORDS = ("task", "method", "quantity", "against", "over")
NUMBERS = ("sigma", "value", "low", "high")

FIG05 = Judges("fig05", WORDS, NUMBERS, ("stand_in",))
FIG06 = Judges("fig06", WORDS, (*NUMBERS, "layers"), ("stand_in",))

SOFT_NETWORK = "CNN (SGD)"
"""Its learning rate and epochs are lost in the paper's text, so that it is reported only."""

LEARNERS = ("ConvRFM", "Deep ConvRFM")

NEEDED = ("ConvRFM", "Deep ConvRFM, stage 1", "CNN (Adam)")
"""Methods of which A10 speaks; where one has no rows, that is said."""


def gain(rows: pd.DataFrame, method: str, against: str) -> Number:
    """Points that a method gains over another, as the table has them.

    Args:
        rows: of one task and noise level.
        method: the one that should gain.
        against: the other.

    Returns:
        the mean, NaN where there is none, without an interval where the table has none.
    """
    found = estimate_in(rows, method, against)
    if found is None:
        return Number(math.nan, None, f"no draw has both {method} and {against}")
    if not math.isfinite(found.value):
        return Number(math.nan, None, f"accuracies of {method} or {against} are missing")
    if not (math.isfinite(found.low) and math.isfinite(found.high) and found.over):
        return Number(100 * found.value)
    return Number(100 * found.value, (100 * found.low, 100 * found.high), over=found.over)


def _spoken_of(claim: Rule, rows: pd.DataFrame) -> pd.DataFrame:
    """The rows on tasks that the claim speaks of, or that stand in for one."""
    return rows[rows["task"].isin(claim.of) | rows["stand_in"]]


@FIG05("A10")
def at_the_highest_noise(claim: Rule, found: Evidence) -> Iterator[Reading]:
    """Gains over CNTK at the highest noise level of each task."""
    for task, rows in _spoken_of(claim, found.rows).groupby("task", sort=False):
        sigma = rows["sigma"].max()
        top = rows[rows["sigma"] == sigma]
        for method in dict.fromkeys([*NEEDED, *top["method"]]):
            if method != "CNTK":
                condition = "network_by_sgd" if method == SOFT_NETWORK else "gain"
                what = f"{method} over CNTK, sigma = {sigma:g}"
                yield found.reading(top, condition, short_title(str(task)), what, gain(top, method, "CNTK"))


@FIG05("A11")
def depth_against_noise(claim: Rule, found: Evidence) -> Iterator[Reading]:
    """Gains of the stages of Deep ConvRFM over ConvRFM at each noise level."""
    for task, rows in _spoken_of(claim, found.rows).groupby("task", sort=False):
        on, largest = short_title(str(task)), -math.inf
        for sigma, level in rows.groupby("sigma"):
            for method in [name for name in dict.fromkeys(level["method"]) if name.startswith("Deep")]:
                number = gain(level, method, "ConvRFM")
                largest = max(largest, number.value) if math.isfinite(number.value) else largest
                yield found.reading(level, "gain", on, f"{method}, over ConvRFM, sigma = {sigma:g}", number)
        if math.isinf(largest):
            found.problems.append(f"{found.path} has no stage of Deep ConvRFM on {on}")
        else:
            what = "largest mean gain of Deep ConvRFM over ConvRFM"
            yield found.reading(rows, "size", on, what, Number(largest))


@FIG06("A12")
def across_data_sets(claim: Rule, found: Evidence) -> Iterator[Reading]:
    """Shares of data sets on which methods that learn features exceed CNTK; tasks with noise belong to Figure 5."""
    images = found.rows[found.rows["sigma"].isna()]
    for stand_in, rows in images.groupby("stand_in"):
        tasks = list(dict.fromkeys(rows["task"]))
        gains = {task: {m: gain(part, m, "CNTK") for m in (*LEARNERS, "CNN")} for task, part in rows.groupby("task")}
        clear = {task: {m: _above(number) for m, number in of.items()} for task, of in gains.items()}
        kinds = sorted({number.over for of in gains.values() for number in of.values()} - {NONE})
        by = f", by intervals over {' or '.join(kinds)}" if kinds else ""
        on = f"{len(tasks)} data set{'s' * (len(tasks) > 1)}" + " (stand-ins)" * bool(stand_in)
        few = f"{len(tasks)} of at least {claim.fewest} data sets" if len(tasks) < claim.fewest else ""
        for method in LEARNERS:
            value, gap = _share([clear[task][method] for task in tasks])
            what = f"share on which {method} exceeds CNTK{by}"
            yield found.reading(rows, "tasks", on, what, Number(value, None, few or gap))
        of_network = [task for task in tasks if clear[task]["CNN"]]
        value, gap = _share([clear[task][method] for task in of_network for method in LEARNERS])
        undecided = [task for task in tasks if clear[task]["CNN"] is None]
        if not of_network:
            gap = "the network exceeds CNTK by its interval on none"
        elif undecided:
            gap = f"whether the network exceeds CNTK is not known on {', '.join(map(short_title, undecided))}"
        what = f"share of comparisons that hold where the network exceeds CNTK{by}"
        yield found.reading(rows, "where_networks_gain", on, what, Number(value, None, few or gap))


def _above(number: Number) -> bool | None:
    """Whether a gain's interval lies above zero; None where there is none."""
    return None if number.interval is None else number.interval[0] > 0


def _share(decided: list[bool | None]) -> tuple[float, str]:
    """The share that holds, and why it is not known."""
    known = [each for each in decided if each is not None]
    if len(known) < len(decided):
        return math.nan, "a data set has a single draw, or accuracies are missing"
    return (float(np.mean(known)), "") if known else (math.nan, "there is nothing to compare")


@FIG06("A13")
def number_of_layers(claim: Rule, found: Evidence) -> Iterator[Reading]:
    """The smallest step of the mean accuracy from one number of feature-learning layers to the next."""
    rows = _spoken_of(claim, found.rows)
    for task, part in rows[rows["layers"].notna()].groupby("task", sort=False):
        numbers = sorted(int(layers) for layers in set(part["layers"]))
        if len(numbers) < 3:
            what = "smallest step from one number of layers to the next"
            number = Number(math.nan, None, "there is no stage of Deep ConvRFM")
        else:
            steps = {(a, b): gain(part, layer_name(b), layer_name(a)) for a, b in pairwise(numbers)}
            # A step that is not known comes first, as nothing can be said without it.
            (a, b), number = min(steps.items(), key=lambda step: (math.isfinite(step[1].value), step[1].value))
            what = f"smallest step, from {a} to {b} layer{'s' * (b > 1)} that learn{'s' * (b == 1)}"
        yield found.reading(part, "step", short_title(str(task)), what, number)
