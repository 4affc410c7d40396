"""Draw Figure 5 from the runs of its kernels and networks."""

from pathlib import Path
from typing import Any

import pandas as pd

from convrfm.datasets.local_signal import TASKS
from convrfm.pipeline.draws import read_draw
from convrfm.pipeline.figures import skipped_parts, write_figure, write_skipped_figure
from convrfm.pipeline.paths import RUN_FILES, run_keys
from convrfm.pipeline.record import read_record
from convrfm.pipeline.session import Job
from convrfm.plots import fig05
from convrfm.storage import load_arrays

__all__ = ["draw_figure"]


def draw_figure(job: Job) -> None:
    """Write picture, table, caption and record; tasks whose data are not there are SKIPPED with the reason."""
    skipped = skipped_parts(job)
    if len(skipped) == len(job.settings["needs"]):
        write_skipped_figure(job, "Figure 5", skipped)
        return
    runs: list[fig05.Run] = []
    for path in job.inputs["metrics"]:
        settings = read_record(path.with_name(RUN_FILES["record"]))["settings"]
        runs.append((run_keys(path.parent), settings, pd.read_parquet(path)))
    table = fig05.tidy(runs)
    pictures = {task: _pictures(job, table[table["task"] == task]) for task in dict.fromkeys(table["task"])}
    write_figure(job, table, fig05.draw(table, pictures, skipped), fig05.caption(table, pictures, skipped))


def _pictures(job: Job, table: pd.DataFrame) -> dict[str, Any]:
    """The examples of one task: at its lowest noise level, where a reader sees the signal; first draw, ConvRFM."""
    fitted = table[(table["method"] == "ConvRFM") & (table["sigma"] > 0)].sort_values(["sigma", "seed"]).iloc[0]
    task, sigma, seed = fitted["task"], float(fitted["sigma"]), int(fitted["seed"])
    draw = _the_one(job.inputs["draws"], task=task, seed=str(seed))
    fit = _the_one(job.inputs["fits"], task=task, seed=str(seed), sigma=f"{sigma:g}")
    patch_size = read_record(fit.with_name(RUN_FILES["record"]))["settings"]["patch_size"]
    metric = load_arrays(fit)[f"metric/0/{fitted['chosen']}"]
    split = read_draw(draw).test
    found = fig05.examples(split.images(TASKS[task](sigma)), split.inside, metric, patch_size)
    return {**found, "sigma": sigma}


def _the_one(paths: list[Path], **keys: str) -> Path:
    """The only path whose run has these keys."""
    (path,) = (path for path in paths if keys.items() <= run_keys(path.parent).items())
    return path
