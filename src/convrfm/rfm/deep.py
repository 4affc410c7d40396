"""Algorithm 2 of arXiv 2309.00570, Deep ConvRFM: ConvRFM stage by stage on random features drawn from each metric.

Stage l fits ConvRFM with a kernel of L - l convolutions to the features X_l (X_0 the images), and keeps the metric of
its best round. The next features are X_{l+1} = ReLU(W * X_l), without padding or bias, with filters W of rows g
M^{1/2}, g standard normal.
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd

from convrfm.errors import InputError
from convrfm.kernels import ConvolutionalKernel
from convrfm.numerics.inputs import is_count, one_of, refuse_first
from convrfm.numerics.patches import check_fits, patch_dimension, power, windows
from convrfm.rfm.rounds import RFMSettings, RoundJournal, StageData, StageResult, fit_rounds

__all__ = ["DeepSettings", "Stage", "apply_filters", "fit_stages", "history_of", "sample_filters"]

Nonlinearity = Literal["relu", "none"]


@dataclass(frozen=True)
class DeepSettings:
    """Settings of Deep ConvRFM beyond those of ConvRFM.

    Attributes:
        stages: number of stages, at most the depth of an arc-cosine kernel.
        filters: k, the number of random filters of each stage.
        nonlinearity: "relu", as in the paper's text; "none" as in the authors' code.
        plain_filters: filters of a stage whose round 0 (the identity) wins: "gaussian", or "torch", the default
            initialisation of `torch.nn.Conv2d`, uniform in +-1/sqrt(d), as in the authors' code.
    """

    stages: int = 3
    filters: int = 64
    nonlinearity: Nonlinearity = "relu"
    plain_filters: Literal["gaussian", "torch"] = "gaussian"

    def __post_init__(self) -> None:
        """Check types and ranges.

        Raises:
            InputError: a value of another type, or out of range.
        """
        counts = {f"{name} must be an integer of at least 1": is_count(getattr(self, name)) for name in ("stages", "filters")}
        options = {"nonlinearity": ("relu", "none"), "plain_filters": ("gaussian", "torch")}
        refuse_first(self, counts | one_of(self, options))


@dataclass(frozen=True)
class Stage:
    """One fitted stage.

    Attributes:
        kernel: its kernel, of depth L - l.
        result: see `convrfm.rfm.rounds.StageResult`.
        features: the training images over which the predictor is a sum (`convrfm.rfm.rounds.StageData.centres`), in the
            features of this stage `(n, channels, height, width)`.
        filters: `(k, d)`, from this stage's features to those of the next; None for the last stage.
    """

    kernel: ConvolutionalKernel
    result: StageResult
    features: np.ndarray
    filters: np.ndarray | None


def sample_filters(metric: np.ndarray | None, dimension: int, settings: DeepSettings, rng: np.random.Generator) -> np.ndarray:
    """Draw filters `(k, d)` with covariance M; None is the identity of a stage whose round 0 won."""
    if metric is None and settings.plain_filters == "torch":
        bound = dimension**-0.5
        return rng.uniform(-bound, bound, (settings.filters, dimension))
    gaussian = rng.standard_normal((settings.filters, dimension))
    return gaussian if metric is None else gaussian @ power(metric, 0.5)


def apply_filters(images: np.ndarray, filters: np.ndarray, patch_size: int, nonlinearity: Nonlinearity) -> np.ndarray:
    """Convolve `(n, c, h, w)` with filters `(k, d)` in patch order: `(n, k, h - q + 1, w - q + 1)`, same dtype."""
    n, channels, height, width = images.shape
    features = np.zeros((n, len(filters), height - patch_size + 1, width - patch_size + 1), images.dtype)
    rows, columns = features.shape[2:]
    # One product of each image with the weights of all places in a filter; these responses are shifted and added up.
    weights = windows(filters.astype(images.dtype), patch_size).transpose(2, 3, 0, 1).reshape(-1, channels)
    for image, feature in zip(images, features, strict=True):
        responses = (weights @ image.reshape(channels, -1)).reshape(patch_size, patch_size, -1, height, width)
        for i, j in np.ndindex(patch_size, patch_size):
            feature += responses[i, j, :, i : i + rows, j : j + columns]
    return np.maximum(features, 0, out=features) if nonlinearity == "relu" else features


def fit_stages(
    kernel: ConvolutionalKernel,
    data: StageData,
    settings: RFMSettings,
    deep: DeepSettings,
    rng: np.random.Generator,
    *,
    journal: RoundJournal | None = None,
    show: bool = False,
) -> list[Stage]:
    """Run Algorithm 2.

    Args:
        kernel: the kernel of stage 0, of depth L; each later stage uses one convolution less, see
            `convrfm.kernels.ConvolutionalKernel.shallower`.
        data: images and labels.
        settings: of each stage.
        deep: of the stack.
        rng: draws AGOP points and filters.
        journal: keeps each round of each stage on disk.
        show: whether to show progress.

    Raises:
        InputError: more stages than the depth.
        ConvRFMError: as `convrfm.rfm.rounds.fit_rounds`.
    """
    q = kernel.patch_size
    height, width = data.train.shape[2:]
    kernel.check_size(height, width)
    if deep.stages > 1:
        if not kernel.spec.plain:
            msg = f"Deep ConvRFM draws the features of the paper's network, so {kernel!r} is for one stage: set stages=1."
            raise InputError(msg)
        kernel.shallower(deep.stages - 1)  # refuses a huge number before the list is made
        check_fits(height, width, q, deep.stages)
    kernels = [kernel.shallower(index) for index in range(deep.stages)]
    data = data.with_landmarks(settings, rng)
    stages: list[Stage] = []
    for index, current in enumerate(kernels):
        description = f"stage {index + 1} of {deep.stages}, rounds"
        of_stage = None if journal is None else journal.stage(index)
        result = fit_rounds(current, data, settings, rng, journal=of_stage, description=description, show=show)
        if index + 1 == deep.stages:
            stages.append(Stage(current, result, data.centres, None))
            break
        dimension = patch_dimension(data.train.shape[1], q)
        filters = sample_filters(result.best_metric, dimension, deep, rng)
        stages.append(Stage(current, result, data.centres, filters))
        train, test = (
            None if images is None else apply_filters(images, filters, q, deep.nonlinearity)
            for images in (data.train, data.test)
        )
        assert train is not None
        data = replace(data, train=train, test=test)
    return stages


def history_of(stages: list[Stage]) -> pd.DataFrame:
    """Join the histories of all stages, with the columns `stage` and `kernel_depth` in front."""
    frames = []
    for index, stage in enumerate(stages):
        frame = stage.result.history.copy()
        frame.insert(0, "stage", index)
        frame.insert(1, "kernel_depth", stage.kernel.spec.depth)
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)
