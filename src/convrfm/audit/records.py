"""The records of a results folder, read with suspicion: each is what it should be, or a finding."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from convrfm.audit.outcome import Finding, State
from convrfm.pipeline.paths import RUN_FILES, figure_records, run_keys, run_records
from convrfm.pipeline.plan.base import FIGURE_FORMATS
from convrfm.pipeline.record import SEAL, seal_of
from convrfm.plain_files import NotPlainError, open_plain, read_json

__all__ = [
    "LIMITS", "Described", "Product", "Record", "find_products", "in_order", "open_result", "read_product", "received_record",
    "strange_file",
]  # fmt: skip

MB = 10**6
LIMITS = {
    ".csv": 200 * MB, ".json": 8 * MB, ".md": 2 * MB, ".parquet": 200 * MB, ".pdf": 100 * MB, ".png": 50 * MB,
    ".safetensors": 20_000 * MB,
}  # fmt: skip
"""Bytes that a file of results may have, by its suffix: many times what the largest preset writes."""


class Described(BaseModel):
    """A file as a record describes it."""

    model_config = ConfigDict(strict=True)

    path: str
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


class Code(BaseModel):
    """What a record says of the code."""

    model_config = ConfigDict(strict=True)

    closure: str
    commit: str | None
    dirty: bool | None


class Record(BaseModel):
    """What the audit reads of a record; see `convrfm.pipeline.record.Recorder`."""

    model_config = ConfigDict(strict=True)

    job: str
    settings: dict[str, Any]
    inputs: dict[str, Described]
    outputs: dict[str, Described]
    code: Code
    packages: dict[str, str]
    seal: str | None = None


@dataclass(frozen=True)
class Product:
    """A run or a figure that lies in a results folder.

    Attributes:
        record_file: its record, relative to the project.
        kind: name of the experiment, or of the figure.
        is_figure: which of the two.
        keys: its keys, the protocol among them.
        files: what it consists of beside the record, by name, relative to the project.
        record: what the record says; None where there is none that can be read.
    """

    record_file: str
    kind: str
    is_figure: bool
    keys: Mapping[str, str]
    files: Mapping[str, str]
    record: Record | None

    @property
    def name(self) -> str:
        """Experiment, protocol and keys, or figure and protocol: what tells products apart."""
        path = Path(self.record_file)
        return str(path.with_suffix("") if self.is_figure else path.parent)


def open_result(project: Path, file: str) -> BufferedReader:
    """Open a file of results that somebody else may have made.

    Args:
        project: the folder of the project.
        file: relative to it; `results/<preset>` itself may be a link, what lies in it may not.

    Raises:
        NotPlainError: it is no plain file, lies behind a link, or is larger than its kind ever is.
        OSError: it is not there, or may not be read.
    """
    return open_plain(project / file, _limit(file), _root(project, file))


def _limit(file: str) -> int:
    return LIMITS.get(Path(file).suffix, LIMITS[".json"])


def _root(project: Path, file: str) -> Path:
    parts = Path(file).parts
    return project.joinpath(*parts[:2]) if parts[0] == "results" and len(parts) > 2 else project


def received_record(project: Path, file: str) -> Any:
    """What a record holds that somebody else may have made, of any kind.

    Args:
        project: the folder of the project.
        file: relative to it.

    Raises:
        OSError: see `open_result`.
        ValueError: it is no JSON, not in UTF-8, or nested as no record is.
    """
    return read_json(project / file, _limit(file), _root(project, file))


def find_products(project: Path, results: str) -> Iterator[tuple[Product, list[Finding]]]:
    """Read every run and figure of a results folder, in the order of their names, with what is wrong with its record.

    A run whose record is not there is not given: nothing vouches for its files.

    Args:
        project: the folder of the project.
        results: the folder of the results, relative to it.
    """
    for path in [*run_records(project / results), *figure_records(project / results)]:
        yield read_product(project, path)


def in_order(products: Iterable[Product]) -> list[Product]:
    """Runs and figures, each after those that it was made from, otherwise as they come."""
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


def read_product(project: Path, path: Path) -> tuple[Product, list[Finding]]:
    """Read one run or figure by the path of its record. Where one of its files is not plain, its record is not read.

    Args:
        project: the folder of the project.
        path: `.../runs/<experiment>/<protocol>/<keys>/record.json` or `.../figures/<protocol>/<figure>.json`.
    """
    is_figure = path.name != RUN_FILES["record"]
    file = path.relative_to(project).as_posix()
    if is_figure:
        files = {form: Path(file).with_suffix(f".{form}").as_posix() for form in FIGURE_FORMATS}
    else:
        files = {name: f"{Path(file).parent}/{own}" for name, own in RUN_FILES.items() if name != "record"}
    findings = [finding for own in (file, *files.values()) for finding in strange_file(project, own)]
    record = None
    if not findings:
        record, findings = _read(project, file)
    if is_figure:
        return Product(file, path.stem, True, {"protocol": path.parent.name}, files, record), findings
    try:
        keys = run_keys(path.parent)
    except ValueError:
        keys = {"experiment": path.parent.parent.parent.name, "protocol": path.parent.parent.name}
    return Product(file, keys["experiment"], False, keys, files, record), findings


def strange_file(project: Path, file: str, remedy: str = "") -> Iterator[Finding]:
    """Find that a file is there and is not plain, or cannot be opened.

    Args:
        project: the folder of the project.
        file: relative to it.
        remedy: what to do.
    """
    try:
        open_result(project, file).close()
    except FileNotFoundError:
        return
    except NotPlainError as error:
        yield Finding(State.TAMPERED, file, str(error), remedy)
    except OSError as error:
        yield Finding(State.TAMPERED, file, f"It cannot be opened: {error.strerror}.", remedy)


def _read(project: Path, file: str) -> tuple[Record | None, list[Finding]]:
    """Read a record; it is None where it cannot be read as one."""
    try:
        content = received_record(project, file)
        record = Record.model_validate(content)
        seal = seal_of(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the whole"
        found = f"It is not a record: {where}: {first['msg']}."
        return None, [Finding(State.TAMPERED, file, found)]
    except (ValueError, OSError) as error:
        return None, [Finding(State.TAMPERED, file, f"It cannot be read as JSON: {error}.")]
    if record.seal is None:
        found = f"It has no {SEAL}: older code wrote it, or somebody took it out."
        return record, [Finding(State.STALE, file, found)]
    if record.seal != seal:
        found = f"Its {SEAL} is not the hash of its content: the record was edited after it was written."
        return record, [Finding(State.TAMPERED, file, found)]
    return record, []
