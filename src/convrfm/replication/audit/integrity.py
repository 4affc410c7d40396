"""Integrity: are the results what their records say, and are they of today's configuration, code and environment?

Four kinds of wrong are told apart, see `convrfm.replication.audit.outcome.State`. Every finding names one file.

The Merkle root of a results folder is one hash that commits to every record, and through it to every file. `convrfm seal`
writes it beside the results, to be signed and published: see docs/audit.md.
"""

import hashlib
import os
import posixpath
import struct
from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa

from convrfm.errors import InputError
from convrfm.replication.audit.changes import asked_for, check_currency, expected_of, lock_of, locked_versions
from convrfm.replication.audit.outcome import Finding, State
from convrfm.replication.audit.records import Product, Record, files_in, find_products, makers, rebuild, remove, strange_file
from convrfm.replication.plan.plan import Plan
from convrfm.replication.record.received import COST_TABLE, check_table, cost_trouble, hash_of, open_result, received_record
from convrfm.replication.record.record import figure_records, run_records
from convrfm.replication.record.session import CHECKPOINT
from convrfm.system.storage import NotPlainError, write_json

__all__ = ["SEAL_FILE", "Hashes", "Integrity", "check_integrity", "check_seal", "merkle_root", "record_hashes", "seal"]


@dataclass(frozen=True)
class Integrity:
    """What was found about the files of a results folder.

    Products, and what is wrong with them, come after those that they were made from. Sound ones have no finding and inputs
    that are what their records say: they can be computed again. `checked` counts "records", "artefacts" (files hashed against
    their record) and "inputs". The root is the Merkle root of all records, hex.
    """

    findings: tuple[Finding, ...]
    products: tuple[Product, ...]
    sound: tuple[Product, ...]
    checked: dict[str, int]
    root: str


def check_integrity(project: Path, plan: Plan, *, place: Path | None = None) -> Integrity:
    """Check the results of a preset, by what the configuration asks for. Nothing is written, and nothing is run.

    Results that wait to be taken in lie in `place` instead of the project, which has the states of data and `envs/lock.txt`.
    """
    where = place or project
    hashes, counts, sound = Hashes(where), Counter[str](), []
    # Remedies can then be followed one after the other.
    products = find_products(where, plan.results)
    made_by = makers(products)
    asked, locked = asked_for(plan), locked_versions(lock_of(project))
    leaves = record_hashes(hashes, plan.results)
    findings = [*_unknown_files(where, plan.results, made_by), *check_seal(where, plan.results, leaves)]
    for product in products:
        own, record, expected = list(product.findings), product.record, expected_of(product, plan)
        if product.name not in asked:
            found = "The configuration no longer needs it, or what needed it was not built."
            own.append(Finding(State.ORPHANED, product.record_file, found))
        counts["records"] += 1
        if record is not None:
            counts["artefacts"] += len(product.files)
            counts["inputs"] += len(record.inputs)
            own += _check_outputs(product, record, hashes)
            own += _check_inputs(product, record, made_by, hashes)
            own += [] if expected is None else check_currency(product.record_file, record, expected, locked)
            # States of data are written by each look at them.
            inputs = record.made_from.values()
            if not own and expected is not None and all(hashes[each.path] == each.sha256 for each in inputs):
                sound.append(product)
        # Snakemake builds nothing that no plan asks for.
        removal = f"{remove(product.name, beginning=product.is_figure)}, or change the configuration back."
        remedy = rebuild(product.record_file) if product.name in asked else removal
        findings += [replace(finding, remedy=remedy) for finding in own]
    # Costs are not taken in with results; and older kernels leave a claim undecided, which is nothing about the results.
    if place is None and (trouble := cost_trouble(project)) is not None and State(trouble[0]) is not State.STALE:
        findings.append(Finding(State(trouble[0]), COST_TABLE, trouble[1], "python benchmarks/cost.py"))
    once = {(finding.file, finding.state, finding.found): finding for finding in reversed(findings)}
    return Integrity(tuple(reversed(once.values())), tuple(products), tuple(sound), dict(counts), merkle_root(leaves))


class Hashes(dict[str, str | None]):
    """SHA-256 of files, by path relative to the project, each read once; None if one does not exist or cannot be read."""

    def __init__(self, project: Path) -> None:
        super().__init__()
        self.project = project
        self.refused: dict[str, str] = {}  # files that exist and are not opened, with the reason, a sentence

    def __missing__(self, file: str) -> str | None:
        self[file] = None
        try:
            self[file] = hash_of(self.project, file)
        except NotPlainError as error:
            self.refused[file] = str(error)
        except (OSError, ValueError, IndexError):  # names of files that are none
            pass
        return self[file]

    def lacking(self, file: str, missing: str) -> Finding:
        """The finding about a file without a hash: why it is refused, or the sentence about one that does not exist."""
        refused = self.refused.get(file)
        return Finding(State.MISSING, file, missing) if refused is None else Finding(State.TAMPERED, file, refused)


