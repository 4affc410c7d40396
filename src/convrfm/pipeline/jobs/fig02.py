"""Draw Figure 2 from the transformed images."""

from collections.abc import Mapping

from convrfm.claims.judges.fig02 import judges
from convrfm.pipeline.figures import Drawn, figure_job
from convrfm.pipeline.session import Job
from convrfm.pipeline.zoo_runs import measurements
from convrfm.plots import fig02
from convrfm.storage import load_arrays

__all__ = ["draw_figure"]


@figure_job("Figure 2", judges)
def draw_figure(job: Job, _: Mapping[str, str]) -> Drawn:
    """Give table, picture and caption of the one network, without whose data the whole figure is SKIPPED."""
    (run,) = measurements(job)
    table = fig02.tidy(*run)
    return table, fig02.draw(table, load_arrays(job.input("arrays"))), fig02.caption(table)
