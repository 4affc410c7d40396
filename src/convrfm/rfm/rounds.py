"""Algorithm 1 of arXiv 2309.00570, ConvRFM: kernel ridge regression and the patch-AGOP in turn.

M_0 = I; in each round a kernel with metric M_t is fitted, and M_{t+1} is the patch-AGOP of the fitted predictor. Round 0 is the
plain kernel. Where the authors' text, their code and sound practice differ, the choice is a field of `RFMSettings`.

A journal keeps rounds on disk: each is written when it ends, and read by a call that continues the fit. A round is a file of
its own: a damaged one costs no other. Kernel matrices that take minutes are filled tile by tile in files beside it
(`convrfm.kernels.gram_file`), which are removed when the round is written.
"""

import json
import warnings
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import pandas as pd
from safetensors import SafetensorError

from convrfm.errors import ConvRFMWarning, InputError, StorageError
from convrfm.kernels import ConvolutionalKernel
from convrfm.kernels.backends import PreparedImages
from convrfm.kernels.base import certify
from convrfm.numerics.inputs import is_count, is_positive, one_of, refuse_first, stratified_draw, targets_of
from convrfm.numerics.patches import keep_top_eigenvalues, normalise, power
from convrfm.rfm.nystroem import KernelPart, solve_nystroem, solve_pcg
from convrfm.rfm.ridge import RidgeSolution, SolverDtype, accuracy, correct, determination, solve_ridge, squared_error
from convrfm.system.storage import digest_of, read_arrays, write_arrays
from convrfm.system.terminal import track

__all__ = ["LARGE", "RFMSettings", "Round", "RoundJournal", "StageData", "StageResult", "fit_rounds"]

LARGE = 4_000_000
"""Fewest entries of a kernel matrix that is filled in a file: smaller ones take minutes on one core."""

ARRAYS = ("alpha", "next_metric", "outputs", "validation_outputs")  # fields of a round that are arrays, or None


@dataclass(frozen=True)
class RFMSettings:
    """Settings of ConvRFM; the defaults are the corrected protocol.

    Attributes:
        rounds: T, the number of kernel fits; the metric is updated T - 1 times.
        ridges: ridges to try in each round, on the scale of a kernel divided by its largest entry.
        selection: "validation" chooses ridge and round on the validation part; "test" on the test images, as the paper does.
        agop_samples: points at which the AGOP is averaged: "all" training images, or a number of them.
        agop_draw: which ones: "random", or the "first" (the authors' code takes the first 20).
        agop_ridge: the predictor whose AGOP is taken: with the "selected" ridge, or the "last" one tried (the code).
        metric_power: p in M = G^p. 1 is the paper's text; 2 is the default of the authors' code, which multiplies
            patches by G and not by its square root.
        eigenvalue_fraction: share of the largest eigenvalues of G that is kept (an option of the authors' code: 0.25).
        solver: "cholesky" factorises the kernel matrix, with memory for six of its size in float32. "pcg" gives the same
            predictor by conjugate gradients, up to `convrfm.rfm.nystroem.RESIDUAL`, in the memory of one. "nystroem" is an
            approximation: its predictor is a sum over `landmarks`, so that time and memory grow with n instead of n^2.
        landmarks: training images that "nystroem" takes, or all where there are fewer: drawn at random from those that
            predictors are fitted on, with equal shares of the classes.
        solver_dtype: arithmetic of "cholesky"; "float32" in the authors' code.
    """

    rounds: int = 5
    ridges: tuple[float, ...] = (1e-8, 1e-5, 1e-3)
    selection: Literal["validation", "test"] = "validation"
    agop_samples: int | Literal["all"] = "all"
    agop_draw: Literal["random", "first"] = "random"
    agop_ridge: Literal["selected", "last"] = "selected"
    metric_power: float = 1.0
    eigenvalue_fraction: float = 1.0
    solver: Literal["cholesky", "pcg", "nystroem"] = "cholesky"
    landmarks: int = 1000
    solver_dtype: SolverDtype = "float64"

    def __post_init__(self) -> None:
        """Check types and ranges.

        Raises:
            InputError: a value of another type, or out of range.
        """
        ridges, fraction = self.ridges, self.eigenvalue_fraction
        checks = {
            "rounds must be an integer of at least 1": is_count(self.rounds),
            "ridges must be one or more positive numbers in a tuple, such as (1e-3,)": isinstance(ridges, tuple | list)
            and len(ridges) > 0
            and all(map(is_positive, ridges)),
            "agop_samples must be 'all' or an integer of at least 1": is_count(self.agop_samples)
            or (isinstance(self.agop_samples, str) and self.agop_samples == "all"),
            "metric_power must be positive": is_positive(self.metric_power),
            "eigenvalue_fraction must be a number in (0, 1]": is_positive(fraction) and fraction <= 1,
            "landmarks must be an integer of at least 1": is_count(self.landmarks),
        }
        options = {
            "selection": ("validation", "test"),
            "agop_draw": ("random", "first"),
            "agop_ridge": ("selected", "last"),
            "solver": ("cholesky", "pcg", "nystroem"),
            "solver_dtype": ("float64", "float32"),
        }
        double = self.solver == "cholesky" or self.solver_dtype == "float64"
        checks |= one_of(self, options) | {"solver_dtype must be 'float64' unless solver is 'cholesky'": double}
        refuse_first(self, checks)


