"""Draw a local-signal task once for each seed: signals, positions, labels and noise frames of unit variance."""

from pathlib import Path
from typing import TypedDict

import numpy as np
import pandas as pd

from convrfm.datasets.digits import download_mnist, embedded_digits, load_mnist
from convrfm.datasets.local_signal import LocalSignalDraw, LocalSignalSplit, noisy_bars, noisy_digits
from convrfm.errors import InputError
from convrfm.pipeline.session import Job
from convrfm.seeding import generator
from convrfm.splits import stratified_draw
from convrfm.storage import load_arrays, write_arrays, write_json, write_table

__all__ = ["draw_task", "fetch_mnist", "read_draw"]


class DrawSettings(TypedDict):
    """Settings of the job."""

    task: str
    protocol: str
    n_train: int
    n_test: int
    seed: int
    data_dir: str


def draw_task(job: Job) -> None:
    """Write a draw: its arrays, the size of each class, and the record."""
    settings = DrawSettings(**job.settings)  # type: ignore[typeddict-item]
    draw = _draw(settings)
    arrays: dict[str, np.ndarray] = {}
    rows = []
    for name, split in (("train", draw.train), ("test", draw.test)):
        arrays |= {f"{name}/{part}": array for part, array in vars(split).items()}
        for label, count in zip(*np.unique(split.labels, return_counts=True), strict=True):
            rows.append({"split": name, "label": int(label), "count": int(count)})
    write_table(job.outputs["metrics"], pd.DataFrame(rows))
    write_arrays(job.outputs["arrays"], arrays)
    job.recorder.notes["seed"] = settings["seed"]
    job.write_record()


def read_draw(path: Path) -> LocalSignalDraw:
    """Read what `draw_task` wrote."""
    arrays = load_arrays(path)
    splits = [
        LocalSignalSplit(**{part: arrays[f"{name}/{part}"] for part in ("signal", "inside", "frame", "labels")})
        for name in ("train", "test")
    ]
    return LocalSignalDraw(*splits)


def fetch_mnist(job: Job) -> None:
    """Download MNIST, and say so in a marker file that later jobs depend on."""
    data_dir = Path(job.settings["data_dir"])
    download_mnist(data_dir)
    train, test = load_mnist(data_dir)
    write_json(job.outputs["state"], {"state": "present", "train": len(train[1]), "test": len(test[1])})


def _draw(settings: DrawSettings) -> LocalSignalDraw:
    n_train, n_test, seed = settings["n_train"], settings["n_test"], settings["seed"]
    if settings["task"] == "bars":
        return noisy_bars(n_train, n_test, seed=seed)
    rng = generator(seed, f"samples of {settings['task']}")
    if settings["task"] == "noisy-digits":
        images, labels = embedded_digits()
        chosen = rng.permutation(len(labels))
        _check_count(n_train + n_test, len(labels), "the embedded digits")
        train, test = chosen[:n_train], chosen[n_train : n_train + n_test]
        return noisy_digits((images[train], labels[train]), (images[test], labels[test]), seed=seed)
    parts = []
    for (images, labels), count in zip(load_mnist(Path(settings["data_dir"])), (n_train, n_test), strict=True):
        _check_count(count, len(labels), "MNIST")
        chosen = np.arange(count) if settings["protocol"] == "published" else stratified_draw(labels, count, rng)
        parts.append((images[chosen], labels[chosen]))
    return noisy_digits(parts[0], parts[1], seed=seed)


def _check_count(wanted: int, available: int, source: str) -> None:
    if wanted > available:
        msg = f"{wanted} images were asked for, but {source} hold {available}: lower n_train or n_test."
        raise InputError(msg)
