"""Draw Figure 4 from the pictures of its layers."""

from collections.abc import Mapping

from convrfm.replication.claims.judges.fig04 import judges
from convrfm.replication.figures import fig04
from convrfm.replication.figures.job import Drawn, figure_job
from convrfm.replication.record.finished_runs import read_recorded_runs
from convrfm.replication.record.record import run_keys
from convrfm.replication.record.session import Job
from convrfm.system.storage import load_arrays

__all__ = ["draw_figure"]


@figure_job("Figure 4", judges)
def draw_figure(job: Job, skipped: Mapping[str, str]) -> Drawn:
    """Give table, picture and caption; tasks whose data are not there are SKIPPED with the reason."""
    table = fig04.tidy(read_recorded_runs(job.inputs["metrics"]))
    # The first seed comes first.
    pictures = {run_keys(path.parent)["dataset"]: load_arrays(path) for path in reversed(job.inputs["arrays"])}
    return table, fig04.draw(table, pictures, skipped), fig04.caption(table, skipped)
