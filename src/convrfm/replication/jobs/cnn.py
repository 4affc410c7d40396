"""Train the plain convolutional network on a task."""

import numpy as np

from convrfm.replication.jobs.plain_networks import build_plain_network
from convrfm.replication.jobs.task_images import TaskImages, read_task_images
from convrfm.replication.jobs.training_runs import prepare_torch, train_resumably, write_training
from convrfm.replication.record.session import Job
from convrfm.replication.runs.protocols import held_out_part, selection_of
from convrfm.training import TrainingData, TrainingResult, TrainingSettings

__all__ = ["train_task"]


def train_task(job: Job) -> None:
    """Write the accuracy after every epoch, the weights at start and end, and the record.

    The array `correct` `(m,)` bool says of each test image whether it is classified correctly in the chosen epoch.

    Under `published` one network is trained on all training images, and the test images choose the epoch, as in the
    paper. Under `corrected` a first network is trained without the validation images, which choose the epoch, and a
    second one on all training images, which is reported. In both, `test_accuracy` is of the network on all training
    images, and `selection_accuracy` is what chooses the epoch.
    """
    given = job.settings
    protocol, seed = given["protocol"], given["seed"]
    settings = TrainingSettings(
        **{key: given[key] for key in ("optimizer", "learning_rate", "epochs", "batch_size")},
        shuffle=protocol == "corrected",
    )
    images = read_task_images(job)
    labels = images.train_labels
    device = prepare_torch(job)

    whole = TrainingData(images.train, labels, {"test": (images.test, images.test_labels)})
    result = _train(job, images, whole, settings, device, "all training images")
    history = result.history
    history["selection_accuracy"] = history["test_accuracy"]
    held_out = held_out_part(labels, selection_of(protocol), seed)
    if len(held_out) > 0:
        fit = np.setdiff1d(np.arange(len(labels)), held_out)
        part = TrainingData(images.train[fit], labels[fit], {"validation": (images.train[held_out], labels[held_out])})
        validated = _train(job, images, part, settings, device, "without the validation images")
        history["selection_accuracy"] = validated.history["validation_accuracy"]
    write_training(job, result, settings, device, chosen_by="selection_accuracy")


def _train(
    job: Job, images: TaskImages, data: TrainingData, settings: TrainingSettings, device: str, description: str
) -> TrainingResult:
    """Train one network from its checkpoint on, if there is one."""
    given = job.settings
    network = build_plain_network(given, data.images.shape[1:], images.outputs)
    return train_resumably(
        job, network, data, settings,
        device=device, description=f"{images.title} {settings.optimizer}, {description}", part=description,
    )  # fmt: skip
