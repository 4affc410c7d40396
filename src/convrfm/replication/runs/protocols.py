"""The two protocols: which choices stand behind `published` and `corrected`.

`published` follows the paper's text where it decides, and the authors' code elsewhere: ridge, round and epoch are
chosen by test accuracy, the AGOP is that of the last ridge's predictor on the first 20 images, the first images of a data
set are used, and training does not shuffle. `corrected` chooses by a validation split, takes the AGOP of the chosen
predictor over all training images, draws samples stratified by class, and shuffles.
"""

from typing import Any

import numpy as np
import pandas as pd

from convrfm.numerics.inputs import generator, stratified_draw

__all__ = ["RFM_CHOICES", "VALIDATION_FRACTION", "chosen", "held_out_part", "selection_of", "selection_score"]

VALIDATION_FRACTION = 0.2  # share of the training images that validates under `corrected`

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


def selection_score(protocol: str) -> str:
    """The column of a kernel's history that chooses ridge and round."""
    return "test_accuracy" if protocol == "published" else "validation_accuracy"


def chosen(part: pd.DataFrame, score: str) -> dict[str, Any]:
    """The row of a method, from `kernel_parts`: its best ridge and round by a score, the earliest of equals, and its last.

    Returns:
        `accuracy` and `last_accuracy` of the test images, `chosen` (the round), `ridge`.
    """
    best = part.loc[part[score].idxmax()]
    last = part[part["round"] == part["round"].max()]
    return {
        "accuracy": best["test_accuracy"],
        "last_accuracy": last.loc[last[score].idxmax(), "test_accuracy"],
        "chosen": int(best["round"]),
        "ridge": best["ridge"],
    }
