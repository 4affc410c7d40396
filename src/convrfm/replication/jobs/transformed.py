"""Transform images, layer by layer, by what was learned and by random matrices.

`transform_images`: by the CNFM and the AGOP of a network, for Figure 2. `transform_layers`: by the metrics of Deep ConvRFM,
and by the CNFMs of a plain network, for Figure 4.
"""

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
import torch
from torch import nn

from convrfm.ansatz.filter_forms import FilterForm
from convrfm.datasets.transforms import SCALINGS
from convrfm.numerics.inputs import generator
from convrfm.pictures.filtering import patch_magnitude, pixel_pearson
from convrfm.replication.jobs.task_images import read_task_images
from convrfm.replication.jobs.training import prepare_torch
from convrfm.replication.jobs.zoo import trained_network
from convrfm.replication.record.session import Job
from convrfm.replication.runs.fits import layer_settings
from convrfm.replication.runs.protocols import chosen, selection_score
from convrfm.replication.runs.zoo import TransformSettings
from convrfm.rfm.deep import apply_filters
from convrfm.system.storage import load_arrays
from convrfm.system.terminal import track

__all__ = ["transform_images", "transform_layers"]

SCALING = "imagenet"


def transform_images(job: Job) -> None:
    """Write how alike the pictures of both matrices are, the pictures of the first image of each source, and the record.

    Metrics: a row for each layer and image: `layer`, `index`, `source` (number of the input), `image`, `pearson` of the
    pixels of |CNFM^{1/2} x| and |AGOP^{1/2} x|, and `control`, the mean over draws of that of |CNFM^{1/2} x| and
    |R^{1/2} x|, R = A^T A with A Gaussian of the shape of the filters.

    Arrays: for the first image of each source, or the first two of a single one, `input/<i>` `(3, height, width)` in
    [0, 1], and `cnfm/<i>/<layer index>` and `agop/<i>/<layer index>` `(height, width)`.
    """
    given = TransformSettings.model_validate(job.settings)
    prepare_torch(job)
    sources = [load_arrays(path)[f"{given.part}/images"][: given.images] for path in job.inputs["images"]]
    images = np.concatenate(sources)
    source_of = np.repeat(np.arange(len(sources)), [len(source) for source in sources])
    starts = np.searchsorted(source_of, np.arange(len(sources)))
    shown = starts.tolist() if len(sources) > 1 else list(range(min(2, len(images))))
    model = trained_network(job, given)
    measured = load_arrays(job.input("measured"))
    arrays = {f"input/{i}": _displayed(images[image]) for i, image in enumerate(shown)}
    tables: list[pd.DataFrame] = []
    convolutions = [(name, layer) for name, layer in model.named_modules() if isinstance(layer, nn.Conv2d)]
    for index, (name, layer) in enumerate(track(convolutions, len(convolutions), f"{given.network}, layers", show=True)):
        entering = _entering(model, layer, images)
        weight = measured[f"trained/{name}/weight"].astype(np.float64)
        size = layer.kernel_size[0]
        cnfm = patch_magnitude(entering, FilterForm(weight, None), size)
        agop = patch_magnitude(entering, FilterForm(weight, measured[f"trained/{name}/core"]), size)
        rng = generator(given.seed, "random matrices of Figure 2", index)
        draws = [
            patch_magnitude(entering, FilterForm(rng.standard_normal(weight.shape), None), size)
            for _ in range(given.control_draws)
        ]
        table = {
            "layer": name,
            "index": index,
            "source": source_of,
            "image": np.arange(len(images)) - starts[source_of],
            "pearson": pixel_pearson(cnfm, agop),
            "control": np.mean([pixel_pearson(cnfm, drawn) for drawn in draws], axis=0),
        }
        tables.append(pd.DataFrame(table))
        for i, image in enumerate(shown):
            arrays |= {f"cnfm/{i}/{index}": cnfm[image], f"agop/{i}/{index}": agop[image]}
    _write(job, tables, arrays)


def _write(job: Job, tables: list[pd.DataFrame], arrays: Mapping[str, np.ndarray]) -> None:
    singles = {name: array.astype(np.float32) for name, array in arrays.items()}
    job.finish(pd.concat(tables, ignore_index=True), singles, seed=job.settings["seed"], protocol=job.settings["protocol"])


@torch.no_grad()
def _entering(model: nn.Module, layer: nn.Module, images: np.ndarray) -> np.ndarray:
    """What enters a layer `(n, channels, height, width)`, image by image as the network would see each alone."""
    seen: list[np.ndarray] = []
    handle = layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].numpy().copy()))
    try:
        for image in torch.from_numpy(images).split(1):
            model(image)
    finally:
        handle.remove()
    return np.concatenate(seen)