@dataclass(frozen=True)
class StageData:
    """The data of one stage.

    Attributes:
        train: images `(n, channels, height, width)`.
        labels: integer labels of the training images `(n,)`, from 0; for regression the targets `(n, outputs)` float64.
        classes: outputs of the predictor, one for each class; 1 for a single output with labels 0 and 1; None for regression.
        fit: indices of the training images that predictors are fitted on; the others validate. All with test selection.
        test: images to report on, or None.
        test_labels: their labels, or targets.
        landmarks: indices of the training images over which predictors are sums, among those of `fit`; None for all of these.
    """

    train: np.ndarray
    labels: np.ndarray
    classes: int | None
    fit: np.ndarray
    test: np.ndarray | None = None
    test_labels: np.ndarray | None = None
    landmarks: np.ndarray | None = None

    @property
    def complete(self) -> bool:
        """Whether predictors are fitted on all training images, in their order."""
        return np.array_equal(self.fit, np.arange(len(self.train)))

    @property
    def targets(self) -> np.ndarray:
        """Targets of predictors, `(n, outputs)` float64."""
        return self.labels if self.classes is None else targets_of(self.labels, self.classes)

    @property
    def score(self) -> str:
        """Score that chooses ridges and rounds: "accuracy", or for regression "r2"."""
        return "r2" if self.classes is None else "accuracy"

    @property
    def validation(self) -> np.ndarray:
        """Indices of the training images that validate."""
        return np.setdiff1d(np.arange(len(self.train)), self.fit)

    @property
    def centres(self) -> np.ndarray:
        """Training images over which the predictor is a sum: all, or the landmarks."""
        return self.train if self.landmarks is None else self.train[self.landmarks]

    def with_landmarks(self, settings: RFMSettings, rng: np.random.Generator) -> "StageData":
        """Draw the landmarks, if the solver has any and they are not drawn yet."""
        if settings.solver != "nystroem" or self.landmarks is not None:
            return self
        strata = np.zeros(len(self.fit)) if self.classes is None else self.labels[self.fit]
        drawn = stratified_draw(strata, min(settings.landmarks, len(self.fit)), rng)
        return replace(self, landmarks=self.fit[drawn])


