"""Train SimpleNet on the images of one data set."""

from collections.abc import Mapping

import numpy as np
import torch

from convrfm.datasets.transforms import black
from convrfm.networks.simplenet import SimpleNet
from convrfm.replication.jobs.training import prepare_torch, prepared_data, train_resumably, write_training
from convrfm.replication.record.session import Job
from convrfm.replication.runs.networks import SimpleNetSettings, SimpleNetTrainingSettings
from convrfm.system.storage import load_arrays
from convrfm.training import TrainingSettings

__all__ = ["build_simplenet", "train_network"]


def train_network(job: Job) -> None:
    """Write the accuracy after every epoch; the weights at the start, at chosen epochs and at the end; and the record."""
    given = SimpleNetTrainingSettings.model_validate(job.settings)
    device = prepare_torch(job)
    arrays = load_arrays(job.input("images"))
    recipe = {**given.training, "milestones": tuple(given.training["milestones"])}
    settings = TrainingSettings("adadelta", loss="cross-entropy", shuffle=True, snapshots=tuple(given.epochs), **recipe)
    data = prepared_data(arrays, border=black(arrays["train/images"].shape[1], given.scaling))
    network = build_simplenet(given, arrays)
    description = f"SimpleNet on {given.dataset}"
    result = train_resumably(job, network, data, settings, device=device, description=description)
    write_training(job, result, settings, device, chosen_by="test_accuracy")


def build_simplenet(given: SimpleNetSettings, arrays: Mapping[str, np.ndarray]) -> SimpleNet:
    """The network before training, with the channels and classes of the prepared images."""
    return SimpleNet(
        arrays["train/images"].shape[1],
        arrays["train/targets"].shape[1],
        **given.network.model_dump(),
        generator=torch.Generator().manual_seed(given.seed),
    )
