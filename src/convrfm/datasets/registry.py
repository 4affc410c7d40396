"""Every data set and weight file that the figures may need, by name. Standard library only."""

import difflib
from collections.abc import Mapping

from convrfm.datasets.catalogue.colour import COLOUR
from convrfm.datasets.catalogue.digits import DIGITS
from convrfm.datasets.catalogue.photographs import PHOTOGRAPHS
from convrfm.datasets.catalogue.weights import WEIGHTS
from convrfm.datasets.catalogue.without_files import WITHOUT_FILES
from convrfm.datasets.entries import Entry
from convrfm.errors import DataError

__all__ = ["IMAGE_SETS", "REGISTRY", "WEIGHTS", "files_behind", "find_entry"]

IMAGE_SETS: tuple[Entry, ...] = (*DIGITS, *COLOUR, *PHOTOGRAPHS, *WITHOUT_FILES)

REGISTRY: Mapping[str, Entry] = {entry.name: entry for entry in (*IMAGE_SETS, *WEIGHTS)}


def find_entry(name: str) -> Entry:
    """Give the entry of a name.

    Raises:
        DataError: there is none.
    """
    if name not in REGISTRY:
        close = difflib.get_close_matches(name, REGISTRY, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        msg = f"There is no data set {name!r}; the registry knows {', '.join(REGISTRY)}.{hint}"
        raise DataError(msg)
    return REGISTRY[name]


def files_behind(name: str) -> tuple[str, ...]:
    """Names of the data sets with files that one stands on, itself included if it is such a one."""
    entry = find_entry(name)
    own = (name,) if entry.has_files else ()
    return own + tuple(base for other in entry.stands_on for base in files_behind(other))
