"""Fit Deep ConvRFM to a task, CNTK and ConvRFM being parts of it, in one job or in steps; and ConvRFM to prepared images.

A step is one round of one stage. Its kernel matrices are computed in parts, each by a job (`fill_gram`); one more job puts them
together, solves, takes the AGOP and leaves the round (`fit_round`). Each of them is the whole fit with a journal that gives
back the rounds of earlier steps, which other jobs have left, and that ends the fit at its own step. When all rounds are
there, the ordinary job of the fit reads them and writes its outputs, which have the bits of a fit in one job.

The files of a fit's steps lie in `results/<preset>/steps/<experiment>/<protocol>/<key=value/...>/`:
`<stage>-<round>-<matrix>.part-<i>-of-<k>.npz` of `convrfm.kernels.gram_file`, and `round-<stage>-<round>.safetensors`.
"""

import os
import shutil
import warnings
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from convrfm.errors import ConvRFMWarning, StorageError, refuse
from convrfm.kernels import CNTK, ConvolutionalKernel, PatchLaplace
from convrfm.kernels.backends import LARGEST_DEFAULT, SINGULARITY, PreparedImages
from convrfm.numerics.inputs import generator
from convrfm.replication.cluster.fits import check_memory
from convrfm.replication.jobs.task_images import TaskImages, prepared_images, read_task_images
from convrfm.replication.record.record import STEP_MATRICES
from convrfm.replication.record.session import CHECKPOINT, Job, checkpoint_path, job_key
from convrfm.replication.runs.fits import FeatureFitSettings, FitSettings, ImageFit, TaskFit, fit_settings
from convrfm.replication.runs.protocols import RFM_CHOICES, held_out_part
from convrfm.rfm.deep import DeepSettings, Stage, fit_stages, history_of
from convrfm.rfm.rounds import RFMSettings, Round, RoundJournal, StageData, fit_rounds
from convrfm.system.machine import why_no_gpu
from convrfm.system.storage import sha256

__all__ = ["fill_gram", "fit_metric", "fit_round", "fit_task", "note_backend", "task_choices", "task_data", "task_kernel"]


def fit_task(job: Job) -> None:
    """Write the history of all stages, the metric of every round with the filters, and the record.

    Arrays: `metric/<stage>/<round>` `(d, d)`, `best_round/<stage>`, `filters/<stage>` `(k, d)` between stages, and
    `correct/<stage>/<round>` `(m,)` bool: whether each test image is classified correctly with the ridge that was selected, in
    the order of the test images. Where the rounds of the fit are inputs of the job, see `convrfm.replication.jobs.fits`,
    they are read; the record has their hashes under `rounds`.
    """
    rounds = job.inputs.get("rounds", [])
    job = whole_fit(job)
    # Its rounds are there, or it keeps them until it ends.
    journal = StepJournal(**_of_step(job, rounds[0].parent)) if rounds else round_journal(job)
    given = fit_settings(job.settings)
    fit = _Fit.of(job, given, task_kernel(given), filling=bool(rounds))
    note_backend(job)
    stages = fit.run(journal)
    history = history_of(stages)
    if rounds:
        job.recorder.notes["rounds"] = {path.as_posix(): sha256(path) for path in rounds}
    job.finish(
        history,
        _arrays(stages),
        seed=given.seed,
        protocol=given.protocol,
        backend=fit.kernel.backend,
        images_fitted=len(fit.data.fit),
        image_dtype=str(fit.data.train.dtype),
        singularity=SINGULARITY[fit.data.train.dtype],
        rfm=asdict(fit.settings),
        deep=asdict(fit.deep),
        solves=_solves(history.to_dict("records")),
    )


def fill_gram(job: Job) -> None:
    """Write a part of the kernel matrices of one round of one stage, see `convrfm.replication.jobs.fits`.

    The budget of memory is the default's largest, whatever is free: the side of the tiles follows from it, and is the same in
    all parts.
    """
    step = job.settings["step"]
    journal = FillingJournal(**_of_step(job, job.outputs["train"].parent), part=(step["part"], step["parts"]))
    given = fit_settings(whole_fit(job).settings)
    fit = _Fit.of(job, given, task_kernel(given, memory=LARGEST_DEFAULT), filling=True)
    with suppress(StepEndError):
        fit.run(journal)
    shutil.rmtree(journal.scratch)


