"""From a registry entry to verified files, or to a reason why there are none."""

import hashlib
import logging
import shutil
import tempfile
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from convrfm.datasets.archives import UNPACKING, clear_unpacking, unpack
from convrfm.datasets.download import Patience, download
from convrfm.datasets.entries import IDX, Entry, Remote, Unpacking
from convrfm.datasets.manifest import (
    Manifest,
    WrongFilesError,
    add_to_manifest,
    check_files,
    differing,
    explained_reads,
    locked,
    read_manifest,
    remedy_for,
    wrong_checksum,
    wrong_files,
)
from convrfm.datasets.places import MANIFEST, Located, Place, data_files, locate, top_names, visible_files
from convrfm.errors import AbsentDataError, CorruptDataError
from convrfm.system.storage import clear_leftovers, sha256

__all__ = ["State", "acquire", "examine"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class State:
    """The state of a data set.

    Attributes:
        dataset: its name.
        state: "present", "absent" or "corrupt".
        reason: one or two sentences; if it is present, "" or why it is there in part only.
        remedy: what to do by hand; "" if it is present.
        digest: hash over the hashes of all its files; "" unless it is present.
        splits: for each split, `images` and `classes` (their numbers), taken from the data; for weights, `tensors`.
        verified: whether each file was compared with a published checksum, or came from an archive that was.
        part: for a split of which only the first images are there, their number and that of the whole split.
    """

    dataset: str
    state: str
    reason: str = ""
    remedy: str = ""
    digest: str = ""
    splits: dict[str, Any] = field(default_factory=dict)
    verified: bool = False
    part: dict[str, tuple[int, int]] = field(default_factory=dict)


@dataclass
class _Fetched:
    """What one call has brought."""

    files: list[Path] = field(default_factory=list)  # all of them
    records: dict[str, Any] = field(default_factory=dict)  # of downloads, for the manifest
    as_published: set[str] = field(default_factory=set)  # downloads and archives with the published checksum, by their path
    given_by: dict[str, Remote] = field(default_factory=dict)  # the archive among these that each unpacked file came from


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
    try:
        with explained_reads(place), locked(place.home):
            return _acquired(entry, place, mirror, patience or Patience())
    except WrongFilesError as error:
        return _corrupt(entry, place, error)


def _acquired(entry: Entry, place: Place, mirror: str | None, patience: Patience) -> State:
    clear_unpacking(place.home)
    state = there = _examine(entry, place)
    whole = state.state == "present" and not state.part
    if whole or state.state == "corrupt" or not entry.remotes or place.given is not None:
        return state
    fetched = _Fetched()
    try:
        _check_room(entry, place)
        for remote in entry.remotes:
            located = locate(entry, place)
            if any(path in remote.gives for path in (*located.lacking, *located.absent)):
                _provide(entry, remote, place, mirror, patience, fetched)
        state = _examine(entry, place, fetched)
    except AbsentDataError as error:
        # The first images are of use without the others.
        return replace(there, reason=str(error)) if there.part else _absent(entry, place, str(error))
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
        splits = _summarise(entry, place, []) if entry.obtained == "embedded" else {}
        return State(entry.name, "present", splits=splits)
    try:
        with explained_reads(place):
            # For one that is absent, no folder is made.
            unknown = locate(entry, place).lacking and not place.home.exists()
            with nullcontext() if unknown else locked(place.home):
                return _examine(entry, place)
    except WrongFilesError as error:
        return _corrupt(entry, place, error)


def _summarise(entry: Entry, place: Place, files: list[str]) -> dict[str, Any]:
    # Readers bring in torchvision, which nothing else here needs.
    from convrfm.datasets.formats import summarise

    return summarise(entry, place, files)


def _examine(entry: Entry, place: Place, fetched: _Fetched | None = None) -> State:
    located = locate(entry, place)
    gone = located.lacking
    if gone:
        shown = ", ".join(gone[:4]) + (f" and {len(gone) - 4} more" if len(gone) > 4 else "")
        return _absent(entry, place, f"{shown} not found in {place.files}.")
    files = data_files(entry, located)
    try:
        manifest = _checked(entry, located, files, fetched or _Fetched())
    except CorruptDataError as error:
        return _corrupt(entry, place, error)
    lines = [f"{path}\0{manifest['files'][path]['sha256']}\n" for path in files]
    # Of files that are recorded when they are read, the names of their folders count.
    lines += sorted(f"{path}\n" for path in top_names(entry, located))
    digest = hashlib.sha256("".join(lines).encode()).hexdigest()
    verified = not entry.recorded_when_read and all("published" in manifest["files"][path] for path in files)
    splits = manifest["splits"]
    part = {"train": (splits["train"]["images"], entry.splits["train"])} if located.absent else {}
    return State(entry.name, "present", digest=digest, splits=splits, verified=verified, part=part)


def _checked(entry: Entry, located: Located, files: list[str], fetched: _Fetched) -> Manifest:
    """Check all files, read the data through when they are seen for the first time, and record what is new."""
    place = located.place
    manifest = read_manifest(place.home)
    folder = "" if place.given is None else str(place.given.absolute())
    before = manifest.get("folder", folder)
    try:
        new, facts = _compared(entry, located, files, manifest, fetched)
    except WrongFilesError as error:
        if before == folder:
            raise
        # Another copy, or another layout: neither of the two is wrong by itself.
        kept = place.home / MANIFEST
        fault = f"It was first seen in {before or place.home}, and the files in {place.files} differ: {error.fault}"
        remedy = f"Take the data from {before or place.home} again; or delete {kept} to take them from {place.files}."
        raise WrongFilesError(fault, remedy) from error
    return add_to_manifest(entry, place, new, folder=folder, **facts)


def _compared(
    entry: Entry, located: Located, files: list[str], manifest: Manifest, fetched: _Fetched
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What is new: records of files, and facts for the manifest."""
    place = located.place
    if manifest["complete"] and not entry.recorded_when_read:
        # What is hidden counts no more, but may have been recorded once.
        recorded = set(manifest["files"]) - set(entry.archives)
        gone = sorted(path for path in recorded - set(files) if not located[path].exists())
        if gone:
            fault = f"{place.files / gone[0]} is gone; in all, {len(gone)} of {len(manifest['files'])} files are."
            raise differing(place, fault, "Put it back; or delete the rest, and fetch all of it again.")
    # A fetched archive has been checked, and its record is about to be replaced; one that is read in place is data.
    read = set(located.paths.values())
    archives = (path for path in entry.archives if path not in fetched.records and place.files / path not in read)
    paths = files + [path for path in archives if (place.files / path).is_file()]
    if entry.recorded_when_read:
        paths += [path for path in manifest["files"] if (place.files / path).is_file()]
    _check_sizes(entry, located, paths)
    if not manifest["complete"]:
        _check_archives(entry, place, fetched)
    new = check_files(entry, located, paths, manifest, fetched.given_by)
    grown = any(path in new and path not in manifest["files"] for path in entry.batches)
    facts = {} if manifest["complete"] and not grown else {"complete": True, "splits": _summarise(entry, place, files)}
    return new, facts


def _check_sizes(entry: Entry, located: Located, paths: list[str]) -> None:
    """Refuse a file larger than the data set before it is read: a sparse file takes no room, and days to read."""
    for path in paths:
        size = located[path].stat().st_size
        if size > entry.most_bytes:
            fault = f"{located[path]} has {size / 1e6:.3g} MB, and all of the data set has {entry.megabytes:g} MB."
            raise wrong_files(located.place, fault)


def _check_archives(entry: Entry, place: Place, fetched: _Fetched) -> None:
    """Refuse archives put there by hand that are not the published ones, unless what they give is checked by itself."""
    for remote in entry.remotes:
        archive = place.files / remote.path
        known = all(path in entry.contents for path in remote.gives)
        if remote.unpacking is None or remote.path in fetched.records or not archive.is_file() or known:
            continue
        problem = wrong_checksum(archive, remote.checksum)
        if problem is not None:
            raise wrong_files(place, f"{archive} is not the published file: {problem}")


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
    known = manifest["files"].get(remote.path, {}).get("sha256")
    if target.is_file():
        located = locate(entry, place)
        _check_sizes(entry, located, [remote.path])
        problem = _problem(entry, remote, target, place, None, fetched)
        if problem is not None:
            raise wrong_files(place, f"{target} is not the published file: {problem}")
        check_files(entry, located, [remote.path], {**manifest, "complete": False})
    else:
        addresses = (f"{mirror.rstrip('/')}/{entry.name}/{remote.path}",) if mirror else remote.urls
        digest, address = download(
            remote, target, addresses, check=lambda file: _problem(entry, remote, file, place, known, fetched),
            patience=patience, limit=entry.most_bytes,
        )  # fmt: skip
        size = target.stat().st_size
        log.info("%s: %d bytes from %s", target, size, address)
        fetched.files.append(target)
        fetched.records[remote.path] = {"sha256": digest, "bytes": size, "from": address}
        if remote.path in fetched.as_published:
            fetched.records[remote.path]["published"] = remote.checksum
    if remote.unpacking is not None:
        unpacked = unpack(target, place.home, remote.unpacking, entry.most_bytes)
        fetched.files += unpacked
        if remote.path in fetched.as_published:
            fetched.given_by |= {path.relative_to(place.home).as_posix(): remote for path in unpacked}


def _problem(entry: Entry, remote: Remote, file: Path, place: Place, known: str | None, fetched: _Fetched) -> str | None:
    """What is wrong with a file that was fetched or put there; None if nothing is.

    An archive with another checksum than the published one is right if what is in it is what is published: it was
    compressed by somebody else. `known` is the SHA-256 of the file when it was first seen.
    """
    problem = wrong_checksum(file, remote.checksum)
    if problem is None and remote.checksum:
        fetched.as_published.add(remote.path)
    if remote.unpacking is not None and all(path in entry.contents for path in remote.gives):
        return problem if problem is None or not _gives_published(entry, remote, remote.unpacking, file, place) else None
    if problem is None and known is not None and (found := sha256(file)) != known:
        problem = f"its SHA-256 is {found}, but it was {known} when it was first seen."
    return problem


def _gives_published(entry: Entry, remote: Remote, how: Unpacking, file: Path, place: Place) -> bool:
    """Whether an archive unpacks to what is published of its content."""
    with tempfile.TemporaryDirectory(prefix=UNPACKING, dir=place.home) as folder:
        aside = Path(folder)
        try:
            # The name of a gzip file is that of its content.
            named = aside / "archive" / Path(remote.path).name
            named.parent.mkdir()
            named.symlink_to(file.resolve())
            unpack(named, aside, how, entry.most_bytes)
        except CorruptDataError:
            return False
        return all(_is_published(aside / path, entry.contents[path]) for path in remote.gives)


def _is_published(path: Path, content: str) -> bool:
    """Whether a file has a checksum, or a folder a number of files ("ppm:26640"), which is no checksum of them."""
    if path.is_dir():
        suffix, _, count = content.partition(":")
        return sum(name.endswith(f".{suffix}") for name in visible_files(path)) == int(count)
    return path.is_file() and wrong_checksum(path, content) is None


def _absent(entry: Entry, place: Place, reason: str) -> State:
    if place.given is not None:
        remedy = f"Fill {place.given}: {_forms(entry)}"
    elif entry.obtained == "manual":
        remedy = f"By hand, into {place.home}: {entry.steps}"
    else:
        wanted = set(locate(entry, place).lacking)
        files = ", ".join(remote.path for remote in entry.remotes if wanted & set(remote.gives))
        remedy = f"By hand: put {files} (see {entry.source}) into {place.home}."
    return State(entry.name, "absent", f"{entry.title} is absent: {reason}", remedy)


def _corrupt(entry: Entry, place: Place, error: CorruptDataError) -> State:
    fault, remedy = str(error), remedy_for(place, f"Delete what is wrong in {place.files}, then fetch it again.")
    if isinstance(error, WrongFilesError):
        fault, remedy = error.fault, error.remedy
    if entry.obtained == "manual" and place.given is None:
        remedy += f" By hand: {entry.steps}"
    return State(entry.name, "corrupt", f"{entry.title} is corrupt: {fault}", remedy)


def _forms(entry: Entry) -> str:
    """How a folder of the data set has to look, in sentences."""
    files = ", ".join(entry.required[:4]) + (f" and {len(entry.required) - 4} more" if len(entry.required) > 4 else "")
    packed = ", and files may be compressed as .gz" if any(IDX in path for path in entry.required) else ""
    shorter = f" Leading folders may be left out{packed}." if any("/" in path.rstrip("/") for path in entry.required) else ""
    others = "".join(f" Or it may contain {layout.form}." for layout in entry.layouts)
    return f"it must contain {files}.{shorter}{others}"
