"""Prepare images of a data set: chosen, resized, scaled, with targets; the data of everything that is trained on images."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from convrfm.datasets.formats import read_split, splits_there
from convrfm.datasets.manifest import verify
from convrfm.datasets.places import find_place, locate
from convrfm.datasets.prepare import Part, render, select
from convrfm.datasets.registry import find_entry
from convrfm.datasets.transforms import Appearance
from convrfm.replication.record.data_states import require_present
from convrfm.replication.record.session import Job
from convrfm.replication.runs.images import PrepareSettings
from convrfm.replication.runs.protocols import held_out_part, selection_of
from convrfm.system.terminal import track

__all__ = ["prepare_images"]


def prepare_images(job: Job) -> None:
    """Write images, labels, targets and indices of the training and test part, the size of each class, and the record.

    Arrays: `train/images` `(n, channels, height, width)` float32, `train/labels` `(n,)` int64, `train/targets`
    `(n, outputs)` float32 in {0, 1}, `train/indices` `(n,)` int64 within the split of the data set, the same for `test`,
    and `train/validation`, indices into the training part that validate under `corrected`; empty under `published`.

    Every file that is read is compared with the manifest first.

    Raises:
        AbsentDataError: the data set is not there.
        CorruptDataError: a file is not what it was when it was first seen.
        InputError: settings that the data cannot meet.
    """
    given = PrepareSettings.model_validate(job.settings)
    entry = find_entry(given.dataset)
    for state in job.inputs["state"]:
        require_present(state)
    place = find_place(Path(given.data_dir), entry, given.folders)
    if entry.has_files:
        verify(entry, place)
        job.recorder.notes["layout"] = locate(entry, place).layout or "official"
    pair = (given.pair[0], given.pair[1]) if given.pair else None
    train = read_split(entry, place, "train")
    # The official one, if there is any.
    test = read_split(entry, place, entry.test_split) if entry.test_split in splits_there(entry, place) else None
    chosen = select(
        entry, train, test, counts=(given.n_train, given.n_test), pair=pair, protocol=given.protocol,
        seed=given.seed, resampled=given.resampled,
    )  # fmt: skip
    tests = train if chosen.test_from_train or test is None else test
    parts: dict[str, Part] = {}
    sources = {"train": (train, chosen.train), "test": (tests, chosen.test)}
    for name, (split, indices) in track(sources.items(), 2, f"preparing {entry.title}", show=True):
        verify(entry, place, split.files(indices))
        appearance = Appearance(**given.appearance.model_dump())
        parts[name] = render(split, indices, appearance, pair, f"{name} images of {entry.title}")
    arrays = {f"{name}/{field}": array for name, part in parts.items() for field, array in vars(part).items()}
    labels = parts["train"].labels
    arrays["train/validation"] = held_out_part(labels, selection_of(given.protocol), given.seed)
    rows: list[dict[str, Any]] = [
        {"split": name, "label": int(label), "count": int(count)}
        for name, part in parts.items()
        for label, count in zip(*np.unique(part.labels, return_counts=True), strict=True)
    ]
    if chosen.drawn_from:
        job.recorder.notes["drawn_from"] = {part: list(counts) for part, counts in chosen.drawn_from.items()}
    job.finish(
        pd.DataFrame(rows, columns=["split", "label", "count"]),
        arrays,
        seed=given.seed,
        protocol=given.protocol,
        outputs_per_image=int(parts["train"].targets.shape[1]),
        drawn_with_replacement=given.resampled and given.protocol == "published",
        test_from_train=chosen.test_from_train,
        class_sorted=list(entry.class_sorted),
    )