@dataclass(frozen=True)
class StageResult:
    """Result of one stage.

    Attributes:
        metrics: the metric of each round, None for the identity of round 0.
        best_round: the round of highest selection score, which is the accuracy, or R^2 for regression; the earliest of equals.
        best_ridge: the ridge selected in that round.
        best_score: its selection score.
        history: a row for each round and ridge; accuracies are fractions, errors as in
            `convrfm.rfm.ridge.squared_error`; regression has `*_r2` (`convrfm.rfm.ridge.determination`) in place of
            `*_accuracy`; `residual` and `condition` are those of `convrfm.rfm.ridge.RidgeSolution`, `kernel_spread` and
            `kernel_smallest_eigenvalue` those of the round's `convrfm.kernels.base.Certificate`. `selected` marks
            the ridge chosen in a round. Columns of test images are NaN without them. With validation selection,
            `test_*` are those of the predictor fitted again on all training images with the metric of the round, while
            `train_*` and the metric are of the fitted part alone: no validation label reaches the metric.
        alpha: coefficients `(n, classes)` of the best round's predictor, fitted to all training images, for the kernel divided
            by `scale`; `(m, classes)` for m landmarks, see `StageData.centres`.
        scale: largest entry of the kernel matrix that is fitted to in the best round.
        outputs: of that predictor on the test images `(m, classes)`; None without them.
        validation_outputs: on the validation images, of the predictor that is fitted to the others; None without them.
        correct: for each round, whether its predictor with the selected ridge classifies each test image correctly,
            `(m,)` bool; the mean is `test_accuracy`. Empty without test images and for regression.
    """

    metrics: list[np.ndarray | None]
    best_round: int
    best_ridge: float
    best_score: float
    history: pd.DataFrame
    alpha: np.ndarray
    scale: float
    outputs: np.ndarray | None = None
    validation_outputs: np.ndarray | None = None
    correct: list[np.ndarray] = field(default_factory=list)

    @property
    def best_metric(self) -> np.ndarray | None:
        """The metric of the best round; None for the identity."""
        return self.metrics[self.best_round]


@dataclass(frozen=True)
class Round:
    """Result of one round of Algorithm 1.

    Attributes:
        rows: of the history, one for each ridge.
        score: selection score of the selected ridge, see `convrfm.rfm.rounds.StageResult`.
        ridge: the selected one.
        alpha, scale: of its predictor, fitted to all training images, see `convrfm.rfm.rounds.StageResult`.
        next_metric: `(d, d)` of the next round; None after the last.
        validation_outputs: of the selected ridge's predictor on the validation images `(v, classes)`; None without them.
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
        fit: tells apart fits that share a stem: a round of another fit is refused. If empty, each fit needs a stem of its own.
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
        """Write round t, and remove its kernel matrices; errors as `convrfm.system.storage.write_atomically`."""
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

        `part` names the matrix within the round; right is None for the images of the rows. Errors are those of
        `convrfm.kernels.ConvolutionalKernel.gram`.
        """
        large = len(left) * len(left if right is None else right) >= LARGE
        out = self.stem.with_name(f"{self.stem.name}-{t}-{part}.npy") if large else None
        # The file has this name only once it is complete.
        matrix: np.ndarray = np.load(out, mmap_mode="r") if out and out.exists() else kernel.gram(left, right, out=out)
        return matrix

    def path(self, t: int) -> Path:
        """The file of round t."""
        return self.stem.with_name(f"{self.stem.name}-{t}.safetensors")


@dataclass(frozen=True)
class _Blocks:
    """Kernel matrices of one round, each divided by the largest entry of the matrix that its predictor is fitted on.

    Their columns are the centres of the predictor.
    """

    fit: np.ndarray | KernelPart  # the fitted part
    validation: np.ndarray | KernelPart  # the validation part
    train: np.ndarray | KernelPart  # all training images
    test: np.ndarray | KernelPart | None


@dataclass(frozen=True)
class _Fit:
    """One ridge in one round."""

    row: dict[str, float | str]
    partial: RidgeSolution = field(repr=False)
    full: RidgeSolution = field(repr=False)
    validation_outputs: np.ndarray | None = field(repr=False)
    outputs: np.ndarray | None = field(repr=False)


