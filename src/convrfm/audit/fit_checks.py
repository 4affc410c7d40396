"""Fits of ConvRFM: entries of kernel matrices, of AGOPs and of predictions, computed anew from images and metrics.

They rest on what a fit keeps for this, see `convrfm.pipeline.fit_witnesses`, on its metrics and filters, and on its images.
"""

from collections.abc import Iterator, Mapping
from copy import copy
from dataclasses import dataclass

import numpy as np
import pandas as pd

from convrfm.audit.outcome import SpotCheck
from convrfm.audit.spot import TABLE_TOLERANCE, WRONG, deviation_of, judged, largest
from convrfm.deep_rfm import DeepSettings, apply_filters
from convrfm.kernels import ConvolutionalKernel
from convrfm.metric import keep_top_eigenvalues, normalise, power
from convrfm.pipeline.fit_witnesses import part_of
from convrfm.pipeline.fits import feature_choices, feature_data, feature_kernel, task_choices, task_data, task_kernel
from convrfm.pipeline.session import Job
from convrfm.pipeline.task_images import read_task_images
from convrfm.rfm import RFMSettings, StageData
from convrfm.ridge import accuracy
from convrfm.storage import load_arrays

__all__ = ["AGOP_TOLERANCE", "GRAM_TOLERANCE", "check_feature_fit", "check_task_fit"]

BY_REFERENCE = {"backend": "reference", "memory_mb": None}
"""What the checks put in the place of the settings that the fit was computed with."""

BACKENDS = ("reference", "cpu")
"""What is expected, in float64; and the same in the dtype of the images, which tells how well conditioned it is."""

GRAM_TOLERANCE, AGOP_TOLERANCE = 1e-5, 1e-4
"""Largest error of float32 entries, as a fraction of the largest expected one: those of the tests."""

IMAGES = 5
"""Rows, and columns, of the sub-block of a kernel matrix."""

LATER_ROUNDS = 2
"""Rounds of a later stage whose kernel matrix is looked at."""

SPREADS = 3
"""How many times the difference of float32 and float64 on this machine another machine may be off."""

MOST_GRAM_SPREAD, MOST_AGOP_SPREAD = 1e-3, 0.05
"""What is allowed for that at most."""

PAIRS = 2500
"""Pairs of images up to which a metric is computed anew as a whole."""

MOST_FITTED = 5000
"""Fitted images beyond which no AGOP is computed anew: their patches would not fit into memory."""

PREDICTIONS = 1000
"""Pairs of images that predictions may take; one prediction is always made."""

CHUNK = 256
"""Training images that a prediction takes at a time."""


@dataclass(frozen=True)
class _Fit:
    """A fit, with what it was made from.

    Attributes:
        file: its arrays, relative to the project.
        kernel: of stage 0, computed by the reference backend.
        settings: its settings.
        deep: what lies between stages.
        data: its images.
        arrays: what it has written.
        history: its table.
    """

    file: str
    kernel: ConvolutionalKernel
    settings: RFMSettings
    deep: DeepSettings
    data: StageData
    arrays: Mapping[str, np.ndarray]
    history: pd.DataFrame

    @property
    def train(self) -> np.ndarray:
        """Training images."""
        return self.data.train

    @property
    def test(self) -> np.ndarray:
        """Test images; there may be none."""
        assert self.data.test is not None
        return self.data.test

    def metric(self, stage: int, t: int) -> np.ndarray | None:
        """The metric of a round; None for the identity."""
        if t == 0:
            return None
        found = self.arrays.get(f"metric/{stage}/{t}")
        return self.arrays[f"metric/{t}"] if found is None else found

    def features(self, images: np.ndarray, stage: int) -> np.ndarray:
        """Images as a stage sees them."""
        for index in range(stage):
            filters = self.arrays[f"filters/{index}"]
            images = apply_filters(images, filters, self.kernel.patch_size, self.deep.nonlinearity)
        return images


