"""Draw Figure 11 from the metrics and natural images."""

from convrfm.pipeline.feature_measurements import eigenvectors_on
from convrfm.pipeline.feature_runs import natural_images, read_runs
from convrfm.pipeline.figures import skipped_parts, write_figure, write_skipped_figure
from convrfm.pipeline.session import Job
from convrfm.plots import fig11
from convrfm.plots.features import table_of

__all__ = ["draw_figure"]

SHOWN = 3


def draw_figure(job: Job) -> None:
    """Write picture, table, caption and record; without the data all of them say SKIPPED and why."""
    skipped, images = skipped_parts(job), natural_images(job)
    if skipped or images is None:
        write_skipped_figure(job, "Figure 11", skipped)
        return
    source = job.settings["natural"]
    measured = [eigenvectors_on(job, run, "laplace", images, source=source, shown=SHOWN) for run in read_runs(job)]
    table = table_of([rows.assign(panel="A") for rows, _ in measured], job.settings["protocol"])
    write_figure(job, table, fig11.draw(table, measured[0][1]), fig11.caption(table, skipped))
