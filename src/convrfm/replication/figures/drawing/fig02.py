"""Draw Figure 2 from the transformed images."""

from collections.abc import Mapping

from convrfm.replication.claims.judges.fig02 import judges
from convrfm.replication.figures import fig02
from convrfm.replication.figures.job import Drawn, figure_job
from convrfm.replication.figures.zoo_runs import measurements
from convrfm.replication.record.session import Job
from convrfm.system.storage import load_arrays

__all__ = ["draw_figure"]


@figure_job("Figure 2", judges)
def draw_figure(job: Job, _: Mapping[str, str]) -> Drawn:
    """Give table, picture and caption of the one network, without whose data the whole figure is SKIPPED."""
    (run,) = measurements(job)
    table = fig02.tidy(*run)
    return table, fig02.draw(table, load_arrays(job.input("arrays"))), fig02.caption(table)