def check_task_fit(job: Job, file: str, rng: np.random.Generator) -> Iterator[SpotCheck]:
    """Check a fit of an experiment whose job is `fit_task`.

    Args:
        job: with its inputs, its settings, and the files of the run as outputs `arrays` and `metrics`.
        file: the arrays, relative to the project.
        rng: chooses entries.

    Raises:
        KeyError: the arrays have nothing to compare with.
    """
    given = {**job.settings, **BY_REFERENCE}
    settings, deep = task_choices(given)
    data = task_data(read_task_images(job), settings.selection, given["seed"])
    arrays, history = load_arrays(job.outputs["arrays"]), pd.read_parquet(job.outputs["metrics"])
    yield from _check(_Fit(file, task_kernel(given), settings, deep, data, arrays, history), rng)


def check_feature_fit(job: Job, file: str, rng: np.random.Generator) -> Iterator[SpotCheck]:
    """The same for a fit whose job is `fit_metric`, which has one stage."""
    given = {**job.settings, **BY_REFERENCE}
    kernel, settings, deep = feature_kernel(given), feature_choices(given), DeepSettings(stages=1)
    arrays, history = load_arrays(job.outputs["arrays"]), pd.read_parquet(job.outputs["metrics"])
    yield from _check(_Fit(file, kernel, settings, deep, feature_data(job), arrays, history.assign(stage=0)), rng)


def _check(fit: _Fit, rng: np.random.Generator) -> Iterator[SpotCheck]:
    yield from _grams(fit, rng)
    if (found := _agop(fit, rng)) is not None:
        yield found
    yield _predictions(fit, rng)
    yield _accuracies(fit)


def _grams(fit: _Fit, rng: np.random.Generator) -> Iterator[SpotCheck]:
    """A sub-block of the kernel matrix of every round of the first stage, and of some rounds of later, slower ones.

    Of a stage the round is named that is closest to what is allowed, see `_allowed`. Patches that a metric makes nearly
    collinear, such as those of smooth photographs, lie at the singular point of the arc cosine, where float32 loses half of
    its digits.
    """
    for stage in range(fit.deep.stages):
        found: list[tuple[float, float]] = []
        entries = 0
        kernel = fit.kernel.shallower(stage)
        rounds = np.arange(fit.settings.rounds)
        if stage > 0:
            rounds = np.sort(rng.choice(rounds, min(LATER_ROUNDS, len(rounds)), replace=False))
        for t in rounds.tolist():
            kept = part_of(fit.arrays, "gram", stage, t)
            rows, columns = (
                np.sort(rng.choice(len(kept[name]), min(IMAGES, len(kept[name])), replace=False))
                for name in ("rows", "columns")
            )
            left = (fit.test if len(fit.test) > 0 else fit.train)[kept["rows"][rows]]
            images = np.concatenate([left, fit.train[kept["columns"][columns]]])
            images = fit.features(images, stage)
            expected, in_float32 = (
                _block(_by(backend, kernel), images, len(left), fit.metric(stage, t)) for backend in BACKENDS
            )
            deviation = deviation_of(kept["entries"][np.ix_(rows, columns)], expected)
            found.append((deviation, _allowed(GRAM_TOLERANCE, MOST_GRAM_SPREAD, deviation_of(in_float32, expected))))
            entries += expected.size
        deviation, tolerance = max(found, key=lambda one: one[0] / one[1])
        what = f"kernel matrix of stage {stage}, a sub-block of {len(rounds)} rounds, relative to its largest entry"
        yield judged(fit.file, what, entries, deviation, tolerance)


def _by(backend: str, kernel: ConvolutionalKernel) -> ConvolutionalKernel:
    """The kernel, computed by a backend."""
    other = copy(kernel)
    other.backend = backend
    return other


def _block(kernel: ConvolutionalKernel, images: np.ndarray, rows: int, metric: np.ndarray | None) -> np.ndarray:
    """Kernel entries of the first images, so many as there are rows, with all others."""
    # Together, so that the metric is prepared once.
    prepared, numbers = kernel.prepare(images, metric), np.arange(len(images))
    return kernel.gram(prepared.take(numbers[:rows]), prepared.take(numbers[rows:]))


def _allowed(tolerance: float, most: float, spread: float) -> float:
    """How far a number may be off: `SPREADS` times what float32 and float64 differ by here, up to a bound, on top.

    Args:
        tolerance: of well-conditioned numbers.
        most: the bound.
        spread: deviation of the compiled backend, in the dtype of the images, from the reference.
    """
    return tolerance + min(SPREADS * spread, most)


