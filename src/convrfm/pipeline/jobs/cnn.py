"""Train the plain convolutional network on a local-signal task at one noise level."""

from dataclasses import asdict

import numpy as np
import torch

from convrfm.datasets.local_signal import TASKS, LocalSignalDraw
from convrfm.networks.plain_cnn import PlainCNN
from convrfm.pipeline.draws import read_draw
from convrfm.pipeline.protocols import held_out_part
from convrfm.pipeline.session import Job
from convrfm.pipeline.training_runs import checkpoint_path, prepare_torch, remove_checkpoints, write_weights
from convrfm.storage import write_table
from convrfm.training import TrainingData, TrainingResult, TrainingSettings, train

__all__ = ["train_task"]


def train_task(job: Job) -> None:
    """Write the accuracy after every epoch, the weights at start and end, and the record.

    Under `published` one network is trained on all training images, and the test images choose the epoch, as in the
    paper. Under `corrected` a first network is trained without the validation images, which choose the epoch, and a
    second one on all training images, which is reported. In both, `test_accuracy` is of the network on all training
    images, and `selection_accuracy` is what chooses the epoch.
    """
    given = job.settings
    task, protocol, sigma, seed = (given[key] for key in ("task", "protocol", "sigma", "seed"))
    settings = TrainingSettings(
        **{key: given[key] for key in ("optimizer", "learning_rate", "epochs", "batch_size")},
        shuffle=protocol == "corrected",
    )
    draw = read_draw(job.input("draw"))
    noise_std = TASKS[task](sigma)
    images, labels = draw.train.images(noise_std), draw.train.labels
    device = prepare_torch(job)

    whole = TrainingData(images, labels, {"test": (draw.test.images(noise_std), draw.test.labels)})
    result = _train(job, draw, whole, settings, device, "all training images")
    history = result.history
    history["selection_accuracy"] = history["test_accuracy"]
    held_out = held_out_part(labels, protocol, seed)
    if len(held_out) > 0:
        fit = np.setdiff1d(np.arange(len(labels)), held_out)
        part = TrainingData(images[fit], labels[fit], {"validation": (images[held_out], labels[held_out])})
        validated = _train(job, draw, part, settings, device, "without the validation images")
        history["selection_accuracy"] = validated.history["validation_accuracy"]

    write_table(job.outputs["metrics"], history)
    write_weights(job.outputs["arrays"], result)
    trained = history[history["epoch"] > 0]
    best = trained.loc[trained["selection_accuracy"].idxmax()]
    job.recorder.notes |= {
        "seed": seed,
        "protocol": protocol,
        "device": device,
        "training": asdict(settings),
        "best_epoch": int(best["epoch"]),
        "best_epoch_test_accuracy": float(best["test_accuracy"]),
        "last_epoch_test_accuracy": float(trained["test_accuracy"].iloc[-1]),
    }
    job.write_record()
    remove_checkpoints(job)


def _train(
    job: Job, draw: LocalSignalDraw, data: TrainingData, settings: TrainingSettings, device: str, description: str
) -> TrainingResult:
    """Train one network from its checkpoint on, if there is one."""
    given = job.settings
    network = PlainCNN(
        data.images.shape[1:],
        int(max(draw.train.labels.max(), draw.test.labels.max())) + 1,
        **{key: given[key] for key in ("width", "depth", "patch_size")},
        generator=torch.Generator().manual_seed(given["seed"]),
    )
    return train(
        network,
        data,
        settings,
        seed=given["seed"],
        checkpoint=checkpoint_path(job, description),
        device=device,
        description=f"{given['task']} sigma {given['sigma']:g} {settings.optimizer}, {description}",
        show=True,
    )
