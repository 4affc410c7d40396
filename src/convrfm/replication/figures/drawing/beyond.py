"""Draw the figure beyond the paper from fits that change single choices."""

from collections.abc import Mapping

from convrfm.replication.figures import beyond
from convrfm.replication.figures.beyond_caption import caption
from convrfm.replication.figures.job import Drawn, figure_job
from convrfm.replication.record.finished_runs import read_recorded_runs
from convrfm.replication.record.session import Job

__all__ = ["draw_figure"]


@figure_job("Beyond the paper")
def draw_figure(job: Job, skipped: Mapping[str, str]) -> Drawn:
    """Give table, picture and caption; tasks whose data are not there are SKIPPED with the reason."""
    table = beyond.tidy(read_recorded_runs(job.inputs["metrics"]))
    shown = job.settings["choices"], job.settings["protocol"], skipped
    return table, beyond.draw(table, *shown), caption(table, *shown)
