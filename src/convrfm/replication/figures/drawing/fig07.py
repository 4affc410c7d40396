"""Draw Figure 7 from the measurements of the networks."""

from collections.abc import Mapping

from convrfm.replication.claims.judges.fig07 import judges
from convrfm.replication.figures import fig07
from convrfm.replication.figures.job import Drawn, figure_job
from convrfm.replication.figures.zoo_runs import measurements
from convrfm.replication.record.session import Job

__all__ = ["draw_figure"]


@figure_job("Figure 7", judges)
def draw_figure(job: Job, skipped: Mapping[str, str]) -> Drawn:
    """Give table, picture and caption; networks whose data are not there are SKIPPED with the reason."""
    table = fig07.tidy(measurements(job))
    return table, fig07.draw(table), fig07.caption(table, skipped)
