"""Draw Figure 12 from the metrics."""

from collections.abc import Mapping

import pandas as pd

from convrfm.replication.claims.judges.features import FIG12
from convrfm.replication.figures import fig12
from convrfm.replication.figures.feature_measurements import eigenvectors_on, measure_data_sets
from convrfm.replication.figures.feature_runs import FeatureRun
from convrfm.replication.figures.features import Sheet
from convrfm.replication.figures.job import Drawn, figure_job
from convrfm.replication.record.session import Job

__all__ = ["draw_figure"]

SHOWN = 3


@figure_job("Figure 12", FIG12)
def draw_figure(job: Job, skipped: Mapping[str, str]) -> Drawn:
    """Give table, picture and caption; data sets that are not there are SKIPPED with the reason."""
    table, sheets = measure_data_sets(job, _edges_of)
    return table, fig12.draw(table, sheets, skipped), fig12.caption(table, skipped)


def _edges_of(job: Job, run: FeatureRun) -> tuple[pd.DataFrame, Sheet]:
    """Filter test images by the top eigenvectors of the metric of the CNTK; the first are shown."""
    return eigenvectors_on(job, run, "cntk", run.images, source=run.dataset, shown=SHOWN)
