"""Train SimpleNet on the images of one data set."""

from dataclasses import asdict

from convrfm.datasets.transforms import black
from convrfm.pipeline.session import Job
from convrfm.pipeline.simplenets import build_simplenet
from convrfm.pipeline.training_runs import checkpoint_path, prepare_torch, remove_checkpoints, write_weights
from convrfm.storage import load_arrays, write_table
from convrfm.training import TrainingData, TrainingSettings, train

__all__ = ["train_network"]


def train_network(job: Job) -> None:
    """Write the accuracy after every epoch; the weights at the start, at chosen epochs and at the end; and the record."""
    given = job.settings
    device = prepare_torch(job)
    arrays = load_arrays(job.input("images"))
    images = arrays["train/images"]
    recipe = {**given["training"], "milestones": tuple(given["training"]["milestones"])}
    settings = TrainingSettings(
        "adadelta", loss="cross-entropy", shuffle=True, snapshots=tuple(given["epochs"]), **recipe
    )  # fmt: skip
    data = TrainingData(
        images,
        arrays["train/labels"],
        {"test": (arrays["test/images"], arrays["test/labels"])},
        border=black(images.shape[1], given["scaling"]),
    )
    result = train(
        build_simplenet(given, arrays),
        data,
        settings,
        seed=given["seed"],
        checkpoint=checkpoint_path(job),
        device=device,
        description=f"SimpleNet on {given['dataset']}",
        show=True,
    )
    write_table(job.outputs["metrics"], result.history)
    write_weights(job.outputs["arrays"], result)
    trained = result.history[result.history["epoch"] > 0]
    best = trained.loc[trained["test_accuracy"].idxmax()]
    job.recorder.notes |= {
        "seed": given["seed"],
        "protocol": given["protocol"],
        "device": device,
        "training": asdict(settings),
        "best_epoch": int(best["epoch"]),
        "best_epoch_test_accuracy": float(best["test_accuracy"]),
        "last_epoch_test_accuracy": float(trained["test_accuracy"].iloc[-1]),
    }
    job.write_record()
    remove_checkpoints(job)
