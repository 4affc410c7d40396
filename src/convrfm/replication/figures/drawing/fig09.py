"""Draw Figure 9 from the runs of the shallow networks."""

from collections.abc import Mapping

from convrfm.replication.claims.judges.fig09 import judges
from convrfm.replication.figures import fig09
from convrfm.replication.figures.job import Drawn, figure_job
from convrfm.replication.record.finished_runs import read_recorded_runs
from convrfm.replication.record.session import Job

__all__ = ["draw_figure"]


@figure_job("Figure 9", judges)
def draw_figure(job: Job, skipped: Mapping[str, str]) -> Drawn:
    """Give table, picture and caption; data sets that are not there are SKIPPED with the reason."""
    table = fig09.tidy(read_recorded_runs(job.inputs["metrics"]))
    return table, fig09.draw(table, skipped), fig09.caption(table, skipped)