def fit_round(job: Job) -> None:
    """Write one round of one stage from the parts of its kernel matrices, see `convrfm.replication.jobs.fits`."""
    folder = job.outputs["round"].parent
    journal = FittingJournal(**_of_step(job, folder), parts=tuple(job.inputs["parts"]))
    given = fit_settings(whole_fit(job).settings)
    fit = _Fit.of(job, given, task_kernel(given), filling=False)
    with suppress(StepEndError):
        fit.run(journal)
    # Jobs of earlier code, settings or data may have left theirs.
    for scratch in folder.glob(f"{CHECKPOINT}*"):
        shutil.rmtree(scratch)


@dataclass(frozen=True)
class _Fit:
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
        return fit_stages(self.kernel, self.data, self.settings, self.deep, self.rng, journal=journal, show=True)


def _arrays(stages: list[Stage]) -> dict[str, np.ndarray]:
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
    """The kernel of the first stage of a fit to a task; `memory` is in bytes, where the settings have no number."""
    shared = of_kernel(given)
    return CNTK(depth=given.depth, **{**shared, "memory": shared["memory"] or memory})


def task_data(images: TaskImages, selection: str, seed: int) -> StageData:
    """The images of a task, with the part that validates held out, if `selection` is "validation" and not "test"."""
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


def fit_metric(job: Job) -> None:
    """Write the history, the metric of every round from 1 on as `metric/<round>`, the best of them as `best`, and the record.

    `correct/0/<round>` `(m,)` bool says whether each test image is classified correctly, as in `convrfm.replication.jobs.fits`.

    Round 0, whose metric is the identity, is never the best: the figures show what was learned.
    """
    given = FeatureFitSettings.model_validate(job.settings)
    settings = RFMSettings(rounds=given.rounds, ridges=tuple(given.ridges), **RFM_CHOICES[given.protocol])
    data = task_data(prepared_images(job, given.dataset), settings.selection, given.seed)
    kernel = _feature_kernel(given)
    note_backend(job)
    check_memory(job.settings, len(data.train), 0 if data.test is None else len(data.test), data.train.shape[1:])
    result = fit_rounds(
        kernel, data, settings, generator(given.seed, "AGOP points"),
        journal=round_journal(job), description=f"{given.kernel} on {given.dataset}, rounds", show=True,
    )  # fmt: skip
    later = result.history[result.history["round"] >= 1]
    best = later.loc[later[f"{settings.selection}_accuracy"].idxmax()]
    arrays = {f"metric/{t}": metric for t, metric in enumerate(result.metrics) if metric is not None}
    correct = {f"correct/0/{t}": found for t, found in enumerate(result.correct)}
    job.finish(
        result.history,
        {**arrays, "best": arrays[f"metric/{best['round']}"], **correct},
        seed=given.seed,
        protocol=given.protocol,
        backend=kernel.backend,
        singularity=SINGULARITY[data.train.dtype],
        rfm=asdict(settings),
        best_round=int(best["round"]),
        best_round_test_accuracy=float(best["test_accuracy"]),
        round_0_test_accuracy=float(result.history.loc[result.history["round"] == 0, "test_accuracy"].max()),
    )


def _feature_kernel(given: FeatureFitSettings) -> ConvolutionalKernel:
    if given.kernel == "cntk":
        assert given.depth is not None
        return CNTK(depth=given.depth, **of_kernel(given))
    assert given.bandwidth is not None
    return PatchLaplace(bandwidth=given.bandwidth, **of_kernel(given))


OF_STEPS = ("rounds", "parts")  # inputs of jobs that come from other steps


class StepEndError(Exception):
    """The step is done, and the rest of the fit is for other jobs."""


