"""The state file of a data set: how the workflow learns whether data are present, and when it has to look again.

A state that says "absent" or "corrupt" is never up to date: each call of Snakemake asks for the next attempt. One that
says "present" is up to date as long as names, sizes and times of the files are what they were. Standard library only:
rules are planned with it.
"""

import json
from pathlib import Path
from typing import Any

from convrfm.datasets.entries import Place, fingerprint
from convrfm.datasets.registry import find_entry
from convrfm.errors import AbsentDataError, CorruptDataError

__all__ = ["STATE", "due_attempt", "read_state", "require_present"]

STATE = "state.json"
"""In the home of a data set: whether it is present, absent or corrupt."""


def read_state(path: Path) -> dict[str, Any]:
    """Read a state file: the fields of `convrfm.datasets.acquire.State`, `attempt` and `fingerprint`."""
    state: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return state


def require_present(path: Path) -> None:
    """Fail unless a state file says that the data are present.

    Raises:
        AbsentDataError: they are absent; the message says why and what to do.
        CorruptDataError: they are corrupt; likewise.
    """
    state = read_state(path)
    if state["state"] != "present":
        kind = AbsentDataError if state["state"] == "absent" else CorruptDataError
        msg = f"{state['reason']} {state['remedy']}"
        raise kind(msg)


def due_attempt(name: str, place: Place) -> int:
    """The number of the attempt that would make the state of a data set true.

    It is a parameter of the rule that writes the state, so that an attempt that is due makes this rule run.

    Args:
        name: of the data set.
        place: where it lies.
    """
    path = place.home / STATE
    if not path.exists():
        return 0
    state = read_state(path)
    holds = state["state"] == "present" and state["fingerprint"] == fingerprint(find_entry(name), place)
    attempt: int = state["attempt"]
    return attempt if holds else attempt + 1
