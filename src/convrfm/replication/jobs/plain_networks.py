"""The plain convolutional network that the settings of a job describe."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from convrfm.networks.plain_cnn import PlainCNN

__all__ = ["build_feature_network", "build_plain_network"]


def build_plain_network(settings: Mapping[str, Any], shape: tuple[int, int, int], outputs: int) -> PlainCNN:
    """Give the network before training.

    Args:
        settings: of the job, with `width`, `depth`, `patch_size` and `seed`.
        shape: of one image, `(channels, height, width)`.
        outputs: one for each class, or a single one for a pair of classes.
    """
    sizes = {key: settings[key] for key in ("width", "depth", "patch_size")}
    return PlainCNN(shape, outputs, **sizes, generator=torch.Generator().manual_seed(settings["seed"]))


def build_feature_network(settings: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> PlainCNN:
    """Give the network of Figures 3 and 10 before training.

    Args:
        settings: as for `build_plain_network`.
        arrays: the prepared images, of which `test/images` and `train/targets` are read.
    """
    return build_plain_network(settings, arrays["test/images"].shape[1:], arrays["train/targets"].shape[1])
