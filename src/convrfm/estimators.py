"""ConvRFM and Deep ConvRFM as scikit-learn classifiers for images `(n, channels, height, width)`."""

from collections.abc import Sequence
from typing import Any, Literal, Self, cast

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d

from convrfm.arrays import as_images
from convrfm.deep_rfm import DeepSettings, Stage, apply_filters, fit_stages, history_of
from convrfm.errors import InputError
from convrfm.kernels import CNNGP, CNTK, ConvolutionalKernel, PatchLaplace, median_bandwidth
from convrfm.rfm import RFMSettings, StageData
from convrfm.ridge import SolverDtype
from convrfm.splits import stratified_draw
from convrfm.threads import limited_threads

__all__ = ["KERNELS", "ConvRFMClassifier", "DeepConvRFMClassifier"]

KERNELS = ("cntk", "cnngp", "laplace")
"""Names of kernels: `convrfm.kernels.CNTK`, `CNNGP` and `PatchLaplace`."""


class ConvRFMClassifier(ClassifierMixin, BaseEstimator):
    """ConvRFM: a convolutional kernel classifier that learns a metric on patches (Algorithm 1 of arXiv 2309.00570).

    Args:
        kernel: "cntk", "cnngp" or "laplace".
        depth: convolutions of the kernel, L; the Laplace kernel has none.
        patch_size: q. The paper uses 3, and 7 for the Laplace kernel.
        bandwidth: of the Laplace kernel; "median" is that of the training images, for all stages, see
            `convrfm.kernels.median_bandwidth`.
        rounds, ridges, selection, agop_samples, agop_draw, agop_ridge, metric_power, eigenvalue_fraction, solver_dtype:
            see `convrfm.rfm.RFMSettings`. The defaults are the corrected protocol.
        validation_fraction: share of the training images, stratified by class, that chooses ridge and round under
            `selection="validation"`.
        backend, memory: see `convrfm.kernels.ConvolutionalKernel`.
        n_jobs: threads of kernels and linear algebra in `fit` and `predict`, see `convrfm.threads`. None leaves them as they
            are set: all cores, or the share that joblib gives to each process, as under `GridSearchCV(n_jobs=2)`.
        random_state: seed or generator for the validation split, the AGOP points and the filters.
        verbose: 0 is silent; otherwise progress is shown, see `convrfm.progress`.

    Attributes:
        classes_: the labels, sorted.
        image_shape_: `(channels, height, width)` of the training images; `n_features_in_` is their product.
        metric_: the learned patch metric of the best round `(d, d)`, the identity if that is round 0.
        history_: a row for each stage, round and ridge, see `convrfm.rfm.StageResult`.
        best_stage_, best_round_, best_ridge_: what `predict` uses.
        stages_: what each stage learned, see `convrfm.deep_rfm.Stage`.
    """

    def __init__(
        self,
        kernel: str = "cntk",
        *,
        depth: int = 3,
        patch_size: int = 3,
        bandwidth: float | Literal["median"] = 10.0,
        rounds: int = 5,
        ridges: Sequence[float] = (1e-8, 1e-5, 1e-3),
        selection: Literal["validation", "test"] = "validation",
        validation_fraction: float = 0.2,
        agop_samples: int | Literal["all"] = "all",
        agop_draw: Literal["random", "first"] = "random",
        agop_ridge: Literal["selected", "last"] = "selected",
        metric_power: float = 1.0,
        eigenvalue_fraction: float = 1.0,
        solver_dtype: SolverDtype = "float64",
        backend: str = "auto",
        memory: int | None = None,
        n_jobs: int | None = None,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.kernel = kernel
        self.depth = depth
        self.patch_size = patch_size
        self.bandwidth = bandwidth
        self.rounds = rounds
        self.ridges = ridges
        self.selection = selection
        self.validation_fraction = validation_fraction
        self.agop_samples = agop_samples
        self.agop_draw = agop_draw
        self.agop_ridge = agop_ridge
        self.metric_power = metric_power
        self.eigenvalue_fraction = eigenvalue_fraction
        self.solver_dtype = solver_dtype
        self.backend = backend
        self.memory = memory
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any, *, eval_set: tuple[Any, Any] | None = None) -> Self:
        """Learn the metric and the classifier.

        Args:
            X: images `(n, channels, height, width)`, array or tensor.
            y: labels `(n,)`.
            eval_set: test images and labels. Their accuracy enters `history_`; under `selection="test"` it also chooses
                ridge and round, as the paper does.

        Raises:
            InputError, ImageSizeError, NonFiniteError: see `convrfm.errors`.
        """
        images, labels = self._checked_training(X, y)
        rng = self._generator()
        test = test_labels = None
        if eval_set is not None:
            test = as_images(eval_set[0], "The images of eval_set")
            self._check_shape(test, "eval_set")
            test_labels = self._encode(self._labels(eval_set[1], test, "eval_set"))
            test = test.astype(images.dtype, copy=False)
        fit = self._fitted_part(labels, rng)
        data = StageData(images, labels, len(self.classes_), fit, test, test_labels)
        with limited_threads(self.n_jobs):
            stages = fit_stages(
                self._kernel(self._bandwidth(images)),
                data,
                self._settings(),
                self._deep_settings(),
                rng,
                show=bool(self.verbose),
            )
        self._take_over(stages)
        return self

    def _take_over(self, stages: list[Stage]) -> None:
        """Set the attributes that follow from the fitted stages."""
        self.stages_ = stages
        self.history_ = history_of(stages)
        self.best_stage_ = int(np.argmax([stage.result.best_score for stage in stages]))
        best = stages[self.best_stage_].result
        self.best_round_, self.best_ridge_ = best.best_round, best.best_ridge

    @property
    def metrics_(self) -> list[np.ndarray]:
        """The metric of each stage's best round, `(d_l, d_l)`."""
        check_is_fitted(self, "stages_")
        sizes = [stage.features.shape[1] * self.patch_size**2 for stage in self.stages_]
        found = [stage.result.best_metric for stage in self.stages_]
        return [np.eye(size) if metric is None else metric for size, metric in zip(sizes, found, strict=True)]

    @property
    def metric_(self) -> np.ndarray:
        """The metric of the first stage, which acts on patches of the images."""
        return self.metrics_[0]

    def decision_function(self, X: Any) -> np.ndarray:
        """Give a score for each class `(n, classes)`; for two classes that of the second minus that of the first `(n,)`.

        Raises:
            InputError, NonFiniteError: see `convrfm.errors`.
        """
        outputs = self.outputs(X)
        return outputs if outputs.shape[1] > 2 else outputs[:, 1] - outputs[:, 0]

    def outputs(self, X: Any) -> np.ndarray:
        """Give the outputs of the predictor, near 1 for the class of an image and 0 for the others: `(n, classes)`.

        Raises:
            InputError, NonFiniteError: see `convrfm.errors`.
        """
        check_is_fitted(self, "stages_")
        images = as_images(X, "X")
        self._check_shape(images, "X")
        dtype = self.stages_[0].features.dtype
        if np.abs(images).max() > np.finfo(dtype).max:
            msg = f"The pixels of X reach {np.abs(images).max():.3g}, which {dtype}, the dtype of the fit, cannot hold."
            raise InputError(msg)
        images = images.astype(dtype, copy=False)
        best = self.stages_[self.best_stage_]
        with limited_threads(self.n_jobs):
            for stage in self.stages_[: self.best_stage_]:
                assert stage.filters is not None  # only the last stage has none
                images = apply_filters(images, stage.filters, self.patch_size, self._deep_settings().nonlinearity)
            gram = best.kernel.gram(images, best.features, best.result.best_metric)
            # The solver leaves alpha in the order of Fortran, and a file in that of C: BLAS adds up in another order.
            return gram.astype(np.float64) / best.result.scale @ np.ascontiguousarray(best.result.alpha)

    def predict(self, X: Any) -> np.ndarray:
        """Give the label of the largest output, `(n,)`.

        Raises:
            InputError, NonFiniteError: see `convrfm.errors`.
        """
        largest = self.outputs(X).argmax(axis=1)
        return self.classes_[largest]

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Give the fraction of images, or of their weights, whose label is predicted.

        Raises:
            InputError, NonFiniteError: see `convrfm.errors`.
        """
        predicted = self.predict(X)
        return float(accuracy_score(self._labels(y, predicted, "y"), predicted, sample_weight=sample_weight))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.three_d_array = False
        return tags

    def _checked_training(self, X: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
        """Check images and labels, set what `predict` checks against, and give labels as integers from 0."""
        if self.kernel not in KERNELS:
            msg = f"Unknown kernel {self.kernel!r}: choose one of {', '.join(KERNELS)}."
            raise InputError(msg)
        images = as_images(X, "X")
        labels = self._labels(y, images, "y")
        self._remember_shape(images)
        self.classes_ = np.unique(labels)
        if len(self.classes_) < 2:
            msg = f"y holds one class only ({self.classes_[0]!r}): a classifier needs at least two."
            raise InputError(msg)
        return images, self._encode(labels)

    def _remember_shape(self, images: np.ndarray) -> None:
        """Set what images are checked against."""
        self.image_shape_, self.n_features_in_ = images.shape[1:], int(np.prod(images.shape[1:]))

    def _check_shape(self, images: np.ndarray, name: str) -> None:
        """Refuse images of another shape than those of the fit; the first words are scikit-learn's."""
        if images.shape[1:] != self.image_shape_:
            msg = (
                f"{name} has {np.prod(images.shape[1:])} features, but {type(self).__name__} is expecting "
                f"{self.n_features_in_} features as input: images must have one shape, but these have {images.shape[1:]}, "
                f"and those of the fit {self.image_shape_}."
            )
            raise InputError(msg)

    def _labels(self, y: Any, images: np.ndarray, name: str) -> np.ndarray:
        """Labels `(n,)` as a NumPy array, one for each image."""
        if y is None:
            msg = f"{type(self).__name__} requires y to be passed, but the target y is None."
            raise InputError(msg)
        labels = np.asarray(y.detach().cpu() if hasattr(y, "detach") else y)
        if labels.shape == (len(images), 1):
            labels = column_or_1d(labels, warn=True)
        if labels.shape != (len(images),):
            msg = f"The labels of {name} must have shape ({len(images)},), but their shape is {labels.shape}."
            raise InputError(msg)
        if pd.isna(labels).any() or (labels.dtype.kind == "f" and not np.isfinite(labels).all()):
            msg = f"The labels of {name} hold missing values, NaN or infinities."
            raise InputError(msg)
        try:
            check_classification_targets(labels)
            np.unique(labels)
        except (TypeError, ValueError) as error:
            msg = f"The labels of {name} are not labels of classes: {error}"
            raise InputError(msg) from error
        return labels

    def _encode(self, labels: np.ndarray) -> np.ndarray:
        """Integers from 0 for labels, all of which must be among `classes_`."""
        unknown = np.setdiff1d(labels, self.classes_)
        if len(unknown) > 0:
            msg = f"Labels that are not among the training labels: {unknown[:5].tolist()}."
            raise InputError(msg)
        return np.searchsorted(self.classes_, labels)

    def _generator(self) -> np.random.Generator:
        if isinstance(self.random_state, np.random.Generator):
            return self.random_state
        if self.random_state is None or isinstance(self.random_state, int | np.integer):
            return np.random.default_rng(self.random_state)
        return np.random.default_rng(check_random_state(self.random_state).randint(2**31))

    def _fitted_part(self, labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Indices that predictors are fitted on: all, or all but a stratified validation part."""
        everything = np.arange(len(labels))
        if self.selection == "test":
            return everything
        if not 0 < self.validation_fraction < 1:
            msg = f"validation_fraction must lie between 0 and 1, but it is {self.validation_fraction}."
            raise InputError(msg)
        held_out = round(self.validation_fraction * len(labels))
        if held_out == 0 or held_out == len(labels):
            msg = (
                f"{len(labels)} training images are too few to hold out a fraction of {self.validation_fraction}: "
                "use more images, or selection='test' with an eval_set."
            )
            raise InputError(msg)
        return np.setdiff1d(everything, stratified_draw(labels, held_out, rng))

    def _bandwidth(self, images: np.ndarray) -> float:
        """The bandwidth as a number, for these training images."""
        if self.kernel == "laplace" and self.bandwidth == "median":
            return median_bandwidth(images, self.patch_size)
        return cast("float", self.bandwidth)

    def _kernel(self, bandwidth: float) -> ConvolutionalKernel:
        if self.kernel == "laplace":
            return PatchLaplace(
                bandwidth=bandwidth, patch_size=self.patch_size, backend=self.backend, memory=self.memory
            )
        kind = {"cntk": CNTK, "cnngp": CNNGP}[self.kernel]
        return kind(depth=self.depth, patch_size=self.patch_size, backend=self.backend, memory=self.memory)

    def _settings(self) -> RFMSettings:
        return RFMSettings(
            rounds=self.rounds,
            ridges=tuple(self.ridges),
            selection=self.selection,
            agop_samples=self.agop_samples,
            agop_draw=self.agop_draw,
            agop_ridge=self.agop_ridge,
            metric_power=self.metric_power,
            eigenvalue_fraction=self.eigenvalue_fraction,
            solver_dtype=self.solver_dtype,
        )

    def _deep_settings(self) -> DeepSettings:
        return DeepSettings(stages=1)


class DeepConvRFMClassifier(ConvRFMClassifier):
    """Deep ConvRFM: ConvRFM stage by stage on random features (Algorithm 2 of arXiv 2309.00570).

    `predict` uses the stage of highest selection accuracy (the earliest of equals).

    Args:
        stages: number of stages; None stands for `depth`.
        filters, nonlinearity, plain_filters: see `convrfm.deep_rfm.DeepSettings`.
        others: see `ConvRFMClassifier`.

    Attributes:
        metrics_: the metric of each stage's best round; the others as in `ConvRFMClassifier`.
    """

    def __init__(
        self,
        kernel: str = "cntk",
        *,
        depth: int = 3,
        stages: int | None = None,
        patch_size: int = 3,
        bandwidth: float | Literal["median"] = 10.0,
        rounds: int = 5,
        ridges: Sequence[float] = (1e-8, 1e-5, 1e-3),
        selection: Literal["validation", "test"] = "validation",
        validation_fraction: float = 0.2,
        agop_samples: int | Literal["all"] = "all",
        agop_draw: Literal["random", "first"] = "random",
        agop_ridge: Literal["selected", "last"] = "selected",
        metric_power: float = 1.0,
        eigenvalue_fraction: float = 1.0,
        solver_dtype: SolverDtype = "float64",
        filters: int = 64,
        nonlinearity: Literal["relu", "none"] = "relu",
        plain_filters: Literal["gaussian", "torch"] = "gaussian",
        backend: str = "auto",
        memory: int | None = None,
        n_jobs: int | None = None,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        super().__init__(
            kernel,
            depth=depth,
            patch_size=patch_size,
            bandwidth=bandwidth,
            rounds=rounds,
            ridges=ridges,
            selection=selection,
            validation_fraction=validation_fraction,
            agop_samples=agop_samples,
            agop_draw=agop_draw,
            agop_ridge=agop_ridge,
            metric_power=metric_power,
            eigenvalue_fraction=eigenvalue_fraction,
            solver_dtype=solver_dtype,
            backend=backend,
            memory=memory,
            n_jobs=n_jobs,
            random_state=random_state,
            verbose=verbose,
        )
        self.stages = stages
        self.filters = filters
        self.nonlinearity = nonlinearity
        self.plain_filters = plain_filters

    def _deep_settings(self) -> DeepSettings:
        return DeepSettings(
            stages=self.depth if self.stages is None else self.stages,
            filters=self.filters,
            nonlinearity=self.nonlinearity,
            plain_filters=self.plain_filters,
        )
