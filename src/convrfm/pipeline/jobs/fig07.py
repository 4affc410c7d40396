"""Draw Figure 7 from the measurements of the networks."""

from convrfm.pipeline.figures import skipped_parts, write_figure, write_skipped_figure
from convrfm.pipeline.session import Job
from convrfm.pipeline.zoo_runs import measurements
from convrfm.plots import fig07

__all__ = ["draw_figure"]


def draw_figure(job: Job) -> None:
    """Write picture, table, caption and record; networks whose data are not there are SKIPPED with the reason."""
    skipped = skipped_parts(job)
    if len(skipped) == len(job.settings["needs"]):
        write_skipped_figure(job, "Figure 7", skipped)
        return
    table = fig07.tidy(measurements(job))
    write_figure(job, table, fig07.draw(table), fig07.caption(table, skipped))
