"""Measure the ansatz in every convolution of a network: trained, at initialisation, and between.

Of the networks of Figures 1, 2 and 7, `measure_network`; of SimpleNet over its training, for Figure 8, `measure_simplenet`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from safetensors import SafetensorError
from scipy.special import bdtr
from torch import nn

from convrfm.ansatz.accumulator import AgopAccumulator
from convrfm.ansatz.agop import accumulate, measure
from convrfm.ansatz.filter_forms import without_error
from convrfm.ansatz.summaries import LayerAgop, correlations, growth, layer_row, mean_correlation, mean_gain, summarise
from convrfm.datasets.registry import find_entry
from convrfm.errors import CorruptDataError, StorageError
from convrfm.networks.zoo import in_paper
from convrfm.numerics.inputs import generator
from convrfm.replication.jobs.simplenet import build_simplenet
from convrfm.replication.jobs.training import load_weights, prepare_torch, weights_when
from convrfm.replication.jobs.zoo import initial_network, prepare_pooling, snapshots, trained_network
from convrfm.replication.record.session import Job, checkpoint_path
from convrfm.replication.runs.networks import SimpleNetAnsatzSettings
from convrfm.replication.runs.zoo import AnsatzSettings
from convrfm.system.storage import load_arrays, write_arrays
from convrfm.system.terminal import track

__all__ = ["measure_layers", "measure_network", "measure_simplenet"]

MEAN = "mean"  # stands in the column `layer` of numbers that are means over the paper's layers
OUTPUT = "output"  # stands in the column `layer` of the accuracy

IMAGENETTE = (0, 217, 482, 491, 497, 566, 569, 571, 574, 701)
"""Imagenette's ten classes, in the order of their folders, among the 1000 of ImageNet."""

UNLIKELY = 0.001

Layers = Mapping[str, LayerAgop]


def measure_network(job: Job) -> None:
    """Write the numbers, the weights and mean cores of every convolution, and the record.

    Metrics: the columns of `convrfm.ansatz.summarise`, and `when` ("trained", "initial", or "epoch" for snapshots of a
    stand-in), `epoch` (NaN where it is not known), `images` and `in_paper`. Quantities beside those of `summarise`:
    "growth" is Pearson from the first `images` images alone; rows whose layer is "mean" are means over the paper's layers,
    and "gain" among them is trained minus initial. Of pretrained weights "accuracy", a share of the `images` images whose
    classes are known, which is measured first; its layer is "output".

    Arrays: `<when>/<layer>/weight` `(groups, k, d)` float32 and `<when>/<layer>/core` `(groups, r, r)` float64, r =
    min(k, d), from which `convrfm.ansatz.filter_forms` forms the CNFM and the AGOP.

    Raises:
        CorruptDataError: pretrained weights are far less accurate than published.
    """
    given = AnsatzSettings.model_validate(job.settings)
    device = prepare_pooling(job)
    prepared = load_arrays(job.input("images"))
    images = prepared[f"{given.part}/images"][: given.images]

    def measured(model: nn.Module, when: str) -> dict[str, LayerAgop]:
        return measure_layers(
            model, images, given, seed=given.seed, device=device, checkpoint=checkpoint_path(job, when),
            description=f"{given.network}, {when}",
        )  # fmt: skip

    start, end = initial_network(job, given), trained_network(job, given)
    accuracy = _accuracy(end, prepared, given, device) if given.weights else None
    filters = start.state_dict()
    initial, trained = measured(start, "initial"), measured(end, "trained")
    between = {epoch: measured(model, f"epoch {epoch}") for epoch, model in snapshots(job, given)}
    last = float(given.epochs or "nan")
    times: list[tuple[str, float, Layers]] = [("trained", last, trained), ("initial", 0.0, initial)]
    times += [("epoch", float(epoch), found) for epoch, found in between.items()]
    numbers = [_numbers(trained, given, initial=filters), _numbers(initial, given, initial=None)]
    numbers += map(correlations, between.values())
    parts = [part.assign(when=when, epoch=epoch) for part, (when, epoch, _) in zip(numbers, times, strict=True)]
    table = pd.concat([*parts, _means(times, given.network)], ignore_index=True)
    # Rows of the growth have a number of their own.
    table["images"] = table.get("images", pd.Series(np.nan, table.index)).fillna(len(images)).astype(int)
    table["in_paper"] = [layer == MEAN or in_paper(given.network, layer) for layer in table["layer"]]
    if accuracy is not None:
        row = {"layer": OUTPUT, "index": -1, "quantity": "accuracy", "power": 1.0, "when": "trained", "epoch": last}
        row |= {**without_error(accuracy.correct / accuracy.images)._asdict(), "images": accuracy.images, "in_paper": False}
        table = pd.concat([table, pd.DataFrame([row])], ignore_index=True)
    found = {"trained": trained, "initial": initial}
    passes = {when: next(iter(layers.values())).images / len(images) for when, layers in found.items()}
    job.finish(
        table,
        {**_arrays(trained, "trained"), **_arrays(initial, "initial")},
        seed=given.seed,
        protocol=given.protocol,
        device=device,
        passes_over_images=passes,
        measured_on=f"{given.part} images",
        accuracy=None if accuracy is None else accuracy._asdict(),
    )


