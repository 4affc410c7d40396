"""The files of a results folder against the records: hashes of outputs and inputs, and files that no record knows."""

import posixpath
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa

from convrfm.replication.audit.commands import remove
from convrfm.replication.audit.outcome import Finding, State
from convrfm.replication.audit.records import Product, strange_file
from convrfm.replication.record.received import check_table, hash_of, open_result
from convrfm.replication.record.record import RUN_FILES
from convrfm.replication.record.session import CHECKPOINT
from convrfm.system.plain_files import NotPlainError, entries_below

__all__ = ["DEEPEST", "Hashes", "check_inputs", "check_outputs", "unknown_files"]

DEEPEST = 3
"""Levels of folders below `runs`: experiment, protocol, keys."""

MOST_PIXELS = 50_000_000
"""Of a picture: many times what the largest preset writes."""

PNG = b"\x89PNG\r\n\x1a\n"

TEMPORARY = ".tmp-"
"""How names begin of what a writer or a training leaves when it is killed."""


class Hashes:
    """SHA-256 of files of a project, each read once.

    Attributes:
        refused: what is there and is not opened, with the reason, a sentence.
    """

    def __init__(self, project: Path) -> None:
        self.project = project
        self.refused: dict[str, str] = {}
        self._known: dict[str, str | None] = {}

    def __getitem__(self, file: str) -> str | None:
        """The hash of a file, relative to the project; None where it is not there or cannot be read."""
        if file not in self._known:
            self._known[file] = None
            try:
                self._known[file] = hash_of(self.project, file)
            except NotPlainError as error:
                self.refused[file] = str(error)
            except (OSError, ValueError, IndexError):  # names of files that are none
                pass
        return self._known[file]

    def __len__(self) -> int:
        """How many files were read."""
        return sum(found is not None for found in self._known.values())


def check_outputs(product: Product, hashes: Hashes) -> Iterator[Finding]:
    """Compare the files of a run or figure with its record."""
    record = product.record
    if record is None:
        return
    elsewhere = sorted({d.path for d in record.outputs.values()} - set(product.files.values()))
    if elsewhere:
        found = f"It is the record of another place: it describes {elsewhere[0]}."
        yield Finding(State.TAMPERED, product.record_file, found)
        return
    for name, file in product.files.items():
        described = record.outputs.get(name)
        if described is None or described.path != file:
            found = f"It does not describe {Path(file).name} as its output {name!r}."
            yield Finding(State.TAMPERED, product.record_file, found)
            continue
        present = hashes[file]
        if file in hashes.refused:
            yield Finding(State.TAMPERED, file, hashes.refused[file])
        elif present is None:
            yield Finding(State.MISSING, file, f"{product.record_file} names it, and it is not there.")
        elif present != described.sha256:
            found = f"Its SHA-256 is {present[:12]}..., but its record says {described.sha256[:12]}...."
            yield Finding(State.TAMPERED, file, found)
        else:
            yield from _check_size(hashes.project, file)


def _check_size(project: Path, file: str) -> Iterator[Finding]:
    """Find a table or picture that is none, or that would fill the memory, by the first or last bytes of its file."""
    check = {".parquet": check_table, ".png": _picture_fits}.get(Path(file).suffix)
    if check is None:
        return
    try:
        with open_result(project, file) as content:
            check(content)
    except (OSError, ValueError, struct.error, pa.ArrowException) as error:
        yield Finding(State.TAMPERED, file, f"It is not opened: {error}.")


def check_inputs(product: Product, products: Mapping[str, Product], hashes: Hashes) -> Iterator[Finding]:
    """Compare the inputs of a run or figure with the files, and with what the runs that made them say.

    A file that is not what its own run wrote is found there, and not here again.

    Args:
        product: whose inputs.
        products: what made each file of the results, by file.
        hashes: of files.
    """
    record = product.record
    if record is None:
        return
    for name, described in sorted(record.made_from.items()):
        if described.path.startswith("/") or posixpath.normpath(described.path).startswith(".."):
            found = f"Its input {name!r} lies outside the project: {described.path}."
            yield Finding(State.TAMPERED, product.record_file, found)
            continue
        present = hashes[described.path]
        producer = products.get(described.path)
        if described.path in hashes.refused:
            yield Finding(State.TAMPERED, described.path, hashes.refused[described.path])
            continue
        if present is None:
            yield Finding(State.MISSING, described.path, f"{product.record_file} was made from it.")
            continue
        if described.sha256 == present:
            continue
        if producer is not None and described.sha256 == _written(producer, described.path):
            continue  # it is the file that has changed since, which is found where it belongs
        found = (
            f"It was made from {described.path} of SHA-256 {described.sha256[:12]}..., which is {present[:12]}... now."
        )
        yield Finding(State.STALE, product.record_file, found)


def _written(producer: Product, file: str) -> str | None:
    """The hash of a file by the record of the run that wrote it."""
    outputs = {} if producer.record is None else producer.record.outputs
    return next((described.sha256 for described in outputs.values() if described.path == file), None)


def _picture_fits(file: BinaryIO) -> None:
    """Refuse a picture by what its file says of its size."""
    start = file.read(24)
    width, height = struct.unpack(">II", start[16:])
    if not start.startswith(PNG) or width * height > MOST_PIXELS:
        msg = f"it is no PNG file of at most {MOST_PIXELS} pixels"
        raise ValueError(msg)


def unknown_files(project: Path, results: str, known: set[str]) -> Iterator[Finding]:
    """Find files among runs and figures that no record vouches for.

    Args:
        project: the folder of the project.
        results: the folder of the results, relative to it.
        known: files that a record describes, and the records, relative to the project.
    """
    for part in ("runs", "figures"):
        for path in entries_below(project / results / part, DEEPEST):
            file = path.relative_to(project).as_posix()
            if file in known:
                continue
            strange = list(strange_file(project, file, f"{remove(file)}, and build what it was put in the place of."))
            yield from strange or [_orphan(path, file)]


def _orphan(path: Path, file: str) -> Finding:
    if path.name.startswith(TEMPORARY):
        found = "A writer that was killed has left it; or one is at work right now."
    elif path.name.startswith(CHECKPOINT):
        found = "A job that was killed has left it, to go on from; or one is at work right now."
    elif path.name in RUN_FILES.values() and not path.with_name(RUN_FILES["record"]).exists():
        found = "There is no record beside it: nothing vouches for it."
    else:
        found = "No record describes it: nothing vouches for it."
    return Finding(State.ORPHANED, file, found, f"{remove(file)}, or run Snakemake to the end.")
