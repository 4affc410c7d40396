"""The state file of a data set, from which the workflow learns whether the data are present, and when to look again.

The state "absent" or "corrupt" is never up to date: each call of Snakemake makes another attempt. The state "present" is up to
date as long as the files keep their names, sizes and times. Snakemake plans with this module: standard library only.
"""

import json
from pathlib import Path
from typing import Any

from convrfm.datasets.places import STATE, Place, fingerprint
from convrfm.datasets.registry import find_entry
from convrfm.errors import AbsentDataError, CorruptDataError, refuse

__all__ = ["STATE", "due_attempt", "read_state", "require_present"]


def read_state(path: Path, *needs: str) -> dict[str, Any]:
    """Read a state file: the fields of `convrfm.datasets.acquire.State`, `attempt` and `fingerprint`, as far as `needs` go.

    Raises:
        CorruptDataError: it is damaged, lacks a field, or may not be read.
        FileNotFoundError: it is missing.
    """
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
    except PermissionError as error:
        msg = f"{path} cannot be read: {error.strerror}. Make it readable."
        raise CorruptDataError(msg) from error
    except ValueError as error:
        state, reason = None, str(error)
    else:
        lacking = [field for field in ("state", *needs) if not isinstance(state, dict) or field not in state]
        reason = f"it has no {', '.join(lacking)}" if lacking else ""
    refuse(bool(reason), f"{path} is damaged ({reason}): delete it, and it is written again.")
    return dict(state)


def require_present(path: Path) -> None:
    """Check that the data of a state file are present.

    Raises:
        AbsentDataError: they are absent; the message has the reason and the remedy.
        CorruptDataError: they are corrupt, likewise; or the state file is damaged.
    """
    state = read_state(path, "reason", "remedy")
    if state["state"] != "present":
        kind = AbsentDataError if state["state"] == "absent" else CorruptDataError
        msg = f"{state['reason']} {state['remedy']}"
        raise kind(msg)


def due_attempt(name: str, place: Place) -> int:
    """The number of the attempt after which the state of a data set will be true.

    It is a parameter of the rule that writes the state, which therefore runs when an attempt is due.

    Raises:
        CorruptDataError: the state file is damaged, or may not be read.
    """
    try:
        state = read_state(place.home / STATE, "attempt", "fingerprint")
    except FileNotFoundError:
        return 0
    holds = state["state"] == "present" and state["fingerprint"] == fingerprint(find_entry(name), place)
    attempt: int = state["attempt"]
    return attempt if holds else attempt + 1
