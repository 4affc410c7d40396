"""Draw Figure 10 from the metrics and the networks."""

import pandas as pd

from convrfm.pipeline.feature_measurements import NETWORK, operators_on
from convrfm.pipeline.feature_runs import read_runs
from convrfm.pipeline.figures import skipped_parts, write_figure, write_skipped_figure
from convrfm.pipeline.session import Job
from convrfm.plots import fig10
from convrfm.plots.features import Strip, table_of

__all__ = ["draw_figure"]

SHOWN = 8


def draw_figure(job: Job) -> None:
    """Write picture, table, caption and record; data sets that are not there are SKIPPED with the reason."""
    skipped = skipped_parts(job)
    if len(skipped) == len(job.settings["needs"]):
        write_skipped_figure(job, "Figure 10", skipped)
        return
    parts: list[pd.DataFrame] = []
    strips: dict[str, Strip] = {}
    for run in read_runs(job):
        rows, comparison = operators_on(job, run, "cntk", run.images, source=run.dataset)
        parts.append(rows.assign(panel="ABCDEFGH"[len(strips.keys() | {run.dataset}) - 1]))
        names = {fig10.RFM: "cntk", fig10.CNN: NETWORK, fig10.RANDOM: "random"}
        pictures = {name: comparison.pictures[matrix][:SHOWN] for name, matrix in names.items()}
        strips.setdefault(run.dataset, Strip(run.images[:SHOWN], pictures))
    table = table_of(parts, job.settings["protocol"])
    write_figure(job, table, fig10.draw(table, strips, skipped), fig10.caption(table, skipped))
