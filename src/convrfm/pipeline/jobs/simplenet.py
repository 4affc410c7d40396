"""Train SimpleNet on the images of one data set, and compare its filters with the average gradient outer product."""

from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
import torch

from convrfm.agop import LayerAgop, measure
from convrfm.ansatz import summarise
from convrfm.datasets.transforms import black
from convrfm.networks.simplenet import SimpleNet
from convrfm.pipeline.session import Job
from convrfm.pipeline.training_runs import (
    checkpoint_path,
    load_weights,
    prepare_torch,
    remove_checkpoints,
    weights_when,
    write_weights,
)
from convrfm.progress import track
from convrfm.seeding import generator
from convrfm.storage import load_arrays, write_arrays, write_table
from convrfm.training import TrainingData, TrainingSettings, train

__all__ = ["measure_ansatz", "train_network"]

AGOP_BATCH = 50
"""Images of one backward pass of the AGOP."""


def train_network(job: Job) -> None:
    """Write the accuracy after every epoch; the weights at the start, at chosen epochs and at the end; and the record."""
    given = job.settings
    device = prepare_torch(job)
    arrays = load_arrays(job.input("images"))
    images = arrays["train/images"]
    settings = TrainingSettings(
        "adadelta", loss="cross-entropy", shuffle=True, snapshots=tuple(given["epochs"]),
        **{**given["training"], "milestones": tuple(given["training"]["milestones"])},
    )  # fmt: skip
    data = TrainingData(
        images,
        arrays["train/labels"],
        {"test": (arrays["test/images"], arrays["test/labels"])},
        border=black(images.shape[1], given["scaling"]),
    )
    result = train(
        _network(given, arrays),
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


def _network(given: Any, arrays: dict[str, np.ndarray]) -> SimpleNet:
    return SimpleNet(
        arrays["train/images"].shape[1],
        arrays["train/targets"].shape[1],
        **given["network"],
        generator=torch.Generator().manual_seed(given["seed"]),
    )


def measure_ansatz(job: Job) -> None:
    """Write how filters and AGOP of every layer agree, at the end and at chosen epochs before; cores; and the record.

    Metrics: the columns of `convrfm.ansatz.summarise` and `epoch`. For the last epoch there is all that it gives; for the
    others, the correlation alone. Arrays: `core/<layer>` `(groups, k, k)` float64, D in G = W^T D W at the last epoch.

    The network is in eval mode, so that batch norm uses its running statistics: before training, mean 0 and variance 1.
    """
    given = job.settings
    device = prepare_torch(job)
    arrays = load_arrays(job.input("images"))
    drawn = generator(given["seed"], "images of the AGOP").permutation(len(arrays["train/images"]))[: given["images"]]
    images = torch.from_numpy(arrays["train/images"][drawn])
    weights = weights_when(job.input("weights"))
    network = _network(given, arrays).to(device)
    last = given["last_epoch"]
    states = {0: weights["initial"], **{e: weights[f"snapshot-{e}"] for e in given["epochs"]}, last: weights["final"]}
    tables = []
    layers: dict[str, LayerAgop] = {}
    for epoch, state in track(sorted(states.items()), len(states), f"AGOP on {given['dataset']}, epochs", show=True):
        load_weights(network, state)
        layers = measure(
            network, images, given["mode"], batch_size=AGOP_BATCH, probes=given["probes"], seed=given["seed"]
        )  # fmt: skip
        initial = {name: array.numpy() for name, array in weights["initial"].items()}
        table = summarise(layers, initial=initial, seed=given["seed"]) if epoch == last else _correlations(layers)
        tables.append(table.assign(epoch=epoch))
    write_table(job.outputs["metrics"], pd.concat(tables, ignore_index=True))
    write_arrays(job.outputs["arrays"], {f"core/{name}": layer.core for name, layer in layers.items()})
    job.recorder.notes |= {
        key: given[key] for key in ("seed", "protocol", "images", "mode", "probes")
    } | {"device": device}  # fmt: skip
    job.write_record()


def _correlations(layers: dict[str, LayerAgop]) -> pd.DataFrame:
    """The rows of `summarise` that hold the correlation of the matrices themselves."""
    rows = []
    for index, (name, layer) in enumerate(layers.items()):
        groups, filters, dimension = layer.weight.shape
        shared = {"layer": name, "index": index, "filters": groups * filters, "dimension": dimension, "groups": groups}
        rows.append({**shared, "quantity": "pearson", "power": 1.0, **layer.correlation()._asdict()})
    return pd.DataFrame(rows)
