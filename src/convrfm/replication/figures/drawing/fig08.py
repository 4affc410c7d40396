"""Draw Figure 8 from the trainings of SimpleNet and the measurements of the ansatz in them."""

from collections.abc import Mapping

from convrfm.replication.claims.judges.fig08 import judges
from convrfm.replication.figures import fig08
from convrfm.replication.figures.job import Drawn, figure_job
from convrfm.replication.record.finished_runs import read_recorded_runs
from convrfm.replication.record.session import Job

__all__ = ["draw_figure"]


@figure_job("Figure 8", judges)
def draw_figure(job: Job, skipped: Mapping[str, str]) -> Drawn:
    """Give table, picture and caption; data sets that are not there are SKIPPED with the reason."""
    table = fig08.tidy(read_recorded_runs([*job.inputs["histories"], *job.inputs["metrics"]]))
    return table, fig08.draw(table, skipped), fig08.caption(table, skipped)
