"""Measuring the AGOPs of a network in a job that may be stopped: the sums so far are on disk after every batch."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from torch import nn

from convrfm.ansatz.accumulator import AgopAccumulator
from convrfm.ansatz.agop import accumulate
from convrfm.ansatz.summaries import LayerAgop
from convrfm.errors import StorageError
from convrfm.system.storage import load_arrays, write_arrays

__all__ = ["measure_layers"]

STEPS = "steps"


def measure_layers(
    model: nn.Module,
    images: np.ndarray,
    settings: Mapping[str, Any],
    *,
    seed: int,
    device: str,
    checkpoint: Path,
    description: str,
) -> dict[str, LayerAgop]:
    """Measure the AGOP of every convolution of a network.

    Args:
        model: in eval mode; it is moved to the device.
        images: `(n, channels, height, width)` float32.
        settings: `mode`, `probes`, `batch_size`, `tolerance` and `most_probes`, as for
            `convrfm.ansatz.agop.measure`, which does the same without a checkpoint.
        seed: of the probes.
        device: where to compute.
        checkpoint: written after every batch and read by a later call, whose result is then the same; its name must tell
            apart whatever is measured. It stays until the caller removes it.
        description: what is measured, for the log.

    Returns:
        by the name of the convolution, in the order of the forward pass.

    Raises:
        StorageError: the checkpoint is damaged or cannot be written.
    """
    accumulator = AgopAccumulator(model.to(device), settings["mode"], probes=settings["probes"], seed=seed)

    def keep(steps: int) -> None:
        write_arrays(checkpoint, {**accumulator.state(), STEPS: np.array([steps])})

    return accumulate(
        accumulator, torch.from_numpy(images),
        **{key: settings[key] for key in ("batch_size", "tolerance", "most_probes")},
        description=description, show=True, done=_restored(checkpoint, accumulator), after=keep,
    )  # fmt: skip


def _restored(checkpoint: Path, accumulator: AgopAccumulator) -> int:
    """Bring an accumulator to where a checkpoint was, and give the number of batches that it has seen."""
    if not checkpoint.exists():
        return 0
    try:
        arrays = load_arrays(checkpoint)
        steps = int(arrays.pop(STEPS)[0])
    except (SafetensorError, KeyError) as error:
        msg = f"The checkpoint {checkpoint} is damaged ({error}): delete it to start anew."
        raise StorageError(msg) from error
    accumulator.load_state(arrays)
    return steps