def _check_outputs(product: Product, record: Record, hashes: Hashes) -> Iterator[Finding]:
    described = {name: each.path for name, each in record.outputs.items()}
    if odd := sorted(described.items() ^ product.files.items()):
        found = f"It is the record of another place, or was edited: its outputs and the files differ in {odd[0][1]}."
        yield Finding(State.TAMPERED, product.record_file, found)
        return
    for name, file in product.files.items():
        present, recorded = hashes[file], record.outputs[name].sha256
        if present is None:
            yield hashes.lacking(file, f"{product.record_file} names it, and it does not exist.")
        elif present != recorded:
            found = f"Its SHA-256 is {present[:12]}..., but its record says {recorded[:12]}...."
            yield Finding(State.TAMPERED, file, found)
        elif check := {".parquet": check_table, ".png": _check_picture}.get(Path(file).suffix):
            # It would be opened later, and may be none, or one that would fill the memory.
            try:
                with open_result(hashes.project, file) as content:
                    check(content)
            except (OSError, ValueError, struct.error, pa.ArrowException) as error:
                yield Finding(State.TAMPERED, file, f"It is not opened: {error}.")


MOST_PIXELS = 50_000_000  # of a picture: many times what the largest preset writes


def _check_picture(file: BinaryIO) -> None:
    """Refuse a picture by what its file says of its size."""
    start = file.read(24)
    width, height = struct.unpack(">II", start[16:])
    if not start.startswith(b"\x89PNG\r\n\x1a\n") or width * height > MOST_PIXELS:
        msg = f"it is no PNG file of at most {MOST_PIXELS} pixels"
        raise ValueError(msg)


def _check_inputs(product: Product, record: Record, products: Mapping[str, Product], hashes: Hashes) -> Iterator[Finding]:
    """Compare the inputs of a run or figure with the files, and with what the records of their producers, by file, say.

    A file that is not what its own run wrote is found there, and not again here.
    """
    for name, described in sorted(record.made_from.items()):
        file, recorded = described.path, described.sha256
        if file.startswith("/") or posixpath.normpath(file).startswith(".."):
            found = f"Its input {name!r} lies outside the project: {file}."
            yield Finding(State.TAMPERED, product.record_file, found)
            continue
        present, producer = hashes[file], products.get(file)
        outputs = producer.record.outputs.values() if producer is not None and producer.record is not None else ()
        if present is None:
            yield hashes.lacking(file, f"{product.record_file} was made from it.")
        elif recorded not in {present, *(each.sha256 for each in outputs if each.path == file)}:
            found = f"It was made from {file} of SHA-256 {recorded[:12]}..., which is {present[:12]}... now."
            yield Finding(State.STALE, product.record_file, found)


def _unknown_files(project: Path, results: str, known: Container[str]) -> Iterator[Finding]:
    """Find files among runs and figures that are not known, as those of products and their records are."""
    for file in (f"{results}/{name}" for name in files_in(project / results)):
        if file not in known:
            found = "No record describes it: nothing vouches for it."
            if Path(file).name.startswith((".tmp-", CHECKPOINT)):
                found = "A killed job left it, or one is at work right now."
            strange = list(strange_file(project, file, f"{remove(file)}, and build what it replaced."))
            yield from strange or [Finding(State.ORPHANED, file, found, f"{remove(file)}, or run Snakemake to the end.")]


SEAL_FILE = "seal.json"

FORMAT = 1  # of this file; counts up when a key changes its meaning


def seal(results: Path) -> str:
    """Write `seal.json` into `results/<preset>` of a project, and give the root (hex).

    Raises:
        InputError: it holds no record.
        StorageError: the folder is read-only or the disk is full.
    """
    results = results.absolute()
    named = results.parent.name == "results"
    leaves = record_hashes(Hashes(results.parents[1]), f"results/{results.name}") if named else {}
    if not leaves:
        msg = f"{results}: no record of a run or figure to seal; name results/<preset> of a project."
        raise InputError(msg)
    root = merkle_root(leaves)
    write_json(results / SEAL_FILE, {"format": FORMAT, "root": root, "records": len(leaves), "leaves": leaves})
    return root


def check_seal(project: Path, results: str, present: Mapping[str, str]) -> Iterator[Finding]:
    """Compare the seal of a folder of results, if there is one, with its records as `record_hashes` gives them."""
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
            yield Finding(State.MISSING, name, f"It was removed after {file} was written.", remedy)
        elif name not in leaves:
            yield Finding(State.ORPHANED, name, f"It was added after {file} was written.", remedy)
        elif present[name] != leaves[name]:
            yield Finding(State.TAMPERED, name, f"It was changed after {file} was written.", remedy)


def record_hashes(hashes: Hashes, results: str) -> dict[str, str]:
    """SHA-256 of every record of a results folder, by file; words for one that cannot be opened."""
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
