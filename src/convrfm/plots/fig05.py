"""Figure 5, local signal adaptivity: accuracy against noise, and how the learned metric dims the background."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from convrfm.datasets.local_signal import TASKS
from convrfm.plots.accuracies import chosen, how_chosen, kernel_parts, network_row, selection_score
from convrfm.plots.methods import gain, gain_cell
from convrfm.plots.names import is_stand_in, reservation, short_title, with_stand_ins
from convrfm.plots.skipped import skipped_lines, write_reason
from convrfm.plots.style import figure_style, interval, letter
from convrfm.visualize import patch_magnitude

__all__ = ["caption", "contrast", "draw", "examples", "tidy"]

NETWORK_METHODS = {"adam": "CNN (Adam)", "sgd": "CNN (SGD)"}


def _methods(present: Iterable[str]) -> list[str]:
    """The methods that are there, in the order of the legend."""
    order = ("CNTK", "ConvRFM", "Deep", "CNN")
    return sorted(
        set(present), key=lambda method: (next(i for i, m in enumerate(order) if method.startswith(m)), method)
    )


Run = tuple[Mapping[str, str], Mapping[str, Any], pd.DataFrame]
"""Keys of a run (`experiment`, `protocol`, `task`, `sigma`, `seed`, ...), its settings, and its metrics."""


def tidy(runs: list[Run]) -> pd.DataFrame:
    """Bring the runs into one table, a row for each method, task, noise level and seed.

    Args:
        runs: fits of the kernels and trainings of the networks.

    Returns:
        columns `panel`, `task`, `stand_in`, `protocol`, `method`, `sigma`, `noise_std`, `seed`, `accuracy` (of the
        test images at the selected ridge and round, or epoch), `last_accuracy` (of the last round or epoch), `chosen`
        (that round or epoch), `ridge`, `n_train`, `n_test`. Accuracies are fractions.
    """
    rows = []
    for keys, settings, metrics in runs:
        sigma = float(keys["sigma"])
        shared = {
            "task": keys["task"],
            "stand_in": is_stand_in(keys["task"]),
            "protocol": keys["protocol"],
            "sigma": sigma,
            "noise_std": TASKS[keys["task"]](sigma),
            "seed": int(keys["seed"]),
            "n_train": settings["n_train"],
            "n_test": settings["n_test"],
        }
        if keys["experiment"] == "rfm":
            parts = kernel_parts(metrics).items()
            rows += [
                {**shared, "method": method, **chosen(part, selection_score(keys["protocol"]))}
                for method, part in parts
            ]
        else:
            rows.append({**shared, "method": NETWORK_METHODS[keys["optimizer"]], **network_row(metrics)})
    table = pd.DataFrame(rows)
    order = {task: index for index, task in enumerate(TASKS)}
    table.insert(0, "panel", table["task"].map(order).rank(method="dense").astype(int).map(lambda i: "ABC"[i - 1]))
    table["method"] = pd.Categorical(table["method"], _methods(table["method"]), ordered=True)
    return table.sort_values(["panel", "method", "sigma", "seed"], ignore_index=True).astype({"method": str})


def contrast(magnitude: np.ndarray, inside: np.ndarray) -> float:
    """Mean magnitude inside the signal's box over the mean outside; both `(n, height, width)`."""
    return float(magnitude[inside].mean() / magnitude[~inside].mean())


def examples(images: np.ndarray, inside: np.ndarray, metric: np.ndarray, patch_size: int) -> dict[str, Any]:
    """Give what the picture panel of one task shows.

    Args:
        images: `(n, 1, height, width)` at one noise level.
        inside: where the signal lies, of the same shape.
        metric: learned at that noise level `(d, d)`.
        patch_size: q.

    Returns:
        `image`, `identity` and `learned`: the first image whose signal stays clear of the border, over which patches
        wrap, and it transformed by I^{1/2} and M^{1/2} `(height, width)`;
        `contrast_identity`, `contrast_learned`: mean of the signal over mean of the background, over all images.
    """
    box = inside[:, 0]
    plain = patch_magnitude(images, np.eye(len(metric)), patch_size)
    learned = patch_magnitude(images, metric, patch_size)
    # Whole rows of signal, that is bars, in the two outermost rows are what wrapping would mix with the other side.
    near_border = np.asarray(box.all(axis=2))[:, [0, 1, -2, -1]].any(axis=1)
    shown = int(np.argmin(near_border))
    return {
        "image": images[shown, 0],
        "identity": plain[shown],
        "learned": learned[shown],
        "contrast_identity": contrast(plain, box),
        "contrast_learned": contrast(learned, box),
    }


