"""The files of a results folder, read with suspicion: records, and files against the records. Each is sound, or a finding."""

import posixpath
import shlex
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import pyarrow as pa
from pydantic import AwareDatetime, BaseModel, Field, ValidationError

from convrfm.replication.audit.outcome import Finding, State
from convrfm.replication.claims.claims import chosen
from convrfm.replication.plan.plan import FIGURE_FORMATS
from convrfm.replication.record.data_states import STATE as DATA_STATE
from convrfm.replication.record.received import check_table, hash_of, open_result, received_record
from convrfm.replication.record.record import RUN_FILES, SEAL, figure_records, run_keys, run_records, seal_of
from convrfm.replication.record.session import CHECKPOINT
from convrfm.system.storage import NotPlainError, entries_below

__all__ = [
    "DEEPEST", "Described", "Hashes", "Product", "Record", "check_inputs", "check_outputs", "find_products", "in_order",
    "rebuild", "remove", "strange_file", "unknown_files",
]  # fmt: skip

Text = Annotated[str, Field(pattern=r"^[^\x00]*$")]
"""What can be written as UTF-8: JSON may hold halves of letters, which a pattern refuses."""


class Described(BaseModel, strict=True):
    """A file as a record describes it."""

    path: Text = Field(min_length=1)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


class Code(BaseModel, strict=True):
    """What a record says of the code."""

    closure: Text
    commit: str | None = Field(pattern="^[0-9a-f]{7,64}$")
    dirty: bool | None


class Record(BaseModel, strict=True):
    """What the audit reads of a record; see `convrfm.replication.record.record.Recorder`."""

    job: Text
    settings: dict[str, Any]
    inputs: dict[str, Described]
    outputs: dict[str, Described]
    code: Code
    packages: dict[str, Text]
    machine: dict[str, Any] = {}
    started: AwareDatetime | None = Field(None, strict=False, lt=datetime(3000, 1, 1, tzinfo=UTC))
    wall_seconds: float | None = Field(None, ge=0, lt=1e9)
    gpu_unusable: str = ""
    """Why it ran on the CPU although it had a GPU."""
    resumed_from: list[str] = []
    """Files of the checkpoints that it continued from."""
    seal: str | None = None

    @property
    def made_from(self) -> dict[str, Described]:
        """Its inputs without the states of data, which change with each look at the data."""
        return {
            name: described
            for name, described in self.inputs.items()
            if not (name.partition("/")[0] in ("state", "states") and Path(described.path).name == DATA_STATE)
        }

    @property
    def ended(self) -> datetime | None:
        """When it ended, to the second."""
        if self.started is None or self.wall_seconds is None:
            return None
        return (self.started + timedelta(seconds=self.wall_seconds)).replace(microsecond=0)


@dataclass(frozen=True)
class Product:
    """A run or a figure in a results folder.

    Attributes:
        record_file: its record.
        kind: of run, or name of the figure.
        keys: its keys, the protocol among them.
        files: what it consists of beside the record, by name.
        record: what the record says; None if it cannot be read; and what is wrong with it.
    """

    record_file: str
    kind: str
    is_figure: bool
    keys: Mapping[str, str]
    files: Mapping[str, str]
    record: Record | None
    findings: tuple[Finding, ...] = ()

    @property
    def name(self) -> str:
        """Its folder, or for figures the path without a suffix, relative to the project: what tells products apart."""
        path = Path(self.record_file)
        return str(path.with_suffix("") if self.is_figure else path.parent)

    @property
    def title(self) -> str:
        """Its name within the results, such as "rfm/published/task=bars,sigma=1,seed=0" or "published/fig05"."""
        return "/".join(Path(self.name).parts[3:])


def find_products(project: Path, results: str) -> list[Product]:
    """Read every run and figure of a results folder, in the order of their names; files without a record belong to none."""
    paths = [*run_records(project / results), *figure_records(project / results)]
    return [_product(project, path) for path in paths]


