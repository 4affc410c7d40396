"""Parameters of the estimators: their names and defaults, what they may be, and the kernel and settings that they make."""

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, ClassVar, Literal

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, InvalidParameterError, StrOptions

from convrfm.errors import InputError
from convrfm.kernels import CNNGP, CNTK, ConvolutionalKernel, PatchLaplace, median_bandwidth
from convrfm.rfm.deep import DeepSettings
from convrfm.rfm.ridge import SolverDtype
from convrfm.rfm.rounds import RFMSettings

__all__ = ["KERNELS", "ConvRFMParameters", "DeepConvRFMParameters"]

KERNELS = ("cntk", "cnngp", "laplace")
"""Names of kernels: `convrfm.kernels.CNTK`, `CNNGP` and `PatchLaplace`."""


class _Number(Interval):
    """A number in an interval; True and False are none, though Python counts them as integers."""

    def is_satisfied_by(self, val: Any) -> bool:
        return not isinstance(val, bool) and super().is_satisfied_by(val)


_COUNT = _Number(Integral, 1, None, closed="left")


class ConvRFMParameters(BaseEstimator):
    """Parameters of ConvRFM; see `convrfm.rfm.estimators.ConvRFMClassifier`."""

    # The others are checked by RFMSettings and DeepSettings.
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "kernel": [StrOptions(set(KERNELS))],
        "depth": [_COUNT],
        "patch_size": [_COUNT],
        "bandwidth": [_Number(Real, 0, None, closed="neither"), StrOptions({"median"})],
        "validation_fraction": [_Number(Real, 0, 1, closed="neither")],
        "backend": [str],
        "memory": [_COUNT, None],
        "copy_X": ["boolean"],
        "n_jobs": [_Number(Integral, None, None, closed="neither"), None],
        "random_state": [
            _Number(Integral, 0, None, closed="left"), np.random.RandomState, np.random.Generator, None,
        ],
        "verbose": [_Number(Integral, 0, None, closed="left"), "boolean"],
    }  # fmt: skip

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
        copy_X: bool = True,
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
        self.copy_X = copy_X
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

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
        if self.kernel == "laplace":
            return PatchLaplace(
                bandwidth=bandwidth, patch_size=self.patch_size, backend=self.backend, memory=self.memory
            )
        kind = {"cntk": CNTK, "cnngp": CNNGP}[self.kernel]
        return kind(depth=self.depth, patch_size=self.patch_size, backend=self.backend, memory=self.memory)

    def _settings(self) -> RFMSettings:
        return RFMSettings(
            rounds=self.rounds,
            ridges=tuple(self.ridges) if np.iterable(self.ridges) else self.ridges,
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


class DeepConvRFMParameters(ConvRFMParameters):
    """Parameters of Deep ConvRFM; see `convrfm.rfm.estimators.DeepConvRFMClassifier` for the parameters."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **ConvRFMParameters._parameter_constraints,
        "stages": [_COUNT, None],
    }

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
        copy_X: bool = True,
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
            copy_X=copy_X,
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
