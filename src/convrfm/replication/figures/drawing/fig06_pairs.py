"""Draw what the methods gain on pairs of classes, beside Figure 6."""

from collections.abc import Mapping

from convrfm.replication.figures import fig06, fig06_pairs
from convrfm.replication.figures.job import Drawn, figure_job
from convrfm.replication.record.finished_runs import read_runs, read_scored_runs
from convrfm.replication.record.session import Job

__all__ = ["draw_figure"]


@figure_job("Figure 6, pairs of classes")
def draw_figure(job: Job, skipped: Mapping[str, str]) -> Drawn:
    """Give table, picture and caption; data sets that are not there are SKIPPED with the reason."""
    table = fig06.tidy(read_scored_runs(job.inputs["metrics"]), read_runs(job.inputs["counts"]))
    return table, fig06_pairs.draw(table, skipped), fig06_pairs.caption(table, skipped)