def _agop(fit: _Fit, rng: np.random.Generator) -> SpotCheck | None:
    """Entries of the AGOP that gives the metric of one round of the first stage.

    Where the points are the first few images and few enough, the metric itself is computed anew; elsewhere the block that the
    fit has kept, at its few points. None beyond `MOST_FITTED` images, and where there is a single round.

    Coefficients of both signs and nearly collinear patches make an AGOP sensitive to rounding, see `_allowed`.
    """
    if fit.settings.rounds < 2:
        return None
    t = int(rng.integers(fit.settings.rounds - 1))
    kept = part_of(fit.arrays, "agop", 0, t)
    count, n = fit.settings.agop_samples, len(fit.data.fit)
    points = np.arange(n) if count == "all" or count >= n else np.arange(count)
    whole = len(points) * n <= PAIRS and (len(points) == n or fit.settings.agop_draw == "first")
    if n > MOST_FITTED:
        return None
    images = fit.train[fit.data.fit]

    def computed(kernel: ConvolutionalKernel) -> np.ndarray:
        train = kernel.prepare(images, fit.metric(0, t))
        agop = kernel.patch_agop(train, train.take(points if whole else kept["points"]), kept["alpha"])
        if not whole:
            return np.asarray(agop[np.ix_(kept["entries"], kept["entries"])])
        top = keep_top_eigenvalues(agop, fit.settings.eigenvalue_fraction)
        return normalise(power(top, fit.settings.metric_power))

    expected, in_float32 = (computed(_by(backend, fit.kernel)) for backend in BACKENDS)
    found = fit.metric(0, t + 1) if whole else kept["block"]
    assert found is not None
    what = f"AGOP of round {t} at {len(kept['points'])} of its points"
    if whole:
        what = f"metric of round {t + 1}, which is the AGOP of round {t}"
    tolerance = _allowed(AGOP_TOLERANCE, MOST_AGOP_SPREAD, deviation_of(in_float32, expected))
    return judged(
        fit.file, f"{what}, relative to its largest entry", expected.size, deviation_of(found, expected), tolerance
    )


def _predictions(fit: _Fit, rng: np.random.Generator) -> SpotCheck:
    """What the predictor of the first stage's best round says of a few test images.

    An entry of the kernel matrix may be off by its tolerance, and a prediction by that times the sum of the coefficients:
    this is what its difference is measured by.
    """
    kept = part_of(fit.arrays, "best", 0)
    t, alpha = int(kept["round"]), kept["alpha"]
    count = min(len(fit.test), max(1, PREDICTIONS // len(fit.train)))
    chosen = np.sort(rng.choice(len(fit.test), count, replace=False))
    expected = np.zeros((count, alpha.shape[1]))
    points = fit.kernel.prepare(fit.test[chosen], fit.metric(0, t))
    for first in range(0, len(fit.train), CHUNK):
        part = fit.kernel.prepare(fit.train[first : first + CHUNK], fit.metric(0, t))
        expected += fit.kernel.gram(points, part) / kept["scale"] @ alpha[first : first + CHUNK]
    # A class that no training image has: coefficients and predictions are zero.
    total = np.abs(alpha).sum(axis=0)
    difference = np.abs(kept["outputs"][chosen] - expected) / np.where(total > 0, total, 1.0)
    what = f"predictions of round {t}, relative to the sum of the coefficients"
    return judged(fit.file, what, expected.size, float(difference.max()), GRAM_TOLERANCE)


def _accuracies(fit: _Fit) -> SpotCheck:
    """Cells of the table: the test accuracy of each stage's best round, from what its predictor says."""
    worst, labels = 0.0, fit.data.test_labels
    assert labels is not None
    for stage in range(fit.deep.stages):
        kept, table = part_of(fit.arrays, "best", stage), fit.history
        rows = table[(table["stage"] == stage) & (table["round"] == int(kept["round"]))]
        cells = rows.loc[np.isclose(rows["ridge"], float(kept["ridge"]), rtol=1e-9, atol=0), "test_accuracy"]
        worst = largest(worst, *(cells.to_numpy() - accuracy(kept["outputs"], labels)))
        if len(cells) != 1:
            worst = WRONG
    what = "test accuracies of the best rounds in metrics.parquet, from stored predictions"
    return judged(fit.file, what, fit.deep.stages, worst, TABLE_TOLERANCE)
