"""Draw Figure 5 from the runs of its kernels and networks."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from convrfm.datasets.local_signal import TASKS
from convrfm.replication.claims.judges.accuracy import FIG05
from convrfm.replication.figures import fig05
from convrfm.replication.figures.job import Drawn, figure_job
from convrfm.replication.jobs.draws import read_draw
from convrfm.replication.record.finished_runs import read_scored_runs, runs_with
from convrfm.replication.record.record import RUN_FILES, read_record
from convrfm.replication.record.session import Job
from convrfm.system.storage import load_arrays

__all__ = ["draw_figure"]


@figure_job("Figure 5", FIG05)
def draw_figure(job: Job, skipped: Mapping[str, str]) -> Drawn:
    """Give table, picture and caption; tasks whose data are not there are SKIPPED with the reason."""
    table = fig05.tidy(read_scored_runs(job.inputs["metrics"]))
    pictures = {task: _pictures(job, table[table["task"] == task]) for task in dict.fromkeys(table["task"])}
    return table, fig05.draw(table, pictures, skipped), fig05.caption(table, pictures, skipped)


def _pictures(job: Job, table: pd.DataFrame) -> dict[str, Any]:
    """The examples of one task: at its lowest noise level, where a reader sees the signal; first draw, ConvRFM."""
    fitted = table[(table["quantity"] == "run") & (table["method"] == "ConvRFM") & (table["sigma"] > 0)]
    fitted = fitted.sort_values(["sigma", "seed"]).iloc[0]
    task, sigma, seed = fitted["task"], float(fitted["sigma"]), int(fitted["seed"])
    (draw,) = runs_with(job.inputs["draws"], task=task, seed=str(seed))
    (fit,) = runs_with(job.inputs["arrays"], experiment="rfm", task=task, seed=str(seed), sigma=f"{sigma:g}")
    patch_size = read_record(fit.with_name(RUN_FILES["record"]))["settings"]["patch_size"]
    metric = load_arrays(fit)[f"metric/0/{fitted['chosen']}"]
    split = read_draw(draw).test
    found = fig05.examples(split.images(TASKS[task](sigma)), split.inside, metric, patch_size)
    return {**found, "sigma": sigma}
