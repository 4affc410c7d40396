"""Numbers that the paper's authors have printed: accuracy and squared error of ConvRFM, round by round.

Source: outputs stored in the ConvRFM notebooks of https://github.com/aradha/agop_feature_learning, by the same authors
with the same kernel and AGOP code: CNTK of three 3x3 convolutions, M = G, AGOP of the first 20 training images, float32,
first images of each data set, pixels in [0, 1].
"""

from dataclasses import dataclass

__all__ = ["AGOP_SAMPLES", "DEPTH", "PATCH_SIZE", "PRINTED", "RIDGE", "PrintedRun"]

DEPTH, PATCH_SIZE, RIDGE, AGOP_SAMPLES = 3, 3, 1e-5, 20
"""Settings of all printed runs."""


@dataclass(frozen=True)
class PrintedRun:
    """One run whose numbers are printed.

    Attributes:
        task: data set, or local-signal task.
        n_train: training images.
        n_test: test images.
        size: pixels of each side.
        sigma: noise level of a local-signal task; None for a data set as it is.
        accuracy: per cent of the test images, by round from 0 on.
        squared_error: of the test images, by round: summed over classes, averaged over images; empty where none is
            printed.
        tolerance: points of accuracy within which a repetition counts as equal, by round. Ours, fixed beforehand. Round 0
            of a data set as it is has no randomness; later rounds depend on rounding through the AGOP; noise is drawn anew.
    """

    task: str
    n_train: int
    n_test: int
    size: int
    sigma: float | None
    accuracy: tuple[float, ...]
    squared_error: tuple[float, ...]
    tolerance: tuple[float, ...]

    @property
    def rounds(self) -> int:
        """How many rounds are printed."""
        return len(self.accuracy)


PRINTED = {
    "svhn-1000": PrintedRun(
        task="svhn",
        n_train=1000,
        n_test=1000,
        size=32,
        sigma=None,
        accuracy=(53.0, 53.3, 54.8, 58.4, 60.5),
        squared_error=(0.7731, 0.7721, 0.7647, 0.7529, 0.7676),
        tolerance=(0.2, 1.0, 1.0, 1.0, 1.0),
    ),
    "noisy-mnist-4000": PrintedRun(
        task="noisy-mnist",
        n_train=4000,
        n_test=4000,
        size=42,
        sigma=1.0,
        accuracy=(52.03, 54.47, 57.28, 59.38),
        squared_error=(0.719, 0.703, 0.685, 0.672),
        tolerance=(2.0, 2.0, 2.0, 2.0),
    ),
    "noisy-mnist-200": PrintedRun(
        task="noisy-mnist",
        n_train=200,
        n_test=200,
        size=42,
        sigma=1.0,
        accuracy=(26.0, 28.5),
        squared_error=(),
        tolerance=(7.0, 7.0),
    ),
}
"""The runs by name."""
