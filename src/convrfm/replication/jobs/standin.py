"""Train a narrow network of the zoo on scikit-learn's digits, where pretrained ones cannot be had."""

from convrfm.replication.jobs.training_runs import prepared_data, train_resumably, write_training
from convrfm.replication.jobs.zoo_networks import build_standin, prepare_pooling
from convrfm.replication.record.session import Job
from convrfm.system.storage import load_arrays
from convrfm.training import TrainingSettings

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
    network = build_standin(given, prepared)
    description = f"{given['network']} with 1/{given['divisor']} of the width"
    result = train_resumably(job, network, prepared_data(prepared), settings, device=device, description=description)
    write_training(job, result, settings, device)
