"""A large fit in steps, each of which is a job, or several.

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
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from convrfm.errors import ConvRFMWarning, StorageError
from convrfm.kernels import ConvolutionalKernel
from convrfm.kernels.backends import PreparedImages
from convrfm.replication.record.record import STEP_MATRICES
from convrfm.replication.record.session import CHECKPOINT, Job, checkpoint_path, job_key
from convrfm.rfm.rounds import Round, RoundJournal

__all__ = [
    "FillingJournal", "FittingJournal", "StepEndError", "StepJournal", "filling_journal", "fit_journal", "fitting_journal",
    "remove_scratch", "round_journal", "whole_fit",
]  # fmt: skip

OF_STEPS = ("rounds", "parts")
"""Inputs of jobs that come from other steps."""


class StepEndError(Exception):
    """The step is done, and the rest of the fit is for other jobs."""


@dataclass(frozen=True)
class StepJournal(RoundJournal):
    """The rounds that other jobs have left.

    Attributes:
        until: stage and round of the step of this job; None where all rounds are there.
        at: the stage that this is the journal of.
    """

    until: tuple[int, int] | None = None
    at: int = 0

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
        if found is None:
            msg = f"{self.path(t)} is missing or damaged: delete it, and call Snakemake again."
            raise StorageError(msg)
        return found


@dataclass(frozen=True)
class _InScratch(StepJournal):
    """A journal that computes kernel matrices.

    Attributes:
        scratch: a folder of the job's own, where an earlier attempt has left what it had.
    """

    scratch: Path = Path()

    def matrix(self, t: int, name: str) -> Path:
        """Where a kernel matrix is put together."""
        return self.scratch / f"{self.at}-{t}-{name}.npy"


@dataclass(frozen=True)
class FillingJournal(_InScratch):
    """Computes part i of k of the kernel matrices of a step, and ends there.

    Attributes:
        part: (i, k).
    """

    part: tuple[int, int] = (0, 1)

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
class FittingJournal(_InScratch):
    """Puts the kernel matrices of a step together, keeps its round, and ends there.

    Attributes:
        parts: files of the parts.
    """

    parts: tuple[Path, ...] = ()

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


def fit_journal(job: Job) -> RoundJournal:
    """The journal of the job that writes the outputs of a fit: its rounds are there, or it keeps them until it ends."""
    rounds = job.inputs.get("rounds")
    return _step_journal(job, rounds[0].parent) if rounds else round_journal(whole_fit(job))


def filling_journal(job: Job) -> FillingJournal:
    """The journal of a job `fill_gram`."""
    step = job.settings["step"]
    return FillingJournal(**_in_scratch(job, job.outputs["train"].parent), part=(step["part"], step["parts"]))


def fitting_journal(job: Job) -> FittingJournal:
    """The journal of a job `fit_round`."""
    return FittingJournal(**_in_scratch(job, job.outputs["round"].parent), parts=tuple(job.inputs["parts"]))


def _in_scratch(job: Job, folder: Path) -> dict[str, Any]:
    """What both journals have."""
    return {**vars(_step_journal(job, folder)), "scratch": folder / f"{CHECKPOINT}{job_key(job)}"}


def _step_journal(job: Job, folder: Path) -> StepJournal:
    step = job.settings.get("step")
    until = None if step is None else (step["stage"], step["round"])
    return StepJournal(folder / "round", job_key(whole_fit(job)), until)


def remove_scratch(folder: Path) -> None:
    """Remove what jobs of earlier code, settings or data have left beside the files of a fit's steps."""
    for scratch in folder.glob(f"{CHECKPOINT}*"):
        shutil.rmtree(scratch)
