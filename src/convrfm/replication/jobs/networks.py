"""Train the plain convolutional network, on a task or on prepared images."""

import numpy as np
import torch

from convrfm.networks.plain_cnn import PlainCNN
from convrfm.replication.jobs.task_images import read_task_images
from convrfm.replication.jobs.training import prepare_torch, prepared_data, train_resumably, write_training
from convrfm.replication.record.session import Job
from convrfm.replication.runs.networks import FeatureNetworkSettings, NetworkSettings, network_settings
from convrfm.replication.runs.protocols import held_out_part, selection_of
from convrfm.system.storage import load_arrays
from convrfm.training import TrainingData, TrainingResult, TrainingSettings

__all__ = ["build_network", "train_feature_network", "train_task"]


def build_network(given: NetworkSettings, shape: tuple[int, int, int], outputs: int) -> PlainCNN:
    """The network before training, for images of shape `(channels, height, width)`; a single output for a pair of classes."""
    sizes = given.model_dump(include={"width", "depth", "patch_size"})
    return PlainCNN(shape, outputs, **sizes, generator=torch.Generator().manual_seed(given.seed))


def _training(given: NetworkSettings) -> TrainingSettings:
    """How a network is trained: `published` takes the images in the same order in each epoch."""
    chosen = given.model_dump(include={"optimizer", "learning_rate", "epochs", "batch_size"})
    return TrainingSettings(**chosen, shuffle=given.protocol == "corrected")


def train_task(job: Job) -> None:
    """Write the accuracy after every epoch, the weights at start and end, and the record.

    The array `correct` `(m,)` bool says of each test image whether it is classified correctly in the chosen epoch.

    Under `published` one network is trained on all training images, and the test images choose the epoch, as in the
    paper. Under `corrected` a first network is trained without the validation images, which choose the epoch, and a
    second one on all training images, which is reported. In both, `test_accuracy` is of the network on all training
    images, and `selection_accuracy` is what chooses the epoch.
    """
    given = network_settings(job.settings)
    settings = _training(given)
    images = read_task_images(job, given)
    labels = images.train_labels
    device = prepare_torch(job)

    def trained(data: TrainingData, part: str) -> TrainingResult:
        network = build_network(given, data.images.shape[1:], images.outputs)
        description = f"{images.title} {settings.optimizer}, {part}"
        return train_resumably(job, network, data, settings, device=device, description=description, part=part)

    whole = TrainingData(images.train, labels, {"test": (images.test, images.test_labels)})
    result = trained(whole, "all training images")
    history = result.history
    history["selection_accuracy"] = history["test_accuracy"]
    held_out = held_out_part(labels, selection_of(given.protocol), given.seed)
    if len(held_out) > 0:
        fit = np.setdiff1d(np.arange(len(labels)), held_out)
        validation = (images.train[held_out], labels[held_out])
        part = TrainingData(images.train[fit], labels[fit], {"validation": validation})
        validated = trained(part, "without the validation images")
        history["selection_accuracy"] = validated.history["validation_accuracy"]
    write_training(job, result, settings, device, chosen_by="selection_accuracy")


def train_feature_network(job: Job) -> None:
    """Train the network of Figures 3 and 10: write the accuracy after every epoch, the weights at start and end, the record.

    The figures show the filters of the last epoch, as the paper does: nothing is chosen, and all training images train under
    both protocols.
    """
    given = FeatureNetworkSettings.model_validate(job.settings)
    prepared = load_arrays(job.input("images"))
    settings, device = _training(given), prepare_torch(job)
    network = build_network(given, prepared["test/images"].shape[1:], prepared["train/targets"].shape[1])
    data = prepared_data(prepared)
    result = train_resumably(job, network, data, settings, device=device, description=given.dataset)
    write_training(job, result, settings, device)
