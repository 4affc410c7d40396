"""Fit Deep ConvRFM, all stages, to a task; CNTK and ConvRFM are parts of it."""

import shutil
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from convrfm.kernels import CNTK
from convrfm.kernels.backends import LARGEST_DEFAULT, SINGULARITY
from convrfm.numerics.inputs import generator
from convrfm.replication.cluster.fits import check_memory
from convrfm.replication.jobs.fit_steps import (
    StepEndError,
    filling_journal,
    fit_journal,
    fitting_journal,
    remove_scratch,
    whole_fit,
)
from convrfm.replication.jobs.task_images import TaskImages, read_task_images
from convrfm.replication.record.session import Job, remove_checkpoints
from convrfm.replication.runs.fits import ImageFit, TaskFit, fit_settings
from convrfm.replication.runs.protocols import RFM_CHOICES, held_out_part
from convrfm.rfm.deep import DeepSettings, Stage, fit_stages, history_of
from convrfm.rfm.rounds import RFMSettings, RoundJournal, StageData
from convrfm.system.machine import why_no_gpu
from convrfm.system.storage import sha256, write_arrays, write_table

if TYPE_CHECKING:
    from convrfm.replication.runs.features import FeatureFitSettings
    from convrfm.replication.runs.fits import FitSettings

__all__ = ["fill_gram", "fit_round", "fit_task", "note_backend", "of_kernel", "task_choices", "task_data", "task_kernel"]


def fit_task(job: Job) -> None:
    """Write the history of all stages, the metric of every round with the filters, and the record.

    Arrays: `metric/<stage>/<round>` `(d, d)`, `best_round/<stage>`, `filters/<stage>` `(k, d)` between stages, and
    `correct/<stage>/<round>` `(m,)` bool: whether each test image is classified correctly with the ridge that was selected, in
    the order of the test images. Where the rounds of the fit are inputs of the job, see `convrfm.replication.jobs.fit_steps`,
    they are read; the record has their hashes under `rounds`.
    """
    rounds = job.inputs.get("rounds", [])
    journal = fit_journal(job)
    job = whole_fit(job)
    given = fit_settings(job.settings)
    fit = _Fit.of(job, given, task_kernel(given), filling=bool(rounds))
    note_backend(job)
    stages = fit.run(journal)
    history = history_of(stages)
    write_table(job.outputs["metrics"], history)
    write_arrays(job.outputs["arrays"], _arrays(stages))
    job.recorder.notes |= {
        "seed": given.seed,
        "protocol": given.protocol,
        "backend": fit.kernel.backend,
        "images_fitted": len(fit.data.fit),
        "image_dtype": str(fit.data.train.dtype),
        "singularity": SINGULARITY[fit.data.train.dtype],
        "rfm": asdict(fit.settings),
        "deep": asdict(fit.deep),
        "solves": _solves(history.to_dict("records")),
    }
    if rounds:
        job.recorder.notes["rounds"] = {path.as_posix(): sha256(path) for path in rounds}
    job.write_record()
    remove_checkpoints(job)


def fill_gram(job: Job) -> None:
    """Write a part of the kernel matrices of one round of one stage, see `convrfm.replication.jobs.fit_steps`.

    The budget of memory is the default's largest, whatever is free: the side of the tiles follows from it, and is the same in
    all parts.
    """
    journal = filling_journal(job)
    given = fit_settings(job.settings)
    fit = _Fit.of(job, given, task_kernel(given, memory=LARGEST_DEFAULT), filling=True)
    with suppress(StepEndError):
        fit.run(journal)
    shutil.rmtree(journal.scratch)


def fit_round(job: Job) -> None:
    """Write one round of one stage from the parts of its kernel matrices, see `convrfm.replication.jobs.fit_steps`."""
    journal = fitting_journal(job)
    given = fit_settings(job.settings)
    fit = _Fit.of(job, given, task_kernel(given), filling=False)
    with suppress(StepEndError):
        fit.run(journal)
    remove_scratch(job.outputs["round"].parent)


