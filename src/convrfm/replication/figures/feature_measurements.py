"""The measurements behind Figures 3, 10, 11 and 12, from runs to rows of their table."""

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from convrfm.numerics.patches import windows
from convrfm.numerics.sampling import generator
from convrfm.pictures.eigenfilters import compare_with_edges, picked_edges, top_eigenfilters
from convrfm.pictures.magnitudes import Comparison, compare_operators
from convrfm.replication.figures.feature_runs import FeatureRun, read_runs
from convrfm.replication.figures.features import LETTERS, Sheet, table_of
from convrfm.replication.record.session import Job

__all__ = ["NETWORK", "eigenvectors_on", "measure_data_sets", "operators_on"]

NETWORK = "network"

Shown = TypeVar("Shown")


def measure_data_sets(
    job: Job, measure: Callable[[Job, FeatureRun], tuple[pd.DataFrame, Shown]]
) -> tuple[pd.DataFrame, dict[str, Shown]]:
    """Measure every data set and seed of a figure that has a panel for each data set.

    Args:
        job: of the figure.
        measure: gives rows of the table, and what is shown of them.

    Returns:
        the table, and what is shown of the first seed of each data set, by data set.
    """
    parts: list[pd.DataFrame] = []
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


def operators_on(
    job: Job, run: FeatureRun, kernel: str, images: np.ndarray, *, source: str
) -> tuple[pd.DataFrame, Comparison]:
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
