"""The manifest of a data set: the SHA-256 of what is in each file, recorded when first seen and checked from then on."""

import fcntl
import gzip
import hashlib
import math
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from convrfm.datasets.entries import Entry, Remote
from convrfm.datasets.places import LOCK, MANIFEST, Located, Place, locate
from convrfm.errors import AbsentDataError, CorruptDataError, StorageError, refuse
from convrfm.system.storage import explained_writes, open_plain, read_json, write_json
from convrfm.system.terminal import track

__all__ = [
    "Manifest", "WrongFilesError", "add_to_manifest", "check_files", "differing", "explained_reads", "listed_but_missing",
    "locked", "read_manifest", "remedy_for", "verify", "wrong_checksum", "wrong_files",
]  # fmt: skip

Manifest = dict[str, Any]
"""`files`: SHA-256, bytes, origin and perhaps the published checksum, by path; `complete`: whether all files were there;
`splits`: what was found in them; `folder`: the given folder that they were last found right in, "" for the home."""

CHUNK = 2**20

MOST_BYTES = 10**9  # of a manifest: that of ImageNet has 0.3 GB
AGAIN = "Delete it and fetch it again."  # what to do about a wrong file in the home of a data set


class WrongFilesError(CorruptDataError):
    """Files that are not what they should be; the message is the fault and the remedy, which states give one by one."""

    def __init__(self, fault: str, remedy: str) -> None:
        super().__init__(f"{fault} {remedy}")
        self.fault, self.remedy = fault, remedy


def remedy_for(place: Place, at_home: str) -> str:
    """What to do about wrong files: `at_home` for those in the home of a data set.

    Folders of somebody else are never to be emptied: more often than not they are right, and another data set's.
    """
    if place.of_system:
        return f"Install the package that fills {place.files} again, or put the data into {place.home}."
    if place.given is not None:
        return f"The folder {place.given} holds wrong or damaged files: restore them."
    return at_home


def wrong_files(place: Place, fault: str, at_home: str = AGAIN) -> WrongFilesError:
    """The error of wrong files in a place; `at_home` as of `remedy_for`."""
    return WrongFilesError(fault, remedy_for(place, at_home))


def differing(place: Place, fault: str, at_home: str) -> WrongFilesError:
    """The error of files that differ from those in the manifest."""
    remedy = f"{remedy_for(place, at_home)} Or, if the data set was changed on purpose, delete {place.home / MANIFEST}."
    return WrongFilesError(fault, remedy)


@contextmanager
def explained_reads(place: Place, file: Path | None = None) -> Iterator[None]:
    """Say in a `WrongFilesError` which file or folder the system does not let be read: `file`, or what the error names."""
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        path = file or error.filename or place.files
        fault = f"{path} cannot be read: {error.strerror or str(error).rstrip('.')}."
        raise WrongFilesError(fault, f"Make {path} readable.") from error


def listed_but_missing(place: Place, file: Path) -> WrongFilesError:
    """The error of an image that a list of the data set has, and its folders have not."""
    return wrong_files(place, f"{file} is listed but missing.", "Put it there, or delete the data set and fetch it again.")


def read_manifest(home: Path) -> Manifest:
    """Read the manifest in the home of a data set; an empty one if there is none.

    Raises:
        CorruptDataError: it cannot be read, or is none.
    """
    path = home / MANIFEST
    if not path.exists():
        return {"files": {}, "complete": False, "splits": {}}
    try:
        manifest: Manifest = read_json(path, MOST_BYTES)
        refuse(not _is_manifest(manifest), "it is not a manifest", ValueError)
    except (OSError, ValueError) as error:
        fault = f"{path} is damaged ({error})."
        raise WrongFilesError(fault, "Restore it, or delete it to have the files recorded again.") from error
    return manifest


def _is_manifest(content: Any) -> bool:
    def by_name(value: Any, *needs: str) -> bool:
        return isinstance(value, dict) and all(isinstance(v, dict) and set(needs) <= set(v) for v in value.values())

    return (
        isinstance(content, dict)
        and by_name(content.get("files"), "sha256")
        and by_name(content.get("splits"))
        and content.get("complete") in (True, False)
        and not (content["complete"] and not content["splits"])
    )


