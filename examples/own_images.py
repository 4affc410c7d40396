"""Deep ConvRFM on a folder of images: fit it, compare it with its kernel, draw what it has learned, save and reload it.

    python examples/own_images.py FOLDER --output own_images --size 32 --colour rgb

FOLDER holds a folder of images for each class. A stratified part of the images is held out and tests; ridges and rounds are
chosen on a validation part of the others. Left behind are `model.safetensors` and `eigenvectors.png`. Needs the extra
`workflow` (Pillow, Matplotlib). See docs/estimators.md.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

from convrfm import DeepConvRFMClassifier, load_model, save_model
from convrfm.errors import InputError
from convrfm.numerics.patches import windows
from convrfm.pictures.filtering import top_eigenfilters
from convrfm.rfm.estimators import KERNELS
from convrfm.system.machine import require
from convrfm.system.terminal import ending_in_a_sentence, path_argument

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = 8
"""Eigenvectors that are drawn, at most."""


def check_numbers(labels: np.ndarray, test_fraction: float) -> None:
    """Check that a stratified part of the images can be held out.

    Raises:
        InputError: a single class, a class of one image, or a part that has no room for every class.
    """
    classes, counts = np.unique(labels, return_counts=True)
    if len(classes) < 2:
        msg = f"There is one class only, {str(classes[0])!r}: a classifier needs a folder for each of two classes at least."
        raise InputError(msg)
    if counts.min() < 2:
        msg = (
            f"The class {str(classes[counts.argmin()])!r} has one image only: each class needs two at least, one that "
            "trains and one that tests."
        )
        raise InputError(msg)
    held_out = int(np.ceil(test_fraction * len(labels)))
    if min(held_out, len(labels) - held_out) < len(classes):
        msg = (
            f"Of {len(labels)} images {held_out} are to be held out, but {len(classes)} classes need {len(classes)} images "
            "on each side at least: change --test-fraction, or add images."
        )
        raise InputError(msg)


def chosen_rows(history: pd.DataFrame) -> dict[str, pd.Series]:
    """What validation chooses: the plain kernel, the best round of ConvRFM that has learned, and the best of all stages."""
    rows = history[history["selected"]]
    first = rows[rows["stage"] == 0]
    learned = first[first["round"] > 0]
    return {
        "plain kernel (round 0)": first.iloc[0],
        "ConvRFM": learned.loc[learned["validation_accuracy"].idxmax()],
        "Deep ConvRFM": rows.loc[rows["validation_accuracy"].idxmax()],
    }


def draw_eigenvectors(metric: np.ndarray, patch_size: int, title: str) -> "Figure":
    """Draw the leading eigenvectors of a metric on patches of images, with their share of the trace."""
    from matplotlib.figure import Figure

    from convrfm.replication.figures.features import show_filter
    from convrfm.replication.figures.style import figure_style

    filters = top_eigenfilters(metric, patch_size, SHOWN)
    with figure_style():
        figure = Figure(figsize=(7.2, 1.5), layout="constrained")
        figure.suptitle(title, fontsize=8)
        cells = figure.subplots(1, len(filters.vectors), squeeze=False)[0]
        for cell, window, share in zip(cells, windows(filters.vectors, patch_size), filters.shares, strict=True):
            show_filter(cell, window)
            cell.set_title(f"{100 * share:.2g} %", fontsize=7)
    return figure


def run(given: argparse.Namespace) -> None:
    """Read, fit, compare, draw, save and reload.

    Raises:
        ConvRFMError: see the message.
    """
    require("workflow", "matplotlib", "seaborn", "PIL", what="This example")
    from convrfm.datasets.prepare import read_image_folder

    if given.output.exists() and not given.output.is_dir():
        msg = f"{given.output} is a file, but model and picture need a folder: choose another --output."
        raise InputError(msg)
    found = read_image_folder(given.folder, size=given.size, colour=given.colour)
    images, labels = found.images, np.array(found.classes)[found.labels]
    check_numbers(labels, given.test_fraction)
    train, test, train_labels, test_labels = train_test_split(
        images, labels, test_size=given.test_fraction, stratify=labels, random_state=given.seed
    )
    print(f"{len(train)} training images of shape {train.shape[1:]}, {len(test)} held out, {len(set(labels))} classes")

    given.output.mkdir(parents=True, exist_ok=True)  # now rather than after the fit
    model = DeepConvRFMClassifier(
        given.kernel, depth=given.depth, stages=given.stages, patch_size=given.patch_size, rounds=given.rounds,
        n_jobs=given.n_jobs, random_state=given.seed, verbose=1,
    )  # fmt: skip
    model.fit(train, train_labels, eval_set=(test, test_labels))  # these test only: validation chooses
    rows = chosen_rows(model.history_)
    for name, row in rows.items():
        print(f"{name}: {100 * row['test_accuracy']:.1f} % (stage {row['stage']}, round {row['round']})")

    learned = int(rows["ConvRFM"]["round"])
    metric = model.stages_[0].result.metrics[learned]
    assert metric is not None  # only that of round 0 is
    title = f"{given.kernel}, stage 0, round {learned}: leading eigenvectors of the metric, and their share of its trace"
    draw_eigenvectors(metric, given.patch_size, title).savefig(given.output / "eigenvectors.png")

    save_model(model, given.output / "model.safetensors")
    reloaded = load_model(given.output / "model.safetensors")
    same = np.array_equal(reloaded.decision_function(test), model.decision_function(test))
    print(f"saved and reloaded: {'the same' if same else 'OTHER'} predictions on the held-out images")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the example."""
    parser = _parser()
    given = parser.parse_args(arguments)
    if given.rounds < 2:
        parser.error("the metric is learned from round 1 on: ask for at least 2 rounds")
    if not 0 < given.test_fraction < 1:
        parser.error("the test fraction must lie between 0 and 1")
    if not 0 <= given.seed < 2**32:
        parser.error("the seed must lie between 0 and 2^32 - 1")
    with ending_in_a_sentence(parser):
        run(given)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Fit Deep ConvRFM to a folder of images, a folder for each class.")
    parser.add_argument("folder", type=path_argument, help="with a folder of images for each class")
    parser.add_argument("--output", type=path_argument, default=Path("own_images"), help="folder for the model and the picture")
    parser.add_argument("--size", type=int, default=32, help="images are resized to size x size pixels")
    parser.add_argument("--colour", choices=["grey", "rgb"], default="rgb")
    parser.add_argument("--kernel", choices=KERNELS, default="cntk")
    parser.add_argument("--depth", type=int, default=3, help="convolutions of the kernel")
    parser.add_argument("--stages", type=int, help="stages of Deep ConvRFM; as many as convolutions unless given")
    parser.add_argument("--patch-size", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=5, help="kernel fits of each stage, at least 2")
    parser.add_argument("--test-fraction", type=float, default=0.25)
    parser.add_argument("--n-jobs", type=int, help="threads; all of them unless given")
    parser.add_argument("--seed", type=int, default=0)
    return parser


if __name__ == "__main__":
    main()
