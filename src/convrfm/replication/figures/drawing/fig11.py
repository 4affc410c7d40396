"""Draw Figure 11 from the metrics and natural images."""

from collections.abc import Mapping

from convrfm.replication.claims.judges.features import FIG11
from convrfm.replication.figures import fig11
from convrfm.replication.figures.feature_measurements import eigenvectors_on
from convrfm.replication.figures.feature_runs import natural_images, read_runs
from convrfm.replication.figures.features import table_of
from convrfm.replication.figures.job import Drawn, figure_job
from convrfm.replication.record.session import Job

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
