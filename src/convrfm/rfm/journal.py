"""Rounds of ConvRFM on disk: each is written when it ends, and read by a call that continues the fit.

A round is a file of its own: a damaged one costs no other. Kernel matrices that take minutes are filled tile by tile in
files beside it (`convrfm.kernels.gram_file`), which are removed when the round is written.
"""

import json
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from safetensors import SafetensorError

from convrfm.errors import ConvRFMWarning, StorageError
from convrfm.kernels import ConvolutionalKernel
from convrfm.kernels.backends import PreparedImages
from convrfm.system.storage import digest_of, read_arrays, write_arrays

__all__ = ["LARGE", "Round", "RoundJournal"]

LARGE = 4_000_000
"""Fewest entries of a kernel matrix that is filled in a file: smaller ones take minutes on one core."""

ARRAYS = ("alpha", "next_metric", "outputs", "validation_outputs")  # fields of a round that are arrays, or None


@dataclass(frozen=True)
class Round:
    """Result of one round of Algorithm 1.

    Attributes:
        rows: of the history, one for each ridge.
        score: selection score of the selected ridge, see `convrfm.rfm.rounds.StageResult`.
        ridge: the selected one.
        alpha: coefficients `(n, classes)` of its predictor on all training images, for the kernel divided by `scale`.
        scale: largest entry of the kernel matrix of the training images.
        next_metric: `(d, d)` of the next round; None after the last.
        validation_outputs: of the selected ridge's predictor on the validation images `(v, classes)`; None without
            them.
        outputs: on the test images `(m, classes)`; None without them.
    """

    rows: list[dict[str, float | str]]
    score: float
    ridge: float
    alpha: np.ndarray
    scale: float
    next_metric: np.ndarray | None
    validation_outputs: np.ndarray | None
    outputs: np.ndarray | None

    def arrays(self) -> dict[str, np.ndarray]:
        """All arrays by name, without missing ones."""
        return {name: array for name in ARRAYS if (array := getattr(self, name)) is not None}

    @classmethod
    def of(cls, content: dict[str, Any], arrays: dict[str, np.ndarray]) -> "Round":
        """A round from its other fields and its arrays."""
        named: dict[str, Any] = {name: arrays.get(name) for name in ARRAYS}
        return cls(**content, **named)


@dataclass(frozen=True)
class RoundJournal:
    """The finished rounds of one fit.

    Attributes:
        stem: files are named `<stem>-<round>.safetensors`.
        fit: tells apart fits that share a stem: a round of another fit is refused. If empty, each fit needs a stem of
            its own.
    """

    stem: Path
    fit: str = ""

    def stage(self, index: int) -> Self:
        """The journal of one stage of Deep ConvRFM."""
        return replace(self, stem=self.stem.with_name(f"{self.stem.name}-{index}"))

    def recall(self, t: int, rng: np.random.Generator) -> Round | None:
        """Read round t, and set the generator to its state after the round; None if missing, or damaged with a warning.

        Raises:
            StorageError: the file cannot be opened, or is of another fit.
        """
        path = self.path(t)
        if not path.exists():
            return None
        try:
            header, arrays = read_arrays(path)
            content = json.loads(header["round"])
            whole = content.pop("sha256") == digest_of(content, arrays)
        except (SafetensorError, KeyError, ValueError, AttributeError):
            whole = False
        if not whole:
            msg = f"The checkpoint {path} is damaged: round {t} is fitted again."
            warnings.warn(msg, ConvRFMWarning, stacklevel=2)
            return None
        if content.pop("fit", "") != self.fit:
            msg = f"{path} belongs to another fit (other data, settings or code): delete it."
            raise StorageError(msg)
        rng.bit_generator.state = content.pop("generator")
        return Round.of(content, arrays)

    def keep(self, t: int, finished: Round, rng: np.random.Generator) -> None:
        """Write round t, and remove its kernel matrices.

        Raises:
            StorageError: see `convrfm.system.storage`.
        """
        arrays = finished.arrays()
        content = {name: getattr(finished, name) for name in ("rows", "score", "ridge", "scale")}
        content |= {"generator": rng.bit_generator.state, "fit": self.fit}
        # NaN, of missing accuracies, is written as Python reads it.
        text = json.dumps(content | {"sha256": digest_of(content, arrays)})
        write_arrays(self.path(t), arrays, {"round": text})
        for matrix in self.stem.parent.glob(f"{self.stem.name}-{t}-*.npy*"):
            matrix.unlink()

    def gram(
        self, t: int, part: str, kernel: ConvolutionalKernel, left: PreparedImages, right: PreparedImages | None
    ) -> np.ndarray:
        """Compute a kernel matrix of round t, a large one in a file, which keeps the tiles of an earlier call.

        Args:
            t: the round.
            part: name of the matrix within the round.
            kernel: the kernel.
            left: images of the rows.
            right: images of the columns; None for those of the rows.

        Raises:
            StorageError, NonFiniteError: see `convrfm.kernels.ConvolutionalKernel.gram`.
        """
        large = len(left) * len(left if right is None else right) >= LARGE
        out = self.stem.with_name(f"{self.stem.name}-{t}-{part}.npy") if large else None
        # The file has this name only once it is complete.
        matrix: np.ndarray = np.load(out, mmap_mode="r") if out and out.exists() else kernel.gram(left, right, out=out)
        return matrix

    def path(self, t: int) -> Path:
        """The file of round t."""
        return self.stem.with_name(f"{self.stem.name}-{t}.safetensors")
