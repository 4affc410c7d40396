"""Train one of the shallow networks of Figure 9, and measure the ansatz in it before and after."""

from dataclasses import asdict

import numpy as np
import pandas as pd
import torch

from convrfm.ansatz.agop import measure
from convrfm.ansatz.summaries import summarise
from convrfm.networks.shallow import ShallowCNN
from convrfm.replication.jobs.training import load_weights, prepare_torch, train_resumably, weight_arrays
from convrfm.replication.record.session import Job
from convrfm.replication.runs.networks import ShallowSettings
from convrfm.system.storage import load_arrays
from convrfm.training import TrainingData, TrainingSettings

__all__ = ["train_and_measure"]


def train_and_measure(job: Job) -> None:
    """Write the correlations of CNFM and patch-AGOP, the weights at start and end, and the record.

    Under `published` the test images choose the epoch whose weights are measured, as in the authors' code; under
    `corrected` a validation part of the training images does, which is not trained on. The AGOP is the mean over all
    images that are trained on; of an image that was drawn twice, twice.

    Metrics, a row for each number: `when` ("initial", "trained", and "training" for what came of an epoch), `epoch`, and
    the columns of `convrfm.ansatz.summarise`, which have no value in the rows of an epoch but for `quantity` ("train_loss",
    "test_accuracy", "validation_accuracy") and `value`.
    """
    given = ShallowSettings.model_validate(job.settings)
    device = prepare_torch(job)
    data, classes = _training_data(job)
    settings = TrainingSettings(
        **given.model_dump(include={"learning_rate", "epochs", "batch_size", "evaluate_every", "stop_below"}),
        optimizer="adam",
        shuffle=True,
        loss="cross-entropy",
        keep="best",
    )
    network = ShallowCNN(
        given.architecture,
        data.images.shape[1:],
        classes,
        generator=torch.Generator().manual_seed(given.seed),
        **given.model_dump(include={"width", "patch_size", "first_std", "later_std"}),
    )
    description = f"{given.dataset} {given.architecture} q = {given.patch_size}"
    result = train_resumably(job, network, data, settings, device=device, description=description)
    tables = [result.history.melt("epoch", var_name="quantity").dropna(subset="value").assign(when="training")]
    for when, epoch, weights in (("initial", 0, result.initial), ("trained", result.kept_epoch, result.final)):
        load_weights(network, {name: torch.from_numpy(array) for name, array in weights.items()})
        found = measure(network, torch.from_numpy(data.images), batch_size=given.batch_size, show=True)
        initial = result.initial if when == "trained" else None
        tables.append(summarise(found, initial=initial, seed=given.seed).assign(when=when, epoch=epoch))
    history = result.history.set_index("epoch")
    job.finish(
        pd.concat(tables, ignore_index=True),
        weight_arrays(result),
        seed=given.seed,
        protocol=given.protocol,
        device=device,
        training=asdict(settings),
        chosen_by=next(iter(data.parts)),
        images_trained_on=len(data.images),
        images_tested_on=len(data.parts["test"][1]),
        classes=classes,
        best_epoch=result.kept_epoch,
        best_epoch_test_accuracy=float(history.loc[result.kept_epoch, "test_accuracy"]),
        last_epoch=int(history.index[-1]),
        last_epoch_test_accuracy=float(history["test_accuracy"].iloc[-1]),
        last_epoch_train_loss=float(history["train_loss"].iloc[-1]),
    )


def _training_data(job: Job) -> tuple[TrainingData, int]:
    """What is trained on, with the parts to evaluate, of which the first chooses the epoch; and the number of classes."""
    arrays = load_arrays(job.input("images"))
    images, labels, held_out = (arrays[f"train/{name}"] for name in ("images", "labels", "validation"))
    parts = {"test": (arrays["test/images"], arrays["test/labels"])}
    if len(held_out) > 0:
        parts = {"validation": (images[held_out], labels[held_out]), **parts}
    fit = np.setdiff1d(np.arange(len(labels)), held_out)
    return TrainingData(images[fit], labels[fit], parts), arrays["train/targets"].shape[1]
