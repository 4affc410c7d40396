"""Draw Figure 7 from the measurements of the networks."""

from collections.abc import Mapping

from convrfm.claims.judges.fig07 import judges
from convrfm.pipeline.figures import Drawn, figure_job
from convrfm.pipeline.session import Job
from convrfm.pipeline.zoo_runs import measurements
from convrfm.plots import fig07

__all__ = ["draw_figure"]


@figure_job("Figure 7", judges)
def draw_figure(job: Job, skipped: Mapping[str, str]) -> Drawn:
    """Give table, picture and caption; networks whose data are not there are SKIPPED with the reason."""
    table = fig07.tidy(measurements(job))
    return table, fig07.draw(table), fig07.caption(table, skipped)
