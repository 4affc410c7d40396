"""Draw Figure 6 from the runs of its kernels and networks."""

from pathlib import Path

import pandas as pd

from convrfm.pipeline.figures import skipped_parts, write_figure, write_skipped_figure
from convrfm.pipeline.paths import RUN_FILES, run_keys
from convrfm.pipeline.record import read_record
from convrfm.pipeline.session import Job
from convrfm.plots import fig06

__all__ = ["draw_figure", "read_runs"]


def draw_figure(job: Job) -> None:
    """Write picture, table, caption and record; data sets that are not there are SKIPPED with the reason."""
    skipped = skipped_parts(job)
    if len(skipped) == len(job.settings["needs"]):
        write_skipped_figure(job, "Figure 6", skipped)
        return
    table = fig06.tidy(read_runs(job.inputs["metrics"]), read_runs(job.inputs["counts"]))
    layers = job.settings["layers"]
    write_figure(job, table, fig06.draw(table, layers, skipped), fig06.caption(table, layers, skipped))


def read_runs(paths: list[Path]) -> list[fig06.Run]:
    """The runs whose metrics are given."""
    return [
        (run_keys(path.parent), read_record(path.with_name(RUN_FILES["record"]))["settings"], pd.read_parquet(path))
        for path in paths
    ]