def _displayed(image: np.ndarray) -> np.ndarray:
    """Take a prepared image `(3, height, width)` back to [0, 1]."""
    constants = SCALINGS[SCALING]
    assert constants is not None
    mean, deviation = (np.array(values, np.float32)[:, None, None] for values in constants)
    return np.clip(image * deviation + mean, 0, 1)


FULL = 1.0  # exponent: Figure 4 transforms "with the full matrix", |M x|, not with its square root


def transform_layers(job: Job) -> None:
    """Write how alike the pictures of kernel and network are in each layer, the pictures of the first image, the record.

    Layer l of the kernel is the metric of stage l in its best round from round 1 on, which is the best of those that have
    learned something, on the random features of that stage. These follow Algorithm 2: where round 0, the plain kernel, is the
    best of all, the filters of the next stage are drawn from the identity. Layer l of the network is the CNFM of what training
    has added to its filters, (W - W0)^T (W - W0), on the features that enter the layer. Neither pads, so that both have the
    same pixels.

    Metrics: a row for each layer and image: `layer` from 1, `round`, `followed` (whether that is also the round that the
    next stage's filters are drawn from), `image`, `pearson` of the pixels of both pictures, and `control`, the mean over
    draws of that of the network's picture with a random matrix in the metric's place: R = A^T A with A Gaussian of the
    shape of the network's filters, on the kernel's features.

    Arrays: of the first image, `image` `(channels, height, width)`, `kernel/<layer>`, `network/<layer>` and `random/<layer>`
    `(height, width)`, the last of the first draw.
    """
    given = layer_settings(job.settings)
    torch.set_num_threads(job.threads)
    q, task = given.patch_size, read_task_images(job, given)
    images = task.test[: given.images]
    fit, weights = load_arrays(job.input("fit")), load_arrays(job.input("network"))
    arrays: dict[str, np.ndarray] = {"image": images[0]}
    tables: list[pd.DataFrame] = []
    history = pd.read_parquet(job.input("history"))
    rounds = [_learned(history, stage, given.protocol) for stage in range(_stages(fit))]
    layers = zip(_of_kernel(fit, images, q, rounds), _of_network(weights, images), strict=False)
    for layer, (kernel, network) in enumerate(track(layers, _stages(fit), f"{task.title}, layers", show=True), 1):
        features, metric, followed = kernel
        entering, change = network
        learned = patch_magnitude(features, metric, q, FULL)
        trained = patch_magnitude(entering, FilterForm.of_filters(change), q, FULL)
        rng = generator(given.seed, "random matrices of Figure 4", layer)
        shape = (1, len(change), len(metric))
        drawn = [patch_magnitude(features, FilterForm(rng.standard_normal(shape)), q, FULL) for _ in range(given.control_draws)]
        table = {
            "layer": layer,
            "round": rounds[layer - 1],
            "followed": followed,
            "image": range(len(images)),
            "pearson": pixel_pearson(learned, trained),
            "control": np.mean([pixel_pearson(random, trained) for random in drawn], axis=0),
        }
        tables.append(pd.DataFrame(table))
        arrays |= {f"kernel/{layer}": learned[0], f"network/{layer}": trained[0], f"random/{layer}": drawn[0][0]}
    _write(job, tables, arrays)


def _of_kernel(
    fit: Mapping[str, np.ndarray], images: np.ndarray, patch_size: int, rounds: list[int]
) -> Iterator[tuple[np.ndarray, np.ndarray, bool]]:
    """For each stage: its features `(n, channels, height, width)`, the metric `(d, d)` of its round, whether it is the best.

    The features go on by the filters of the fit, that is from the best round of all.
    """
    for stage, chosen_round in enumerate(rounds):
        best = int(fit[f"best_round/{stage}"].item())
        yield images, fit[f"metric/{stage}/{chosen_round}"], chosen_round == best
        if f"filters/{stage}" in fit:
            images = apply_filters(images, fit[f"filters/{stage}"], patch_size, "relu")


def _learned(history: pd.DataFrame, stage: int, protocol: str) -> int:
    """The best round of a stage from round 1 on."""
    part = history[(history["stage"] == stage) & (history["round"] >= 1)]
    return int(chosen(part, selection_score(protocol))["chosen"])


def _stages(fit: Mapping[str, np.ndarray]) -> int:
    return sum(name.startswith("best_round/") for name in fit)


@torch.no_grad()
def _of_network(weights: Mapping[str, np.ndarray], images: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For each convolution: what enters it `(n, channels, height, width)`, and W - W0 `(k, channels, q, q)`."""
    features = torch.from_numpy(images)
    depth = sum(name.startswith("final/convolutions.") for name in weights)
    for layer in range(depth):
        name = f"convolutions.{layer}.weight"
        final = weights[f"final/{name}"]
        yield features.numpy(), final - weights[f"initial/{name}"]
        features = torch.relu(nn.functional.conv2d(features, torch.from_numpy(final)))