class Accuracy(NamedTuple):
    """How many images are classified correctly, and the published accuracy in percent."""

    correct: int
    images: int
    published: float

    def is_far_below(self) -> bool:
        """Whether it is below half of the published one, and chance does not explain that.

        Of a few images, all may be hard: a network of the published accuracy must get no more of them right with a
        probability below `UNLIKELY`.
        """
        share = self.published / 100
        return self.correct / self.images < share / 2 and float(bdtr(self.correct, self.images, share)) < UNLIKELY


@torch.no_grad()
def _accuracy(model: nn.Module, prepared: Mapping[str, np.ndarray], given: AnsatzSettings, device: str) -> Accuracy | None:
    """The accuracy of pretrained weights on the prepared images; None where their classes are not known to the network."""
    entry, labels = find_entry(given.weights), _classes(prepared, given)
    if labels is None:
        return None
    batches = torch.from_numpy(prepared[f"{given.part}/images"]).split(given.batch_size)
    predicted = torch.cat([model.to(device)(batch.to(device)).argmax(1).cpu() for batch in batches])
    found = Accuracy(int((predicted.numpy() == labels).sum()), len(labels), entry.accuracy)
    if found.is_far_below():
        msg = (
            f"The {entry.title} classify {found.correct} of {found.images} images of {given.dataset} correctly, but "
            f"{found.published:g} % is published: the weights, or the preparation of the images, are not those of this "
            "network. Fetch the weights again, and check that the data set is complete."
        )
        raise CorruptDataError(msg)
    return found


def _classes(prepared: Mapping[str, np.ndarray], given: AnsatzSettings) -> np.ndarray | None:
    """The prepared labels `(n,)` as the network numbers them; None for a part of ImageNet's classes that is not known."""
    labels, classes = prepared[f"{given.part}/labels"], prepared[f"{given.part}/targets"].shape[1]
    if given.dataset == "imagenette":
        return np.array(IMAGENETTE)[labels]
    # All folders of ImageNet, in the order of their names, are the classes of torchvision.
    return labels if classes == find_entry(given.weights).classes else None


def _numbers(layers: Layers, given: AnsatzSettings, *, initial: Mapping[str, torch.Tensor] | None) -> pd.DataFrame:
    """All that is said about the layers of one network."""
    table = summarise(layers, initial=initial, seed=given.seed)
    if given.mode != "exact":
        return table
    rows = [
        {**layer_row(layer, index, "growth", 1.0, without_error(value)), "images": images}
        for index, layer in enumerate(layers.values())
        for images, value in growth(layer)
    ]
    return pd.concat([table, pd.DataFrame(rows)], ignore_index=True)