def draw(table: pd.DataFrame, pictures: Mapping[str, Mapping[str, Any]], skipped: Mapping[str, str]) -> Figure:
    """Draw the figure.

    Args:
        table: from `tidy`, one protocol.
        pictures: from `examples`, by task, with the noise level as `sigma`.
        skipped: tasks whose data are not there, with the reason; each leaves a panel that says so.
    """
    tasks = list(dict.fromkeys(table["task"]))
    with figure_style():
        figure = Figure(figsize=(7.2, 4.7), layout="constrained")
        curves, strip = figure.subfigures(2, 1, height_ratios=(1.75, 1))  # type: ignore[misc]
        panels = np.atleast_1d(curves.subplots(1, len(skipped) + len(tasks)))
        for panel, (task, reason) in zip(panels, skipped.items(), strict=False):
            write_reason(panel, short_title(task), reason, width=48)
        # To the right of what is skipped: the legend stands beside the last panel.
        axes = panels[len(skipped) :]
        for index, task in enumerate(tasks):
            _draw_curves(axes[index], table[table["task"] == task], task)
            letter(axes[index], "ABC"[index])
        axes[0].set_ylabel("test accuracy (%)")
        title = f"mean, 95 % interval\n({_draws(table)})"
        axes[len(tasks) - 1].legend(loc="lower left", bbox_to_anchor=(1.0, 0.0), title=title)
        # Wider cells for wider images, with room for the titles of narrow ones.
        shapes = [pictures[task]["image"].shape for task in tasks]
        widths = [max(width / height, 1.3) for height, width in shapes for _ in range(3)]
        cells = strip.subplots(1, 3 * len(tasks), squeeze=False, width_ratios=widths)[0]
        for index, task in enumerate(tasks):
            _draw_pictures(cells[3 * index : 3 * index + 3], pictures[task])
            letter(cells[3 * index], "ABCDEF"[len(tasks) + index], offset=-0.08)
    return figure


def _draws(table: pd.DataFrame) -> str:
    """How many draws stand behind the points of kernels, and of networks."""
    by_point = table.groupby(["task", "method", "sigma"])["seed"].nunique().reset_index()
    parts = []
    for name, networks in (("kernels", False), ("CNNs", True)):
        counts = by_point.loc[by_point["method"].str.startswith("CNN") == networks, "seed"]
        parts.append(f"{name} {' to '.join(str(count) for count in sorted({counts.min(), counts.max()}))}")
    return f"draws: {', '.join(parts)}"


def _draw_curves(axes: Axes, table: pd.DataFrame, task: str) -> None:
    methods = _methods(table["method"])
    colours = dict(zip(methods, sns.color_palette("colorblind", len(methods)), strict=True))
    markers = dict(zip(methods, "osD^vPX*<>", strict=False))
    for method in methods:
        rows = table[table["method"] == method].groupby("sigma")["accuracy"]
        summary = pd.DataFrame({sigma: interval(100 * values.to_numpy()) for sigma, values in rows}).T
        axes.plot(
            summary.index, summary[0], marker=markers[method], color=colours[method], label=method,
            linestyle="--" if method.startswith("CNN") else "-", zorder=3,
        )  # fmt: skip
        axes.fill_between(summary.index, summary[1], summary[2], color=colours[method], alpha=0.13, linewidth=0)
        # An interval without neighbours has no area.
        there = summary[1].notna()
        alone = summary[there & ~there.shift(fill_value=False) & ~there.shift(-1, fill_value=False)]
        axes.vlines(alone.index, alone[1], alone[2], color=colours[method], linewidth=1.2, alpha=0.7)
    axes.set_title(with_stand_ins(f"{short_title(task)}, n = {table['n_train'].iloc[0]}", [task], separator="\n"))
    axes.set_xlabel(r"noise level $\sigma$")
    axes.set_xticks(sorted(table["sigma"].unique()))
    bottom, top = axes.get_ylim()
    axes.set_ylim(max(0, bottom), min(101, top))
    axes.grid(axis="y", linewidth=0.4, alpha=0.6)


