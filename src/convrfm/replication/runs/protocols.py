"""The two protocols: which choices stand behind `published` and `corrected`.

`published` follows the paper's text where it decides, and the authors' code elsewhere: ridge, round and epoch are
chosen by test accuracy, the AGOP is that of the last ridge's predictor on the first 20 images, the first images of a data
set are used, and training does not shuffle. `corrected` chooses by a validation split, takes the AGOP of the chosen
predictor over all training images, draws samples stratified by class, and shuffles.
"""

from typing import Any

import numpy as np

from convrfm.numerics.sampling import generator, stratified_draw

__all__ = ["RFM_CHOICES", "VALIDATION_FRACTION", "held_out_part", "selection_of"]

VALIDATION_FRACTION = 0.2
"""Share of the training images that validates under `corrected`."""

RFM_CHOICES: dict[str, dict[str, Any]] = {
    "published": {"selection": "test", "agop_samples": 20, "agop_draw": "first", "agop_ridge": "last"},
    "corrected": {"selection": "validation", "agop_samples": "all", "agop_ridge": "selected"},
}
"""Fields of `convrfm.rfm.rounds.RFMSettings` by protocol."""


def selection_of(protocol: str) -> str:
    """What chooses ridge, round and epoch: "test" or "validation"."""
    return str(RFM_CHOICES[protocol]["selection"])


def held_out_part(labels: np.ndarray, selection: str, seed: int) -> np.ndarray:
    """Indices of the training images that validate: none under "test" selection, one stratified part under "validation".

    Kernels and networks of one seed share it.
    """
    if selection == "test":
        return np.array([], dtype=np.int64)
    return stratified_draw(labels, round(VALIDATION_FRACTION * len(labels)), generator(seed, "validation split"))
