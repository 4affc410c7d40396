"""Noise that Deep ConvRFM dims: noisy bars through its learned filters, stage by stage, beside random filters.

    python examples/dimmed_noise.py --sigma 1 --output dimmed_noise.png

Each image of 16x32 pixels is noise but for one row, a bright or a dark bar, and the label is which (section 4 of arXiv
2309.00570). Deep ConvRFM is fitted, and test images are sent through the filters that its first stages have drawn from the
metrics that they learned. Measured is the power of the features where filters are centred on the bar, over that where they
do not touch it, in decibels: of every test image on which both can be seen. Beside it stand filters without a metric, as many,
as deep, and drawn several times. Needs the extra `workflow` for the picture (Matplotlib, seaborn).
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from convrfm import DeepConvRFMClassifier
from convrfm.datasets.local_signal import TASKS, noisy_bars
from convrfm.numerics.inputs import generator
from convrfm.rfm.deep import apply_filters
from convrfm.system.machine import require
from convrfm.system.terminal import ending_in_a_sentence, path_argument

if TYPE_CHECKING:
    from matplotlib.figure import Figure, SubFigure

PATCH_SIZE = 3
SHOWN = 2
"""Test images that are drawn."""

REACH = 5
"""Rows above and below the bar at which the power is drawn."""

CONTROLS = 10
"""Draws of filters without a metric."""


def layers_of(images: np.ndarray, filters: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The images `(n, c, h, w)`, and the features of each layer of filters `(k, d)` in turn."""
    layers = [images]
    for of_layer in filters:
        layers.append(apply_filters(layers[-1], of_layer, PATCH_SIZE, "relu"))
    return layers


