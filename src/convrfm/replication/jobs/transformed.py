"""Transform images, as they enter each convolution of a network, by the layer's CNFM, its AGOP, and random matrices."""

from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from convrfm.ansatz.filter_forms import FilterForm
from convrfm.datasets.transforms import SCALINGS
from convrfm.numerics.inputs import generator
from convrfm.pictures.filtering import patch_magnitude, pixel_pearson
from convrfm.replication.jobs.training import prepare_torch
from convrfm.replication.jobs.zoo import trained_network
from convrfm.replication.record.session import Job
from convrfm.replication.runs.zoo import TransformSettings
from convrfm.system.storage import load_arrays, write_arrays, write_table
from convrfm.system.terminal import track

__all__ = ["transform_images"]

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
    rows: list[dict[str, Any]] = []
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
        for image, source in enumerate(source_of):
            controls = [pixel_pearson(cnfm[image], drawn[image]) for drawn in draws]
            rows.append(
                {
                    "layer": name,
                    "index": index,
                    "source": int(source),
                    "image": image - int(starts[source]),
                    "pearson": float(pixel_pearson(cnfm[image], agop[image])),
                    "control": float(np.mean(controls)),
                }
            )
        for i, image in enumerate(shown):
            arrays |= {f"cnfm/{i}/{index}": cnfm[image], f"agop/{i}/{index}": agop[image]}
    write_table(job.outputs["metrics"], pd.DataFrame(rows))
    write_arrays(job.outputs["arrays"], {name: array.astype(np.float32) for name, array in arrays.items()})
    job.recorder.notes |= {"seed": given.seed, "protocol": given.protocol}
    job.write_record()


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