def fit_rounds(
    kernel: ConvolutionalKernel,
    data: StageData,
    settings: RFMSettings,
    rng: np.random.Generator,
    *,
    journal: RoundJournal | None = None,
    description: str = "ConvRFM",
    show: bool = False,
) -> StageResult:
    """Run Algorithm 1.

    Args:
        kernel: the kernel; its metric is what is learned.
        data: images and labels.
        settings: see `RFMSettings`.
        rng: draws the points of the AGOP.
        journal: keeps each round on disk, and returns those of an earlier call, with the same result.
        description: text of the progress.
        show: whether to show progress.

    Raises:
        InputError, ImageSizeError, NonFiniteError, MetricError: see `convrfm.errors`.
        StorageError: the journal cannot be written.
    """
    _check_selection(data, settings)
    data = data.with_landmarks(settings, rng)
    metrics: list[np.ndarray | None] = [None]
    rounds: list[Round] = []
    for t in track(range(settings.rounds), settings.rounds, description, show=show):
        finished = None if journal is None else journal.recall(t, rng)
        if finished is None:
            finished = _fit_round(kernel, data, metrics[t], t, settings, rng, journal)
            if journal is not None:
                journal.keep(t, finished, rng)
        rounds.append(finished)
        if t + 1 < settings.rounds:
            metrics.append(finished.next_metric)
    best_round = int(np.argmax([finished.score for finished in rounds]))
    best = rounds[best_round]
    history = pd.DataFrame([row for finished in rounds for row in finished.rows])
    decided: list[np.ndarray] = []
    if data.classes is not None and data.test_labels is not None:
        decided = [correct(finished.outputs, data.test_labels) for finished in rounds if finished.outputs is not None]
    return StageResult(
        metrics, best_round, best.ridge, best.score, history, best.alpha, best.scale, best.outputs, best.validation_outputs,
        decided,
    )  # fmt: skip


def _fit_round(
    kernel: ConvolutionalKernel,
    data: StageData,
    metric: np.ndarray | None,
    t: int,
    settings: RFMSettings,
    rng: np.random.Generator,
    journal: RoundJournal | None,
) -> Round:
    """Fit all ridges with one metric, and take the AGOP that the next round starts from."""

    def gram(part: str, left: PreparedImages, right: PreparedImages | None) -> np.ndarray:
        matrix: np.ndarray = kernel.gram(left, right) if journal is None else journal.gram(t, part, kernel, left, right)
        return matrix

    train = kernel.prepare(data.train, metric)
    centres = train if data.landmarks is None else train.take(data.landmarks)
    train_gram = gram("train", train, None if data.landmarks is None else centres)
    test_gram = None if data.test is None else gram("test", kernel.prepare(data.test, metric), centres)
    scale = float(train_gram.max())
    blocks = _blocks(train_gram, test_gram, data, settings)
    del train_gram, test_gram  # before the solver takes its part of the memory
    fits = [_fit(blocks, data, ridge, settings, kernel.backend) for ridge in settings.ridges]
    del blocks
    certificate = certify(kernel, data.train, metric)
    quality = {"kernel_spread": certificate.spread, "kernel_smallest_eigenvalue": certificate.smallest_eigenvalue}
    scores = [float(fit.row[f"{settings.selection}_{data.score}"]) for fit in fits]
    chosen = int(np.argmax(scores))
    next_metric = None
    if t + 1 < settings.rounds:
        alpha = (fits[chosen] if settings.agop_ridge == "selected" else fits[-1]).partial.alpha
        fitted = train if data.complete else train.take(data.fit)
        next_metric = _next_metric(kernel, fitted if data.landmarks is None else centres, fitted, alpha, settings, rng)
    return Round(
        rows=[{"round": t, **fit.row, **quality, "selected": i == chosen} for i, fit in enumerate(fits)],
        score=scores[chosen],
        ridge=fits[chosen].full.ridge,
        alpha=fits[chosen].full.alpha,
        scale=scale,
        next_metric=next_metric,
        validation_outputs=fits[chosen].validation_outputs,
        outputs=fits[chosen].outputs,
    )


def _check_selection(data: StageData, settings: RFMSettings) -> None:
    if settings.selection == "test" and data.test is None:
        msg = "selection='test' needs test images; use selection='validation' without them."
        raise InputError(msg)
    if settings.selection == "validation" and len(data.validation) == 0:
        msg = "selection='validation' needs training images left out of the fit, but there are none."
        raise InputError(msg)
    selecting = data.validation if settings.selection == "validation" else data.test
    if data.classes is None and selecting is not None and len(selecting) < 2:
        msg = f"R^2, which chooses ridge and round, needs at least two {settings.selection} images: use more."
        raise InputError(msg)


