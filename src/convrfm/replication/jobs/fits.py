"""What fits of ConvRFM are made from: settings, kernel and images, as the settings and inputs of a job describe them."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from convrfm.kernels import CNTK, ConvolutionalKernel, PatchLaplace
from convrfm.replication.jobs.task_images import TaskImages
from convrfm.replication.record.session import Job
from convrfm.replication.runs.protocols import RFM_CHOICES, held_out_part
from convrfm.rfm.deep import DeepSettings
from convrfm.rfm.rounds import RFMSettings, StageData
from convrfm.system.processors import why_no_gpu
from convrfm.system.storage import load_arrays

__all__ = [
    "feature_choices", "feature_data", "feature_kernel", "note_backend", "task_choices", "task_data", "task_kernel",
]  # fmt: skip


def task_choices(given: Mapping[str, Any]) -> tuple[RFMSettings, DeepSettings]:
    """Settings of a fit to a task: the section `rfm`, the choices of the protocol, and the `changes` to them.

    Raises:
        InputError: a value out of range.
    """
    values = {**given["rfm"], **RFM_CHOICES[given["protocol"]], **given["changes"]}
    values["ridges"] = tuple(values["ridges"])
    of_stack = {field.name for field in fields(DeepSettings)}
    deep = {key: values.pop(key) for key in of_stack & set(values)}
    return RFMSettings(**values), DeepSettings(**deep)


def task_kernel(given: Mapping[str, Any], *, memory: int | None = None) -> CNTK:
    """The kernel of the first stage of a fit to a task.

    Args:
        given: settings of the job.
        memory: bytes for a tile where the settings have no number; None depends on what is free.
    """
    shared = _shared(given)
    return CNTK(depth=given["depth"], **{**shared, "memory": shared["memory"] or memory})


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


def feature_choices(given: Mapping[str, Any]) -> RFMSettings:
    """Settings of a fit to prepared images, with those of the protocol."""
    return RFMSettings(rounds=given["rounds"], ridges=tuple(given["ridges"]), **RFM_CHOICES[given["protocol"]])


def feature_kernel(given: Mapping[str, Any]) -> ConvolutionalKernel:
    """The CNTK or the patch Laplace kernel."""
    if given["kernel"] == "cntk":
        return CNTK(depth=given["depth"], **_shared(given))
    return PatchLaplace(bandwidth=given["bandwidth"], **_shared(given))


def feature_data(job: Job) -> StageData:
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


def _shared(given: Mapping[str, Any]) -> dict[str, Any]:
    """What both kernels take."""
    return {
        "patch_size": given["patch_size"],
        "backend": given["backend"],
        "memory": None if given["memory_mb"] is None else given["memory_mb"] * 2**20,
    }
