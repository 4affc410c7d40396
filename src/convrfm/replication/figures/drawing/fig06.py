"""Draw Figure 6 from the runs of its kernels and networks."""

from collections.abc import Mapping

from convrfm.replication.claims.judges.accuracy import FIG06
from convrfm.replication.figures import fig06
from convrfm.replication.figures.job import Drawn, figure_job
from convrfm.replication.record.finished_runs import read_runs, read_scored_runs
from convrfm.replication.record.session import Job

__all__ = ["draw_figure"]


@figure_job("Figure 6", FIG06)
def draw_figure(job: Job, skipped: Mapping[str, str]) -> Drawn:
    """Give table, picture and caption; data sets that are not there are SKIPPED with the reason."""
    table = fig06.tidy(read_scored_runs(job.inputs["metrics"]), read_runs(job.inputs["counts"]))
    layers = job.settings["layers"]
    return table, fig06.draw(table, layers, skipped), fig06.caption(table, layers, skipped)
