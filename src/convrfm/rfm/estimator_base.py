"""What classifiers and regressors share: their parameters, and the fit of rounds and stages to images."""

from collections.abc import Sequence
from copy import copy
from dataclasses import KW_ONLY, dataclass, fields
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, Self
from warnings import warn

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, InvalidParameterError, StrOptions
from sklearn.utils.validation import check_is_fitted

from convrfm.errors import ConvRFMWarning, ImageSizeError, InputError
from convrfm.kernels import CNNGP, CNTK, ConvolutionalKernel, PatchLaplace, median_bandwidth
from convrfm.numerics.inputs import as_images, stratified_draw
from convrfm.numerics.patches import power
from convrfm.rfm.deep import DeepSettings, Stage, apply_filters, fit_stages, history_of
from convrfm.rfm.ridge import SolverDtype
from convrfm.rfm.rounds import RFMSettings, StageData
from convrfm.system.machine import limited_threads

__all__ = ["COUNT", "KERNELS", "ConvRFMBase"]

KERNELS = ("cntk", "cnngp", "laplace")
"""Names of kernels: `convrfm.kernels.CNTK`, `CNNGP` and `PatchLaplace`."""


ENTRIES_AT_ONCE = 2**25
"""Entries of a kernel matrix that a prediction holds at a time: 0.4 GB with those in float64."""


class _Number(Interval):
    """A number in an interval, other than True and False, which Python counts as integers."""

    def is_satisfied_by(self, val: Any) -> bool:
        return not isinstance(val, bool) and super().is_satisfied_by(val)


_NATURAL = _Number(Integral, 0, None, closed="left")

COUNT = _Number(Integral, 1, None, closed="left")
"""Constraint of a parameter: an integer of at least 1."""


