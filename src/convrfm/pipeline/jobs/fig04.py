"""Draw Figure 4 from the pictures of its layers."""

from convrfm.pipeline.figures import skipped_parts, write_figure, write_skipped_figure
from convrfm.pipeline.jobs.fig06 import read_runs
from convrfm.pipeline.paths import run_keys
from convrfm.pipeline.session import Job
from convrfm.plots import fig04
from convrfm.storage import load_arrays

__all__ = ["draw_figure"]


def draw_figure(job: Job) -> None:
    """Write picture, table, caption and record; tasks whose data are not there are SKIPPED with the reason."""
    skipped = skipped_parts(job)
    if len(skipped) == len(job.settings["needs"]):
        write_skipped_figure(job, "Figure 4", skipped)
        return
    table = fig04.tidy(read_runs(job.inputs["metrics"]))
    # The first seed comes first.
    pictures = {run_keys(path.parent)["dataset"]: load_arrays(path) for path in reversed(job.inputs["arrays"])}
    write_figure(job, table, fig04.draw(table, pictures, skipped), fig04.caption(table, skipped))