@contextmanager
def locked(home: Path) -> Iterator[None]:
    """Keep other processes from changing a data set; waits for those that do.

    Raises:
        StorageError: the folder cannot be written to.
    """
    with explained_writes(home):
        home.mkdir(parents=True, exist_ok=True)
        file = (home / LOCK).open("w")
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def check_files(
    entry: Entry, located: Located, paths: list[str], manifest: Manifest, given_by: Mapping[str, Remote] | None = None
) -> dict[str, dict[str, Any]]:
    """Compare files with the manifest from `read_manifest` and with what is published.

    They are given by their required paths, or relative to the root of the data; `given_by` has the archives, of the published
    checksum, that files were unpacked from a moment ago.

    Returns:
        records for the manifest: of files that are seen for the first time, and of known ones that were now compared with
        what is published. `published` in a record is the checksum of the file, or of the archive that gave it.

    Raises:
        CorruptDataError: a file has another hash than when it was first seen; is not among the files of a data set that
            was complete; is listed but missing; is seen for the first time, and is not the published one; is damaged; or may
            not be read.
    """
    known, place = manifest["files"], located.place
    closed = manifest["complete"] and not entry.recorded_when_read
    new = {}
    for path in track(paths, len(paths), f"checking {place.files.name}", delay=5):
        file = located[path]
        if path not in known and not file.exists():
            raise listed_but_missing(place, file)
        if path not in known and closed and path not in (*entry.archives, *entry.batches):
            fault = f"{file} does not belong to the data set: it was not there when the data set was first seen."
            raise differing(place, fault, "Remove it.")
        checksum = "" if "published" in known.get(path, {}) else entry.published.get(path, "")
        digest, problem = _digest(entry, located, path, checksum)
        if path in known and digest != known[path]["sha256"]:
            fault = f"{file} has changed: its SHA-256 is {digest}, but it was {known[path]['sha256']} when it was first seen."
            raise differing(place, fault, AGAIN)
        # Data sets that were complete before their checksums were known here stay what they are: as first seen.
        if problem and not (path in known and manifest["complete"]):
            raise wrong_files(place, f"{file} is not the published file: {problem}")
        if path not in known:
            new[path] = {"sha256": digest, "bytes": file.stat().st_size, "from": "found there"}
            if given_by and path in given_by:
                new[path] |= {"from": given_by[path].path, "published": given_by[path].checksum}
        if checksum and not problem:
            new[path] = {**known.get(path, {}), **new.get(path, {}), "published": checksum}
    return new


def _digest(entry: Entry, located: Located, path: str, checksum: str) -> tuple[str, str | None]:
    """The SHA-256 of what is in a file, and how it differs from a published checksum; None if it does not, or "" is given."""
    with explained_reads(located.place, located[path]):
        try:
            with located.open(path) as file:
                digest, found = _hashes(file, checksum, entry.most_bytes if located.is_packed(path) else math.inf)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise wrong_files(located.place, f"{located[path]} is damaged ({error}).") from error
    if found is None:
        most = f"{entry.most_bytes / 1e6:.3g} MB, twice the size of the data"
        raise wrong_files(located.place, f"{located[path]} unpacks to more than {most}: it is refused.")
    return digest, _difference(checksum, found)


def _hashes(file: BinaryIO, checksum: str, limit: float = math.inf) -> tuple[str, str | None]:
    """SHA-256 of a stream (hex), and its hash of the kind of a checksum, or None if it has more bytes than `limit`."""
    # MD5 is what is published; it guards against damage here, not against an attacker.
    sums = [hashlib.sha256(), hashlib.new(checksum.partition(":")[0] or "md5", usedforsecurity=False)]
    read = 0
    while chunk := file.read(CHUNK):
        read += len(chunk)
        if read > limit:
            return "", None
        for total in sums:
            total.update(chunk)
    return sums[0].hexdigest(), sums[1].hexdigest()


def _difference(checksum: str, found: str) -> str | None:
    kind, _, expected = checksum.partition(":")
    return None if found.startswith(expected) else f"its {kind.upper()} is {found}, but the published one is {expected}."


def wrong_checksum(path: Path, checksum: str) -> str | None:
    """Compare a file with its published checksum ("md5:...", or the first digits of "sha256:...").

    Returns:
        a sentence with both hashes if they differ; None if they agree, or if no checksum is published.

    Raises:
        OSError: the file is missing, not plain, or unreadable.
    """
    if not checksum:
        return None
    with open_plain(path, math.inf) as file:
        return _difference(checksum, str(_hashes(file, checksum)[1]))


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


def verify(entry: Entry, place: Place, paths: list[str] | None = None) -> dict[str, str]:
    """Check files that are about to be read, record those seen for the first time, and return the SHA-256 of each.

    Without `paths`, they are the required ones that are there.

    Raises:
        AbsentDataError: required files are missing.
        CorruptDataError: see `check_files`; or a file or folder may not be read.
        StorageError: the manifest cannot be written to.
    """
    with explained_reads(place):
        located = locate(entry, place)
        if located.lacking:
            msg = f"{entry.title} is absent: {located.lacking[0]} not found in {place.files}."
            raise AbsentDataError(msg)
        if paths is None:
            paths = [path for path in located.paths if not path.endswith("/")]
        manifest = read_manifest(place.home)
        found = check_files(entry, located, paths, manifest)
        new = {path: record for path, record in found.items() if path not in manifest["files"]}
        if new:
            with locked(place.home):
                manifest = add_to_manifest(entry, place, new)
        return {path: manifest["files"][path]["sha256"] for path in paths}
