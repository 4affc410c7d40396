"""Draw Figure 2 from the transformed images."""

import pandas as pd

from convrfm.pipeline.figures import skipped_parts, write_figure, write_skipped_figure
from convrfm.pipeline.paths import run_keys
from convrfm.pipeline.session import Job
from convrfm.plots import fig02
from convrfm.storage import load_arrays

__all__ = ["draw_figure"]


def draw_figure(job: Job) -> None:
    """Write picture, table, caption and record; without the network's data all of them say SKIPPED and why."""
    skipped = skipped_parts(job)
    if skipped:
        write_skipped_figure(job, "Figure 2", skipped)
        return
    path = job.input("metrics")
    keys = run_keys(path.parent)
    table = fig02.tidy(keys["network"], keys["protocol"], pd.read_parquet(path))
    figure = fig02.draw(table, load_arrays(job.input("arrays")))
    write_figure(job, table, figure, fig02.caption(table))
