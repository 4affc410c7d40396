"""The networks of Figures 1, 2 and 7, at initialisation and trained, and the training of stand-ins on scikit-learn's digits.

A job that uses them has the inputs `states` (of pretrained weights) and `training` (the arrays of a stand-in's training);
one of the two is empty.
"""

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn

from convrfm.datasets.manifest import verify
from convrfm.datasets.places import find_place
from convrfm.datasets.registry import find_entry
from convrfm.datasets.restricted_pickle import read_weights
from convrfm.errors import CorruptDataError, InputError
from convrfm.networks import zoo
from convrfm.replication.jobs.training import prepare_torch, prepared_data, train_resumably, weights_when, write_training
from convrfm.replication.record.data_states import require_present
from convrfm.replication.record.session import Job
from convrfm.replication.runs.zoo import StandInSettings, ZooSettings
from convrfm.system.storage import load_arrays
from convrfm.training import TrainingSettings

__all__ = ["initial_network", "prepare_pooling", "snapshots", "train_standin", "trained_network"]


def prepare_pooling(job: Job) -> str:
    """As `convrfm.replication.jobs.training.prepare_torch`, for networks with adaptive pooling; gives the device to use.

    Its gradient has no reproducible form on a GPU, which is warned of in the log. At 224 pixels, where it keeps the size,
    it sums nothing, so that there is nothing to come out otherwise.

    Raises:
        ConfigError: `device` is cuda, and there is none.
    """
    device = prepare_torch(job)
    torch.use_deterministic_algorithms(mode=True, warn_only=True)
    return device


def trained_network(job: Job, given: ZooSettings) -> nn.Module:
    """The network with its trained weights, in eval mode on the CPU.

    Raises:
        AbsentDataError: the weights are not there.
        CorruptDataError: they are not what they were, or not those of this network.
    """
    if not given.weights:
        return _standin(job, given, "final")
    for state in job.inputs["states"]:
        require_present(state)
    entry = find_entry(given.weights)
    place = find_place(Path(given.data_dir), entry, given.folders)
    verify(entry, place, list(entry.required))
    weights = read_weights(entry, place.files)
    try:
        return zoo.with_weights(entry.network, weights, classes=entry.classes)
    except InputError as error:
        msg = f"{place.files / entry.required[0]} cannot be used. {error}"
        raise CorruptDataError(msg) from error


def initial_network(job: Job, given: ZooSettings) -> nn.Module:
    """The network at initialisation, in eval mode on the CPU.

    For a stand-in this is where its training started. Where pretrained weights started is not known: a fresh
    initialisation takes the place, as in the paper.
    """
    if not given.weights:
        return _standin(job, given, "initial")
    seeded = torch.Generator().manual_seed(given.seed)
    return zoo.fresh(given.network, generator=seeded, classes=find_entry(given.weights).classes).eval()


def snapshots(job: Job, given: ZooSettings) -> Iterator[tuple[int, nn.Module]]:
    """Epochs during the training of a stand-in, and the network after each; none for pretrained weights."""
    for path in job.inputs["training"]:
        found = [when for when in weights_when(path) if when.startswith("snapshot-")]
        for epoch in sorted(int(when.removeprefix("snapshot-")) for when in found):
            yield epoch, _standin(job, given, f"snapshot-{epoch}")


def _standin(job: Job, given: ZooSettings, when: str) -> nn.Module:
    weights = weights_when(job.input("training"))[when]
    classes = find_entry("digits").classes
    return zoo.with_weights(given.network, weights, classes=classes, divisor=given.divisor)


def train_standin(job: Job) -> None:
    """Write the accuracy after every epoch, the weights at start, snapshots and end, and the record.

    The weights are those of the last epoch. Adam on the cross-entropy, with shuffled images, under both protocols: the
    paper does not train these networks.
    """
    given = StandInSettings.model_validate(job.settings)
    device = prepare_pooling(job)
    settings = TrainingSettings(
        **given.model_dump(include={"learning_rate", "epochs", "batch_size"}),
        shuffle=True,
        loss="cross-entropy",
        snapshots=tuple(given.snapshots),
    )
    prepared = load_arrays(job.input("images"))
    seeded = torch.Generator().manual_seed(given.seed)
    classes = prepared["train/targets"].shape[1]
    network = zoo.fresh(given.network, generator=seeded, classes=classes, divisor=given.divisor)
    description = f"{given.network} with 1/{given.divisor} of the width"
    result = train_resumably(job, network, prepared_data(prepared), settings, device=device, description=description)
    write_training(job, result, settings, device)
