"""What Figures 3, 10, 11 and 12 read: images, the metrics of the kernels, and the filters of the network."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from convrfm.ansatz.filter_forms import FilterForm
from convrfm.replication.record.finished_runs import runs_with
from convrfm.replication.record.record import run_keys
from convrfm.replication.record.session import Job
from convrfm.system.storage import load_arrays, sha256

__all__ = ["FeatureRun", "natural_images", "read_runs"]


@dataclass(frozen=True)
class FeatureRun:
    """One data set and seed.

    Attributes:
        dataset: its name.
        seed: of the models.
        draw: hash of the images that they are fitted to and compared on (12 hex digits).
        sizes: `n_train` and `n_test`, the images of the data set that models see.
        images: test images `(n, channels, height, width)`.
        metrics: best metric of ConvRFM `(d, d)` by kernel, "cntk" or "laplace".
        cnfm: (W - W_0)^T (W - W_0) of the first convolution `(d, d)`, W its filters at the end of training and W_0 those
            before; None where the figure does not ask for the network.
    """

    dataset: str
    seed: int
    draw: str
    sizes: dict[str, int]
    images: np.ndarray
    metrics: dict[str, np.ndarray]
    cnfm: np.ndarray | None


def read_runs(job: Job) -> list[FeatureRun]:
    """Read the inputs `images`, `fits` and `networks` of a figure, by data set and seed, in the order of `images`.

    Of the test images, as many as the setting `images` says are kept, those of highest contrast first: a figure shows the
    first ones, and on a flat image there is nothing to see.
    """
    runs = []
    for path in job.inputs["images"]:
        keys = run_keys(path.parent)
        own = {"dataset": keys["dataset"], "seed": keys["seed"]}
        fits = {
            run_keys(fit.parent)["kernel"]: load_arrays(fit)["best"] for fit in runs_with(job.inputs["fits"], **own)
        }
        networks = [_change_of_filters(network) for network in runs_with(job.inputs["networks"], **own)]
        images = load_arrays(path)["test/images"][: job.settings["images"]]
        images = images[np.argsort(-images.std(axis=(1, 2, 3)), kind="stable")]
        cnfm = networks[0] if networks else None
        sizes = {name: int(keys[name]) for name in ("n_train", "n_test")}
        draw = sha256(path)[:12]
        runs.append(FeatureRun(keys["dataset"], int(keys["seed"]), draw, sizes, images, fits, cnfm))
    return runs


def natural_images(job: Job) -> np.ndarray | None:
    """The large natural images `(n, channels, height, width)`, the only file of the input `natural`; None without it."""
    paths = job.inputs["natural"]
    return load_arrays(paths[0])["train/images"] if paths else None


def _change_of_filters(path: Path) -> np.ndarray:
    """(W - W_0)^T (W - W_0) of the first convolution."""
    arrays = load_arrays(path)
    first = "convolutions.0.weight"
    return np.asarray(FilterForm.of_filters(arrays[f"final/{first}"] - arrays[f"initial/{first}"]).dense()[0])
