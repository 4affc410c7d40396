"""Edge detectors that emerge in a kernel machine: the top eigenvectors of ConvRFM's metric, round by round.

    python examples/edge_detectors.py --output edge_detectors.png

ConvRFM with a Laplace kernel on 7x7 patches is fitted to scikit-learn's digits, scaled to 28x28 pixels and drawn in a random
grey on another: brightness says nothing of the class, edges do. It is fitted once more with shuffled labels. Edges are among
the eigenvectors either way, as images are made of them; what labels decide is their weight, the share of the metric's trace
that edge detectors hold. At last a photograph is shown through the heaviest of them. Needs the extra `workflow` for the
picture (Matplotlib, seaborn, Pillow).
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from sklearn.datasets import load_sample_image
from sklearn.model_selection import train_test_split

from convrfm import ConvRFMClassifier
from convrfm.datasets.local_signal import embedded_digits, in_random_greys
from convrfm.numerics.inputs import generator
from convrfm.numerics.patches import windows
from convrfm.pictures.filtering import (
    CONSTANT,
    Eigenfilters,
    filter_magnitude,
    pixel_pearson,
    sobel_magnitude,
    top_eigenfilters,
)
from convrfm.system.machine import require
from convrfm.system.terminal import ending_in_a_sentence, path_argument

if TYPE_CHECKING:
    from matplotlib.figure import Figure, SubFigure

LABELS = ("true labels", "shuffled labels")
SHOWN = 4
"""Eigenvectors that are drawn of each metric."""

COHERENT = 0.2
"""Smallest coherence of an eigenvector that counts as an edge detector."""

RANDOM = 50
"""Random filters whose pictures of the photograph are compared."""


def greys(images: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Training images `(n, 1, 28, 28)` in [0, 1], 300 test images, and the labels of both."""
    strokes, labels = embedded_digits()
    drawn = in_random_greys(strokes, generator(seed, "greys of the digits"))[:, None] / 255
    train, test, train_labels, test_labels = train_test_split(
        drawn.astype(np.float32), labels, train_size=images, test_size=300, stratify=labels, random_state=seed
    )
    return train, test, train_labels, test_labels


def photograph() -> np.ndarray:
    """The tower of scikit-learn's `china.jpg`, grey and at half its size: `(1, 1, 200, 240)` float32 in [0, 1]."""
    grey = load_sample_image("china.jpg")[:400, 40:520].mean(axis=2) / 255
    halved: np.ndarray = grey.reshape(200, 2, 240, 2).mean(axis=(1, 3)).astype(np.float32)
    return halved[None, None]


def edge_detectors(filters: Eigenfilters) -> np.ndarray:
    """Which eigenvectors are edge detectors `(k,)`: not constant, and with an orientation."""
    return (filters.constant_shares <= CONSTANT) & (filters.coherences >= COHERENT)


def show_rounds(figure: "SubFigure", rounds: Sequence[Eigenfilters], title: str) -> None:
    """Draw the leading eigenvectors, a row for each round from 1 on, with their share of the trace."""
    from convrfm.replication.figures.features import show_filter

    cells = figure.subplots(len(rounds), SHOWN, squeeze=False)
    for number, (row, filters) in enumerate(zip(cells, rounds, strict=True), start=1):
        vectors = filters.vectors[:SHOWN]
        # The sign of an eigenvector means nothing: all are drawn brighter to the lower right.
        slope = np.add.outer(np.arange(filters.patch_size), np.arange(filters.patch_size)).ravel()
        vectors = vectors * np.sign(vectors @ slope)[:, None]
        for cell, window, share in zip(row, windows(vectors, filters.patch_size), filters.shares, strict=False):
            show_filter(cell, window)
            cell.set_title(f"{100 * share:.1f} %", fontsize=7, pad=2)
        row[0].set_ylabel(f"round {number}", fontsize=7.5)
    figure.suptitle(title, fontsize=8.5)


def show_photograph(figure: "SubFigure", image: np.ndarray, pictures: dict[str, np.ndarray]) -> None:
    """Draw the photograph `(1, 1, h, w)` beside pictures of it `(h, w)`."""
    cells = figure.subplots(1, 1 + len(pictures))
    cells[0].imshow(image[0, 0], cmap="gray", vmin=0, vmax=1)
    cells[0].set_title("photograph")
    for cell, (name, picture) in zip(cells[1:], pictures.items(), strict=True):
        # Few pixels are far above the others, and would leave them white.
        cell.imshow(picture, cmap="gray_r", vmin=0, vmax=np.quantile(picture, 0.99))
        cell.set_title(name)
    for cell in cells:
        cell.set_axis_off()


