"""The records of a results folder, read with suspicion: each is what it should be, or a finding."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from convrfm.datasets.places import STATE as DATA_STATE
from convrfm.replication.audit.outcome import Finding, State
from convrfm.replication.plan.plan import FIGURE_FORMATS
from convrfm.replication.record.received import open_result, received_record
from convrfm.replication.record.record import RUN_FILES, SEAL, figure_records, run_keys, run_records, seal_of
from convrfm.system.plain_files import NotPlainError

__all__ = ["Described", "Product", "Record", "find_products", "in_order", "read_product", "strange_file"]

Text = Annotated[str, Field(pattern=r"^[^\x00]*$")]
"""What can be written as UTF-8: JSON may hold halves of letters, which a pattern refuses."""


class Described(BaseModel):
    """A file as a record describes it."""

    model_config = ConfigDict(strict=True)

    path: Text = Field(min_length=1)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


class Code(BaseModel):
    """What a record says of the code."""

    model_config = ConfigDict(strict=True)

    closure: Text
    commit: str | None = Field(pattern="^[0-9a-f]{7,64}$")
    dirty: bool | None


class Record(BaseModel):
    """What the audit reads of a record; see `convrfm.replication.record.record.Recorder`."""

    model_config = ConfigDict(strict=True)

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
        """Its inputs without the states of data, which come and go with each look at them."""
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
    def title(self) -> str:
        """Its name within the results, such as "rfm/published/task=bars,sigma=1,seed=0" or "published/fig05"."""
        return "/".join(Path(self.name).parts[3:])

    @property
    def group(self) -> str:
        """The experiment, or "figures"."""
        return "figures" if self.is_figure else self.kind

    @property
    def name(self) -> str:
        """Experiment, protocol and keys, or figure and protocol: what tells products apart."""
        path = Path(self.record_file)
        return str(path.with_suffix("") if self.is_figure else path.parent)


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