def _product(project: Path, path: Path) -> Product:
    """Read one run or figure by the path of its record, which is not opened if one of its files is not plain."""
    is_figure = path.name != RUN_FILES["record"]
    file = path.relative_to(project).as_posix()
    if is_figure:
        kind, keys = path.stem, {"protocol": path.parent.name}
        files = {form: Path(file).with_suffix(f".{form}").as_posix() for form in FIGURE_FORMATS}
    else:
        kind = path.parents[2].name
        files = {name: f"{Path(file).parent}/{own}" for name, own in RUN_FILES.items() if name != "record"}
        try:
            keys = run_keys(path.parent)
        except ValueError:  # a folder with any other name
            keys = {"experiment": kind, "protocol": path.parents[1].name}
    record = None
    findings = [finding for own in (file, *files.values()) for finding in strange_file(project, own)]
    if not findings:
        record, findings = _read(project, file)
    return Product(file, kind, is_figure, keys, files, record, tuple(findings))


def _read(project: Path, file: str) -> tuple[Record | None, list[Finding]]:
    """Read a record; it is None if it cannot be read as one."""
    try:
        content = received_record(project, file)
        record = Record.model_validate(content)
        seal = seal_of(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the whole"
        return None, [Finding(State.TAMPERED, file, f"It is not a record: {where}: {first['msg']}.")]
    except (ValueError, OSError) as error:
        return None, [Finding(State.TAMPERED, file, f"It cannot be read as JSON: {error}.")]
    if record.seal is None:
        return record, [Finding(State.STALE, file, f"It has no {SEAL}: older code wrote it, or it was removed.")]
    found = f"Its {SEAL} is not the hash of its content: the record was edited after it was written."
    return record, [] if record.seal == seal else [Finding(State.TAMPERED, file, found)]


def strange_file(project: Path, file: str, remedy: str = "") -> Iterator[Finding]:
    """Find that a file exists and is not plain, or cannot be opened."""
    try:
        open_result(project, file).close()
    except FileNotFoundError:
        return
    except NotPlainError as error:
        yield Finding(State.TAMPERED, file, str(error), remedy)
    except OSError as error:
        yield Finding(State.TAMPERED, file, f"It cannot be opened: {error.strerror}.", remedy)


def in_order(products: Iterable[Product]) -> list[Product]:
    """Runs and figures, each after those that it was made from, otherwise in the order given."""
    made_by = {file: product for product in products for file in (product.record_file, *product.files.values())}
    ordered: dict[str, Product] = {}
    entered: set[str] = set()

    def place(product: Product) -> None:
        if product.name in entered:
            return
        entered.add(product.name)  # records that were tampered with may go round in circles
        for described in () if product.record is None else product.record.inputs.values():
            if described.path in made_by:
                place(made_by[described.path])
        ordered[product.name] = product

    for product in made_by.values():
        place(product)
    return list(ordered.values())


class Hashes:
    """SHA-256 of files of a project, each read once.

    Attributes:
        refused: files that exist and are not opened, with the reason, a sentence.
    """

    def __init__(self, project: Path) -> None:
        self.project = project
        self.refused: dict[str, str] = {}
        self._known: dict[str, str | None] = {}

    def __getitem__(self, file: str) -> str | None:
        """The hash of a file, relative to the project; None if it does not exist or cannot be read."""
        if file not in self._known:
            self._known[file] = None
            try:
                self._known[file] = hash_of(self.project, file)
            except NotPlainError as error:
                self.refused[file] = str(error)
            except (OSError, ValueError, IndexError):  # names of files that are none
                pass
        return self._known[file]


def check_outputs(product: Product, record: Record, hashes: Hashes) -> Iterator[Finding]:
    """Compare the files of a run or figure with its record."""
    described = {name: each.path for name, each in record.outputs.items()}
    if odd := sorted(described.items() ^ product.files.items()):
        found = f"It is the record of another place, or was edited: its outputs and the files differ in {odd[0][1]}."
        yield Finding(State.TAMPERED, product.record_file, found)
        return
    for name, file in product.files.items():
        present, recorded = hashes[file], record.outputs[name].sha256
        if file in hashes.refused:
            yield Finding(State.TAMPERED, file, hashes.refused[file])
        elif present is None:
            yield Finding(State.MISSING, file, f"{product.record_file} names it, and it does not exist.")
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


MOST_PIXELS = 50_000_000
"""Of a picture: many times what the largest preset writes."""


def _check_picture(file: BinaryIO) -> None:
    """Refuse a picture by what its file says of its size."""
    start = file.read(24)
    width, height = struct.unpack(">II", start[16:])
    if not start.startswith(b"\x89PNG\r\n\x1a\n") or width * height > MOST_PIXELS:
        msg = f"it is no PNG file of at most {MOST_PIXELS} pixels"
        raise ValueError(msg)


def check_inputs(product: Product, record: Record, products: Mapping[str, Product], hashes: Hashes) -> Iterator[Finding]:
    """Compare the inputs of a run or figure with the files, and with what the records of their producers, by file, say.

    A file that is not what its own run wrote is found there, and not again here.
    """
    for name, described in sorted(record.made_from.items()):
        file, recorded = described.path, described.sha256
        if file.startswith("/") or posixpath.normpath(file).startswith(".."):
            found = f"Its input {name!r} lies outside the project: {file}."
            yield Finding(State.TAMPERED, product.record_file, found)
            continue
        present = hashes[file]
        if file in hashes.refused:
            yield Finding(State.TAMPERED, file, hashes.refused[file])
        elif present is None:
            yield Finding(State.MISSING, file, f"{product.record_file} was made from it.")
        elif present != recorded and recorded != _written(products.get(file), file):
            found = f"It was made from {file} of SHA-256 {recorded[:12]}..., which is {present[:12]}... now."
            yield Finding(State.STALE, product.record_file, found)


def _written(producer: Product | None, file: str) -> str | None:
    """The hash of a file by the record of the run that wrote it."""
    outputs = {} if producer is None or producer.record is None else producer.record.outputs
    return next((described.sha256 for described in outputs.values() if described.path == file), None)


DEEPEST = 3
"""Levels of folders below `runs`: experiment, protocol, keys."""


def unknown_files(project: Path, results: str, known: set[str]) -> Iterator[Finding]:
    """Find files among runs and figures that are not known, as those of products and their records are."""
    for part in ("runs", "figures"):
        for path in entries_below(project / results / part, DEEPEST):
            file = path.relative_to(project).as_posix()
            if file not in known:
                strange = list(strange_file(project, file, f"{remove(file)}, and build what it replaced."))
                remedy = f"{remove(file)}, or run Snakemake to the end."
                yield from strange or [Finding(State.ORPHANED, file, _why_unknown(path), remedy)]


def _why_unknown(path: Path) -> str:
    if path.name.startswith((".tmp-", CHECKPOINT)):
        return "A killed job left it, or one is at work right now."
    return "No record describes it: nothing vouches for it."


def rebuild(record_file: str) -> str:
    """The command that builds a run or figure again, by its record, and nothing beside it that is not missing.

    It says preset and protocol, whatever `config.yaml` says. What was made from the run is another finding, if its bytes
    change.
    """
    _, preset, part, *rest = record_file.split("/")
    options = chosen(preset, rest[1] if part == "runs" else rest[0])
    # The dashes end the list of settings, which would swallow a target.
    return f"snakemake -c2 --force {options} -- {shlex.quote(record_file)}"


def remove(files: str, *, beginning: bool = False) -> str:
    """The command that removes a file or folder, or all files whose names begin so and go on with a dot."""
    return f"rm -r {shlex.quote(files)}{'.*' if beginning else ''}"
