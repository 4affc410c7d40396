"""Draw a local-signal task once for each seed: signals, positions, labels and noise frames of unit variance."""

import numpy as np
import pandas as pd

from convrfm.datasets.local_signal import LocalSignalDraw, embedded_digits, noisy_bars, noisy_digits
from convrfm.errors import InputError
from convrfm.numerics.inputs import generator
from convrfm.replication.record.session import Job
from convrfm.replication.runs.local_signal import DrawSettings
from convrfm.system.storage import load_arrays, write_arrays, write_table

__all__ = ["draw_task"]


def draw_task(job: Job) -> None:
    """Write a draw: its arrays, the size of each class, and the record.

    Images of data sets that are fetched come prepared, as the input `images`.
    """
    settings = DrawSettings.model_validate(job.settings)
    draw = _draw(job, settings)
    rows = []
    for name, split in (("train", draw.train), ("test", draw.test)):
        for label, count in zip(*np.unique(split.labels, return_counts=True), strict=True):
            rows.append({"split": name, "label": int(label), "count": int(count)})
    write_table(job.outputs["metrics"], pd.DataFrame(rows))
    write_arrays(job.outputs["arrays"], draw.arrays())
    job.recorder.notes["seed"] = settings.seed
    job.write_record()


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
