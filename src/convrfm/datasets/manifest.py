"""The manifest of a data set: the SHA-256 of every file, recorded when first seen and checked from then on."""

import fcntl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from convrfm.datasets.entries import MANIFEST, Entry, Place
from convrfm.errors import CorruptDataError
from convrfm.system.storage import explained_writes, read_json, sha256, write_json
from convrfm.system.terminal import track

__all__ = ["Manifest", "add_to_manifest", "check_files", "locked", "read_manifest", "verify"]

Manifest = dict[str, Any]
"""`files`: SHA-256, bytes and origin by path; `complete`: whether all files were there; `splits`: what was found in them."""

MOST_BYTES = 10**9
"""Of a manifest: that of ImageNet has 0.3 GB."""


def read_manifest(home: Path) -> Manifest:
    """Read the manifest in the home of a data set; an empty one if there is none.

    Raises:
        CorruptDataError: it cannot be read.
    """
    path = home / MANIFEST
    if not path.exists():
        return {"files": {}, "complete": False, "splits": {}}
    try:
        manifest: Manifest = read_json(path, MOST_BYTES)
    except (OSError, ValueError) as error:
        msg = f"{path} is damaged ({error}): restore it, or delete it to have the files recorded again."
        raise CorruptDataError(msg) from error
    return manifest


@contextmanager
def locked(home: Path) -> Iterator[None]:
    """Keep other processes from changing a data set; waits for those that do.

    Raises:
        StorageError: the folder cannot be written to.
    """
    with explained_writes(home):
        home.mkdir(parents=True, exist_ok=True)
        file = (home / ".lock").open("w")
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def check_files(entry: Entry, place: Place, paths: list[str], manifest: Manifest) -> dict[str, dict[str, Any]]:
    """Compare files, by paths relative to the root of the data, with the manifest from `read_manifest`.

    Returns:
        records for the manifest of those that are seen for the first time.

    Raises:
        CorruptDataError: a file has another hash than when it was first seen, or is not among the files of a data set that
            was complete.
    """
    known = manifest["files"]
    closed = manifest["complete"] and not entry.recorded_when_read
    new = {}
    for path in track(paths, len(paths), f"checking {place.files.name}", delay=5):
        file = place.files / path
        if path not in known and closed and path not in entry.archives:
            msg = (
                f"{file} does not belong to the data set: it was not there when the data set was first seen. Remove it; or, if "
                f"the data set was changed on purpose, delete {place.home / MANIFEST}."
            )
            raise CorruptDataError(msg)
        digest = sha256(file)
        if path not in known:
            new[path] = {"sha256": digest, "bytes": file.stat().st_size, "from": "found there"}
        elif digest != known[path]["sha256"]:
            msg = (
                f"{file} has changed: its SHA-256 is {digest}, but it was {known[path]['sha256']} when it was first seen. "
                "Delete it and fetch it again."
            )
            raise CorruptDataError(msg)
    return new


def add_to_manifest(entry: Entry, place: Place, files: Mapping[str, Any], **facts: Any) -> Manifest:
    """Record files, and facts such as `complete` and `splits`; the caller holds the lock.

    Raises:
        StorageError: the folder cannot be written to.
    """
    manifest = read_manifest(place.home)
    updated = {**manifest, **facts, "dataset": entry.name, "files": {**manifest["files"], **files}}
    if updated != manifest:
        write_json(place.home / MANIFEST, updated)
    return updated


def verify(entry: Entry, place: Place, paths: list[str]) -> dict[str, str]:
    """Check files that are about to be read, record those seen for the first time, and return the SHA-256 of each.

    Raises:
        CorruptDataError: see `check_files`.
        StorageError: the manifest cannot be written to.
    """
    manifest = read_manifest(place.home)
    new = check_files(entry, place, paths, manifest)
    if new:
        with locked(place.home):
            manifest = add_to_manifest(entry, place, new)
    return {path: manifest["files"][path]["sha256"] for path in paths}