def draw(
    table: pd.DataFrame, rounds: dict[str, list[Eigenfilters]], image: np.ndarray, pictures: dict[str, np.ndarray]
) -> "Figure":
    """Draw eigenvectors, the weight of edge detectors by round, and the photograph."""
    from matplotlib.figure import Figure

    from convrfm.replication.figures.style import figure_style

    count = len(rounds[LABELS[0]])
    with figure_style():
        figure = Figure(figsize=(7.2, 2.0 + 0.64 * count), layout="constrained")
        above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=(0.55 + 0.64 * count, 1.45))[:, 0]
        left, right, last = above.subfigures(1, 3, squeeze=False, width_ratios=(1, 1, 1.15))[0]
        for part, labels, name in zip((left, right), LABELS, "AB", strict=True):
            show_rounds(part, rounds[labels], f"eigenvectors, {labels}")
            part.text(0.01, 0.995, name, fontsize=11, fontweight="bold", va="top")
        axes = last.subplots()
        for labels, colour in zip(LABELS, ("C0", "0.55"), strict=True):
            rows = table[table["labels"] == labels]
            axes.plot(rows["round"], 100 * rows["edges"], "o-", color=colour, label=f"weight of edges, {labels}")
            axes.plot(rows["round"], 100 * rows["accuracy"], "s:", color=colour, label=f"test accuracy, {labels}")
        axes.set(
            xlabel="round",
            ylabel="per cent",
            title="share of the trace held by\nedge detectors; test accuracy",
            ylim=(0, 103),
            xticks=range(count + 1),
        )
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2))
        last.text(0.01, 0.995, "C", fontsize=11, fontweight="bold", va="top")
        show_photograph(below, image, pictures)
        below.text(0.005, 0.995, "D", fontsize=11, fontweight="bold", va="top")
    return figure


def run(given: argparse.Namespace) -> None:
    """Fit, measure, print, and draw."""
    require("workflow", "matplotlib", "seaborn", "PIL", what="The picture")  # now rather than after the fits
    train, test, train_labels, test_labels = greys(given.images, given.seed)
    shuffled = generator(given.seed, "shuffled labels").permutation(train_labels)
    rounds: dict[str, list[Eigenfilters]] = {}
    rows = []
    for labels, of_training in zip(LABELS, (train_labels, shuffled), strict=True):
        model = ConvRFMClassifier(
            "laplace", patch_size=given.patch_size, rounds=given.rounds, n_jobs=given.n_jobs, random_state=given.seed
        )
        model.fit(train, of_training, eval_set=(test, test_labels))  # these test only
        history = model.history_[model.history_["selected"]].set_index("round")
        metrics = [metric for metric in model.stages_[0].result.metrics if metric is not None]
        rounds[labels] = [top_eigenfilters(metric, given.patch_size, len(metric)) for metric in metrics]
        for number, accuracy in history["test_accuracy"].items():
            # Round 0 is the plain kernel, whose metric, the identity, has no direction of its own.
            filters = rounds[labels][number - 1] if number else None
            edges = np.nan if filters is None else filters.shares[edge_detectors(filters)].sum()
            bright = np.nan if filters is None else filters.shares[filters.constant_shares > CONSTANT].sum()
            rows.append({"labels": labels, "round": number, "edges": edges, "brightness": bright, "accuracy": accuracy})
    table = pd.DataFrame(rows)
    print("Share of the metric's trace that edge detectors and brightness hold, and accuracy on test digits:")
    print(table.round(3).to_string(index=False))

    image = photograph()
    last = rounds[LABELS[0]][-1]
    heaviest = last.vectors[edge_detectors(last)][:2]
    if len(heaviest) < 2:
        print("fewer than two eigenvectors of the last round are edge detectors, so that no photograph is drawn through them")
    draws = generator(given.seed, "random filters").standard_normal((RANDOM, last.vectors.shape[1]))
    found = filter_magnitude(image, np.concatenate([heaviest, draws]), given.patch_size)[:, 0]
    sobel = sobel_magnitude(image)[0]
    alike = pixel_pearson(found, sobel)
    random = alike[len(heaviest) :].mean()
    names = [f"edge detector {i + 1} (r = {value:.2f})" for i, value in enumerate(alike[: len(heaviest)])]
    pictures = {**dict(zip(names, found, strict=False)), "Sobel magnitude": sobel}
    print(f"photograph, r with the Sobel magnitude: {'; '.join(names)}; mean of {RANDOM} random filters {random:.2f}")
    draw(table, rounds, image, pictures).savefig(given.output, dpi=120)  # photographs take space
    print(f"drawn: {given.output}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the example."""
    parser = _parser()
    given = parser.parse_args(arguments)
    if given.rounds < 2:
        parser.error("the metric is learned from round 1 on: ask for at least 2 rounds")
    if not 2 <= given.patch_size <= 28:
        parser.error("patches have at least 2x2 pixels, and at most the 28x28 of the digits")
    if not 50 <= given.images <= 1497:
        parser.error("there are 1797 digits, 300 of which test: ask for 50 to 1497 training images")
    if not given.output.parent.is_dir():
        parser.error(f"there is no folder {given.output.parent} to write the picture to")
    with ending_in_a_sentence(parser):
        run(given)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Draw the eigenvectors of ConvRFM's metric round by round.")
    parser.add_argument("--output", type=path_argument, default=Path("edge_detectors.png"), help="the picture")
    parser.add_argument("--images", type=int, default=400, help="training digits")
    parser.add_argument("--patch-size", type=int, default=7)
    parser.add_argument("--rounds", type=int, default=5, help="kernel fits, at least 2")
    parser.add_argument("--n-jobs", type=int, default=1, help="threads; -1 for all cores")
    parser.add_argument("--seed", type=int, default=0)
    return parser


if __name__ == "__main__":
    main()