def _means(times: list[tuple[str, float, Layers]], network: str) -> pd.DataFrame:
    """Means over the paper's layers, at each time, and what training adds."""
    chosen = [(when, epoch, [f for name, f in found.items() if in_paper(network, name)]) for when, epoch, found in times]
    rows = [
        {"when": when, "epoch": epoch, "quantity": "pearson", **mean_correlation(layers)._asdict()}
        for when, epoch, layers in chosen
    ]
    (_, last, trained), (_, _, initial) = chosen[:2]
    rows.append({"when": "trained", "epoch": last, "quantity": "gain", **mean_gain(trained, initial)._asdict()})
    return pd.DataFrame(rows).assign(layer=MEAN, index=-1, power=1.0)


def _arrays(layers: Layers, when: str) -> dict[str, np.ndarray]:
    arrays = {}
    for name, layer in layers.items():
        arrays[f"{when}/{name}/weight"] = layer.weight.astype(np.float32)
        arrays[f"{when}/{name}/core"] = layer.core
    return arrays


STEPS = "steps"


def measure_layers(
    model: nn.Module, images: np.ndarray, given: AnsatzSettings, *, seed: int, device: str, checkpoint: Path, description: str
) -> dict[str, LayerAgop]:
    """Measure the AGOP of every convolution of a network in eval mode, on images `(n, channels, height, width)` float32.

    `convrfm.ansatz.agop.measure` does the same without a checkpoint. This is written after every batch and read by a later
    call, whose result is then the same; its name must tell apart whatever is measured. It stays until the caller removes it.

    Returns:
        by the name of the convolution, in the order of the forward pass.

    Raises:
        StorageError: the checkpoint is damaged or cannot be written.
    """
    accumulator = AgopAccumulator(model.to(device), given.mode, probes=given.probes, seed=seed)

    def keep(steps: int) -> None:
        write_arrays(checkpoint, {**accumulator.state(), STEPS: np.array([steps])})

    return accumulate(
        accumulator, torch.from_numpy(images),
        **given.model_dump(include={"batch_size", "tolerance", "most_probes"}),
        description=description, show=True, done=_restored(checkpoint, accumulator), after=keep,
    )  # fmt: skip


def _restored(checkpoint: Path, accumulator: AgopAccumulator) -> int:
    """Bring an accumulator to where a checkpoint was, and give the number of batches that it has seen."""
    if not checkpoint.exists():
        return 0
    try:
        arrays = load_arrays(checkpoint)
        steps = int(arrays.pop(STEPS)[0])
    except (SafetensorError, KeyError) as error:
        msg = f"The checkpoint {checkpoint} is damaged ({error}): delete it to start again."
        raise StorageError(msg) from error
    accumulator.load_state(arrays)
    return steps


SIMPLENET_BATCH = 50  # images of one forward pass of the AGOP


def measure_simplenet(job: Job) -> None:
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
    network = build_simplenet(given, arrays).to(device)
    last = given.last_epoch
    states = {0: weights["initial"], **{e: weights[f"snapshot-{e}"] for e in given.epochs}, last: weights["final"]}
    tables = []
    layers: dict[str, LayerAgop] = {}
    for epoch, state in track(sorted(states.items()), len(states), f"AGOP on {given.dataset}, epochs", show=True):
        load_weights(network, state)
        layers = measure(network, images, given.mode, batch_size=SIMPLENET_BATCH, probes=given.probes, seed=given.seed)
        whole = epoch == last
        table = summarise(layers, initial=weights["initial"], seed=given.seed) if whole else correlations(layers)
        tables.append(table.assign(epoch=epoch))
    cores = {f"core/{name}": layer.core for name, layer in layers.items()}
    notes = given.model_dump(include={"seed", "protocol", "images", "mode", "probes"})
    job.finish(pd.concat(tables, ignore_index=True), cores, **notes, device=device)
