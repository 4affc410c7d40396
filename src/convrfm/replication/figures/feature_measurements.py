"""The measurements behind Figures 3, 10, 11 and 12, from runs to rows of their table."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from convrfm.ansatz.filter_forms import FilterForm
from convrfm.numerics.inputs import generator
from convrfm.numerics.patches import windows
from convrfm.pictures.filtering import Comparison, compare_operators, compare_with_edges, picked_edges, top_eigenfilters
from convrfm.replication.figures.features import Sheet, table_of
from convrfm.replication.figures.figure import runs_with
from convrfm.replication.figures.style import LETTERS
from convrfm.replication.record.record import run_keys
from convrfm.replication.record.session import Job
from convrfm.system.storage import load_arrays, sha256

__all__ = [
    "NETWORK", "FeatureRun", "change_of_filters", "eigenvectors_on", "measure_data_sets", "natural_images", "operators_on",
    "read_runs",
]  # fmt: skip


@dataclass(frozen=True)
class FeatureRun:
    """One data set and seed of the models.

    Attributes:
        draw: hash of the images that they are fitted to and compared on (12 hex digits).
        sizes: `n_train` and `n_test`, the images of the data set that models see.
        images: test images `(n, channels, height, width)`.
        metrics: best metric of ConvRFM `(d, d)` by kernel, "cntk" or "laplace".
        cnfm: (W - W_0)^T (W - W_0) of the first convolution `(d, d)`, W its filters at the end of training and W_0 those
            before; None where the figure does not ask for the network.
    """

    dataset: str
    seed: int
    draw: str
    sizes: dict[str, int]
    images: np.ndarray
    metrics: dict[str, np.ndarray]
    cnfm: np.ndarray | None


def read_runs(job: Job) -> list[FeatureRun]:
    """Read the inputs `images`, `fits` and `networks` of a figure, by data set and seed, in the order of `images`.

    Of the test images, as many as the setting `images` says are kept, those of highest contrast first: a figure shows the
    first ones, and on a flat image there is nothing to see.
    """
    runs = []
    for path in job.inputs["images"]:
        keys = run_keys(path.parent)
        own = {"dataset": keys["dataset"], "seed": keys["seed"]}
        fits = {run_keys(fit.parent)["kernel"]: load_arrays(fit)["best"] for fit in runs_with(job.inputs["fits"], **own)}
        cnfm = next(map(change_of_filters, runs_with(job.inputs["networks"], **own)), None)
        images = load_arrays(path)["test/images"][: job.settings["images"]]
        images = images[np.argsort(-images.std(axis=(1, 2, 3)), kind="stable")]
        sizes = {name: int(keys[name]) for name in ("n_train", "n_test")}
        runs.append(FeatureRun(keys["dataset"], int(keys["seed"]), sha256(path)[:12], sizes, images, fits, cnfm))
    return runs


def natural_images(job: Job) -> np.ndarray | None:
    """The large natural images `(n, channels, height, width)`, the only file of the input `natural`; None without it."""
    paths = job.inputs["natural"]
    return load_arrays(paths[0])["train/images"] if paths else None


def change_of_filters(path: Path) -> np.ndarray:
    """(W - W_0)^T (W - W_0) of the first convolution `(d, d)`, from the arrays of a training."""
    arrays = load_arrays(path)
    first = "convolutions.0.weight"
    return np.asarray(FilterForm.of_filters(arrays[f"final/{first}"] - arrays[f"initial/{first}"]).dense()[0])


NETWORK = "network"

Shown = TypeVar("Shown")


def measure_data_sets(
    job: Job, measure: Callable[[Job, FeatureRun], tuple[pd.DataFrame, Shown]]
) -> tuple[pd.DataFrame, dict[str, Shown]]:
    """Measure every data set and seed of a figure that has a panel for each data set: rows of the table, and what is shown.

    Returns:
        the table, and what is shown of the first seed of each data set, by data set.
    """
    parts = []
    shown: dict[str, Shown] = {}
    for run in read_runs(job):
        rows, picture = measure(job, run)
        shown.setdefault(run.dataset, picture)
        parts.append(rows.assign(panel=LETTERS[list(shown).index(run.dataset)]))
    return table_of(parts, job.settings["protocol"]), shown


def eigenvectors_on(
    job: Job, run: FeatureRun, kernel: str, images: np.ndarray, *, source: str, shown: int
) -> tuple[pd.DataFrame, Sheet]:
    """Filter images by the top eigenvectors of a metric, and measure what edges they find; the first images are shown."""
    given = job.settings
    patch_size = given["patch_sizes"][run.dataset][kernel]
    filters = top_eigenfilters(run.metrics[kernel], patch_size, given["eigenvectors"])
    rng = generator(run.seed, f"random filters beside {kernel} on {run.dataset}")
    alike, pictures = compare_with_edges(filters, images, rng, given["control_draws"])
    rows = pd.concat([alike, picked_edges(filters, pictures, images).assign(image=-1)], ignore_index=True)
    sheet = Sheet(windows(filters.vectors, patch_size), images[:shown], pictures[:, :shown])
    return rows.assign(**_keys(run, kernel, patch_size, source)), sheet


def operators_on(job: Job, run: FeatureRun, kernel: str, images: np.ndarray, *, source: str) -> tuple[pd.DataFrame, Comparison]:
    """Transform images by a metric, and by the filter covariance of the network where that is given and fits."""
    given = job.settings
    patch_size = given["patch_sizes"][run.dataset][kernel]
    matrices = {kernel: run.metrics[kernel]}
    # The network has the window of the CNTK; a matrix of another window is compared with edges alone.
    if run.cnfm is not None and kernel == "cntk":
        matrices[NETWORK] = run.cnfm
    rng = generator(run.seed, f"random metrics beside {kernel} on {run.dataset}")
    comparison = compare_operators(images, matrices, patch_size, given["exponent"], rng, given["control_draws"])
    return comparison.rows.assign(**_keys(run, kernel, patch_size, source)), comparison


def _keys(run: FeatureRun, kernel: str, patch_size: int, source: str) -> dict[str, Any]:
    of_run = {"dataset": run.dataset, "seed": run.seed, "draw": run.draw, **run.sizes}
    return {**of_run, "kernel": kernel, "patch_size": patch_size, "source": source}
