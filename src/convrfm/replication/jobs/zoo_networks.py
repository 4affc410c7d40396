"""The networks that the jobs of Figures 1, 2 and 7 look at, each at initialisation and trained."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from convrfm.datasets.entries import find_place
from convrfm.datasets.manifest import verify
from convrfm.datasets.registry import find_entry
from convrfm.datasets.restricted_pickle import read_weights
from convrfm.networks import zoo
from convrfm.replication.jobs.training_runs import prepare_torch, weights_when
from convrfm.replication.record.data_states import require_present
from convrfm.replication.record.session import Job

__all__ = ["build_standin", "initial_network", "prepare_pooling", "snapshots", "trained_network"]

# A job that uses these has the settings `network` (torchvision's name), `weights` (name of pretrained weights, "" for a
# stand-in), `divisor`, `seed`, `data_dir` and `folders`, and the inputs `states` (of pretrained weights) and
# `training` (the arrays of a stand-in's training); one of the two is empty.


def prepare_pooling(job: Job) -> str:
    """As `convrfm.replication.jobs.training_runs.prepare_torch`, for networks with adaptive pooling; gives the device to use.

    Its gradient has no reproducible form on a GPU, which is warned of in the log. At 224 pixels, where it keeps the size,
    it sums nothing, so that there is nothing to come out otherwise.

    Raises:
        ConfigError: CUDA was asked for, and there is none.
    """
    device = prepare_torch(job)
    torch.use_deterministic_algorithms(mode=True, warn_only=True)
    return device


def build_standin(settings: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> nn.Module:
    """Give the narrow network of a stand-in before its training.

    Args:
        settings: of its job, with `network`, `divisor` and `seed`.
        arrays: the prepared images, whose classes the network has.
    """
    seeded = torch.Generator().manual_seed(settings["seed"])
    classes = arrays["train/targets"].shape[1]
    return zoo.fresh(settings["network"], generator=seeded, classes=classes, divisor=settings["divisor"])


def trained_network(job: Job) -> nn.Module:
    """The network with its trained weights, in eval mode on the CPU.

    Raises:
        AbsentDataError: the weights are not there.
        CorruptDataError: they are not what they were, or not those of this network.
    """
    if not job.settings["weights"]:
        return _standin(job, "final")
    for state in job.inputs["states"]:
        require_present(state)
    entry = find_entry(job.settings["weights"])
    place = find_place(Path(job.settings["data_dir"]), entry.name, job.settings["folders"])
    verify(entry, place, list(entry.required))
    return zoo.with_weights(entry.network, read_weights(entry, place.files))


def initial_network(job: Job) -> nn.Module:
    """The network at initialisation, in eval mode on the CPU.

    For a stand-in this is where its training started. Where pretrained weights started is not known: a fresh
    initialisation takes the place, as in the paper.
    """
    if not job.settings["weights"]:
        return _standin(job, "initial")
    seeded = torch.Generator().manual_seed(job.settings["seed"])
    return zoo.fresh(job.settings["network"], generator=seeded).eval()


def snapshots(job: Job) -> Iterator[tuple[int, nn.Module]]:
    """Epochs during the training of a stand-in, and the network after each; none for pretrained weights."""
    for path in job.inputs["training"]:
        found = [when for when in weights_when(path) if when.startswith("snapshot-")]
        for epoch in sorted(int(when.removeprefix("snapshot-")) for when in found):
            yield epoch, _standin(job, f"snapshot-{epoch}")


def _standin(job: Job, when: str) -> nn.Module:
    given = job.settings
    weights = weights_when(job.input("training"))[when]
    classes = find_entry("digits").classes
    return zoo.with_weights(given["network"], weights, classes=classes, divisor=given["divisor"])
