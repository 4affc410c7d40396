"""A10 to A13: accuracies of CNTK, ConvRFM, Deep ConvRFM and networks, from the tables of Figures 5 and 6.

Each method is what `convrfm.plots.accuracies` makes of it: ConvRFM has learned once at least, each stage of Deep ConvRFM
stands by itself, and none chooses from the rounds of one that it is compared with. Differences and their intervals are those
of the tables, over draws or over the test images of the one draw that a protocol fixes; what a claim takes, it says itself.
"""

import math
from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pandas as pd

from convrfm.audit.claims import Claim
from convrfm.audit.evidence import Bench, Evidence, Interval, Reading
from convrfm.audit.judges.registry import judges
from convrfm.plots.accuracies import NONE, estimate_in, layer_name
from convrfm.plots.names import short_title

__all__ = ["Gain", "gain"]

SOFT_NETWORK = "CNN (SGD)"
"""Its learning rate and epochs are lost in the paper's text, so that it is reported only."""

LEARNERS = ("ConvRFM", "Deep ConvRFM")

NEEDED = ("ConvRFM", "Deep ConvRFM, stage 1", "CNN (Adam)")
"""Methods of which A10 speaks; where one has no rows, that is said."""


class Gain(NamedTuple):
    """Points that a method gains over another.

    Attributes:
        value: mean; NaN where there is none.
        interval: 95 %; None where there is none.
        over: what that is over.
        gap: what is wrong, or nothing.
    """

    value: float
    interval: Interval | None
    over: str
    gap: str


def gain(rows: pd.DataFrame, method: str, against: str) -> Gain:
    """Points that a method gains over another, as the table has them.

    Args:
        rows: of one task and noise level.
        method: the one that should gain.
        against: the other.
    """
    found = estimate_in(rows, method, against)
    if found is None:
        return Gain(math.nan, None, NONE, f"no draw has both {method} and {against}")
    if not math.isfinite(found.value):
        return Gain(math.nan, None, NONE, f"accuracies of {method} or {against} are missing")
    if not (math.isfinite(found.low) and math.isfinite(found.high) and found.over):
        return Gain(100 * found.value, None, NONE, "a single draw has no interval")
    return Gain(100 * found.value, (100 * found.low, 100 * found.high), found.over, "")


def _figure(bench: Bench, name: str, *numbers: str) -> Evidence | None:
    texts = ("task", "method", "quantity", "against", "over")
    return bench.figure(name, texts, ("sigma", "value", "low", "high", *numbers), ("stand_in",))


def _spoken_of(claim: Claim, rows: pd.DataFrame) -> pd.DataFrame:
    """The rows on tasks that the claim speaks of, or that stand in for one."""
    return rows[rows["task"].isin(claim.of) | rows["stand_in"]]


def _comparable(rows: pd.DataFrame) -> bool:
    return not rows["stand_in"].any()


@judges("A10")
def at_the_highest_noise(claim: Claim, bench: Bench) -> Iterator[Reading]:
    """Gains over CNTK at the highest noise level of each task."""
    found = _figure(bench, "fig05")
    if found is None:
        return
    for task, rows in _spoken_of(claim, found.rows).groupby("task", sort=False):
        sigma = rows["sigma"].max()
        top = rows[rows["sigma"] == sigma]
        for method in dict.fromkeys([*NEEDED, *top["method"]]):
            if method == "CNTK":
                continue
            gained = gain(top, method, "CNTK")
            yield Reading(
                condition="network_by_sgd" if method == SOFT_NETWORK else "gain",
                on=short_title(str(task)),
                what=f"{method} over CNTK, sigma = {sigma:g}",
                comparable=_comparable(top),
                sources=found.sources(task, sigma=float(sigma)),
                **gained._asdict(),
            )


@judges("A11")
def depth_against_noise(claim: Claim, bench: Bench) -> Iterator[Reading]:
    """Gains of the stages of Deep ConvRFM over ConvRFM at each noise level."""
    found = _figure(bench, "fig05")
    if found is None:
        return
    for task, rows in _spoken_of(claim, found.rows).groupby("task", sort=False):
        on, comparable = short_title(str(task)), _comparable(rows)
        largest = -math.inf
        for sigma, level in rows.groupby("sigma"):
            for method in [name for name in dict.fromkeys(level["method"]) if name.startswith("Deep")]:
                gained = gain(level, method, "ConvRFM")
                largest = max(largest, gained.value) if math.isfinite(gained.value) else largest
                what = f"{method}, over ConvRFM, sigma = {sigma:g}"
                sources = found.sources(task, sigma=float(sigma))
                yield Reading("gain", on, what, comparable=comparable, sources=sources, **gained._asdict())
        if math.isinf(largest):
            bench.problems.append(f"{found.path} has no stage of Deep ConvRFM on {on}")
        else:
            what = "largest mean gain of Deep ConvRFM over ConvRFM"
            yield Reading("size", on, what, largest, None, comparable, found.sources(task))