def _draw_pictures(cells: np.ndarray, picture: Mapping[str, Any]) -> None:
    """One image, its patch norms, and its patch norms under the learned metric."""
    top = max(float(picture[name].max() / picture[name].mean()) for name in ("identity", "learned"))
    bound = float(np.abs(picture["image"]).max())
    cells[0].imshow(picture["image"], cmap="gray", vmin=-bound, vmax=bound, interpolation="nearest")
    cells[0].set_title(rf"$\sigma$ = {picture['sigma']:g}", fontsize=7.5)
    for cell, name, title in zip(cells[1:], ("identity", "learned"), ("patch norm", "learned metric"), strict=True):
        # Each in units of its own mean, on one scale, so that the two can be compared.
        cell.imshow(picture[name] / picture[name].mean(), cmap="viridis", vmin=0, vmax=top, interpolation="nearest")
        cell.set_title(title, fontsize=7.5)
        cell.set_xlabel(f"contrast {picture[f'contrast_{name}']:.2f}", fontsize=7.5)
    for cell in cells:
        cell.set(xticks=[], yticks=[])
        sns.despine(ax=cell, left=True, bottom=True)


def caption(table: pd.DataFrame, pictures: Mapping[str, Mapping[str, Any]], skipped: Mapping[str, str]) -> str:
    """Write the caption in Markdown; every number in it is computed from the table. Arguments as for `draw`."""
    protocol = table["protocol"].iloc[0]
    opening = (
        f"**Figure 5, local signal adaptivity** (protocol: {protocol}). Test accuracy against the noise level sigma. CNTK "
        "is the kernel without feature learning, ConvRFM its best round from round 1 on, each stage of Deep ConvRFM stands "
        f"by itself, and the networks are at their best epoch. Ridge, round and epoch are chosen {how_chosen(protocol)}."
    )
    lines = [opening]
    for task in dict.fromkeys(table["task"]):
        part = table[table["task"] == task]
        opening = (
            f"**{part['panel'].iloc[0]}, {short_title(task)}**{reservation(task)}: {part['n_train'].iloc[0]} training and "
            f"{part['n_test'].iloc[0]} test images. Points gained, mean and 95 % interval over draws, paired by seed:"
        )
        lines += ["", opening, "", *_gains(part), "", _of_pictures(pictures[task])]
    lines += skipped_lines(skipped, short_title)
    return "\n".join(lines) + "\n"


def _of_pictures(picture: Mapping[str, Any]) -> str:
    """What the pictures of one task show."""
    before, after = picture["contrast_identity"], picture["contrast_learned"]
    verb = "rises" if after > before else "does not rise:"
    return (
        f"Pictures: a test image at sigma = {picture['sigma']:g}, the norm of the patch around each pixel, and that norm "
        "under ConvRFM's metric, on one colour scale in units of the mean. The contrast (mean norm inside the signal's box "
        f"over that outside, all test images) {verb} from {before:.2f} to {after:.2f}."
    )


def _gains(table: pd.DataFrame) -> list[str]:
    """A Markdown table: rows are methods, columns noise levels."""
    sigmas = sorted(table["sigma"].unique())
    header = "| method | " + " | ".join(f"sigma = {sigma:g}" for sigma in sigmas) + " |"
    lines = [header, "|" + "---|" * (len(sigmas) + 1)]
    base = table[table["method"] == "CNTK"].groupby("sigma")["accuracy"].mean()
    lines.append("| CNTK, accuracy | " + " | ".join(f"{100 * base[sigma]:.1f} %" for sigma in sigmas) + " |")
    methods = _methods(table["method"])
    compared = [(method, "CNTK") for method in methods[1:]]
    compared += [(method, "ConvRFM") for method in methods if method.startswith("Deep")]
    for method, against in compared:
        cells = [gain_cell(gain(table[table["sigma"] == sigma], method, against)) for sigma in sigmas]
        lines.append(f"| {method}, over {against} | " + " | ".join(cells) + " |")
    return lines
