"""What training and measurement of SimpleNet share: the network that the settings of a job describe."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from convrfm.networks.simplenet import SimpleNet

__all__ = ["build_simplenet"]


def build_simplenet(settings: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> SimpleNet:
    """Give the network before training.

    Args:
        settings: of the job, with `network` and `seed`.
        arrays: the prepared images, whose channels and classes the network has.
    """
    return SimpleNet(
        arrays["train/images"].shape[1],
        arrays["train/targets"].shape[1],
        **settings["network"],
        generator=torch.Generator().manual_seed(settings["seed"]),
    )
