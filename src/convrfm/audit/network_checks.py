"""Networks: accuracies from stored weights, and correlations of the ansatz from stored matrices, computed anew in float64."""

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
import torch
from torch import nn

from convrfm.audit.outcome import SpotCheck
from convrfm.audit.spot import judged, largest
from convrfm.networks import zoo
from convrfm.networks.plain_cnn import PlainCNN
from convrfm.networks.shallow import ShallowCNN
from convrfm.pipeline.session import Job
from convrfm.pipeline.simplenets import build_simplenet
from convrfm.pipeline.task_images import read_task_images
from convrfm.pipeline.training_runs import weights_when
from convrfm.storage import load_arrays

__all__ = ["CORRELATION_TOLERANCE", "check_ansatz", "check_network"]

CORRELATION_TOLERANCE = 1e-5
"""Largest difference of a correlation: weights lie there in float32."""

IMAGES, PIXELS = 500, 2_500_000
"""Test images that a network is evaluated on, and pixels of all their channels."""

LAYERS = 3
"""Layers of a network whose correlation is computed anew."""

WIDEST = 1600
"""Patches of more entries have matrices that take long to write out."""


@torch.no_grad()
def check_network(job: Job, file: str, rng: np.random.Generator) -> Iterator[SpotCheck]:
    """Compare the last test accuracy of a training with that of its stored weights, in float64 on the CPU.

    An image whose largest outputs are equal in float32 may be decided otherwise: one image in a hundred is allowed. Of more
    test images than `IMAGES` a random part is taken, and four standard deviations of such a part are allowed on top.

    Args:
        job: with its inputs, its settings, and the files of the run as outputs `arrays` and `metrics`.
        file: the arrays, relative to the project.
        rng: chooses images.

    Raises:
        KeyError: the arrays have nothing to compare with.
    """
    network, images, labels = _network(job)
    network.load_state_dict(weights_when(job.outputs["arrays"])["final"])
    network.double().eval()
    count = min(len(images), IMAGES, max(1, PIXELS // images[0].size))
    chosen = np.sort(rng.choice(len(images), count, replace=False))
    outputs = torch.cat([network(part.double()) for part in torch.from_numpy(images[chosen]).split(50)])
    decided = (outputs[:, 0] > 0.5).long() if outputs.shape[1] == 1 else outputs.argmax(dim=1)
    accuracy = float((decided.numpy() == labels[chosen]).mean())
    recorded = _last_accuracy(pd.read_parquet(job.outputs["metrics"]))
    # Of a part that is drawn without replacement.
    variance = max(recorded * (1 - recorded), 1 / count) / count * (1 - count / len(images))
    what = "test accuracy after the last epoch in metrics.parquet, from stored weights"
    yield judged(file, what, count, abs(accuracy - recorded), 1e-2 + 1 / count + 4 * variance**0.5)


def _last_accuracy(history: pd.DataFrame) -> float:
    """The accuracy of the last epoch at which it was measured, of a table with a column for it."""
    return float(history["test_accuracy"].dropna().iloc[-1])


def _network(job: Job) -> tuple[nn.Module, np.ndarray, np.ndarray]:
    """The network of a training with any weights, and the test images with their labels."""
    given, generator = job.settings, torch.Generator().manual_seed(0)
    if "network" not in given and "optimizer" in given and ("task" in given or "classes" in given):
        task = read_task_images(job)
        sizes = {key: given[key] for key in ("width", "depth", "patch_size")}
        plain = PlainCNN(task.test.shape[1:], task.outputs, **sizes, generator=generator)
        return plain, task.test, task.test_labels
    arrays = load_arrays(job.input("images"))
    images, labels, classes = arrays["test/images"], arrays["test/labels"], arrays["train/targets"].shape[1]
    network: nn.Module
    if "architecture" in given:
        sizes = {key: given[key] for key in ("width", "patch_size", "first_std", "later_std")}
        network = ShallowCNN(given["architecture"], images.shape[1:], classes, **sizes, generator=generator)
    elif "divisor" in given:
        network = zoo.fresh(given["network"], generator=generator, classes=classes, divisor=given["divisor"])
    elif "network" in given:
        network = build_simplenet(given, arrays)
    else:
        sizes = {key: given[key] for key in ("width", "depth", "patch_size")}
        network = PlainCNN(images.shape[1:], classes, **sizes, generator=generator)
    return network, images, labels


def check_ansatz(job: Job, file: str, rng: np.random.Generator) -> Iterator[SpotCheck]:
    """Compare correlations of CNFM and AGOP with those of W^T W and W^T D W, written out from stored W and D.

    The arguments are those of `check_network`; a measurement with probes, which is corrected for their
    noise, has nothing that could be written out.

    Raises:
        KeyError: the arrays have nothing to compare with.
    """
    if job.settings["mode"] != "exact":
        return
    table = pd.read_parquet(job.outputs["metrics"])
    table = table[(table["quantity"] == "pearson") & (table["power"] == 1.0) & (table["groups"] == 1)]
    matrices = _weights_and_cores(job)
    table = table[table["when"] == "trained"] if "when" in table else table[table["epoch"] == table["epoch"].max()]
    known = [
        name for name, (weight, _) in matrices.items() if weight.shape[1] <= WIDEST and name in set(table["layer"])
    ]
    if not known:
        msg = "no layer of one group has its correlation in metrics.parquet"
        raise KeyError(msg)
    names = sorted(rng.choice(known, min(LAYERS, len(known)), replace=False).tolist())
    worst = 0.0
    for name in names:
        weight, core = (part.astype(np.float64) for part in matrices[name])
        (recorded,) = table.loc[table["layer"] == name, "value"]
        both = [(weight.T @ weight).ravel(), (weight.T @ core @ weight).ravel()]
        worst = largest(worst, float(np.asarray(np.corrcoef(np.stack(both)))[0, 1]) - recorded)
    what = f"correlations of {', '.join(names)} in metrics.parquet, from stored filters and cores"
    yield judged(file, what, len(names), worst, CORRELATION_TOLERANCE)


def _weights_and_cores(job: Job) -> Mapping[str, tuple[np.ndarray, np.ndarray]]:
    """W `(k, d)` and D `(k, k)` of the trained network's layers of one group, by layer."""
    arrays = load_arrays(job.outputs["arrays"])
    if job.inputs.get("weights"):
        filters = {name: tensor.numpy() for name, tensor in weights_when(job.input("weights"))["final"].items()}
        cores = {name.removeprefix("core/"): core for name, core in arrays.items() if name.startswith("core/")}
        found = {name: (filters[f"{name}.weight"], core) for name, core in cores.items()}
    else:
        names = [name.split("/")[1] for name in arrays if name.startswith("trained/") and name.endswith("/core")]
        found = {name: (arrays[f"trained/{name}/weight"][0], arrays[f"trained/{name}/core"]) for name in names}
    return {
        name: (weight.reshape(len(weight), -1), core[0]) for name, (weight, core) in found.items() if len(core) == 1
    }
