"""Compare the filters of SimpleNet with the average gradient outer product, over the course of its training."""

import pandas as pd
import torch

from convrfm.ansatz.agop import measure
from convrfm.ansatz.summaries import LayerAgop, correlations, summarise
from convrfm.numerics.inputs import generator
from convrfm.replication.jobs.simplenet import build_simplenet
from convrfm.replication.jobs.training import load_weights, prepare_torch, weights_when
from convrfm.replication.record.session import Job
from convrfm.replication.runs.simplenet import SimpleNetAnsatzSettings
from convrfm.system.storage import load_arrays, write_arrays, write_table
from convrfm.system.terminal import track

__all__ = ["measure_network"]

BATCH_SIZE = 50
"""Images of one forward pass of the AGOP."""


def measure_network(job: Job) -> None:
    """Write how filters and AGOP of every layer agree, at the end and at chosen epochs before; cores; and the record.

    Metrics: the columns of `convrfm.ansatz.summarise` and `epoch`. For the last epoch there is all that it gives; for the
    others, the correlation alone. Arrays: `core/<layer>` `(groups, r, r)` float64, the core of the AGOP at the last epoch,
    see `convrfm.ansatz.summaries.LayerAgop`.

    The network is in eval mode, so that batch norm uses its running statistics: before training, mean 0 and variance 1.
    """
    given = SimpleNetAnsatzSettings.model_validate(job.settings)
    device = prepare_torch(job)
    arrays = load_arrays(job.input("images"))
    drawn = generator(given.seed, "images of the AGOP").permutation(len(arrays["train/images"]))[: given.images]
    images = torch.from_numpy(arrays["train/images"][drawn])
    weights = weights_when(job.input("weights"))
    initial = {name: value.numpy() for name, value in weights["initial"].items()}
    network = build_simplenet(given, arrays).to(device)
    last = given.last_epoch
    states = {0: weights["initial"], **{e: weights[f"snapshot-{e}"] for e in given.epochs}, last: weights["final"]}
    tables = []
    layers: dict[str, LayerAgop] = {}
    for epoch, state in track(sorted(states.items()), len(states), f"AGOP on {given.dataset}, epochs", show=True):
        load_weights(network, state)
        layers = measure(
            network, images, given.mode, batch_size=BATCH_SIZE, probes=given.probes, seed=given.seed
        )  # fmt: skip
        table = summarise(layers, initial=initial, seed=given.seed) if epoch == last else correlations(layers)
        tables.append(table.assign(epoch=epoch))
    write_table(job.outputs["metrics"], pd.concat(tables, ignore_index=True))
    write_arrays(job.outputs["arrays"], {f"core/{name}": layer.core for name, layer in layers.items()})
    job.recorder.notes |= given.model_dump(include={"seed", "protocol", "images", "mode", "probes"})
    job.recorder.notes["device"] = device
    job.write_record()
