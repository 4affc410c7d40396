"""Draw Figure 10 from the metrics and the networks."""

from collections.abc import Mapping

import pandas as pd

from convrfm.replication.claims.judges.features import FIG10
from convrfm.replication.figures import fig10
from convrfm.replication.figures.feature_measurements import NETWORK, measure_data_sets, operators_on
from convrfm.replication.figures.feature_runs import FeatureRun
from convrfm.replication.figures.features import Strip
from convrfm.replication.figures.job import Drawn, figure_job
from convrfm.replication.record.session import Job

__all__ = ["draw_figure", "first_layers_of"]

SHOWN = 8


@figure_job("Figure 10", FIG10)
def draw_figure(job: Job, skipped: Mapping[str, str]) -> Drawn:
    """Give table, picture and caption; data sets that are not there are SKIPPED with the reason."""
    table, strips = measure_data_sets(job, first_layers_of)
    return table, fig10.draw(table, strips, skipped), fig10.caption(table, skipped)


def first_layers_of(job: Job, run: FeatureRun) -> tuple[pd.DataFrame, Strip]:
    """Transform test images by the metric of the CNTK, by the filters of the network, and at random; the first are shown."""
    rows, comparison = operators_on(job, run, "cntk", run.images, source=run.dataset)
    names = {fig10.RFM: "cntk", fig10.CNN: NETWORK, fig10.RANDOM: "random"}
    pictures = {name: comparison.pictures[matrix][:SHOWN] for name, matrix in names.items()}
    return rows, Strip(run.images[:SHOWN], pictures)
