"""The finite networks of the paper, a module for each family; names are imported when they are first used."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from convrfm.networks.plain_cnn import PlainCNN
    from convrfm.networks.shallow import ShallowCNN
    from convrfm.networks.simplenet import SimpleNet

__all__ = ["PlainCNN", "ShallowCNN", "SimpleNet"]

_HOMES = {
    "PlainCNN": "convrfm.networks.plain_cnn",
    "ShallowCNN": "convrfm.networks.shallow",
    "SimpleNet": "convrfm.networks.simplenet",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
