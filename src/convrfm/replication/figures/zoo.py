"""What Figures 1, 2 and 7 share: the names of networks, and the means over layers that they are drawn from."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from convrfm.replication.figures.skipped import skipped_lines
from convrfm.replication.figures.style import with_interval

__all__ = [
    "STAND_IN_NOTE", "Run", "caption_of_networks", "images_of", "is_stand_in", "mean_over_layers", "number_cell", "order",
    "title",
]  # fmt: skip

STAND_IN_NOTE = "stand-in: narrow nets on scikit-learn digits, not ImageNet"
"""What the figures say of networks that stand in for pretrained ones."""

Run = tuple[str, str, pd.DataFrame]
"""Name of a network, such as "vgg11-v1" or "vgg11-standin", the protocol, and its metrics."""

ORDER = ("alexnet", "vgg", "resnet")


def title(network: str) -> str:
    """The name of a network in figures: "VGG11 BN" for "vgg11_bn-v1", "ResNet50 v2" for "resnet50-v2"."""
    name, _, source = network.partition("-")
    spelled = name.replace("alexnet", "AlexNet").replace("vgg", "VGG").replace("resnet", "ResNet").replace("_bn", " BN")
    return f"{spelled} v2" if source == "v2" else spelled


def is_stand_in(network: str) -> bool:
    """Whether a network stands in for a pretrained one."""
    return network.endswith("-standin")


def order(network: str) -> tuple[int, int, str]:
    """Sorts networks by family, depth, and variant."""
    family = next(index for index, name in enumerate(ORDER) if network.startswith(name))
    digits = "".join(character for character in network.partition("-")[0] if character.isdigit())
    return family, int(digits or 0), network


def mean_over_layers(metrics: pd.DataFrame, quantity: str, when: str, power: float = 1.0) -> dict[str, float]:
    """Mean of a quantity over the paper's layers of one network.

    Where the means themselves were measured, with intervals that know of all layers at once, these are given. Otherwise
    the bounds are the means of the layers' bounds, as if all layers erred alike, which is the widest that they can be.

    Args:
        metrics: of one network, as `convrfm.replication.jobs.ansatz` writes them.
        quantity: such as "pearson".
        when: "trained" or "initial".
        power: of the AGOP.

    Returns:
        `value`, `low`, `high`.
    """
    rows = metrics[(metrics["quantity"] == quantity) & (metrics["when"] == when) & (metrics["power"] == power)]
    measured = rows[rows["layer"] == "mean"]
    if len(measured) == 0:
        measured = rows[rows["in_paper"]]
    # One layer without an interval leaves the mean without one.
    return {name: float(np.mean(measured[name])) for name in ("value", "low", "high")}


def images_of(metrics: pd.DataFrame) -> dict[str, int]:
    """How many images the AGOP of a network was measured on, as a column `images`."""
    return {"images": int(metrics.loc[metrics["quantity"] == "pearson", "images"].max())}


def caption_of_networks(networks: list[str], skipped: Mapping[str, str]) -> list[str]:
    """Sentences on what the networks are, and on what is missing."""
    lines = []
    standing = [title(network) for network in networks if is_stand_in(network)]
    if standing:
        lines += [
            "",
            f"{', '.join(standing)}: {STAND_IN_NOTE}; trained on the spot, not comparable with the paper.",
        ]
    return [*lines, *skipped_lines(skipped, title)]


def number_cell(row: pd.Series, *, signed: bool) -> str:
    """The `value` of a row with its interval, `low` and `high`; differences are signed."""
    return with_interval(row["value"], row["low"], row["high"], "+.3f" if signed else ".3f")
