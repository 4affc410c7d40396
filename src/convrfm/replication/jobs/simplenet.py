"""Train SimpleNet on the images of one data set."""

from convrfm.datasets.transforms import black
from convrfm.replication.jobs.simplenets import build_simplenet
from convrfm.replication.jobs.training_runs import prepare_torch, prepared_data, train_resumably, write_training
from convrfm.replication.record.session import Job
from convrfm.system.storage import load_arrays
from convrfm.training import TrainingSettings

__all__ = ["train_network"]


def train_network(job: Job) -> None:
    """Write the accuracy after every epoch; the weights at the start, at chosen epochs and at the end; and the record."""
    given = job.settings
    device = prepare_torch(job)
    arrays = load_arrays(job.input("images"))
    recipe = {**given["training"], "milestones": tuple(given["training"]["milestones"])}
    settings = TrainingSettings(
        "adadelta", loss="cross-entropy", shuffle=True, snapshots=tuple(given["epochs"]), **recipe
    )  # fmt: skip
    data = prepared_data(arrays, border=black(arrays["train/images"].shape[1], given["scaling"]))
    network = build_simplenet(given, arrays)
    description = f"SimpleNet on {given['dataset']}"
    result = train_resumably(job, network, data, settings, device=device, description=description)
    write_training(job, result, settings, device, chosen_by="test_accuracy")
