"""Draw Figure 12 from the metrics."""

import pandas as pd

from convrfm.pipeline.feature_measurements import eigenvectors_on
from convrfm.pipeline.feature_runs import read_runs
from convrfm.pipeline.figures import skipped_parts, write_figure, write_skipped_figure
from convrfm.pipeline.session import Job
from convrfm.plots import fig12
from convrfm.plots.features import Sheet, table_of

__all__ = ["draw_figure"]

SHOWN = 3


def draw_figure(job: Job) -> None:
    """Write picture, table, caption and record; data sets that are not there are SKIPPED with the reason."""
    skipped = skipped_parts(job)
    if len(skipped) == len(job.settings["needs"]):
        write_skipped_figure(job, "Figure 12", skipped)
        return
    parts: list[pd.DataFrame] = []
    sheets: dict[str, Sheet] = {}
    for run in read_runs(job):
        rows, sheet = eigenvectors_on(job, run, "cntk", run.images, source=run.dataset, shown=SHOWN)
        parts.append(rows.assign(panel="ABCDEFGH"[len(sheets.keys() | {run.dataset}) - 1]))
        sheets.setdefault(run.dataset, sheet)
    table = table_of(parts, job.settings["protocol"])
    write_figure(job, table, fig12.draw(table, sheets, skipped), fig12.caption(table, skipped))