@dataclass(eq=False, repr=False)
class ConvRFMBase(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """ConvRFM without an opinion on targets; see `convrfm.rfm.estimators.ConvRFMClassifier` for the parameters.

    A subclass says what targets are: `_learn_targets`, `_encode`, `_strata` and `_classes`. The fields of the dataclass
    are the parameters of `__init__`, which scikit-learn reads from its signature.
    """

    # RFMSettings, DeepSettings and kernels check the others.
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "kernel": [StrOptions(set(KERNELS))],
        "depth": [COUNT],
        "patch_size": [COUNT],
        "bandwidth": [_Number(Real, 0, None, closed="neither"), StrOptions({"median"})],
        "validation_fraction": [_Number(Real, 0, 1, closed="neither")],
        "backend": [str],
        "memory": [COUNT, None],
        "copy_X": ["boolean"],
        "n_jobs": [_Number(Integral, None, None, closed="neither"), None],
        "random_state": [_NATURAL, np.random.RandomState, np.random.Generator, None],
        "verbose": [_NATURAL, "boolean"],
    }

    kernel: str = "cntk"
    _: KW_ONLY
    depth: int = 3
    patch_size: int = 3
    bandwidth: float | Literal["median"] = 10.0
    padding: Literal["valid", "zeros", "circular"] = "valid"
    stride: int | Sequence[int] = 1
    activation: Literal["relu", "erf", "gelu"] = "relu"
    pooling: int | Literal["global"] | None = None
    rounds: int = 5
    ridges: Sequence[float] = (1e-8, 1e-5, 1e-3)
    selection: Literal["validation", "test"] = "validation"
    validation_fraction: float = 0.2
    agop_samples: int | Literal["all"] = "all"
    agop_draw: Literal["random", "first"] = "random"
    agop_ridge: Literal["selected", "last"] = "selected"
    metric_power: float = 1.0
    eigenvalue_fraction: float = 1.0
    solver: Literal["cholesky", "pcg", "nystroem"] = "cholesky"
    landmarks: int = 1000
    solver_dtype: SolverDtype = "float64"
    backend: str = "auto"
    memory: int | None = None
    copy_X: bool = True
    n_jobs: int | None = None
    random_state: Any = None
    verbose: int = 0

    def _check_parameters(self) -> None:
        try:
            self._validate_params()
        except InvalidParameterError as error:
            raise InputError(str(error)) from None

    def _generator(self) -> np.random.Generator:
        if isinstance(self.random_state, np.random.Generator):
            return self.random_state
        if self.random_state is None or isinstance(self.random_state, int | np.integer):
            return np.random.default_rng(self.random_state)
        return np.random.default_rng(check_random_state(self.random_state).randint(2**31))

    def _bandwidth(self, images: np.ndarray) -> Any:
        """The bandwidth of the Laplace kernel as a number, for these training images; others have none."""
        if self.kernel == "laplace" and self.bandwidth == "median":
            return median_bandwidth(images, self.patch_size)
        return self.bandwidth

    def _kernel(self, bandwidth: Any) -> ConvolutionalKernel:
        shared: dict[str, Any] = {name: getattr(self, name) for name in ("patch_size", "backend", "memory")}
        options: dict[str, Any] = {name: getattr(self, name) for name in ("padding", "stride", "activation", "pooling")}
        if self.kernel != "laplace":
            return {"cntk": CNTK, "cnngp": CNNGP}[self.kernel](depth=self.depth, **options, **shared)
        for name, value in options.items():
            if np.any(value != getattr(type(self), name)):
                msg = f"{name} is {value!r}, but the Laplace kernel has none: choose kernel 'cntk' or 'cnngp'."
                raise InputError(msg)
        return PatchLaplace(bandwidth=bandwidth, **shared)

    def _settings(self) -> RFMSettings:
        given = {field.name: getattr(self, field.name) for field in fields(RFMSettings)}
        if np.iterable(self.ridges):
            given["ridges"] = tuple(self.ridges)
        return RFMSettings(**given)

    def _deep_settings(self) -> DeepSettings:
        return DeepSettings(stages=1)

    def fit(self, X: Any, y: Any, *, eval_set: tuple[Any, Any] | None = None) -> Self:
        """Learn the metric and the predictor.

        A fit that fails or is interrupted leaves the model as it was before.

        Args:
            X: images `(n, channels, height, width)`, array or tensor.
            y: labels `(n,)`; targets `(n,)` or `(n, outputs)` of a regressor.
            eval_set: test images and their labels or targets. Their score enters `history_`; with `selection="test"` it
                also chooses ridge and round, as in the paper.
        """
        fitting = copy(self)
        fitting._fit(X, y, eval_set)
        self.__dict__.update(fitting.__dict__)  # one step, which nothing interrupts
        return self

    def _fit(self, X: Any, y: Any, eval_set: tuple[Any, Any] | None) -> StageData:
        """Set all fitted attributes, and give the data of the fit."""
        self._check_parameters()
        settings, deep = self._settings(), self._deep_settings()
        images = as_images(X, "X", copy=self.copy_X)
        kernel = self._kernel(self._bandwidth(images))
        targets = self._learn_targets(y, images)
        _check_channel_axis(images, kernel)
        self._remember_shape(images)
        rng = self._generator()
        test = test_targets = None
        if eval_set is not None:
            if not isinstance(eval_set, tuple | list) or len(eval_set) != 2:
                msg = "eval_set must be a pair of images and labels (or targets), (X_test, y_test)."
                raise InputError(msg)
            test = self._checked_images(eval_set[0], "eval_set", images.dtype)
            test_targets = self._encode(eval_set[1], test, "eval_set")
        data = StageData(images, targets, self._classes, self._fitted_part(targets, rng), test, test_targets)
        with limited_threads(self.n_jobs):
            stages = fit_stages(kernel, data, settings, deep, rng, show=bool(self.verbose))
        self._take_over(stages)
        return data

    def _take_over(self, stages: list[Stage]) -> None:
        """Set the attributes that follow from the fitted stages."""
        self.stages_ = stages
        self.history_ = history_of(stages)
        self.best_stage_ = int(np.argmax([stage.result.best_score for stage in stages]))
        best = stages[self.best_stage_]
        self.best_round_, self.best_ridge_ = best.result.best_round, best.result.best_ridge
        # That of the fit: parameters may be changed afterwards.
        self._nonlinearity = self._deep_settings().nonlinearity
        spec, step = best.kernel.spec, best.kernel.spec.stride(0)
        # Each position by the last pixel of its patch.
        positions = spec.padded(best.features[:1])[0, :, spec.patch_size - 1 :: step, spec.patch_size - 1 :: step]
        self._n_features_out = positions.size * spec.patch_size**2

    @property
    def metrics_(self) -> list[np.ndarray]:
        """The metric of each stage's best round, `(d_l, d_l)`."""
        check_is_fitted(self, "stages_")
        return [_metric_of(stage) for stage in self.stages_]

    @property
    def metric_(self) -> np.ndarray:
        """The metric of the first stage, which acts on patches of the images."""
        return self.metrics_[0]

    def outputs(self, X: Any) -> np.ndarray:
        """Give the outputs of the predictor `(n, outputs)`; a classifier's are near 1 for an image's class, else 0."""
        with limited_threads(self.n_jobs):
            images = self._best_features(X)
            best = self.stages_[self.best_stage_]
            centres = best.kernel.prepare(best.features, best.result.best_metric)
            # The solver leaves alpha in Fortran order, and a file in C order, for which BLAS adds up in another order.
            alpha = np.ascontiguousarray(best.result.alpha)
            step = max(1, ENTRIES_AT_ONCE // len(centres))
            parts = [images[first : first + step] for first in range(0, len(images), step)]
            grams = (best.kernel.gram(best.kernel.prepare(part, best.result.best_metric), centres) for part in parts)
            return np.concatenate([gram.astype(np.float64) / best.result.scale @ alpha for gram in grams])

    def transform(self, X: Any) -> np.ndarray:
        """Give the features that the kernel sees: patches x_u times the square root of the learned metric.

        Patches are those of the images, or in a deep model of the random features of the best stage.

        Returns:
            `(n, d * positions)` in the dtype of the fit: the d entries of M^(1/2) x_u, one after the other, each at all
            positions u row by row. `get_feature_names_out` numbers them.
        """
        with limited_threads(self.n_jobs):
            images = self._best_features(X)
            best = self.stages_[self.best_stage_]
            return _patches_under_root(images, best).reshape(len(images), -1)

    def _best_features(self, X: Any) -> np.ndarray:
        """Images as the best stage sees them."""
        check_is_fitted(self, "stages_")
        images = self._checked_images(X, "X", self.stages_[0].features.dtype)
        for stage in self.stages_[: self.best_stage_]:
            assert stage.filters is not None  # only the last stage has none
            images = apply_filters(images, stage.filters, stage.kernel.patch_size, self._nonlinearity)
        return images

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        return tags

    @property
    def _classes(self) -> int | None:
        """Number of classes; None for regression."""
        raise NotImplementedError

    def _learn_targets(self, y: Any, images: np.ndarray) -> np.ndarray:
        """Set the attributes that describe the targets, and give the targets as `StageData.labels`."""
        raise NotImplementedError

    def _encode(self, y: Any, images: np.ndarray, name: str) -> np.ndarray:
        """Further targets as `StageData.labels`."""
        raise NotImplementedError

    def _strata(self, targets: np.ndarray) -> np.ndarray:
        """Groups `(n,)` of which the validation part has equal shares."""
        raise NotImplementedError

    def _remember_shape(self, images: np.ndarray) -> None:
        """Set the shape that later images are checked against."""
        self.image_shape_, self.n_features_in_ = images.shape[1:], int(np.prod(images.shape[1:]))

    def _checked_images(self, X: Any, name: str, dtype: Any) -> np.ndarray:
        """Images of the shape of the fit, in its dtype; the first words of the error are those of scikit-learn."""
        images = as_images(X, name)
        if images.shape[1:] != self.image_shape_:
            msg = (
                f"{name} has {np.prod(images.shape[1:])} features, but {type(self).__name__} is expecting "
                f"{self.n_features_in_} features as input: the images have shape {images.shape[1:]}, those of the fit "
                f"{self.image_shape_}."
            )
            raise InputError(msg)
        if np.abs(images).max() > np.finfo(dtype).max:
            msg = f"The pixels of {name} reach {np.abs(images).max():.3g}, beyond the range of {dtype}, as in the fit."
            raise InputError(msg)
        return images.astype(dtype, copy=False)

    def _fitted_part(self, targets: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Indices that predictors are fitted on: all, or all but a validation part."""
        everything = np.arange(len(targets))
        if self.selection == "test":
            return everything
        held_out = round(self.validation_fraction * len(targets))
        if held_out == 0 or held_out == len(targets):
            msg = (
                f"Too few training images, n_samples = {len(targets)}, to hold out a fraction of "
                f"{self.validation_fraction}: use more images, or selection='test' with an eval_set."
            )
            raise InputError(msg)
        return np.setdiff1d(everything, stratified_draw(self._strata(targets), held_out, rng))


def _metric_of(stage: Stage) -> np.ndarray:
    """The metric of a stage's best round, the identity written out."""
    metric = stage.result.best_metric
    return np.eye(stage.features.shape[1] * stage.kernel.patch_size**2) if metric is None else metric


def _patches_under_root(images: np.ndarray, stage: Stage) -> np.ndarray:
    """M^(1/2) x_u of a stage's best round, at the positions of its kernel's first layer, `(n, d, P, Q)`."""
    spec, step = stage.kernel.spec, stage.kernel.spec.stride(0)
    return apply_filters(spec.padded(images), power(_metric_of(stage), 0.5), spec.patch_size, "none")[..., ::step, ::step]


def _check_channel_axis(images: np.ndarray, kernel: ConvolutionalKernel) -> None:
    """Refuse images whose channels clearly come last, and warn of ones whose channels may; small first axes pass.

    Raises:
        InputError: square pictures of 1, 3 or 4 channels in the last axis, or ones too narrow when that is taken as width.
    """
    _, first, second, last = images.shape
    if last not in (1, 3, 4) or min(first, second) < 5:
        return
    msg = (
        f"Images must be (n, channels, height, width), but X of shape {images.shape} looks like (n, height, width, "
        "channels): move the channels forward by X.transpose(0, 3, 1, 2), or permute for a tensor. If it really holds "
        f"{first} channels of {second} x {last} pixels, swap its last two axes."
    )
    try:
        kernel.check_size(second, last)
    except ImageSizeError:
        raise InputError(msg) from None
    if first == second:
        raise InputError(msg)
    warn(msg, ConvRFMWarning, stacklevel=4)
