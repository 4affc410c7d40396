"""How figures read the measurements of the networks."""

import pandas as pd

from convrfm.replication.figures.zoo import Run
from convrfm.replication.record.record import run_keys
from convrfm.replication.record.session import Job

__all__ = ["measurements"]


def measurements(job: Job) -> list[Run]:
    """Network, protocol and numbers of each measurement among the inputs `metrics` of a figure's job."""
    runs = []
    for path in job.inputs["metrics"]:
        keys = run_keys(path.parent)
        runs.append((keys["network"], keys["protocol"], pd.read_parquet(path)))
    return runs
