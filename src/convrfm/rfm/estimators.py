"""ConvRFM and Deep ConvRFM as scikit-learn estimators for images `(n, channels, height, width)`."""

from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.metrics import accuracy_score, r2_score
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d

from convrfm.errors import InputError
from convrfm.numerics.inputs import as_array, as_numpy, check_finite, one_hot
from convrfm.rfm.deep import DeepSettings
from convrfm.rfm.estimator_base import COUNT, KERNELS, ConvRFMBase
from convrfm.rfm.rounds import StageData

__all__ = ["KERNELS", "ConvRFMClassifier", "ConvRFMRegressor", "DeepConvRFMClassifier", "DeepConvRFMRegressor"]

LOG_TEMPERATURES = (-4.0, 2.0)  # range of the temperature, in powers of ten


@dataclass(eq=False, repr=False)
class _DeepParameters(ConvRFMBase):
    """Parameters of Deep ConvRFM; see `DeepConvRFMClassifier`."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **ConvRFMBase._parameter_constraints, "stages": [COUNT, None],
    }  # fmt: skip

    _: KW_ONLY
    stages: int | None = None
    filters: int = 64
    nonlinearity: Literal["relu", "none"] = "relu"
    plain_filters: Literal["gaussian", "torch"] = "gaussian"

    def _deep_settings(self) -> DeepSettings:
        stages = self.depth if self.stages is None else self.stages
        return DeepSettings(stages, self.filters, self.nonlinearity, self.plain_filters)


class ConvRFMClassifier(ClassifierMixin, ConvRFMBase):
    """ConvRFM: a convolutional kernel classifier that learns a metric on patches (Algorithm 1 of arXiv 2309.00570).

    Args:
        kernel: "cntk", "cnngp" or "laplace".
        depth: convolutions of the kernel, L; the Laplace kernel has none.
        patch_size: q. The paper uses 3, and 7 for the Laplace kernel.
        bandwidth: of the Laplace kernel; "median" is that of the training images, for all stages, see
            `convrfm.kernels.median_bandwidth`.
        padding, stride, activation, pooling: of the network of "cntk" and "cnngp", see `convrfm.kernels.CNTK`. Deep ConvRFM
            takes values other than the defaults only with one stage.
        rounds, ridges, selection, agop_samples, agop_draw, agop_ridge, metric_power, eigenvalue_fraction: see
            `convrfm.rfm.rounds.RFMSettings`. The defaults are the corrected protocol.
        solver, landmarks, solver_dtype: see `convrfm.rfm.rounds.RFMSettings`.
        validation_fraction: share of the training images, stratified by class, that chooses ridge and round under
            `selection="validation"`.
        backend, memory: see `convrfm.kernels.ConvolutionalKernel`.
        copy_X: whether the model keeps a copy of the training images, which predictions need. With False it may share
            them, and they must not change while the model is in use.
        n_jobs: threads of kernels and linear algebra in `fit` and `predict`, see `convrfm.system.machine`. None changes
            nothing: all cores, or the share that joblib gives to each process, as under `GridSearchCV(n_jobs=2)`.
        random_state: seed or generator for the validation split, the AGOP points and the filters.
        verbose: 0 is silent; otherwise progress is shown, see `convrfm.system.terminal.track`.

    Attributes:
        classes_: the labels, sorted.
        temperature_: of `predict_proba`; None under `selection="test"`.
        image_shape_: `(channels, height, width)` of the training images; `n_features_in_` is their product.
        metric_: the learned patch metric of the best round `(d, d)`, the identity if that is round 0.
        history_: a row for each stage, round and ridge, see `convrfm.rfm.rounds.StageResult`.
        best_stage_, best_round_, best_ridge_: what `predict` uses.
        stages_: what each stage learned, see `convrfm.rfm.deep.Stage`.

    Raises:
        InputError, ImageSizeError, NonFiniteError: images, labels or parameters that cannot be used, in every method that takes
            them; see `convrfm.errors`.
    """

    def _fit(self, X: Any, y: Any, eval_set: tuple[Any, Any] | None) -> StageData:
        data = super()._fit(X, y, eval_set)
        outputs = self.stages_[self.best_stage_].result.validation_outputs
        self.temperature_ = None if outputs is None else _temperature(outputs, data.labels[data.validation])
        return data

    def decision_function(self, X: Any) -> np.ndarray:
        """Give a score for each class `(n, classes)`; for two classes that of the second minus the first `(n,)`."""
        outputs = self.outputs(X)
        return outputs if outputs.shape[1] > 2 else outputs[:, 1] - outputs[:, 0]

    def predict(self, X: Any) -> np.ndarray:
        """Give the label of the largest output, `(n,)`."""
        largest = self.outputs(X).argmax(axis=1)
        return self.classes_[largest]

    def _calibrated(self) -> bool:
        """Whether there are probabilities, for `predict_proba`."""
        if self.selection == "test" and getattr(self, "temperature_", None) is None:
            msg = (
                "predict_proba needs selection='validation': probabilities are calibrated on validation images, and "
                "selection='test' holds out none."
            )
            raise AttributeError(msg)
        if hasattr(self, "stages_") and self.temperature_ is None:
            msg = (
                "predict_proba is missing: the model was fitted without calibration (with selection='test', or by an "
                "older version). Fit it again."
            )
            raise AttributeError(msg)
        return True

    @available_if(_calibrated)
    def predict_proba(self, X: Any) -> np.ndarray:
        """Give the probability of each class `(n, classes)`; `predict` gives the largest.

        It is the softmax of the outputs divided by `temperature_`, which minimises the cross-entropy on the validation
        images (temperature scaling: Guo et al. 2017, arXiv 1706.04599), for the predictor that is fitted to the other
        images. Targets are smoothed as by Platt (1999), to (m + 1) / (m + classes) and 1 / (m + classes) for m images;
        otherwise probabilities would be 0 and 1 where no validation image is wrong.

        Raises:
            AttributeError: `selection="test"`, which holds out no validation images; or a model from a file of format 1.
            InputError, NonFiniteError: see `ConvRFMClassifier`.
        """
        check_is_fitted(self, "stages_")
        return np.asarray(softmax(self.outputs(X) / self.temperature_, axis=1))

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Give the fraction of images, or of their weights, whose label is predicted."""
        predicted = self.predict(X)
        return float(accuracy_score(self._labels(y, predicted, "y"), predicted, sample_weight=sample_weight))

    @property
    def _classes(self) -> int:
        return len(self.classes_)

    def _learn_targets(self, y: Any, images: np.ndarray) -> np.ndarray:
        labels = self._labels(y, images, "y")
        self.classes_ = np.unique(labels)
        if len(self.classes_) < 2:
            msg = f"y holds one class ({str(self.classes_[0])!r}): a classifier needs at least two."
            raise InputError(msg)
        return np.searchsorted(self.classes_, labels)

    def _encode(self, y: Any, images: np.ndarray, name: str) -> np.ndarray:
        """Integers from 0 for labels, all of which must be among `classes_`."""
        labels = self._labels(y, images, name)
        unknown = np.setdiff1d(labels, self.classes_)
        if len(unknown) > 0:
            msg = f"{name} has labels that are not among the training labels: {unknown[:5].tolist()}."
            raise InputError(msg)
        return np.searchsorted(self.classes_, labels)

    def _strata(self, targets: np.ndarray) -> np.ndarray:
        return targets

    def _labels(self, y: Any, images: np.ndarray, name: str) -> np.ndarray:
        """Labels `(n,)` as a NumPy array, one for each image."""
        _check_given(self, y)
        labels = as_array(y, f"The labels of {name}")
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
            msg = f"The labels of {name} are not class labels: {error}"
            raise InputError(msg) from error
        return labels


