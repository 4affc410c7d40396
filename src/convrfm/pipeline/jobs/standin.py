"""Train a narrow network of the zoo on scikit-learn's digits, where pretrained ones cannot be had."""

from dataclasses import asdict

import torch

from convrfm.networks import zoo
from convrfm.pipeline.session import Job
from convrfm.pipeline.training_runs import checkpoint_path, remove_checkpoints, write_weights
from convrfm.pipeline.zoo_networks import prepare_pooling
from convrfm.storage import load_arrays, write_table
from convrfm.training import TrainingData, TrainingSettings, train

__all__ = ["train_standin"]


def train_standin(job: Job) -> None:
    """Write the accuracy after every epoch, the weights at start, snapshots and end, and the record.

    The weights are those of the last epoch. Adam on the cross-entropy, with shuffled images, under both protocols: the
    paper does not train these networks.
    """
    given = job.settings
    device = prepare_pooling(job)
    settings = TrainingSettings(
        **{key: given[key] for key in ("learning_rate", "epochs", "batch_size")},
        shuffle=True,
        loss="cross-entropy",
        snapshots=tuple(given["snapshots"]),
    )
    prepared = load_arrays(job.input("images"))
    data = TrainingData(
        prepared["train/images"],
        prepared["train/labels"],
        {"test": (prepared["test/images"], prepared["test/labels"])},
    )
    network = zoo.fresh(
        given["network"],
        generator=torch.Generator().manual_seed(given["seed"]),
        classes=prepared["train/targets"].shape[1],
        divisor=given["divisor"],
    )
    result = train(
        network,
        data,
        settings,
        seed=given["seed"],
        checkpoint=checkpoint_path(job),
        device=device,
        description=f"{given['network']} with 1/{given['divisor']} of the width",
        show=True,
    )
    write_table(job.outputs["metrics"], result.history)
    write_weights(job.outputs["arrays"], result)
    job.recorder.notes |= {
        "seed": given["seed"],
        "protocol": given["protocol"],
        "device": device,
        "training": asdict(settings),
        "last_epoch_test_accuracy": float(result.history["test_accuracy"].iloc[-1]),
    }
    job.write_record()
    remove_checkpoints(job)