def row_powers(features: np.ndarray, depth: int, bars: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Power of the features in each row, and how many rows below the bar this row is centred, both `(n, rows)`.

    Args:
        features: `(n, c, h, w)`; row r is centred on row r + depth of the image.
        depth: layers of filters that they lie behind.
        bars: row of each image that holds the bar `(n,)`.
    """
    powers = (features.astype(np.float64) ** 2).mean(axis=(1, 3))
    return powers, np.arange(powers.shape[1]) + depth - bars[:, None]


def bar_over_noise(layers: Sequence[np.ndarray], bars: np.ndarray) -> np.ndarray:
    """Power on the bar over power away from it, in dB, `(layers, n)`; NaN where the border hides the bar from the last layer.

    Arguments as for `row_powers`, of all layers.
    """
    deepest, height = len(layers) - 1, layers[0].shape[2]
    seen = (bars >= deepest) & (bars < height - deepest)
    ratios = []
    for depth, features in enumerate(layers):
        powers, offsets = row_powers(features, depth, bars)
        on_bar = (powers * (offsets == 0)).sum(axis=1)
        # A row of the features sees `depth` rows to either side.
        away = np.abs(offsets) > depth
        noise = (powers * away).sum(axis=1) / away.sum(axis=1)
        ratios.append(10 * np.log10(np.where(seen, on_bar, np.nan) / noise))
    return np.array(ratios)


def profile(features: np.ndarray, depth: int, bars: np.ndarray) -> np.ndarray:
    """Mean power by distance from the bar, from `REACH` rows above to as many below, over that away from it; in dB."""
    powers, offsets = row_powers(features, depth, bars)
    noise = powers[np.abs(offsets) > depth].mean()
    means = [powers[offsets == offset].mean() for offset in range(-REACH, REACH + 1)]
    return 10 * np.log10(np.array(means) / noise)


def table_of(learned: np.ndarray, random: np.ndarray) -> pd.DataFrame:
    """Means over images, and of draws of random filters, with the learned filters' advantage and its 95 % interval.

    Args:
        learned: `(layers, n)` in dB.
        random: `(draws, layers, n)`.
    """
    rows = []
    for depth, ratios in enumerate(learned):
        gains = ratios - random[:, depth].mean(axis=0)
        gains = gains[np.isfinite(gains)]
        half = 1.96 * gains.std(ddof=1) / np.sqrt(len(gains))
        means = {"learned": np.nanmean(ratios), "random": np.nanmean(random[:, depth]), "advantage": gains.mean()}
        rows.append({"filters": depth, **means, "low": gains.mean() - half, "high": gains.mean() + half})
    return pd.DataFrame(rows)


def verdict(table: pd.DataFrame) -> str:
    """What the numbers say, for the picture and the terminal."""
    image, last = table.iloc[0], table.iloc[-1]
    beside = "above" if last["low"] > 0 else "NOT clearly above"
    dimmed = "stands out more than" if last["learned"] > image["learned"] else "does NOT stand out more than"
    return (
        f"Behind the learned filters of {last['filters']:.0f} stages, the bar lies {last['learned']:+z.1f} dB over the noise: "
        f"{beside} random filters\n({last['random']:+z.1f} dB; advantage {last['advantage']:.1f} dB, 95 % interval over images "
        f"{last['low']:.1f} to {last['high']:.1f}), and {dimmed} in the image ({image['learned']:+z.1f} dB)."
    )


def show_images(figure: "SubFigure", learned: Sequence[np.ndarray], random: Sequence[np.ndarray], clean: np.ndarray) -> None:
    """Draw clean and noisy images, and the root mean square of the features behind each layer, learned and random."""
    columns = {"clean image": clean, "noisy image": learned[0]}
    for depth in range(1, len(learned)):
        for name, layers in (("learned", learned), ("random", random)):
            size = np.sqrt((layers[depth].astype(np.float64) ** 2).mean(axis=1, keepdims=True))
            columns[f"{name}, stage {depth}"] = size
    cells = figure.subplots(len(clean), len(columns), squeeze=False)
    for place, (name, pictures) in enumerate(columns.items()):
        cells[0, place].set_title(name, fontsize=7.5)
        for cell, picture in zip(cells[:, place], pictures, strict=True):
            reach = np.abs(picture).max()
            limits = {"cmap": "gray", "vmin": -reach, "vmax": reach} if place < 2 else {"cmap": "magma"}
            cell.imshow(picture[0], interpolation="nearest", **limits)
            cell.set(xticks=[], yticks=[])
            cell.spines[:].set_visible(False)


def show_profiles(
    figure: "SubFigure", learned: Sequence[np.ndarray], random: Sequence[np.ndarray], names: Sequence[str], table: pd.DataFrame
) -> None:
    """Draw the power by distance from the bar, `(2 REACH + 1,)` for each layer."""
    offsets = np.arange(-REACH, REACH + 1)
    panels = figure.subplots(1, len(learned), sharey=True)
    for depth, (axes, name) in enumerate(zip(panels, names, strict=False)):
        if depth:
            axes.plot(offsets, random[depth], "s-", color="0.55", markersize=3, label="random filters")
        axes.plot(offsets, learned[depth], "o-", color="C0" if depth else "0.2", label="learned filters")
        axes.axhline(0, color="0.7", linewidth=0.8, zorder=0)
        title = f"{name}\nbar {table.loc[depth, 'learned']:+z.1f} dB"
        axes.set(title=title, xlabel="rows below the bar", xticks=offsets[1::2])
    panels[0].set_ylabel("power over noise, dB")
    panels[0].legend(*panels[-1].get_legend_handles_labels(), loc="upper left")


def draw(
    shown: tuple[Sequence[np.ndarray], Sequence[np.ndarray], np.ndarray],
    profiles: tuple[Sequence[np.ndarray], Sequence[np.ndarray]],
    names: Sequence[str],
    table: pd.DataFrame,
    title: str,
) -> "Figure":
    """Draw images, profiles and what they say.

    Args:
        shown: layers of some images, learned and random, and these images without noise.
        profiles: of each layer, learned and random.
        names: of the layers; the last stage has none.
        table: from `table_of`.
        title: of the figure.
    """
    from matplotlib.figure import Figure

    from convrfm.replication.figures.style import figure_style

    images = 0.3 + 0.62 * len(shown[2])
    with figure_style():
        figure = Figure(figsize=(7.2, images + 2.6), layout="constrained")
        figure.suptitle(title, fontsize=8.5)
        above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=(images, 1.8))[:, 0]
        show_images(above, *shown)
        show_profiles(below, *profiles, names, table)
        for part, name in ((above, "A"), (below, "B")):
            part.text(0.005, 0.98, name, fontsize=11, fontweight="bold", va="top")
        figure.supxlabel(verdict(table), fontsize=7.5)
    return figure


def run(given: argparse.Namespace) -> None:
    """Fit, measure, print, and draw."""
    require("workflow", "matplotlib", "seaborn", what="The picture")  # now rather than after the fit
    bars = noisy_bars(given.images, given.images, seed=given.seed)
    noise_std = TASKS["bars"](given.sigma)
    images = bars.test.images(noise_std)
    # The last stage draws no filters, since nothing comes after it.
    model = DeepConvRFMClassifier(
        depth=3, stages=3, patch_size=PATCH_SIZE, rounds=given.rounds, filters=given.filters, agop_samples=20,
        n_jobs=given.n_jobs, random_state=given.seed,
    )  # fmt: skip
    model.fit(bars.train.images(noise_std), bars.train.labels, eval_set=(images, bars.test.labels))  # these test only
    filters = [stage.filters for stage in model.stages_ if stage.filters is not None]
    names = ["noisy image"]
    for number, stage in enumerate(model.stages_):
        chosen = model.history_[(model.history_["stage"] == number) & model.history_["selected"]]
        accuracy = chosen.set_index("round")["test_accuracy"][stage.result.best_round]
        learned_from = "no metric" if stage.result.best_metric is None else f"the metric of round {stage.result.best_round}"
        names.append(f"stage {number + 1}, {learned_from}")
        print(f"stage {number + 1}: validation chooses {learned_from}; {100 * accuracy:.1f} % of test images right")

    rng = generator(given.seed, "filters without a metric")
    controls = [[rng.standard_normal(of_layer.shape) for of_layer in filters] for _ in range(CONTROLS)]
    rows = bars.test.inside[:, 0].any(axis=2).argmax(axis=1)
    learned = layers_of(images, filters)
    of_controls = [layers_of(images, control) for control in controls]
    table = table_of(bar_over_noise(learned, rows), np.array([bar_over_noise(layers, rows) for layers in of_controls]))
    print("Power of the bar over that of the noise, in dB, behind 0, 1 and 2 layers of filters:")
    print(table.round(2).to_string(index=False))
    print(verdict(table))

    central = np.flatnonzero((rows >= REACH) & (rows < images.shape[2] - REACH))[:SHOWN]
    shown = [layer[central] for layer in learned], [layer[central] for layer in of_controls[0]]
    profiles = tuple(
        [np.mean([profile(layers[depth], depth, rows) for layers in stacks], axis=0) for depth in range(len(learned))]
        for stacks in ([learned], of_controls)
    )
    title = rf"Deep ConvRFM on {given.images} noisy bars, $\sigma$ = {given.sigma:g}: test images, and size of their features"
    picture = draw((*shown, bars.test.images(0.0)[central]), (profiles[0], profiles[1]), names, table, title)
    picture.savefig(given.output)
    print(f"drawn: {given.output}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the example."""
    parser = _parser()
    given = parser.parse_args(arguments)
    if not given.sigma > 0:
        parser.error("sigma is the strength of the noise, and must be positive")
    if given.images < 20:
        parser.error("a fit needs some images of each kind: ask for at least 20")
    if not given.output.parent.is_dir():
        parser.error(f"there is no folder {given.output.parent} to write the picture to")
    with ending_in_a_sentence(parser):
        run(given)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Show noisy bars through the filters that Deep ConvRFM learns.")
    parser.add_argument("--output", type=path_argument, default=Path("dimmed_noise.png"), help="the picture")
    parser.add_argument("--sigma", type=float, default=1.0, help="noise: at 1 a row of it is as strong as the bar")
    parser.add_argument("--images", type=int, default=500, help="training images, and as many that test")
    parser.add_argument("--filters", type=int, default=32, help="of each stage")
    parser.add_argument("--rounds", type=int, default=3, help="kernel fits of each stage")
    parser.add_argument("--n-jobs", type=int, default=1, help="threads; -1 for all cores")
    parser.add_argument("--seed", type=int, default=0)
    return parser


if __name__ == "__main__":
    main()
