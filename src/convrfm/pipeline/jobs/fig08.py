"""Draw Figure 8 from the trainings of SimpleNet and the measurements of the ansatz in them."""

from collections.abc import Mapping

from convrfm.claims.judges.fig08 import judges
from convrfm.pipeline.figures import Drawn, figure_job
from convrfm.pipeline.finished_runs import read_recorded_runs
from convrfm.pipeline.session import Job
from convrfm.plots import fig08

__all__ = ["draw_figure"]


@figure_job("Figure 8", judges)
def draw_figure(job: Job, skipped: Mapping[str, str]) -> Drawn:
    """Give table, picture and caption; data sets that are not there are SKIPPED with the reason."""
    table = fig08.tidy(read_recorded_runs([*job.inputs["histories"], *job.inputs["metrics"]]))
    return table, fig08.draw(table, skipped), fig08.caption(table, skipped)
