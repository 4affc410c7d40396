"""The Merkle root of a results folder: one hash that commits to every record, and through it to every file.

`convrfm seal` writes it beside the results, to be signed and published: see docs/audit.md.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from convrfm.errors import InputError
from convrfm.replication.audit.files import Hashes
from convrfm.replication.audit.outcome import Finding, State
from convrfm.replication.record.received import received_record
from convrfm.replication.record.record import figure_records, run_records
from convrfm.system.storage import write_json

__all__ = ["SEAL_FILE", "check_seal", "merkle_root", "record_hashes", "seal"]

SEAL_FILE = "seal.json"

FORMAT = 1
"""Counts up when a key of the file changes its meaning."""


def seal(results: Path) -> str:
    """Write `seal.json` into a folder of results, and give the root (hex).

    Args:
        results: `results/<preset>` of a project.

    Raises:
        InputError: it holds no record.
        StorageError: the folder is read-only or the disk is full.
    """
    results = results.absolute()
    named = results.parent.name == "results"
    leaves = record_hashes(Hashes(results.parents[1]), f"results/{results.name}") if named else {}
    if not leaves:
        msg = f"{results} holds no record of a run or figure, so there is nothing to seal: name results/<preset> of a project."
        raise InputError(msg)
    root = merkle_root(leaves)
    write_json(
        results / SEAL_FILE, {"format": FORMAT, "root": root, "records": len(leaves), "leaves": leaves}
    )  # fmt: skip
    return root


def check_seal(project: Path, results: str, present: Mapping[str, str]) -> Iterator[Finding]:
    """Compare the seal of a folder of results, where there is one, with its records.

    Args:
        project: the folder of the project.
        results: the folder of the results, relative to it.
        present: from `record_hashes`.
    """
    file = f"{results}/{SEAL_FILE}"
    if not os.path.lexists(project / file):
        return
    remedy = f"undo that, or, if it was meant: convrfm seal {results}, and sign the new root."
    try:
        content = received_record(project, file)
        leaves = {str(name): str(found) for name, found in content["leaves"].items()}
        root, form = content["root"], content["format"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        yield Finding(State.TAMPERED, file, f"It is no seal: {type(error).__name__}: {error}.", remedy)
        return
    if form != FORMAT or merkle_root(leaves) != root:
        yield Finding(State.TAMPERED, file, "Its root is not that of its leaves: it was edited.", remedy)
        return
    for name in sorted(leaves.keys() | present.keys()):
        if name not in present:
            yield Finding(State.MISSING, name, f"{file} holds it: it was removed since.", remedy)
        elif name not in leaves:
            yield Finding(State.ORPHANED, name, f"{file} does not hold it: it was added since.", remedy)
        elif present[name] != leaves[name]:
            yield Finding(
                State.TAMPERED, name, f"It is not the record that {file} holds: it was changed since.", remedy
            )


def record_hashes(hashes: Hashes, results: str) -> dict[str, str]:
    """SHA-256 of every record of a results folder, by file relative to the project; words for one that cannot be opened.

    Args:
        hashes: of files of the project.
        results: the folder of the results, relative to the project.
    """
    folder = hashes.project / results
    paths = sorted([*run_records(folder), *figure_records(folder)])
    files = [path.relative_to(hashes.project).as_posix() for path in paths]
    return {file: hashes[file] or "not a plain file" for file in files}


def merkle_root(hashes: Mapping[str, str]) -> str:
    """The root (hex) of the Merkle tree of RFC 6962 over lines `<sha256>  <file>`, as `sha256sum` prints them, by name."""
    # Names of files may be no text.
    return _root([f"{found}  {file}".encode("utf-8", "surrogatepass") for file, found in sorted(hashes.items())]).hex()


def _root(leaves: Sequence[bytes]) -> bytes:
    """RFC 6962, section 2.1: the left part has the largest power of two of leaves that is less than all."""
    if len(leaves) <= 1:
        return hashlib.sha256(b"\x00" + leaves[0] if leaves else b"").digest()
    left = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\x01" + _root(leaves[:left]) + _root(leaves[left:])).digest()
