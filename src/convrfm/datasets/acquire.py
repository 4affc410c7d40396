"""From a registry entry to verified files, or to a reason why there are none."""

import hashlib
import logging
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from convrfm.datasets.archives import clear_unpacking, unpack
from convrfm.datasets.download import Patience, download, wrong_checksum
from convrfm.datasets.entries import Entry, Place, Remote, data_files, missing, top_names
from convrfm.datasets.manifest import Manifest, add_to_manifest, check_files, locked, read_manifest
from convrfm.errors import AbsentDataError, CorruptDataError
from convrfm.system.storage import clear_leftovers

__all__ = ["State", "acquire", "examine"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class State:
    """The state of a data set.

    Attributes:
        dataset: its name.
        state: "present" (and verified), "absent" or "corrupt".
        reason: one or two sentences; "" if it is present.
        remedy: what to do by hand; "" if it is present.
        digest: hash over the hashes of all its files; "" unless it is present.
        splits: for each split, `images` and `classes` (their numbers), taken from the data; for weights, `tensors`.
    """

    dataset: str
    state: str
    reason: str = ""
    remedy: str = ""
    digest: str = ""
    splits: dict[str, Any] = field(default_factory=dict)


@dataclass
class _Fetched:
    """What one call has brought: files, and their records for the manifest."""

    files: list[Path] = field(default_factory=list)
    records: dict[str, Any] = field(default_factory=dict)


def acquire(entry: Entry, place: Place, *, mirror: str | None = None, patience: Patience | None = None) -> State:
    """Fetch what is missing of a data set, if possible, and check all of it. Never raises for bad data.

    Args:
        entry: from the registry.
        place: where it lies; nothing is fetched into a given folder.
        mirror: an address to use instead of the official ones, with the files of a data set below its name.
        patience: how long a download is tried.

    Raises:
        StorageError: the folder cannot be written to.
    """
    if not entry.has_files:
        return examine(entry, place)
    with locked(place.home):
        clear_unpacking(place.home)
        state = _examine(entry, place)
        if state.state != "absent" or not entry.remotes or place.given is not None:
            return state
        fetched = _Fetched()
        try:
            _check_room(entry, place)
            for remote in entry.remotes:
                if any(path in remote.gives for path in missing(entry, place)):
                    _provide(entry, remote, place, mirror, patience or Patience(), fetched)
            state = _examine(entry, place)
        except AbsentDataError as error:
            return _absent(entry, place, str(error))
        except CorruptDataError as error:
            state = _corrupt(entry, place, error)
        if state.state == "present":
            add_to_manifest(entry, place, fetched.records)
        else:
            # What was fetched a moment ago is no data: leave nothing of it.
            for path in fetched.files:
                path.unlink(missing_ok=True)
        return state


def examine(entry: Entry, place: Place) -> State:
    """Check a data set without fetching anything; files that are seen for the first time are recorded.

    Raises:
        StorageError: the manifest cannot be written to.
    """
    if not entry.has_files:
        splits = _summarise(entry, place) if entry.obtained == "embedded" else {}
        return State(entry.name, "present", splits=splits)
    if missing(entry, place) and not place.home.exists():
        return _examine(entry, place)  # without making a folder for it
    with locked(place.home):
        return _examine(entry, place)


def _summarise(entry: Entry, place: Place) -> dict[str, Any]:
    # Readers bring in torchvision, which nothing else here needs.
    from convrfm.datasets.reading.formats import summarise

    return summarise(entry, place.files)


def _examine(entry: Entry, place: Place) -> State:
    gone = missing(entry, place)
    if gone:
        shown = ", ".join(gone[:4]) + (f" and {len(gone) - 4} more" if len(gone) > 4 else "")
        return _absent(entry, place, f"{shown} not found in {place.files}.")
    try:
        manifest = _checked(entry, place)
    except CorruptDataError as error:
        return _corrupt(entry, place, error)
    lines = [f"{path}\0{manifest['files'][path]['sha256']}\n" for path in data_files(entry, place)]
    # Of files that are recorded when they are read, the names of their folders count.
    lines += sorted(f"{path}\n" for path in top_names(entry, place))
    digest = hashlib.sha256("".join(lines).encode()).hexdigest()
    return State(entry.name, "present", digest=digest, splits=manifest["splits"])


def _checked(entry: Entry, place: Place) -> Manifest:
    """Check all files, read the data through when they are seen for the first time, and record what is new.

    Raises:
        CorruptDataError: something is not what it was, or cannot be read.
    """
    manifest = read_manifest(place.home)
    paths = data_files(entry, place)
    if manifest["complete"] and not entry.recorded_when_read:
        # What is hidden counts no more, but may have been recorded once.
        recorded = set(manifest["files"]) - set(entry.archives)
        gone = sorted(path for path in recorded - set(paths) if not (place.files / path).exists())
        if gone:
            msg = f"{place.files / gone[0]} is gone; in all, {len(gone)} of {len(manifest['files'])} files are."
            raise CorruptDataError(msg)
    paths += [path for path in entry.archives if (place.files / path).is_file()]
    if entry.recorded_when_read:
        paths += [path for path in manifest["files"] if (place.files / path).is_file()]
    _check_sizes(entry, place, paths)
    if not manifest["complete"]:
        _check_published(entry.remotes, place)
    new = check_files(entry, place, paths, manifest)
    facts = {} if manifest["complete"] else {"complete": True, "splits": _summarise(entry, place)}
    return add_to_manifest(entry, place, new, **facts)


def _check_sizes(entry: Entry, place: Place, paths: list[str]) -> None:
    """Refuse a file larger than the data set before it is read: a sparse file takes no room, and days to read."""
    for path in paths:
        size = (place.files / path).stat().st_size
        if size > entry.most_bytes:
            msg = f"{place.files / path} has {size / 1e6:.3g} MB, and all of the data set has {entry.megabytes:g} MB."
            raise CorruptDataError(msg)


def _check_published(remotes: tuple[Remote, ...], place: Place) -> None:
    """Compare files that were put there by hand with the published checksums."""
    for remote in remotes:
        file = place.files / remote.path
        problem = wrong_checksum(file, remote.checksum) if file.is_file() else None
        if problem is not None:
            msg = f"{file} is not the published file: {problem} Delete it and fetch it again."
            raise CorruptDataError(msg)


def _check_room(entry: Entry, place: Place) -> None:
    """Check that the disk has room for all of it, before the first byte is fetched."""
    free = shutil.disk_usage(place.home).free
    held = sum(path.stat().st_size for path in place.home.rglob("*") if path.is_file())
    if entry.megabytes * 1e6 > free + held:
        msg = (
            f"It needs {entry.megabytes:g} MB in {place.home}, and {free / 1e6:.0f} MB are free there: free some, or use "
            "another disk."
        )
        raise AbsentDataError(msg)


def _provide(entry: Entry, remote: Remote, place: Place, mirror: str | None, patience: Patience, fetched: _Fetched) -> None:
    """Fetch one file, unless it is present already, and unpack it."""
    target = place.home / remote.path
    clear_leftovers(target)
    manifest = read_manifest(place.home)
    if target.is_file():
        _check_sizes(entry, place, [remote.path])
        _check_published((remote,), place)
        check_files(entry, place, [remote.path], {**manifest, "complete": False})
    else:
        addresses = (f"{mirror.rstrip('/')}/{entry.name}/{remote.path}",) if mirror else remote.urls
        known = manifest["files"].get(remote.path, {}).get("sha256")
        digest, address = download(remote, target, addresses, known=known, patience=patience, limit=entry.most_bytes)
        size = target.stat().st_size
        log.info("%s: %d bytes from %s", target, size, address)
        fetched.files.append(target)
        fetched.records[remote.path] = {"sha256": digest, "bytes": size, "from": address}
    if remote.unpacking is not None:
        fetched.files += unpack(target, place.home, remote.unpacking, entry.most_bytes)


def _absent(entry: Entry, place: Place, reason: str) -> State:
    if place.given is not None:
        remedy = f"Fill {place.given}."
    elif entry.obtained == "manual":
        remedy = f"By hand, into {place.home}: {entry.steps}"
    else:
        wanted = set(missing(entry, place))
        files = ", ".join(remote.path for remote in entry.remotes if wanted & set(remote.gives))
        remedy = f"By hand: put {files} (see {entry.source}) into {place.home}."
    return State(entry.name, "absent", f"{entry.title} is absent: {reason}", remedy)


def _corrupt(entry: Entry, place: Place, error: CorruptDataError) -> State:
    source = f": {entry.steps}" if entry.obtained == "manual" else " fetch it again."
    remedy = f"Delete what is wrong in {place.files}, then{source}"
    return State(entry.name, "corrupt", f"{entry.title} is corrupt: {error}", remedy)
