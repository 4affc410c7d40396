"""The images that kernels and networks are fitted to: a local-signal draw at one noise level, or prepared images."""

from dataclasses import dataclass

import numpy as np

from convrfm.datasets.local_signal import TASKS, LocalSignalDraw
from convrfm.datasets.registry import find_entry
from convrfm.replication.record.session import Job
from convrfm.replication.runs.fits import ImageFit, TaskFit
from convrfm.replication.runs.layers import ImageLayers, TaskLayers
from convrfm.replication.runs.networks import ImageNetworkSettings, TaskNetworkSettings
from convrfm.system.storage import load_arrays

__all__ = ["TaskImages", "read_task_images"]


OfTask = TaskFit | TaskNetworkSettings | TaskLayers
OfImages = ImageFit | ImageNetworkSettings | ImageLayers


@dataclass(frozen=True)
class TaskImages:
    """Training and test part of a task.

    Attributes:
        train, test: images `(n, channels, height, width)` float32.
        train_labels, test_labels: `(n,)` int64.
        outputs: outputs of a predictor: one for each class, or a single one for a pair of classes, labels 0 and 1.
        title: of the task, in progress lines.
    """

    train: np.ndarray
    train_labels: np.ndarray
    test: np.ndarray
    test_labels: np.ndarray
    outputs: int
    title: str


def read_task_images(job: Job, given: OfTask | OfImages) -> TaskImages:
    """Read the input `draw` of a job at the noise level of its settings, or its input `images`, from `prepare`.

    Of a draw with more images than in the settings, the first ones are taken.
    """
    if isinstance(given, OfTask):
        draw = LocalSignalDraw.from_arrays(load_arrays(job.input("draw")))
        noise_std = TASKS[given.task](given.sigma)
        return TaskImages(
            draw.train.images(noise_std)[: given.n_train],
            draw.train.labels[: given.n_train],
            draw.test.images(noise_std)[: given.n_test],
            draw.test.labels[: given.n_test],
            outputs=int(max(draw.train.labels.max(), draw.test.labels.max())) + 1,
            title=f"{given.task} sigma {given.sigma:g}",
        )
    prepared = load_arrays(job.input("images"))
    return TaskImages(
        prepared["train/images"],
        prepared["train/labels"],
        prepared["test/images"],
        prepared["test/labels"],
        outputs=prepared["train/targets"].shape[1],
        title=f"{find_entry(given.dataset).title}, classes {given.classes}",
    )
