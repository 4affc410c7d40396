"""The caption of the figure beyond the paper: three tables of computed numbers."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from convrfm.replication.figures.accuracies import accuracy_of, difference, how_chosen
from convrfm.replication.figures.beyond import agop_curve, effects, size_curve
from convrfm.replication.figures.methods import estimate_cell
from convrfm.replication.figures.names import in_sentence, reservation, short_title
from convrfm.replication.figures.skipped import skipped_lines
from convrfm.replication.figures.style import with_interval

__all__ = ["caption"]


def caption(table: pd.DataFrame, choices: Mapping[str, Any], protocol: str, skipped: Mapping[str, str]) -> str:
    """Write the caption in Markdown; every number in it is computed from the table. Arguments as for `draw`."""
    draws = table.groupby(["protocol", "task"])["draw"].nunique().max()
    tasks = list(dict.fromkeys(table["task"]))
    opening = (
        f"**Beyond the paper** (curves: protocol {protocol}, ridge and round chosen {how_chosen(protocol)}). CNTK is the "
        "kernel without feature learning, ConvRFM its best round from round 1 on, and beside it round 1 alone; each stage of "
        f"Deep ConvRFM stands by itself. {draws} draw(s); intervals are 95 %, Student's, and differences are paired by draw."
    )
    lines = [opening]
    letters = iter("ABCDEF")
    if choices["task"] in tasks:
        lines += ["", *_of_agop(next(letters), agop_curve(table, choices, protocol), choices)]
    for task in tasks:
        lines += ["", *_of_sizes(next(letters), size_curve(table, task, protocol), task)]
    if choices["task"] in tasks:
        lines += ["", *_of_choices(next(letters), table, choices)]
    lines += skipped_lines(skipped, short_title)
    return "\n".join(lines) + "\n"


def _of_agop(name: str, curve: pd.DataFrame, choices: Mapping[str, Any]) -> list[str]:
    """Accuracy by images in the AGOP, and what each number gains or loses against all of them."""
    methods = [method for method in dict.fromkeys(curve["method"]) if method != "CNTK"]
    most = curve["agop_images"].max()
    opening = (
        f"**{name}**, {in_sentence(choices['task'])}, {choices['n_train']} training images: accuracy against the number of "
        "images in the AGOP, and difference to all of them. The authors' code takes the first 20."
    )
    lines = [
        opening,
        "",
        "| images | " + " | ".join(f"{method} | against {most}" for method in methods) + " |",
        "|" + "---|" * (2 * len(methods) + 1),
    ]
    full = curve[curve["agop_images"] == most]
    for number, part in curve.groupby("agop_images"):
        cells = []
        for method in methods:
            cells.append(_accuracy(part, method))
            both = pd.concat([frame[frame["method"] == method].assign(method=label) for label, frame in
                              (("some", part), ("all", full))])  # fmt: skip
            cells.append("-" if number == most else estimate_cell(difference(both, "some", "all")))
        lines.append(f"| {number} | " + " | ".join(cells) + " |")
    return lines


def _of_sizes(name: str, curve: pd.DataFrame, task: str) -> list[str]:
    """Accuracy by training images, and what each method gains over the one before it."""
    first = curve.iloc[0]
    deep = [method for method in dict.fromkeys(curve["method"]) if method.startswith("Deep")]
    opening = (
        f"**{name}, {short_title(task)}**{reservation(task)}, sigma = {first['sigma']:g}: accuracy against the number of "
        f"training images; {first['n_test']} test images, the same for all."
    )
    lines = [
        opening,
        "",
        "| training images | CNTK | ConvRFM | ConvRFM over CNTK | "
        + " | ".join(f"{method}, over ConvRFM" for method in deep)
        + " |",
        "|" + "---|" * (4 + len(deep)),
    ]
    for number, part in curve.groupby("n_train"):
        cells = [
            _accuracy(part, "CNTK"),
            _accuracy(part, "ConvRFM"),
            estimate_cell(difference(part, "ConvRFM", "CNTK")),
        ]
        cells += [estimate_cell(difference(part, method, "ConvRFM")) for method in deep]
        lines.append(f"| {number} | " + " | ".join(cells) + " |")
    return lines


def _accuracy(table: pd.DataFrame, method: str) -> str:
    rows = table[table["method"] == method]
    if rows.empty:
        return "-"
    value, low, high, *_ = accuracy_of(rows)
    return with_interval(100 * value, 100 * low, 100 * high, ".1f")


def _of_choices(name: str, table: pd.DataFrame, choices: Mapping[str, Any]) -> list[str]:
    """The ablation as a table: a row for each change, a column for each method."""
    found = effects(table, choices)
    methods = [method for method in dict.fromkeys(table["method"]) if method in set(found["method"])]
    cells = {(row.change, row.method): _effect(row) for row in found.itertuples()}
    opening = (
        f"**{name}, single choices**, {in_sentence(choices['task'])}, {choices['n_train']} training images: one change at "
        "a time to the protocol `published`, and `corrected` as a whole. Points of accuracy gained, each method chosen as the "
        "change says; a dash where a method was not run, or does not depend on the change."
    )
    return [
        opening,
        "",
        "| change | " + " | ".join(methods) + " |",
        "|" + "---|" * (len(methods) + 1),
        *(
            f"| {change} | " + " | ".join(cells.get((change, method), "-") for method in methods) + " |"
            for change in dict.fromkeys(found["change"])
        ),
        "",
        _verdict(found),
    ]


def _effect(row: Any) -> str:
    return with_interval(row.mean, row.low, row.high, "+.1f") if row.draws_changed else "no change in any draw"


def _verdict(found: pd.DataFrame) -> str:
    """How many effects are clear, and how many would be by chance."""
    tried = found[(found["draws_changed"] > 0) & found["low"].notna()]
    clear = tried[(tried["low"] > 0) | (tried["high"] < 0)]
    named = ", ".join(f"{row.change} ({row.method}, {row.mean:+.1f})" for row in clear.itertuples())
    sentence = f"Of {len(tried)} differences, {len(clear)} exclude 0 by their interval"
    sentence += f": {named}." if named else "."
    return f"{sentence} Chance alone would make {0.05 * len(tried):.1f} of them do so."
