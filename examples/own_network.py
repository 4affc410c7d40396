"""The Convolutional Neural Feature Ansatz in a network of one's own: is W^T W of each layer like the AGOP of its patches?

    python examples/own_network.py --output own_network.png

A small CNN is trained on scikit-learn's digits, which come with it. In every convolution the Pearson correlation of W^T W with
the patch-AGOP is measured on held-out digits, before and after training, beside two nulls: the rotated one keeps W and turns
the gradients at random, and random filters share nothing with the AGOP. To measure another network, replace `SmallCNN` and
`digits`. Needs the extra `workflow` for the picture (Matplotlib, seaborn).
"""

import argparse
import copy
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

from convrfm import measure, summarise
from convrfm.system.machine import require
from convrfm.system.terminal import ending_in_a_sentence, path_argument

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STATES = ("before training", "after training")
NULLS = {"rotated_null": "rotated null", "random_filters": "random filters"}
QUANTITIES = {"pearson": "W^T W and AGOP", **NULLS}


class SmallCNN(nn.Module):
    """Three convolutions on images of 8x8 pixels, the second with stride 2, and a linear layer on what is left."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, stride=2, padding=1)
        self.conv3 = nn.Conv2d(width, width, 3)
        self.readout = nn.Linear(width * 2 * 2, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits `(n, 10)` for images `(n, 1, 8, 8)`."""
        for convolution in (self.conv1, self.conv2, self.conv3):
            images = torch.relu(convolution(images))
        logits: torch.Tensor = self.readout(images.flatten(1))
        return logits


