"""Draw what the methods gain on pairs of classes, beside Figure 6."""

from convrfm.pipeline.figures import skipped_parts, write_figure, write_skipped_figure
from convrfm.pipeline.jobs.fig06 import read_runs
from convrfm.pipeline.session import Job
from convrfm.plots import fig06, fig06_pairs

__all__ = ["draw_figure"]


def draw_figure(job: Job) -> None:
    """Write picture, table, caption and record; data sets that are not there are SKIPPED with the reason."""
    skipped = skipped_parts(job)
    if len(skipped) == len(job.settings["needs"]):
        write_skipped_figure(job, "Figure 6, pairs of classes", skipped)
        return
    table = fig06.tidy(read_runs(job.inputs["metrics"]), read_runs(job.inputs["counts"]))
    write_figure(job, table, fig06_pairs.draw(table, skipped), fig06_pairs.caption(table, skipped))
