"""What every figure writes: picture, tidy table, caption, record."""

from functools import partial
from typing import TYPE_CHECKING

import pandas as pd

from convrfm.pipeline.session import Job
from convrfm.storage import write_atomically, write_bytes, write_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["write_figure"]

# Nothing that changes from call to call: equal tables give equal bytes.
METADATA = {
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "ModDate": None, "Producer": None, "Creator": None},
}


def write_figure(job: Job, table: pd.DataFrame, figure: "Figure", caption: str) -> None:
    """Write the outputs `png`, `pdf`, `parquet`, `csv`, `md` and `record` of a figure's job.

    Raises:
        StorageError: see `convrfm.storage`.
    """
    write_table(job.outputs["parquet"], table)
    write_table(job.outputs["csv"], table)
    write_bytes(job.outputs["md"], caption.encode())
    for name, metadata in METADATA.items():
        save = partial(figure.savefig, format=name, metadata=metadata)
        write_atomically(job.outputs[name], save)
    job.write_record()
