"""Fit ConvRFM, with the CNTK or the patch Laplace kernel, to prepared images: the metrics of Figures 3, 10, 11 and 12."""

from dataclasses import asdict

import numpy as np

from convrfm.kernels import CNTK, ConvolutionalKernel, PatchLaplace
from convrfm.kernels.backends import SINGULARITY
from convrfm.numerics.inputs import generator
from convrfm.replication.cluster.fits import check_memory
from convrfm.replication.jobs.fit_steps import round_journal
from convrfm.replication.jobs.fits import note_backend, of_kernel
from convrfm.replication.record.session import Job, remove_checkpoints
from convrfm.replication.runs.features import FeatureFitSettings
from convrfm.replication.runs.protocols import RFM_CHOICES
from convrfm.rfm.rounds import RFMSettings, StageData, fit_rounds
from convrfm.system.storage import load_arrays, write_arrays, write_table

__all__ = ["fit_metric"]


def fit_metric(job: Job) -> None:
    """Write the history, the metric of every round from 1 on as `metric/<round>`, the best of them as `best`, and the record.

    `correct/0/<round>` `(m,)` bool says whether each test image is classified correctly, as in `convrfm.replication.jobs.fits`.

    Round 0, whose metric is the identity, is never the best: the figures show what was learned.
    """
    given = FeatureFitSettings.model_validate(job.settings)
    data, kernel, settings = _data(job), _kernel(given), _choices(given)
    note_backend(job)
    check_memory(job.settings, len(data.train), 0 if data.test is None else len(data.test), data.train.shape[1:])
    result = fit_rounds(
        kernel, data, settings, generator(given.seed, "AGOP points"),
        journal=round_journal(job), description=f"{given.kernel} on {given.dataset}, rounds", show=True,
    )  # fmt: skip
    later = result.history[result.history["round"] >= 1]
    best = later.loc[later[f"{settings.selection}_accuracy"].idxmax()]
    arrays = {f"metric/{t}": metric for t, metric in enumerate(result.metrics) if metric is not None}
    write_table(job.outputs["metrics"], result.history)
    correct = {f"correct/0/{t}": found for t, found in enumerate(result.correct)}
    write_arrays(job.outputs["arrays"], {**arrays, "best": arrays[f"metric/{best['round']}"], **correct})
    job.recorder.notes |= {
        "seed": given.seed,
        "protocol": given.protocol,
        "backend": kernel.backend,
        "singularity": SINGULARITY[data.train.dtype],
        "rfm": asdict(settings),
        "best_round": int(best["round"]),
        "best_round_test_accuracy": float(best["test_accuracy"]),
        "round_0_test_accuracy": float(result.history.loc[result.history["round"] == 0, "test_accuracy"].max()),
    }
    job.write_record()
    remove_checkpoints(job)


def _choices(given: FeatureFitSettings) -> RFMSettings:
    """Settings of a fit to prepared images, with those of the protocol."""
    return RFMSettings(rounds=given.rounds, ridges=tuple(given.ridges), **RFM_CHOICES[given.protocol])


def _kernel(given: FeatureFitSettings) -> ConvolutionalKernel:
    """The CNTK or the patch Laplace kernel."""
    if given.kernel == "cntk":
        assert given.depth is not None
        return CNTK(depth=given.depth, **of_kernel(given))
    assert given.bandwidth is not None
    return PatchLaplace(bandwidth=given.bandwidth, **of_kernel(given))


def _data(job: Job) -> StageData:
    """The prepared images that are the input `images` of a job."""
    prepared = load_arrays(job.input("images"))
    labels = prepared["train/labels"]
    return StageData(
        train=prepared["train/images"],
        labels=labels,
        classes=prepared["train/targets"].shape[1],
        fit=np.setdiff1d(np.arange(len(labels)), prepared["train/validation"]),
        test=prepared["test/images"],
        test_labels=prepared["test/labels"],
    )
