"""Draw Figure 9 from the runs of the shallow networks."""

import pandas as pd

from convrfm.pipeline.figures import skipped_parts, write_figure, write_skipped_figure
from convrfm.pipeline.paths import RUN_FILES, run_keys
from convrfm.pipeline.record import read_record
from convrfm.pipeline.session import Job
from convrfm.plots import fig09

__all__ = ["draw_figure"]


def draw_figure(job: Job) -> None:
    """Write picture, table, caption and record; data sets that are not there are SKIPPED with the reason."""
    skipped = skipped_parts(job)
    if len(skipped) == len(job.settings["needs"]):
        write_skipped_figure(job, "Figure 9", skipped)
        return
    table = fig09.tidy(
        [
            (run_keys(path.parent), read_record(path.with_name(RUN_FILES["record"])), pd.read_parquet(path))
            for path in job.inputs["metrics"]
        ]
    )
    write_figure(job, table, fig09.draw(table, skipped), fig09.caption(table, skipped))
