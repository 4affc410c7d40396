"""The measurements behind Figures 3, 10, 11 and 12, from runs to rows of their table."""

from typing import Any

import numpy as np
import pandas as pd

from convrfm.eigenfilters import compare_with_edges, picked_edges, top_eigenfilters
from convrfm.operators import Comparison, compare_operators
from convrfm.patches import windows
from convrfm.pipeline.feature_runs import FeatureRun
from convrfm.pipeline.session import Job
from convrfm.plots.features import Sheet
from convrfm.seeding import generator

__all__ = ["NETWORK", "eigenvectors_on", "operators_on"]

NETWORK = "network"


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
    return {"dataset": run.dataset, "seed": run.seed, "kernel": kernel, "patch_size": patch_size, "source": source}
