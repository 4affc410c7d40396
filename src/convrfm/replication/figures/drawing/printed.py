"""Draw the authors' printed numbers beside ours."""

from collections.abc import Mapping

from convrfm.replication.claims.judges.printed import judges
from convrfm.replication.figures import printed
from convrfm.replication.figures.job import Drawn, figure_job
from convrfm.replication.record.finished_runs import read_recorded_runs
from convrfm.replication.record.session import Job

__all__ = ["draw_figure"]


@figure_job("The authors' printed numbers", judges)
def draw_figure(job: Job, skipped: Mapping[str, str]) -> Drawn:
    """Give table, picture and caption; printed runs whose data are not there are SKIPPED with the reason."""
    table = printed.tidy(read_recorded_runs(job.inputs["metrics"]))
    return table, printed.draw(table, skipped), printed.caption(table, skipped)
