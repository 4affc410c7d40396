"""ConvRFM, Deep ConvRFM and the Convolutional Neural Feature Ansatz of arXiv 2309.00570.

Names are imported when they are first used, so that `import convrfm` is fast.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from convrfm.ansatz import AgopAccumulator, correlations, measure, summarise
    from convrfm.kernels import CNNGP, CNTK
    from convrfm.rfm.estimators import ConvRFMClassifier, ConvRFMRegressor, DeepConvRFMClassifier, DeepConvRFMRegressor
    from convrfm.rfm.model_files import load_model, save_model

__all__ = [
    "CNNGP", "CNTK", "AgopAccumulator", "ConvRFMClassifier", "ConvRFMRegressor", "DeepConvRFMClassifier",
    "DeepConvRFMRegressor", "__version__", "correlations", "load_model", "measure", "save_model", "summarise",
]  # fmt: skip

__version__ = "0.1.0"

_HOMES = {
    "AgopAccumulator": "convrfm.ansatz",
    "CNNGP": "convrfm.kernels",
    "CNTK": "convrfm.kernels",
    "ConvRFMClassifier": "convrfm.rfm.estimators",
    "ConvRFMRegressor": "convrfm.rfm.estimators",
    "DeepConvRFMClassifier": "convrfm.rfm.estimators",
    "DeepConvRFMRegressor": "convrfm.rfm.estimators",
    "correlations": "convrfm.ansatz",
    "load_model": "convrfm.rfm.model_files",
    "measure": "convrfm.ansatz",
    "save_model": "convrfm.rfm.model_files",
    "summarise": "convrfm.ansatz",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)


def __dir__() -> list[str]:
    return sorted(__all__)
