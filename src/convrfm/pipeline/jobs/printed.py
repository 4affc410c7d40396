"""Draw the authors' printed numbers beside ours."""

from collections.abc import Mapping

from convrfm.claims.judges.printed import judges
from convrfm.pipeline.figures import Drawn, figure_job
from convrfm.pipeline.finished_runs import read_recorded_runs
from convrfm.pipeline.session import Job
from convrfm.plots import printed

__all__ = ["draw_figure"]


@figure_job("The authors' printed numbers", judges)
def draw_figure(job: Job, skipped: Mapping[str, str]) -> Drawn:
    """Give table, picture and caption; printed runs whose data are not there are SKIPPED with the reason."""
    table = printed.tidy(read_recorded_runs(job.inputs["metrics"]))
    return table, printed.draw(table, skipped), printed.caption(table, skipped)
