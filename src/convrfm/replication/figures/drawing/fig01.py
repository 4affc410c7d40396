"""Draw Figure 1 from the measurements of the networks."""

from collections.abc import Mapping

import numpy as np

from convrfm.ansatz.filter_forms import FilterForm
from convrfm.replication.claims.judges.fig01 import judges
from convrfm.replication.figures import fig01
from convrfm.replication.figures.job import Drawn, figure_job
from convrfm.replication.figures.zoo_runs import measurements
from convrfm.replication.record.record import run_keys
from convrfm.replication.record.session import Job
from convrfm.system.storage import load_arrays

__all__ = ["draw_figure"]


@figure_job("Figure 1", judges)
def draw_figure(job: Job, skipped: Mapping[str, str]) -> Drawn:
    """Give table, picture and caption; networks whose data are not there are SKIPPED with the reason."""
    runs = measurements(job)
    table = fig01.tidy(runs)
    figure = fig01.draw(table, fig01.growth(runs), _heat_maps(job))
    return table, figure, fig01.caption(table, skipped)


def _heat_maps(job: Job) -> dict[str, dict[str, np.ndarray]]:
    """CNFM and AGOP of the first convolution of the networks that are to be shown, in the order of the configuration."""
    paths = {run_keys(path.parent)["network"]: path for path in job.inputs["arrays"]}
    first = {"alexnet": "features.0", "vgg": "features.0", "resnet": "conv1"}
    found = {}
    for network in job.settings["heat_maps"]:
        if network not in paths:
            continue
        layer = next(name for family, name in first.items() if network.startswith(family))
        arrays = load_arrays(paths[network])
        weight = arrays[f"trained/{layer}/weight"].astype(np.float64)
        core = arrays[f"trained/{layer}/core"]
        found[network] = {"cnfm": FilterForm(weight, None).dense()[0], "agop": FilterForm(weight, core).dense()[0]}
    return found
