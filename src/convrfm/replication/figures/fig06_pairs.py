"""Pairs of classes as binary tasks, beside Figure 6: what each method gains over the plain kernel."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from convrfm.replication.claims.evidence import interval, with_interval
from convrfm.replication.figures import accuracies, fig06, style
from convrfm.replication.figures.figure import Drawn, FigureSpec, read_runs, run_inputs
from convrfm.replication.record.session import Job

__all__ = ["FIGURE", "caption", "draw", "draw_figure"]


ONE_CLASS = "in every draw, the training images hold one class only"
"""Why nothing can be learned on a pair."""


def gains(table: pd.DataFrame) -> pd.DataFrame:
    """What each method gains over CNTK on each pair: the rows "difference" of the table.

    Pairs whose training images hold one class only are not there: first images of data that lie class by class do.
    """
    return table[(table["quantity"] == "difference") & (table["against"] == "CNTK") & table["method"].isin(accuracies.METHODS)]


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """By task and method: `pairs`, in how many the mean over draws is `above` and `below` zero, `mean`, `low`, `high`, `draws`.

    The mean is over pairs, in points, and its 95 % interval over draws; seeds with equal images of all pairs are one draw. Of
    a single draw there is none: pairs share images, so that their intervals over test images do not add up.
    """
    found = gains(table)
    runs = table[(table["quantity"] == "run") & (table["train_classes"] == 2)]
    rows = []
    for task, part in found.groupby("task", sort=False):
        own = runs[runs["task"] == task]
        draws = own.groupby("seed")["draw"].agg(lambda images: ",".join(sorted(set(images))))
        values = own.pivot_table(index=["seed", "classes"], columns="method", values="value")
        for method in [name for name in accuracies.METHODS if name in set(part["method"])]:
            by_pair = part.loc[part["method"] == method, "value"]
            by_seed = 100 * (values[method] - values["CNTK"]).groupby("seed").mean().dropna()
            by_draw = by_seed.groupby(draws).mean().to_numpy()
            mean, low, high = interval(by_draw)
            rows.append(
                {
                    "task": task, "method": method, "pairs": len(by_pair), "above": int((by_pair > 0).sum()),
                    "below": int((by_pair < 0).sum()), "mean": mean, "low": low, "high": high, "draws": len(by_draw),
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def draw(table: pd.DataFrame, skipped: Mapping[str, str]) -> Figure:
    """Draw a panel for each data set, with pairs in the order of what ConvRFM gains, or the reason why it is skipped."""
    tasks = list(dict.fromkeys(table["task"]))
    found = gains(table)
    with style.figure_style():
        count = len(tasks) + len(skipped)
        figure = Figure(figsize=(7.2, 2.3 * count + 0.5), layout="constrained")
        panels = figure.subplots(count, 1, squeeze=False)[:, 0]
        for axes, task in zip(panels, tasks, strict=False):
            own = found[found["task"] == task]
            if own.empty:
                style.write_reason(axes, style.title(task), ONE_CLASS)
            else:
                _draw_pairs(axes, own, table[table["task"] == task], task)
        for axes, (task, reason) in zip(panels[len(tasks) :], skipped.items(), strict=True):
            style.write_reason(axes, style.title(task), reason)
        for axes, name in zip(panels, style.LETTERS, strict=False):
            style.letter(axes, name, offset=-0.07)
        if note := style.starred_note(tasks):
            figure.supxlabel(note, fontsize=7)
    return figure


def _draw_pairs(axes: Axes, found: pd.DataFrame, table: pd.DataFrame, task: str) -> None:
    order = found.pivot_table(index="classes", columns="method", values="value")
    methods = [method for method in accuracies.METHODS if method in order]
    pairs = list(order.sort_values(["ConvRFM", *(name for name in methods if name != "ConvRFM")]).index)
    marks = accuracies.method_marks()
    axes.axhline(0, color="0.6", linewidth=0.8)
    # Side by side and with intervals where there is room.
    few = len(pairs) < 30
    for place, method in enumerate(methods):
        colour, marker = marks[method]
        rows = found[found["method"] == method]
        where = [pairs.index(pair) + (0.1 * (place - 1) if few else 0) for pair in rows["classes"]]
        if few:
            accuracies.draw_estimates(axes, where, rows, colour=colour, marker=marker, label=method)
        else:
            axes.plot(where, 100 * rows["value"], marker, color=colour, markersize=2.2, label=method)
    if few:
        axes.set_xticks(range(len(pairs)), pairs)
        axes.set(xlim=(-0.5, len(pairs) - 0.5), xlabel="pair of classes, in the order of ConvRFM's gain")
    else:
        axes.set(xticks=[], xlabel=f"{len(pairs)} pairs of classes, in the order of ConvRFM's gain")
    axes.set(title=f"{style.title(task)}{style.star(task)}, n = {table['n_train'].iloc[0]}", ylabel="points gained\nover CNTK")
    axes.grid(axis="y")
    kinds = accuracies.interval_handles(found["over"]) if few else []
    axes.legend(handles=[*axes.get_legend_handles_labels()[0], *kinds], loc="center left", bbox_to_anchor=(1.0, 0.5))


def caption(table: pd.DataFrame, skipped: Mapping[str, str]) -> str:
    """Write the caption in Markdown; every number in it is computed from the table. Arguments as for `draw`."""
    protocol, found = table["protocol"].iloc[0], gains(table)
    opening = (
        f"**Figure 6, pairs of classes** (protocol: {protocol}). Each pair of classes is a binary task of its own, with one "
        "output that is 1 for the first class and 0 for the second, and decides at 1/2. Points of test accuracy gained over "
        "CNTK by ConvRFM, the best stage of Deep ConvRFM from stage 1 on, and the network, mean over draws. Ridge, round, "
        f"stage and epoch are chosen {accuracies.how_chosen(protocol)}. Intervals of single pairs: "
        f"{accuracies.in_words(found['over'], 'open marks')}."
    )
    gained = f"mean gain over pairs ({accuracies.IN_WORDS[accuracies.DRAWS]})"
    cells = (
        [style.title(r.task), r.method, r.pairs, r.above, r.below, with_interval(r.mean, r.low, r.high, "+.1f"), r.draws]
        for r in summary(table).itertuples()
    )
    rows = style.markdown_table(["data set", "method", "pairs", "above CNTK", "below", gained, "draws"], cells)
    lines = [opening, *style.starred_reservation(table["task"]), "", *rows]
    for task in dict.fromkeys(table["task"]):
        every = table[table["task"] == task]["classes"].nunique()
        left_out = every - found[found["task"] == task]["classes"].nunique()
        if left_out:
            lines += ["", f"{style.title(task)}: {left_out} of {every} pairs are left out, as {ONE_CLASS}."]
    return "\n".join([*lines, *style.skipped_lines(skipped, style.title)]) + "\n"


FIGURE = FigureSpec(
    title="Figure 6, pairs of classes",
    subject="many data sets",
    about="What ConvRFM, the best stage of Deep ConvRFM and finite networks gain over the plain convolutional kernel (CNTK) on "
    "pairs of classes.",
    needs=lambda plan: plan.needs(plan.pairs),
    inputs={
        **run_inputs(
            lambda plan, protocol, file: fig06.runs_of(plan, protocol, file, plan.pairs), "metrics", "records", "arrays"
        ),
        "counts": lambda plan, protocol: fig06.counts_of(plan, protocol, plan.pairs),
    },
    lacking=lambda plan: "" if plan.pairs else f"The preset {plan.settings.config.preset} has no fig06.pairs.",
)


@FIGURE.drawn
def draw_figure(job: Job, skipped: Mapping[str, str]) -> Drawn:
    """Give table, picture and caption; data sets that are not there are SKIPPED with the reason."""
    table = fig06.tidy(accuracies.read_scored_runs(job.inputs["metrics"]), read_runs(job.inputs["counts"]))
    return table, draw(table, skipped), caption(table, skipped)
