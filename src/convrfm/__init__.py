"""ConvRFM, Deep ConvRFM and the Convolutional Neural Feature Ansatz of arXiv 2309.00570.

Names are imported when they are first used: `import convrfm` is fast.
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

__version__ = "0.2.0"

_HOMES = {
    "convrfm.ansatz": ("AgopAccumulator", "correlations", "measure", "summarise"),
    "convrfm.kernels": ("CNNGP", "CNTK"),
    "convrfm.rfm.estimators": (
        "ConvRFMClassifier", "ConvRFMRegressor", "DeepConvRFMClassifier", "DeepConvRFMRegressor",
    ),
    "convrfm.rfm.model_files": ("load_model", "save_model"),
}  # fmt: skip


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(home), name)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)


def __dir__() -> list[str]:
    return sorted(__all__)
