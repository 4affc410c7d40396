"""Draws of the local-signal tasks; and the images that kernels and networks are fitted to: of such a draw, or prepared ones."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from convrfm.datasets.local_signal import TASKS, LocalSignalDraw, embedded_digits, noisy_bars, noisy_digits
from convrfm.datasets.registry import find_entry
from convrfm.errors import InputError
from convrfm.numerics.inputs import generator
from convrfm.replication.record.session import Job
from convrfm.replication.runs.fits import ImageFit, ImageLayers, TaskFit, TaskLayers
from convrfm.replication.runs.images import DrawSettings
from convrfm.replication.runs.networks import ImageNetworkSettings, TaskNetworkSettings
from convrfm.system.storage import load_arrays

__all__ = ["TaskImages", "draw_task", "prepared_images", "read_task_images"]


def draw_task(job: Job) -> None:
    """Write a draw: its arrays, the size of each class, and the record.

    Images of data sets that are fetched come prepared, as the input `images`.
    """
    settings = DrawSettings.model_validate(job.settings)
    draw = _draw(job, settings)
    rows = [
        {"split": name, "label": int(label), "count": int(count)}
        for name, split in (("train", draw.train), ("test", draw.test))
        for label, count in zip(*np.unique(split.labels, return_counts=True), strict=True)
    ]
    job.finish(pd.DataFrame(rows), draw.arrays(), seed=settings.seed)


def _draw(job: Job, settings: DrawSettings) -> LocalSignalDraw:
    n_train, n_test, seed = settings.n_train, settings.n_test, settings.seed
    if settings.task == "bars":
        return noisy_bars(n_train, n_test, seed=seed)
    if settings.task == "noisy-digits":
        rng = generator(seed, f"samples of {settings.task}")
        images, labels = embedded_digits()
        chosen = rng.permutation(len(labels))
        if n_train + n_test > len(labels):
            count = n_train + n_test
            msg = f"n_train + n_test is {count}, but there are {len(labels)} embedded digits: lower n_train or n_test."
            raise InputError(msg)
        train, test = chosen[:n_train], chosen[n_train : n_train + n_test]
        return noisy_digits((images[train], labels[train]), (images[test], labels[test]), seed=seed)
    prepared = load_arrays(job.input("images"))
    parts = [(prepared[f"{name}/images"][:, 0], prepared[f"{name}/labels"]) for name in ("train", "test")]
    return noisy_digits(parts[0], parts[1], seed=seed)


OfTask = TaskFit | TaskNetworkSettings | TaskLayers
OfImages = ImageFit | ImageNetworkSettings | ImageLayers


@dataclass(frozen=True)
class TaskImages:
    """Training and test part of a task: images `(n, channels, height, width)` float32, and labels `(n,)` int64."""

    train: np.ndarray
    train_labels: np.ndarray
    test: np.ndarray
    test_labels: np.ndarray
    outputs: int  # of a predictor: one for each class, or a single one for a pair of classes, labels 0 and 1
    title: str  # of the task, in progress lines


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
    return prepared_images(job, f"{find_entry(given.dataset).title}, classes {given.classes}")


def prepared_images(job: Job, title: str) -> TaskImages:
    """Read the input `images` of a job, from `prepare`."""
    prepared = load_arrays(job.input("images"))
    return TaskImages(
        prepared["train/images"],
        prepared["train/labels"],
        prepared["test/images"],
        prepared["test/labels"],
        outputs=prepared["train/targets"].shape[1],
        title=title,
    )
