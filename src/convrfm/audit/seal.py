"""The Merkle root of a results folder: one hash that commits to every record, and through it to every file."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from convrfm.pipeline.paths import figure_records, run_records
from convrfm.storage import sha256

__all__ = ["merkle_root", "record_hashes"]


def record_hashes(project: Path, results: str) -> dict[str, str]:
    """SHA-256 of every record of a results folder, by file relative to the project, in the order of the names.

    Args:
        project: the folder of the project.
        results: the folder of the results, relative to it.
    """
    paths = [*run_records(project / results), *figure_records(project / results)]
    return {path.relative_to(project).as_posix(): sha256(path) for path in sorted(paths)}


def merkle_root(hashes: Mapping[str, str]) -> str:
    """The root (hex) of the Merkle tree of RFC 6962 over lines `<sha256>  <file>`, as `sha256sum` prints them, by name."""
    return _root([f"{found}  {file}".encode() for file, found in sorted(hashes.items())]).hex()


def _root(leaves: Sequence[bytes]) -> bytes:
    """RFC 6962, section 2.1: the left part has the largest power of two of leaves that is less than all."""
    if len(leaves) <= 1:
        return hashlib.sha256(b"\x00" + leaves[0] if leaves else b"").digest()
    left = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\x01" + _root(leaves[:left]) + _root(leaves[left:])).digest()