class DeepConvRFMClassifier(_DeepParameters, ConvRFMClassifier):
    """Deep ConvRFM: ConvRFM stage by stage on random features (Algorithm 2 of arXiv 2309.00570).

    `predict` uses the stage of highest selection accuracy, the earliest of equals.

    Args:
        stages: number of stages; None means `depth`.
        filters, nonlinearity, plain_filters: see `convrfm.rfm.deep.DeepSettings`.
        others: see `ConvRFMClassifier`.

    Attributes:
        metrics_: the metric of each stage's best round; the others as in `ConvRFMClassifier`.
    """


class ConvRFMRegressor(RegressorMixin, ConvRFMBase):
    """ConvRFM for real targets: kernel ridge regression with a learned metric on patches.

    Targets are neither centred nor scaled, as in scikit-learn's `KernelRidge`: there is no intercept. Ridge, round and
    stage are chosen by the R^2 of the validation images, a random part of the training images. R^2 is averaged over
    several targets, while the AGOP adds up squared gradients: bring targets to one scale.

    Args:
        others: see `ConvRFMClassifier`.

    Attributes:
        history_: as in `ConvRFMClassifier`, with `*_r2` in the place of `*_accuracy`.
        others: as in `ConvRFMClassifier`, without `classes_` and `temperature_`.
    """

    def predict(self, X: Any) -> np.ndarray:
        """Give the predicted targets in float64, `(n,)` or `(n, outputs)` as y was in the fit."""
        outputs = self.outputs(X)
        return outputs[:, 0] if self._target_axes == 1 else outputs

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Give R^2, averaged over targets."""
        outputs = self.outputs(X)
        return float(r2_score(self._encode(y, outputs, "y"), outputs, sample_weight=sample_weight))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    @property
    def _classes(self) -> None:
        return None

    def _learn_targets(self, y: Any, images: np.ndarray) -> np.ndarray:
        targets = self._targets(y, images, "y")
        self._target_axes, self._target_count = targets.ndim, targets[0].size
        return targets.reshape(len(targets), -1)

    def _encode(self, y: Any, images: np.ndarray, name: str) -> np.ndarray:
        """Targets `(n, outputs)`, as many for each image as in the fit."""
        targets = self._targets(y, images, name)
        if targets[0].size != self._target_count:
            msg = f"{name} has {targets[0].size} targets for each image, but the fit had {self._target_count}."
            raise InputError(msg)
        return targets.reshape(len(targets), -1)

    def _strata(self, targets: np.ndarray) -> np.ndarray:
        return np.zeros(len(targets))

    def _targets(self, y: Any, images: np.ndarray, name: str) -> np.ndarray:
        """Targets `(n,)` or `(n, outputs)` in float64, for each image."""
        _check_given(self, y)
        targets = as_numpy(y, f"The targets of {name}", copy=True, integers=np.float64)
        if targets.ndim not in (1, 2) or len(targets) != len(images) or targets.size == 0:
            n = len(images)
            msg = f"The targets of {name} must have shape ({n},) or ({n}, outputs), but their shape is {targets.shape}."
            raise InputError(msg)
        check_finite(targets, f"The targets of {name}")
        return targets.astype(np.float64, copy=False)


class DeepConvRFMRegressor(_DeepParameters, ConvRFMRegressor):
    """Deep ConvRFM for real targets, see `ConvRFMRegressor`.

    `predict` uses the stage of highest selection R^2 (the earliest of equals).

    Args:
        stages, filters, nonlinearity, plain_filters: see `DeepConvRFMClassifier`.
        others: see `ConvRFMClassifier`.

    Attributes:
        metrics_: the metric of each stage's best round; the others as in `ConvRFMRegressor`.
    """


def _check_given(estimator: ConvRFMBase, y: Any) -> None:
    if y is None:
        msg = f"{type(estimator).__name__} requires y to be passed, but the target y is None."
        raise InputError(msg)


def _temperature(outputs: np.ndarray, labels: np.ndarray) -> float:
    """Temperature that minimises the cross-entropy of softmax(outputs / temperature) with smoothed targets.

    Args:
        outputs: of the validation images `(m, classes)`.
        labels: of them `(m,)`, from 0.
    """
    m, classes = outputs.shape
    targets = (m * one_hot(labels, classes) + 1) / (m + classes)

    def cross_entropy(log_temperature: float) -> float:
        return float(-(targets * log_softmax(outputs / 10**log_temperature, axis=1)).sum())

    return float(10 ** minimize_scalar(cross_entropy, bounds=LOG_TEMPERATURES, method="bounded").x)
