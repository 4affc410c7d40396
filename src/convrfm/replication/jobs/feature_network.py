"""Train the plain network on prepared images: the other side of Figures 3 and 10."""

from convrfm.replication.jobs.plain_networks import build_feature_network
from convrfm.replication.jobs.training_runs import prepare_torch, prepared_data, train_resumably, write_training
from convrfm.replication.record.session import Job
from convrfm.system.storage import load_arrays
from convrfm.training import TrainingSettings

__all__ = ["train_network"]


def train_network(job: Job) -> None:
    """Write the accuracy after every epoch, the weights at start and end, and the record.

    The filters that the figures show are those of the last epoch, as in the paper, so that nothing is chosen and all
    training images train under both protocols; `published` takes them in the same order in each epoch.
    """
    given = job.settings
    prepared = load_arrays(job.input("images"))
    data = prepared_data(prepared)
    settings = TrainingSettings(
        **{key: given[key] for key in ("optimizer", "learning_rate", "epochs", "batch_size")},
        shuffle=given["protocol"] == "corrected",
    )
    device = prepare_torch(job)
    network = build_feature_network(given, prepared)
    result = train_resumably(job, network, data, settings, device=device, description=given["dataset"])
    write_training(job, result, settings, device)