def digits(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Training images `(1347, 1, 8, 8)` in [0, 1], held-out images, and the labels of both."""
    bunch = load_digits()
    parts = train_test_split(bunch.images[:, None] / 16, bunch.target, stratify=bunch.target, random_state=seed)
    images, held_out, labels, held_out_labels = (torch.from_numpy(part) for part in parts)
    return images.float(), held_out.float(), labels, held_out_labels


def train(network: nn.Module, images: torch.Tensor, labels: torch.Tensor, epochs: int, seed: int) -> None:
    """Train with Adam and cross-entropy on batches of 64."""
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(network.parameters(), lr=3e-3)
    for _ in range(epochs):
        for batch in torch.randperm(len(images), generator=generator).split(64):
            optimiser.zero_grad()
            nn.functional.cross_entropy(network(images[batch]), labels[batch]).backward()
            optimiser.step()


def accuracy(network: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> float:
    """Share of the images that are classified right."""
    with torch.no_grad():
        return float((network(images).argmax(dim=1) == labels).double().mean())


def show_matrices(figure: "Figure", matrices: dict[str, np.ndarray], correlations: dict[str, float]) -> None:
    """Draw both matrices of the first layer `(9, 9)`, above before and below after training, each in its own scale."""
    cells = figure.subplots(2, 2)
    for row, state in zip(cells, STATES, strict=True):
        for cell, name in zip(row, ("W^T W", "AGOP"), strict=True):
            matrix = matrices[f"{state}, {name}"]
            reach = np.abs(matrix).max()
            cell.imshow(matrix, cmap="RdBu_r", vmin=-reach, vmax=reach, interpolation="nearest")
            cell.set(xticks=[], yticks=[])
            cell.spines[:].set_visible(True)
        row[0].set_ylabel(f"{state}\n(r = {correlations[state]:.2f})")
    cells[0, 0].set_title("$W^T W$")
    cells[0, 1].set_title("patch-AGOP")
    figure.suptitle("first layer, pixels of a 3x3 patch", fontsize=8.5)


def draw(table: pd.DataFrame, matrices: dict[str, np.ndarray], accuracies: dict[str, float]) -> "Figure":
    """Draw the correlation of each layer with its nulls, and the two matrices of the first layer."""
    from matplotlib.figure import Figure

    from convrfm.replication.figures.style import figure_style, letter

    layers = list(dict.fromkeys(table["layer"]))
    places = np.arange(len(layers))
    with figure_style():
        figure = Figure(figsize=(7.2, 3.5), layout="constrained")
        left, right = figure.subfigures(1, 2, squeeze=False, width_ratios=(1.25, 1))[0]
        axes = left.subplots()
        for state, shift, colour in zip(STATES, (-0.16, 0.16), ("0.55", "C0"), strict=True):
            rows = table[table["state"] == state].set_index(["quantity", "layer"])
            axes.plot(places + shift, rows.loc["pearson"].loc[layers, "value"], "o", color=colour, markersize=7, label=state)
            for (quantity, name), marker in zip(NULLS.items(), "_x", strict=True):
                null = rows.loc[quantity].loc[layers]
                axes.vlines(places + shift, null["low"], null["high"], color=colour, linewidth=1.2)
                label = f"{name} (line: 95 % of draws)" if state == STATES[-1] else None
                axes.plot(places + shift, null["value"], marker, color=colour, markersize=9, mew=2, label=label)
        axes.set(xticks=places, xticklabels=layers, ylim=(-0.05, 1.03), ylabel="Pearson correlation of $W^T W$ and AGOP")
        axes.margins(x=0.15)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=2)
        before, after = (f"{100 * accuracies[state]:.0f} %" for state in STATES)
        axes.set_title(f"CNN on digits: {before} right before training, {after} after")
        letter(axes, "A")
        first = table[(table["layer"] == layers[0]) & (table["quantity"] == "pearson")].set_index("state")["value"]
        show_matrices(right, matrices, {state: float(first[state]) for state in STATES})
        right.text(0.02, 0.995, "B", fontsize=11, fontweight="bold", va="top")
    return figure


def run(given: argparse.Namespace) -> None:
    """Train, measure, print, and draw."""
    require("workflow", "matplotlib", "seaborn", what="The picture")  # now rather than after the training
    images, held_out, labels, held_out_labels = digits(given.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(given.seed)
        network = SmallCNN(given.width).eval()
    initial = {name: value.numpy() for name, value in copy.deepcopy(network.state_dict()).items()}
    tables: list[pd.DataFrame] = []
    matrices: dict[str, np.ndarray] = {}
    accuracies: dict[str, float] = {}
    for state in STATES:
        if state == "after training":
            train(network, images, labels, given.epochs, given.seed)
        layers = measure(network, held_out[: given.images])
        tables.append(summarise(layers, initial=initial, seed=given.seed).assign(state=state))
        matrices |= {f"{state}, W^T W": layers["conv1"].cnfm.dense()[0], f"{state}, AGOP": layers["conv1"].agop.dense()[0]}
        accuracies[state] = accuracy(network, held_out, held_out_labels)
        print(f"{state}: {100 * accuracies[state]:.1f} % of {len(held_out)} held-out digits right")
    table = pd.concat(tables, ignore_index=True)
    table = table[(table["power"] == 1) & table["quantity"].isin([*QUANTITIES, "initial_cnfm"])]
    wide = table.pivot_table(index=["layer", "state"], columns="quantity", values="value", sort=False)
    print(wide[list(QUANTITIES)].rename(columns=QUANTITIES).round(3).to_string())
    draw(table, matrices, accuracies).savefig(given.output)
    print(f"drawn: {given.output}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the example."""
    parser = _parser()
    given = parser.parse_args(arguments)
    if min(given.epochs, given.width, given.images) < 1:
        parser.error("epochs, width and images must be at least 1")
    if not given.output.parent.is_dir():
        parser.error(f"there is no folder {given.output.parent} to write the picture to")
    with ending_in_a_sentence(parser):
        run(given)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Measure the feature ansatz in a small CNN, before and after training.")
    parser.add_argument("--output", type=path_argument, default=Path("own_network.png"), help="the picture")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--width", type=int, default=32, help="filters of each convolution")
    parser.add_argument("--images", type=int, default=200, help="held-out digits that the AGOP is averaged over")
    parser.add_argument("--seed", type=int, default=0)
    return parser


if __name__ == "__main__":
    torch.set_num_threads(1)  # a network this small loses time to more
    main()
