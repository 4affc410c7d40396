"""Fit Deep ConvRFM, all stages, to a task; CNTK and ConvRFM are parts of it."""

from dataclasses import asdict
from typing import Any

import numpy as np

from convrfm.deep_rfm import Stage, fit_stages, history_of
from convrfm.kernels.specs import SINGULARITY
from convrfm.pipeline.checkpoints import remove_checkpoints
from convrfm.pipeline.fit_journals import round_journal
from convrfm.pipeline.fit_memory import check_memory
from convrfm.pipeline.fit_witnesses import witness_arrays
from convrfm.pipeline.fits import note_backend, task_choices, task_data, task_kernel
from convrfm.pipeline.session import Job
from convrfm.pipeline.task_images import read_task_images
from convrfm.seeding import generator
from convrfm.storage import write_arrays, write_table

__all__ = ["fit_task"]


def fit_task(job: Job) -> None:
    """Write the history of all stages, the metric of every round with the filters, and the record.

    Beside them lie a few entries for others to compute anew, see `convrfm.pipeline.fit_witnesses`.
    """
    given = job.settings
    protocol, seed = given["protocol"], given["seed"]
    settings, deep = task_choices(given)
    images = read_task_images(job)
    check_memory(given, len(images.train), len(images.test), images.train.shape[1:])
    data = task_data(images, settings.selection, seed)
    kernel = task_kernel(given)
    note_backend(job)
    rng = generator(seed, "filters and AGOP points")
    stages = fit_stages(kernel, data, settings, deep, rng, journal=round_journal(job), show=True)
    history = history_of(stages)
    write_table(job.outputs["metrics"], history)
    write_arrays(job.outputs["arrays"], _arrays(stages))
    job.recorder.notes |= {
        "seed": seed,
        "protocol": protocol,
        "backend": kernel.backend,
        "images_fitted": len(data.fit),
        "image_dtype": str(data.train.dtype),
        "singularity": SINGULARITY[data.train.dtype],
        "rfm": asdict(settings),
        "deep": asdict(deep),
        "solves": _solves(history.to_dict("records")),
    }
    job.write_record()
    remove_checkpoints(job)


def _arrays(stages: list[Stage]) -> dict[str, np.ndarray]:
    """The metrics of every stage and round, the best round of each stage, and the filters between stages."""
    arrays: dict[str, np.ndarray] = {}
    for index, stage in enumerate(stages):
        dimension = stage.features.shape[1] * stage.kernel.patch_size**2
        arrays[f"best_round/{index}"] = np.array(stage.result.best_round)
        for t, metric in enumerate(stage.result.metrics):
            arrays[f"metric/{index}/{t}"] = np.eye(dimension) if metric is None else metric
        if stage.filters is not None:
            arrays[f"filters/{index}"] = stage.filters
        # The AGOP of later stages is of many channels, and would take long to compute anew.
        arrays |= witness_arrays(stage.result, index, with_agops=index == 0)
    return arrays


def _solves(history: list[dict[Any, Any]]) -> list[dict[str, Any]]:
    """Residual, condition estimate and the kernel's certificate of every solve."""
    keys = ("stage", "round", "ridge", "solver", "residual", "kernel_spread", "kernel_smallest_eigenvalue")
    # JSON has no infinity, which is what a condition beyond the precision comes out as.
    return [
        {key: row[key] for key in keys} | {"condition": row["condition"] if np.isfinite(row["condition"]) else None}
        for row in history
    ]
