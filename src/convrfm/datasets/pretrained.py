"""Weights of torchvision's networks, read as tensors and nothing else."""

from pathlib import Path

import torch

from convrfm.datasets.entries import Entry
from convrfm.datasets.reading.split import explained_reading
from convrfm.errors import CorruptDataError

__all__ = ["read_weights"]


def read_weights(entry: Entry, root: Path) -> dict[str, torch.Tensor]:
    """Read a weight file and compare it with the architecture.

    Args:
        entry: of weights.
        root: the folder of the file.

    Returns:
        the state dictionary, on the CPU.

    Raises:
        CorruptDataError: the file holds anything but tensors, or tensors of other names or shapes than the network has.
    """
    from torchvision.models import get_model

    path = root / entry.required[0]
    with explained_reading(str(path)):
        found = torch.load(path, map_location="cpu", weights_only=True)
    with torch.device("meta"):
        expected = get_model(entry.network, weights=None).state_dict()
    # Files from before PyTorch 0.4.1 lack the counters of batch normalisation, which nothing computes with.
    needed = {name for name in expected if not name.endswith("num_batches_tracked")}
    if not isinstance(found, dict) or not needed <= set(found) <= set(expected):
        msg = f"{path} does not hold the weights of {entry.network}: the names of its tensors are others."
        raise CorruptDataError(msg)
    for name, tensor in found.items():
        if tensor.shape != expected[name].shape:
            msg = f"{path}: {name} has shape {tuple(tensor.shape)}, but {entry.network} has {tuple(expected[name].shape)}."
            raise CorruptDataError(msg)
    return dict(found)