def _blocks(gram: np.ndarray, test_gram: np.ndarray | None, data: StageData, settings: RFMSettings) -> _Blocks:
    """Cut and scale the kernel matrices of one round, once for all ridges.

    Raises:
        InputError: the kernel is zero everywhere.
    """
    everything = np.arange(len(gram))
    columns = data.fit if data.landmarks is None else np.arange(gram.shape[1])
    if settings.solver == "pcg":
        diagonal = gram.diagonal()  # of a kernel matrix, it has the largest entry
        fitted, largest = _positive(diagonal[data.fit].max()), diagonal.max()
        return _Blocks(
            fit=KernelPart(gram, data.fit, columns, fitted),
            validation=KernelPart(gram, data.validation, columns, fitted),
            train=KernelPart(gram, everything, everything, largest),
            test=None if test_gram is None else KernelPart(test_gram, np.arange(len(test_gram)), everything, largest),
        )
    fit = gram if data.complete else gram[np.ix_(data.fit, columns)]
    largest = _positive(fit.max())
    train = gram / gram.max()
    return _Blocks(
        fit=train if data.complete else np.divide(fit, largest, out=fit),
        validation=gram[np.ix_(data.validation, columns)] / largest,
        train=train,
        test=None if test_gram is None else test_gram / gram.max(),
    )


def _positive(largest: Any) -> Any:
    if not largest > 0:
        msg = "The kernel of the training images is zero everywhere: are all images black?"
        raise InputError(msg)
    return largest


def _fit(blocks: _Blocks, data: StageData, ridge: float, settings: RFMSettings, backend: str) -> _Fit:
    """Fit on the fitted part, and again on all training images where they differ; measure both."""
    score = accuracy if data.classes is not None else determination
    everything = np.arange(len(data.train))
    partial = _solve(blocks.fit, data.fit, data, ridge, settings, backend)
    full = partial if data.complete else _solve(blocks.train, everything, data, ridge, settings, backend)
    row: dict[str, float | str] = {"ridge": ridge}
    parts = {
        "train": (blocks.fit, partial, data.labels[data.fit]),
        "validation": (blocks.validation, partial, data.labels[data.validation]),
        "test": (blocks.test, full, data.test_labels),
    }
    found: dict[str, np.ndarray | None] = {}
    for name, (matrix, solution, labels) in parts.items():
        present = matrix is not None and labels is not None and len(labels) > 0
        outputs = found[name] = matrix @ solution.alpha if present else None
        row[f"{name}_{data.score}"] = float("nan") if outputs is None else score(outputs, labels)
        row[f"{name}_error"] = float("nan") if outputs is None else squared_error(outputs, labels)
    row |= {"solver": full.solver, "residual": full.residual, "condition": full.condition}
    return _Fit(row, partial, full, found["validation"], found["test"])


def _solve(
    matrix: np.ndarray | KernelPart, fitted: np.ndarray, data: StageData, ridge: float, settings: RFMSettings, backend: str
) -> RidgeSolution:
    """Fit to the training images of these indices, with their kernel matrix."""
    targets = data.targets[fitted]
    if isinstance(matrix, KernelPart):
        return solve_pcg(matrix, targets, ridge)
    if data.landmarks is not None:
        return solve_nystroem(matrix, matrix[np.searchsorted(fitted, data.landmarks)], targets, ridge)
    solve = solve_ridge
    if backend == "cuda":
        # Imported here: only GPUs need it.
        from convrfm.rfm.device_solve import solve_on_gpu as solve
    return solve(matrix, targets, ridge, settings.solver_dtype)


def _next_metric(
    kernel: ConvolutionalKernel,
    centres: PreparedImages,
    fitted: PreparedImages,
    alpha: np.ndarray,
    settings: RFMSettings,
    rng: np.random.Generator,
) -> np.ndarray:
    """Patch-AGOP of a predictor, a sum over centres, on the images that it is fitted to: the next metric, of trace d."""
    points = fitted
    if settings.agop_samples != "all" and settings.agop_samples < len(fitted):
        count = settings.agop_samples
        chosen = np.arange(count) if settings.agop_draw == "first" else rng.choice(len(fitted), count, replace=False)
        points = fitted.take(chosen)
    agop = kernel.patch_agop(centres, points, alpha)
    return normalise(power(keep_top_eigenvalues(agop, settings.eigenvalue_fraction), settings.metric_power))
