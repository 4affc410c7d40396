"""Train the plain network on prepared images: the other side of Figures 3 and 10."""

from dataclasses import asdict

import torch

from convrfm.networks import PlainCNN
from convrfm.pipeline.session import Job
from convrfm.pipeline.training_runs import checkpoint_path, prepare_torch, remove_checkpoints, write_weights
from convrfm.storage import load_arrays, write_table
from convrfm.training import TrainingData, TrainingSettings, train

__all__ = ["train_network"]


def train_network(job: Job) -> None:
    """Write the accuracy after every epoch, the weights at start and end, and the record.

    The filters that the figures show are those of the last epoch, as in the paper, so that nothing is chosen and all
    training images train under both protocols; `published` takes them in the same order in each epoch.
    """
    given = job.settings
    prepared = load_arrays(job.input("images"))
    data = TrainingData(
        prepared["train/images"],
        prepared["train/labels"],
        {"test": (prepared["test/images"], prepared["test/labels"])},
    )
    settings = TrainingSettings(
        **{key: given[key] for key in ("optimizer", "learning_rate", "epochs", "batch_size")},
        shuffle=given["protocol"] == "corrected",
    )
    device = prepare_torch(job)
    network = PlainCNN(
        data.images.shape[1:],
        prepared["train/targets"].shape[1],
        **{key: given[key] for key in ("width", "depth", "patch_size")},
        generator=torch.Generator().manual_seed(given["seed"]),
    )
    result = train(
        network, data, settings,
        seed=given["seed"], checkpoint=checkpoint_path(job), device=device, description=given["dataset"], show=True,
    )  # fmt: skip
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
