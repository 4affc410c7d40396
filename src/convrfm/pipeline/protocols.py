"""The two protocols: which choices stand behind `published` and `corrected`.

`published` follows the paper's text where it decides, and the authors' code elsewhere: ridge, round and epoch are chosen
by test accuracy, the AGOP is that of the last ridge's predictor on the first 20 images, the first images of a data set
are used, and training does not shuffle. `corrected` chooses by a validation split, takes the AGOP of the chosen
predictor over all training images, draws samples stratified by class, and shuffles.
"""

from convrfm.pipeline.config import RFMSection, Protocol
from convrfm.rfm import RFMSettings

__all__ = ["VALIDATION_FRACTION", "rfm_settings"]

VALIDATION_FRACTION = 0.2
"""Share of the training images that validates under `corrected`."""

PUBLISHED_AGOP_SAMPLES = 20


def rfm_settings(section: RFMSection, protocol: Protocol) -> RFMSettings:
    """Settings of ConvRFM under a protocol."""
    if protocol == "published":
        return RFMSettings(
            rounds=section.rounds,
            ridges=tuple(section.ridges),
            selection="test",
            agop_samples=PUBLISHED_AGOP_SAMPLES,
            agop_draw="first",
            agop_ridge="last",
        )
    return RFMSettings(rounds=section.rounds, ridges=tuple(section.ridges))
