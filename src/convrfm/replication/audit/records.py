"""The runs and figures of a results folder, by their records, which are read with suspicion."""

import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, Field, ValidationError

from convrfm.replication.audit.outcome import Finding, State
from convrfm.replication.claims.claims import chosen
from convrfm.replication.plan.plan import FIGURE_FORMATS
from convrfm.replication.record.data_states import STATE as DATA_STATE
from convrfm.replication.record.received import open_result, received_record
from convrfm.replication.record.record import RUN_FILES, SEAL, figure_records, run_keys, run_records, seal_of
from convrfm.system.storage import NotPlainError, entries_below

__all__ = ["PARTS", "Product", "Record", "files_in", "find_products", "makers", "rebuild", "remove", "strange_file"]

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
    gpu_unusable: str = ""  # why it ran on the CPU although it had a GPU
    resumed_from: list[str] = []  # files of the checkpoints that it continued from
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
    """A run or a figure in a results folder."""

    record_file: str  # its record
    kind: str  # of run, or name of the figure
    is_figure: bool
    keys: Mapping[str, str]  # its keys, the protocol among them
    files: Mapping[str, str]  # what it consists of beside the record, by name
    record: Record | None  # what the record says; None if it cannot be read
    findings: tuple[Finding, ...] = ()  # what is wrong with the record

    @property
    def name(self) -> str:
        """Its folder, or for figures the path without a suffix, relative to the project: what tells products apart."""
        path = Path(self.record_file)
        return str(path.with_suffix("") if self.is_figure else path.parent)

    @property
    def title(self) -> str:
        """Its name within the results, such as "rfm/published/task=bars,sigma=1,seed=0" or "published/fig05"."""
        return "/".join(Path(self.name).parts[3:])


PARTS = ("runs", "figures")
"""What the audit looks at in a folder of results, and what is taken in from elsewhere; logs and audits stay behind."""

DEEPEST = 3  # levels of folders below `runs`: experiment, protocol, keys


def files_in(results: Path) -> list[str]:
    """All files of a folder of results, relative to it, and what is in the place of files or lies too deep."""
    return [path.relative_to(results).as_posix() for part in PARTS for path in entries_below(results / part, DEEPEST)]


def find_products(project: Path, results: str) -> list[Product]:
    """Read every run and figure of a results folder, each after those that it was made from, otherwise in the order of names.

    Files without a record belong to none.
    """
    products = [_product(project, path) for path in (*run_records(project / results), *figure_records(project / results))]
    made_by = makers(products)
    ordered: list[Product] = []
    entered: set[str] = set()

    def place(product: Product) -> None:
        if product.name in entered:
            return
        entered.add(product.name)  # records that were tampered with may go round in circles
        for described in () if product.record is None else product.record.inputs.values():
            if described.path in made_by:
                place(made_by[described.path])
        ordered.append(product)

    for product in products:
        place(product)
    return ordered


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


def makers(products: Iterable[Product]) -> dict[str, Product]:
    """Runs and figures by each of their files, records included."""
    return {file: product for product in products for file in (product.record_file, *product.files.values())}


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
