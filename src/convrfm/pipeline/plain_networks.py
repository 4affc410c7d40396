"""The plain convolutional network that the settings of a job describe."""

from collections.abc import Mapping
from typing import Any

import torch

from convrfm.networks.plain_cnn import PlainCNN

__all__ = ["build_plain_network"]


def build_plain_network(settings: Mapping[str, Any], shape: tuple[int, int, int], outputs: int) -> PlainCNN:
    """Give the network before training.

    Args:
        settings: of the job, with `width`, `depth`, `patch_size` and `seed`.
        shape: of one image, `(channels, height, width)`.
        outputs: one for each class, or a single one for a pair of classes.
    """
    sizes = {key: settings[key] for key in ("width", "depth", "patch_size")}
    return PlainCNN(shape, outputs, **sizes, generator=torch.Generator().manual_seed(settings["seed"]))
