"""Fetch and verify data sets, and say which are there."""

import logging
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from convrfm.datasets.acquire import State, acquire, examine
from convrfm.datasets.entries import Entry
from convrfm.datasets.places import Place, find_place, fingerprint
from convrfm.datasets.registry import REGISTRY, find_entry
from convrfm.errors import StorageError
from convrfm.replication.record.data_states import require_present
from convrfm.replication.record.session import Job
from convrfm.system.storage import write_json
from convrfm.system.terminal import track

__all__ = ["fetch", "print_states", "require"]

log = logging.getLogger(__name__)

UNCHECKED = "unchecked"  # in the table, of a data set whose manifest cannot be written


def fetch(job: Job) -> None:
    """Fetch what is missing of a data set, verify all of it, and write its state; absent data are no error here."""
    for entry in track([find_entry(job.settings["dataset"])], 1, "data sets", show=True):
        place = _place(job.settings, entry)
        state = _with_command(acquire(entry, place, mirror=job.settings["mirror"]), entry, place)
        log.info("%s is %s. %s", entry.title, state.state, state.reason)
        content = asdict(state) | {"attempt": job.settings["attempt"], "fingerprint": fingerprint(entry, place)}
        write_json(job.outputs["state"], content)


def require(job: Job) -> None:
    """Fail unless the files that a data set is made from are present, its own or others': what its own target does.

    Raises:
        AbsentDataError: they are absent.
        CorruptDataError: they are corrupt.
    """
    for state in job.inputs["states"]:
        require_present(state)
    if not job.inputs["states"]:
        sys.stdout.write(f"{job.settings['dataset']} comes with the installed packages: there is nothing to fetch.\n")


def print_states(job: Job) -> None:
    """Print the state of every data set and weight file, each verified against its manifest; nothing is fetched."""
    entries = list(REGISTRY.values())
    states = {}
    for entry in track(entries, len(entries), "data sets", show=True):
        place = _place(job.settings, entry)
        try:
            states[entry.name] = _with_command(examine(entry, place), entry, place)
        except StorageError as error:
            # What cannot be recorded ends no table of all the others.
            states[entry.name] = State(entry.name, UNCHECKED, f"{entry.title} is not checked: {error}")
    sys.stdout.write("\n".join(_table(states)) + "\n")


def _with_command(state: State, entry: Entry, place: Place) -> State:
    """A state whose remedy says what the workflow can do as well."""
    command, remedy = f"`snakemake -c1 download_{entry.name}`", state.remedy
    # A damaged manifest is in no given folder, and unreadable files are not fetched.
    if state.state != "present" and place.given is not None and not place.of_system and str(place.given) in remedy:
        remedy += f" Or name another folder in data_folders, or take {entry.name} out of it."
    elif state.state == "absent" and entry.obtained != "manual":
        remedy = f"{command} fetches it. {remedy} Or name a filled folder in data_folders."
    elif state.state == "corrupt" and entry.obtained != "manual" and "fetch" in remedy:
        remedy += f" {command} fetches what is not there."
    return replace(state, remedy=remedy)


def _place(settings: Any, entry: Entry) -> Place:
    return find_place(Path(settings["data_dir"]), entry, settings["folders"])


def _shown(entry: Entry, state: State) -> str:
    """The state as it is printed: of files that are there, whether all of them, and whether they are the published ones."""
    if state.state != "present" or not entry.has_files:
        return state.state
    counts = "".join(f" ({there} of {whole})" for there, whole in state.part.values())
    return f"present{' in part' if counts else ''}{counts}, {'verified' if state.verified else 'as first seen'}"


def _table(states: dict[str, State]) -> Iterator[str]:
    """Lines of the table, and below it what is to be done by hand."""
    # What is made from other data is there when they are.
    waits = {name for name in states if any(states[base].state != "present" for base in REGISTRY[name].stands_on)}
    shown = {name: "absent" if name in waits else _shown(REGISTRY[name], state) for name, state in states.items()}
    row = f"{{:15}} {{:{max(map(len, shown.values()))}}} {{:>7}} {{:10}} {{:30}} {{}}"
    yield row.format("name", "state", "MB", "obtained", "figures", "in the data, or how to get them").rstrip()
    for entry in REGISTRY.values():
        state = states[entry.name]
        size = f"{entry.megabytes:.0f}" if entry.has_files else "-"
        figures = " ".join(entry.figures) or "-"
        yield row.format(entry.name, shown[entry.name], size, entry.obtained, figures, _found(entry, state)).rstrip()
    for entry in REGISTRY.values():
        state = states[entry.name]
        if state.state in ("corrupt", UNCHECKED) or (state.state == "absent" and entry.obtained == "manual"):
            yield f"\n{state.reason}\n  {state.remedy}"


def _found(entry: Entry, state: State) -> str:
    """What the data hold, and where that is not what is published; for absent data, what would fetch them."""
    if entry.stands_on:
        return f"from {', '.join(entry.stands_on)}"
    if state.state == "absent" and entry.obtained != "manual":
        return f"snakemake -c1 download_{entry.name}"
    if state.state != "present":
        return "see below"
    parts = []
    # In the order of the registry: a manifest that is read has the order of the alphabet.
    for split in [name for name in (*entry.splits, "weights") if name in state.splits]:
        numbers = dict(sorted(state.splits[split].items(), reverse=True))
        official = {"images": entry.splits.get(split), "classes": entry.classes if split in entry.splits else None}
        others = {what: number for what, number in official.items() if number not in (None, numbers.get(what))}
        note = ", ".join(str(number) if what == "images" else f"{number} {what}" for what, number in others.items())
        counts = ", ".join(f"{count} {what}" for what, count in numbers.items())
        parts.append(f"{split} {counts}" + f" (official: {note})" * bool(note))
    return "; ".join(parts)
