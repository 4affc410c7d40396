"""Draw Figure 11 from the metrics and natural images."""

from collections.abc import Mapping

from convrfm.claims.judges.features import FIG11
from convrfm.pipeline.feature_measurements import eigenvectors_on
from convrfm.pipeline.feature_runs import natural_images, read_runs
from convrfm.pipeline.figures import Drawn, figure_job
from convrfm.pipeline.session import Job
from convrfm.plots import fig11
from convrfm.plots.features import table_of

__all__ = ["draw_figure"]

SHOWN = 3


@figure_job("Figure 11", FIG11)
def draw_figure(job: Job, skipped: Mapping[str, str]) -> Drawn:
    """Give table, picture and caption of the one data set, without which the whole figure is SKIPPED."""
    images, source = natural_images(job), job.settings["natural"]
    assert images is not None  # the data set needs them, and the figure is skipped without
    measured = [eigenvectors_on(job, run, "laplace", images, source=source, shown=SHOWN) for run in read_runs(job)]
    table = table_of([rows.assign(panel="A") for rows, _ in measured], job.settings["protocol"])
    return table, fig11.draw(table, measured[0][1]), fig11.caption(table, skipped)