@dataclass(frozen=True)
class _Fit:
    """A fit to a task, ready to run."""

    kernel: CNTK
    data: StageData
    settings: RFMSettings
    deep: DeepSettings
    rng: np.random.Generator

    @classmethod
    def of(cls, job: Job, given: TaskFit | ImageFit, kernel: CNTK, *, filling: bool) -> "_Fit":
        """The fit of a job, once there is memory for it, or for filling kernel matrices alone."""
        settings, deep = task_choices(given)
        images = read_task_images(job, given)
        check_memory(job.settings, len(images.train), len(images.test), images.train.shape[1:], filling=filling)
        data = task_data(images, settings.selection, given.seed)
        return cls(kernel, data, settings, deep, generator(given.seed, "filters and AGOP points"))

    def run(self, journal: RoundJournal) -> list[Stage]:
        """Run all stages."""
        return fit_stages(self.kernel, self.data, self.settings, self.deep, self.rng, journal=journal, show=True)


def _arrays(stages: list[Stage]) -> dict[str, np.ndarray]:
    """What `fit_task` writes of all stages."""
    arrays: dict[str, np.ndarray] = {}
    for index, stage in enumerate(stages):
        dimension = stage.features.shape[1] * stage.kernel.patch_size**2
        arrays[f"best_round/{index}"] = np.array(stage.result.best_round)
        for t, metric in enumerate(stage.result.metrics):
            arrays[f"metric/{index}/{t}"] = np.eye(dimension) if metric is None else metric
        if stage.filters is not None:
            arrays[f"filters/{index}"] = stage.filters
        arrays |= {f"correct/{index}/{t}": correct for t, correct in enumerate(stage.result.correct)}
    return arrays


def _solves(history: list[dict[Any, Any]]) -> list[dict[str, Any]]:
    """Residual, condition estimate and the kernel's certificate of every solve."""
    keys = ("stage", "round", "ridge", "solver", "residual", "kernel_spread", "kernel_smallest_eigenvalue")
    # JSON has no infinity, which is what a condition beyond the precision comes out as.
    return [
        {key: row[key] for key in keys} | {"condition": row["condition"] if np.isfinite(row["condition"]) else None}
        for row in history
    ]


def task_choices(given: TaskFit | ImageFit) -> tuple[RFMSettings, DeepSettings]:
    """Settings of a fit to a task: the section `rfm`, the choices of the protocol, and the `changes` to them.

    Raises:
        InputError: a value out of range.
    """
    values: dict[str, Any] = {**given.rfm.model_dump(), **RFM_CHOICES[given.protocol], **given.changes}
    values["ridges"] = tuple(values["ridges"])
    of_stack = {field.name for field in fields(DeepSettings)}
    deep = {key: values.pop(key) for key in of_stack & set(values)}
    return RFMSettings(**values), DeepSettings(**deep)


def task_kernel(given: TaskFit | ImageFit, *, memory: int | None = None) -> CNTK:
    """The kernel of the first stage of a fit to a task.

    Args:
        given: settings of the job.
        memory: bytes for a tile where the settings have no number; None depends on what is free.
    """
    shared = of_kernel(given)
    return CNTK(depth=given.depth, **{**shared, "memory": shared["memory"] or memory})


def task_data(images: TaskImages, selection: str, seed: int) -> StageData:
    """The images of a task, with the part that validates held out.

    Args:
        images: of the task.
        selection: "test" or "validation".
        seed: of the held-out part.
    """
    held_out = held_out_part(images.train_labels, selection, seed)
    return StageData(
        train=images.train,
        labels=images.train_labels,
        classes=images.outputs,
        fit=np.setdiff1d(np.arange(len(images.train)), held_out),
        test=images.test,
        test_labels=images.test_labels,
    )


def note_backend(job: Job) -> None:
    """Note a GPU that a fit has been given, and that its kernels cannot use under the backend "auto"."""
    if job.gpu is not None and job.settings["backend"] == "auto" and (reason := why_no_gpu()) is not None:
        job.note_unusable_gpu(reason)


def of_kernel(given: "FitSettings | FeatureFitSettings") -> dict[str, Any]:
    """Arguments of every kernel of a job."""
    return {
        "patch_size": given.patch_size,
        "backend": given.backend,
        "memory": None if given.memory_mb is None else given.memory_mb * 2**20,
    }
