"""The two local-signal tasks of Karp et al. 2021 (section 4 of arXiv 2309.00570): a signal in a noise frame. And digits.

One draw fixes frames, labels and positions; scaling the frame composes it at any noise level sigma, and curves over sigma
compare the same draws. Two parametrisations of the noise are in use, and `noise_std` is the standard deviation of a noise
pixel:

* sigma, of the authors' code. Bars: `noise_std` = sqrt(sigma / 32), which gives a row of noise the mean squared norm sigma
  against 1 for the bar. Digits: `noise_std` = 0.5 sqrt(sigma).
* s, of the code of Karp et al., which draws noise of standard deviation s and multiplies it by s once more: `noise_std` =
  s^2, for digits; `karp_sigma` gives the sigma of the same noise. Their digits lie at offsets 0 to 14, those of the
  authors and ours at 0 to 13. The bars of their theory have noise of standard deviation log k / sqrt(k), k rows.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from convrfm.errors import InputError, refuse
from convrfm.numerics.inputs import generator

__all__ = [
    "LEAST_CONTRAST", "SHAPES", "TASKS", "LocalSignalDraw", "LocalSignalSplit", "embedded_digits", "in_random_greys",
    "karp_sigma", "noisy_bars", "noisy_digits",
]  # fmt: skip

BAR_HEIGHT, BAR_WIDTH = 16, 32
DIGIT_SIZE, FRAME_SIZE = 28, 42

LEAST_CONTRAST = 90
"""Smallest difference of the greys of a digit and its ground, of 255."""


@dataclass(frozen=True)
class LocalSignalSplit:
    """Images of one split before the noise level is chosen.

    Attributes:
        signal: pixel values of the signal, 0 elsewhere, `(n, 1, height, width)` float32.
        inside: where the signal lies (its box, black pixels included), `(n, 1, height, width)` bool.
        frame: standard normal noise, `(n, 1, height, width)` float32.
        labels: `(n,)` int64.
    """

    signal: np.ndarray
    inside: np.ndarray
    frame: np.ndarray
    labels: np.ndarray

    def images(self, noise_std: float) -> np.ndarray:
        """The images at a standard deviation of the noise, `(n, 1, height, width)` float32."""
        refuse(not noise_std >= 0, f"noise_std must be at least 0, but it is {noise_std}.", InputError)
        return np.where(self.inside, self.signal, np.float32(noise_std) * self.frame)


@dataclass(frozen=True)
class LocalSignalDraw:
    """One draw of a task: training and test split."""

    train: LocalSignalSplit
    test: LocalSignalSplit

    def arrays(self) -> dict[str, np.ndarray]:
        """All arrays of both splits, as `train/signal` and so on."""
        splits: dict[str, LocalSignalSplit] = vars(self)
        return {f"{name}/{part}": array for name, split in splits.items() for part, array in vars(split).items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> "LocalSignalDraw":
        """The draw with these `arrays`.

        Raises:
            KeyError: an array is missing.
        """
        parts = ("signal", "inside", "frame", "labels")
        train, test = (LocalSignalSplit(**{part: arrays[f"{name}/{part}"] for part in parts}) for name in ("train", "test"))
        return cls(train, test)


TASKS: dict[str, Callable[[float], float]] = {
    "bars": lambda sigma: float(np.sqrt(sigma / BAR_WIDTH)),
    **dict.fromkeys(("noisy-digits", "noisy-mnist"), lambda sigma: float(0.5 * np.sqrt(sigma))),
}
"""The tasks by name, with the map from sigma (the authors' parametrisation) to the standard deviation of the noise."""

SHAPES = {"bars": (BAR_HEIGHT, BAR_WIDTH), **dict.fromkeys(("noisy-digits", "noisy-mnist"), (FRAME_SIZE, FRAME_SIZE))}
"""Height and width of the images of each task."""


def karp_sigma(task: str, s: float) -> float:
    """Sigma at which the noise of a task is as strong as at s in the code of Karp et al.: a standard deviation of s^2.

    Raises:
        InputError: s is negative.
    """
    refuse(not s >= 0, f"s must be at least 0, but it is {s}.", InputError)
    return BAR_WIDTH * s**4 if task == "bars" else 4 * s**4


def noisy_bars(n_train: int, n_test: int, *, seed: int) -> LocalSignalDraw:
    """Draw noisy bars: one uniformly random row of a 16x32 frame holds y / sqrt(32), y = +1 (label 1) or -1 by a fair coin.

    Raises:
        InputError: a size below one.
    """
    sizes = f"n_train and n_test must be at least 1, but they are {n_train} and {n_test}."
    refuse(n_train < 1 or n_test < 1, sizes, InputError)
    splits = []
    for split, n in (("train", n_train), ("test", n_test)):
        rng = generator(seed, f"bars, {split}")
        labels = rng.integers(0, 2, n)
        rows = rng.integers(0, BAR_HEIGHT, n)
        frame = rng.standard_normal((n, 1, BAR_HEIGHT, BAR_WIDTH), dtype=np.float32)
        inside = np.zeros(frame.shape, bool)
        inside[np.arange(n), 0, rows] = True
        bars = (2 * labels - 1)[:, None, None, None] / np.sqrt(BAR_WIDTH)
        splits.append(LocalSignalSplit((inside * bars).astype(np.float32), inside, frame, labels))
    return LocalSignalDraw(*splits)


def noisy_digits(train: tuple[np.ndarray, np.ndarray], test: tuple[np.ndarray, np.ndarray], *, seed: int) -> LocalSignalDraw:
    """Paste digits, black box included and free of noise, at random positions of 42x42 noise frames.

    Args:
        train: digits `(n, 28, 28)` float32 in [0, 1] and labels `(n,)`.
        test: the same.
        seed: draws frames and positions. Offsets run from 0 to 13: the authors' code never uses the last one, 14.

    Raises:
        InputError: digits of another size.
    """
    splits = []
    for split, (digits, labels) in (("train", train), ("test", test)):
        shape = f"Digits must have shape (n, {DIGIT_SIZE}, {DIGIT_SIZE}), but their shape is {digits.shape}."
        refuse(digits.shape[1:] != (DIGIT_SIZE, DIGIT_SIZE), shape, InputError)
        rng = generator(seed, f"digits, {split}")
        offsets = rng.integers(0, FRAME_SIZE - DIGIT_SIZE, (len(digits), 2))
        frame = rng.standard_normal((len(digits), 1, FRAME_SIZE, FRAME_SIZE), dtype=np.float32)
        signal, inside = np.zeros(frame.shape, np.float32), np.zeros(frame.shape, bool)
        for i, (row, column) in enumerate(offsets):
            box = (i, 0, slice(row, row + DIGIT_SIZE), slice(column, column + DIGIT_SIZE))
            signal[box], inside[box] = digits[i], True
        splits.append(LocalSignalSplit(signal, inside, frame, labels.astype(np.int64)))
    return LocalSignalDraw(*splits)


def embedded_digits() -> tuple[np.ndarray, np.ndarray]:
    """Scikit-learn's 1797 digits (UCI optical recognition, 8x8), interpolated linearly to the size of MNIST's.

    Returns:
        images `(1797, 28, 28)` float32 in [0, 1] and labels `(1797,)`.
    """
    from scipy import ndimage
    from sklearn.datasets import load_digits

    bunch = load_digits()
    scale = 28 / bunch.images.shape[1]
    images = ndimage.zoom(bunch.images / 16, (1, scale, scale), order=1, mode="nearest", grid_mode=True)
    return images.astype(np.float32), bunch.target


def in_random_greys(strokes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw digits in a random grey on another one: brightness says nothing of the class, edges do.

    Strokes are `(n, height, width)` in [0, 1], 0 the ground and 1 the digit.

    Returns:
        `(n, height, width)` float64, in [0, 255].
    """
    ground = rng.integers(0, 256, len(strokes))
    # Around the circle of greys, so that the way back is as long as that.
    grey = (ground + rng.integers(LEAST_CONTRAST, 257 - LEAST_CONTRAST, len(strokes))) % 256
    images: np.ndarray = ground[:, None, None] + (grey - ground)[:, None, None] * strokes
    return images
