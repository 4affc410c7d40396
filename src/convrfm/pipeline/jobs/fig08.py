"""Draw Figure 8 from the trainings of SimpleNet and the measurements of the ansatz in them."""

import pandas as pd

from convrfm.pipeline.figures import skipped_parts, write_figure, write_skipped_figure
from convrfm.pipeline.paths import RUN_FILES, run_keys
from convrfm.pipeline.record import read_record
from convrfm.pipeline.session import Job
from convrfm.plots import fig08

__all__ = ["draw_figure"]


def draw_figure(job: Job) -> None:
    """Write picture, table, caption and record; data sets that are not there are SKIPPED with the reason."""
    skipped = skipped_parts(job)
    if len(skipped) == len(job.settings["needs"]):
        write_skipped_figure(job, "Figure 8", skipped)
        return
    runs: list[fig08.Run] = []
    for path in (*job.inputs["histories"], *job.inputs["metrics"]):
        settings = read_record(path.with_name(RUN_FILES["record"]))["settings"]
        runs.append((run_keys(path.parent), settings, pd.read_parquet(path)))
    table = fig08.tidy(runs)
    write_figure(job, table, fig08.draw(table, skipped), fig08.caption(table, skipped))
