"""Networks: accuracies from stored weights, and correlations of the ansatz from stored matrices, computed anew in float64."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.linalg import sqrtm
from torch import nn

from convrfm.audit.outcome import SpotCheck
from convrfm.audit.spot import judged, largest
from convrfm.pipeline.plain_networks import build_plain_network
from convrfm.pipeline.session import Job
from convrfm.pipeline.task_images import read_task_images
from convrfm.pipeline.training_runs import weights_when
from convrfm.storage import load_arrays

__all__ = ["CORRELATION_TOLERANCE", "Trained", "check_ansatz", "check_network", "of_images", "of_task"]

CORRELATION_TOLERANCE = 1e-5
"""Largest difference of a correlation: weights lie there in float32."""

IMAGES, PIXELS = 500, 2_500_000
"""Test images that a network is evaluated on, and pixels of all their channels."""

LAYERS = 3
"""Layers of a network whose correlation is computed anew."""

WIDEST = 1600
"""Patches of more entries have matrices that take long to write out."""


@dataclass(frozen=True)
class Trained:
    """A network of the kind that a job has trained, and what it is tested on.

    Attributes:
        network: with any weights.
        images: test images `(n, channels, height, width)`.
        labels: of them `(n,)`.
    """

    network: nn.Module
    images: np.ndarray
    labels: np.ndarray


def of_task(job: Job) -> Trained:
    """The plain network of a task."""
    images = read_task_images(job)
    network = build_plain_network(job.settings, images.test.shape[1:], images.outputs)
    return Trained(network, images.test, images.test_labels)


def of_images(build: Callable[[Mapping[str, Any], Mapping[str, np.ndarray]], nn.Module]) -> Callable[[Job], Trained]:
    """Give what gives the network of a job whose input `images` is prepared images.

    Args:
        build: gives a network for the settings of the job and the prepared images.
    """

    def trained(job: Job) -> Trained:
        arrays = load_arrays(job.input("images"))
        return Trained(build(job.settings, arrays), arrays["test/images"], arrays["test/labels"])

    return trained


@torch.no_grad()
def check_network(
    trained: Callable[[Job], Trained], job: Job, file: str, rng: np.random.Generator
) -> Iterator[SpotCheck]:
    """Compare the last test accuracy of a training with that of its stored weights, in float64 on the CPU.

    An image whose largest outputs are equal in float32 may be decided otherwise: one image in a hundred is allowed. Of more
    test images than `IMAGES` a random part is taken, and four standard deviations of such a part are allowed on top.

    Args:
        trained: gives the network of a job.
        job: with its inputs, its settings, and the files of the run as outputs `arrays` and `metrics`.
        file: the arrays, relative to the project.
        rng: chooses images.

    Raises:
        KeyError: the arrays have nothing to compare with.
    """
    of = trained(job)
    network = of.network
    network.load_state_dict(weights_when(job.outputs["arrays"])["final"])
    network.double().eval()
    count = min(len(of.images), IMAGES, max(1, PIXELS // of.images[0].size))
    chosen = np.sort(rng.choice(len(of.images), count, replace=False))
    outputs = torch.cat([network(part.double()) for part in torch.from_numpy(of.images[chosen]).split(50)])
    decided = (outputs[:, 0] > 0.5).long() if outputs.shape[1] == 1 else outputs.argmax(dim=1)
    accuracy = float((decided.numpy() == of.labels[chosen]).mean())
    recorded = _last_accuracy(pd.read_parquet(job.outputs["metrics"]))
    # Of a part that is drawn without replacement.
    variance = max(recorded * (1 - recorded), 1 / count) / count * (1 - count / len(of.images))
    what = "test accuracy after the last epoch in metrics.parquet, from stored weights"
    yield judged(file, what, count, abs(accuracy - recorded), 1e-2 + 1 / count + 4 * variance**0.5)


def _last_accuracy(history: pd.DataFrame) -> float:
    """The accuracy of the last epoch at which it was measured, of a table with a column for it."""
    return float(history["test_accuracy"].dropna().iloc[-1])


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
        if len(core) < len(weight):  # more filters than numbers in a patch: the core is that of (W^T W)^{1/2}
            weight = sqrtm(weight.T @ weight).real
        (recorded,) = table.loc[table["layer"] == name, "value"]
        both = [(weight.T @ weight).ravel(), (weight.T @ core @ weight).ravel()]
        worst = largest(worst, float(np.asarray(np.corrcoef(np.stack(both)))[0, 1]) - recorded)
    what = f"correlations of {', '.join(names)} in metrics.parquet, from stored filters and cores"
    yield judged(file, what, len(names), worst, CORRELATION_TOLERANCE)


def _weights_and_cores(job: Job) -> Mapping[str, tuple[np.ndarray, np.ndarray]]:
    """W `(k, d)` and the core `(r, r)`, r = min(k, d), of the trained network's layers of one group, by layer."""
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