@dataclass(frozen=True)
class StepJournal(RoundJournal):
    """The rounds that other jobs have left."""

    until: tuple[int, int] | None = None  # stage and round of the step of this job; None where all rounds are there
    at: int = 0  # the stage that this is the journal of
    scratch: Path = Path()  # a folder of the job's own for kernel matrices, where an earlier attempt has left what it had

    def stage(self, index: int) -> Self:
        """The journal of one stage of Deep ConvRFM."""
        return replace(super().stage(index), at=index)

    def recall(self, t: int, rng: np.random.Generator) -> Round | None:
        """Read round t, see `RoundJournal.recall`; None for that of the step.

        Raises:
            StorageError: an earlier round is missing, damaged, or of another fit.
        """
        if (self.at, t) == self.until:
            return None
        with warnings.catch_warnings():
            # That it is damaged is an error here: it is not for this job to fit it again.
            warnings.simplefilter("ignore", ConvRFMWarning)
            found = super().recall(t, rng)
        refuse(found is None, f"{self.path(t)} is missing or damaged: delete it, and call Snakemake again.", StorageError)
        return found

    def matrix(self, t: int, name: str) -> Path:
        """Where a kernel matrix is put together."""
        return self.scratch / f"{self.at}-{t}-{name}.npy"


@dataclass(frozen=True)
class FillingJournal(StepJournal):
    """Computes part i of k of the kernel matrices of a step, and ends there."""

    part: tuple[int, int] = (0, 1)  # (i, k)

    def gram(
        self, t: int, part: str, kernel: ConvolutionalKernel, left: PreparedImages, right: PreparedImages | None
    ) -> np.ndarray:
        """Compute the part of a matrix. What is given in the place of the matrix is NaN: nobody gets to read it.

        Raises:
            StepEndError: it was the last matrix.
        """
        kernel.gram(left, right, out=self.matrix(t, part), part=self.part)
        if part == STEP_MATRICES[-1]:
            for file in self.scratch.glob("*.npz"):
                file.replace(self.scratch.with_name(file.name))
            raise StepEndError
        return np.broadcast_to(np.float32("nan"), (len(left), len(left if right is None else right)))


@dataclass(frozen=True)
class FittingJournal(StepJournal):
    """Puts the kernel matrices of a step together, keeps its round, and ends there."""

    parts: tuple[Path, ...] = ()  # files of the parts

    def gram(
        self, t: int, part: str, kernel: ConvolutionalKernel, left: PreparedImages, right: PreparedImages | None
    ) -> np.ndarray:
        """Put a matrix together. Its parts stay, for another attempt; what is removed with the matrix are links to them."""
        out = self.matrix(t, part)
        if not out.exists():
            self.scratch.mkdir(exist_ok=True)
            for file in self.parts:
                link = self.scratch / file.name
                if file.name.startswith(f"{out.stem}.") and not link.exists():
                    link.symlink_to(os.path.relpath(file, self.scratch))
            kernel.gram(left, right, out=out)
        matrix: np.ndarray = np.load(out, mmap_mode="r")
        return matrix

    def keep(self, t: int, finished: Round, rng: np.random.Generator) -> None:
        """Write the round of the step.

        Raises:
            StepEndError: always, when it is there.
            StorageError: see `convrfm.system.storage`.
        """
        super().keep(t, finished, rng)
        raise StepEndError


def round_journal(job: Job) -> RoundJournal:
    """Where the rounds of a fit in one job are kept until it ends.

    Apart from other checkpoints: the training of networks does not depend on the code of kernels.
    """
    return RoundJournal(checkpoint_path(job).with_suffix(""))


def whole_fit(job: Job) -> Job:
    """A job of a fit as if the fit were in one piece."""
    inputs = {name: files for name, files in job.inputs.items() if name not in OF_STEPS}
    settings = {name: value for name, value in job.settings.items() if name != "step"}
    return replace(job, inputs=inputs, settings=settings)


def _of_step(job: Job, folder: Path) -> dict[str, Any]:
    """Fields of the journal of a job whose rounds lie in a folder."""
    step = job.settings.get("step")
    return {
        "stem": folder / "round",
        "fit": job_key(whole_fit(job)),
        "until": None if step is None else (step["stage"], step["round"]),
        "scratch": folder / f"{CHECKPOINT}{job_key(job)}",
    }