@judges("A12")
def across_data_sets(claim: Claim, bench: Bench) -> Iterator[Reading]:
    """Shares of data sets on which methods that learn features exceed CNTK; tasks with noise belong to Figure 5."""
    found = _figure(bench, "fig06", "layers")
    if found is None:
        return
    images = found.rows[found.rows["sigma"].isna()]
    for stand_in, rows in images.groupby("stand_in"):
        tasks = list(dict.fromkeys(rows["task"]))
        gains = {task: {m: gain(part, m, "CNTK") for m in (*LEARNERS, "CNN")} for task, part in rows.groupby("task")}
        clear = {task: {m: _above(found) for m, found in of.items()} for task, of in gains.items()}
        kinds = sorted({found.over for of in gains.values() for found in of.values()} - {NONE})
        on = f"{len(tasks)} data set{'s' * (len(tasks) > 1)}" + " (stand-ins)" * bool(stand_in)
        few = f"{len(tasks)} of at least {claim.fewest} data sets" if len(tasks) < claim.fewest else ""
        read = partial(Reading, on=on, interval=None, comparable=not stand_in, sources=found.sources())
        by = f", by intervals over {' or '.join(kinds)}" if kinds else ""
        for method in LEARNERS:
            value, gap = _share([clear[task][method] for task in tasks])
            yield read("tasks", what=f"share on which {method} exceeds CNTK{by}", value=value, gap=few or gap)
        of_network = [task for task in tasks if clear[task]["CNN"]]
        value, gap = _share([clear[task][method] for task in of_network for method in LEARNERS])
        undecided = [task for task in tasks if clear[task]["CNN"] is None]
        if not of_network:
            gap = "the network exceeds CNTK by its interval on none"
        elif undecided:
            gap = f"whether the network exceeds CNTK is not known on {', '.join(map(short_title, undecided))}"
        what = f"share of comparisons that hold where the network exceeds CNTK{by}"
        yield read("where_networks_gain", what=what, value=value, gap=few or gap)


def _above(found: Gain) -> bool | None:
    """Whether a gain's interval lies above zero; None where there is none."""
    return None if found.interval is None else found.interval[0] > 0


def _share(decided: list[bool | None]) -> tuple[float, str]:
    """The share that holds, and why it is not known."""
    known = [each for each in decided if each is not None]
    if len(known) < len(decided):
        return math.nan, "a data set has a single draw, or accuracies are missing"
    return (float(np.mean(known)), "") if known else (math.nan, "there is nothing to compare")


@judges("A13")
def number_of_layers(claim: Claim, bench: Bench) -> Iterator[Reading]:
    """The smallest step of the mean accuracy from one number of feature-learning layers to the next."""
    found = _figure(bench, "fig06", "layers")
    if found is None:
        return
    rows = _spoken_of(claim, found.rows)
    for task, part in rows[rows["layers"].notna()].groupby("task", sort=False):
        numbers = sorted(int(layers) for layers in set(part["layers"]))
        steps = {(a, b): gain(part, layer_name(b), layer_name(a)) for a, b in pairwise(numbers)}
        on = short_title(str(task))
        read = partial(Reading, "step", on, comparable=_comparable(part), sources=found.sources(task))
        if len(numbers) < 3:
            what, gap = "smallest step from one number of layers to the next", "there is no stage of Deep ConvRFM"
            yield read(what=what, value=math.nan, interval=None, gap=gap)
            continue
        # A step that is not known comes first, as nothing can be said without it.
        (a, b), least = min(steps.items(), key=lambda step: (math.isfinite(step[1].value), step[1].value))
        what = f"smallest step, from {a} to {b} layer{'s' * (b > 1)} that learn{'s' * (b == 1)}"
        # The mean decides: one draw has a mean.
        gap = "" if math.isfinite(least.value) else least.gap
        yield read(what=what, **{**least._asdict(), "gap": gap})
