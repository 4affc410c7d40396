"""The two protocols: which choices stand behind `published` and `corrected`.

`published` follows the paper's text where it decides, and the authors' code elsewhere: ridge, round and epoch are
chosen
by test accuracy, the AGOP is that of the last ridge's predictor on the first 20 images, the first images of a data set
are used, and training does not shuffle. `corrected` chooses by a validation split, takes the AGOP of the chosen
predictor over all training images, draws samples stratified by class, and shuffles.
"""

from typing import Any

__all__ = ["RFM_CHOICES", "VALIDATION_FRACTION"]

VALIDATION_FRACTION = 0.2
"""Share of the training images that validates under `corrected`."""

RFM_CHOICES: dict[str, dict[str, Any]] = {
    "published": {"selection": "test", "agop_samples": 20, "agop_draw": "first", "agop_ridge": "last"},
    "corrected": {"selection": "validation", "agop_samples": "all", "agop_ridge": "selected"},
}
"""Fields of `convrfm.rfm.RFMSettings` by protocol."""
