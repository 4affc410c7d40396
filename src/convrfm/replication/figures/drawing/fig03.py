"""Draw Figure 3 from the metrics, the network and natural images."""

import numpy as np
import pandas as pd

from convrfm.replication.claims.judges.features import FIG03
from convrfm.replication.figures import fig03
from convrfm.replication.figures.drawing.fig10 import first_layers_of
from convrfm.replication.figures.feature_measurements import eigenvectors_on, operators_on
from convrfm.replication.figures.feature_runs import FeatureRun, natural_images, read_runs
from convrfm.replication.figures.features import KERNELS, Strip, table_of
from convrfm.replication.figures.job import skipped_parts, with_verdicts, write_figure, write_skipped_figure
from convrfm.replication.record.session import Job

__all__ = ["draw_figure"]

SHOWN_NATURAL = 2


def draw_figure(job: Job) -> None:
    """Write picture, table, caption and record; what is not there is SKIPPED with the reason."""
    skipped = skipped_parts(job)
    runs = read_runs(job)
    if not runs:
        write_skipped_figure(job, "Figure 3", skipped)
        return
    measured = [_measure(job, run) for run in runs]
    table = table_of([part for parts, _ in measured for part in parts], job.settings["protocol"])
    figure = fig03.draw(table, measured[0][1], skipped)
    write_figure(job, table, figure, with_verdicts(fig03.caption(table, skipped), table, job, FIG03))


def _measure(job: Job, run: FeatureRun) -> tuple[list[pd.DataFrame], fig03.Pictures]:
    """The rows of all panels, and what they show, of one seed."""
    parts, filters = [], {}
    for kernel in KERNELS:
        rows, sheet = eigenvectors_on(job, run, kernel, run.images, source=run.dataset, shown=0)
        parts.append(rows.assign(panel="A"))
        filters[kernel] = sheet.filters
    rows, pairs = first_layers_of(job, run)
    parts.append(rows.assign(panel="B"))
    images, natural = natural_images(job), None
    if images is not None:
        found: dict[str, np.ndarray] = {}
        for kernel in KERNELS:
            rows, comparison = operators_on(job, run, kernel, images, source=job.settings["natural"])
            parts.append(rows.assign(panel="C"))
            found |= {name: comparison.pictures[name][:SHOWN_NATURAL] for name in (kernel, "sobel")}
        order = [*KERNELS, "sobel"]
        natural = Strip(images[:SHOWN_NATURAL], {name: found[name] for name in order})
    return parts, fig03.Pictures(filters, pairs, natural)
