"""The Convolutional Neural Feature Ansatz: W^T W of a convolution is proportional to the AGOP over its input patches.

Names are imported when they are first used: a module that needs only the algebra of W^T D W does not load PyTorch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from convrfm.ansatz.accumulator import AgopAccumulator
    from convrfm.ansatz.agop import measure
    from convrfm.ansatz.summaries import LayerAgop, correlations, summarise

__all__ = ["AgopAccumulator", "LayerAgop", "correlations", "measure", "summarise"]

_HOMES = {
    "AgopAccumulator": "convrfm.ansatz.accumulator",
    "LayerAgop": "convrfm.ansatz.summaries",
    "correlations": "convrfm.ansatz.summaries",
    "measure": "convrfm.ansatz.agop",
    "summarise": "convrfm.ansatz.summaries",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
