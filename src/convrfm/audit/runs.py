"""What the page and the crate show of each run and each figure: what its record says, unproved.

Whether a record is true is another matter, and not decided here. One that cannot be read is shown as such.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from convrfm.audit.commands import rebuild
from convrfm.audit.records import received_record
from convrfm.pipeline.paths import figure_records, run_records

__all__ = ["Run", "RunFile", "as_text", "find_runs"]

TIME = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True)
class RunFile:
    """A file as a record names it.

    Attributes:
        path: relative to the project.
        sha256: hex.
    """

    path: str
    sha256: str


@dataclass(frozen=True)
class Run:
    """A run or the drawing of a figure, as its record tells it; values that the record lacks are None or empty.

    Attributes:
        record: its record, relative to the project.
        name: experiment or figure, protocol, and keys, such as "rfm/published/task=bars,sigma=1,seed=0".
        kind: the experiment, or "figures".
        protocol: the folder that it lies in.
        readable: whether the record could be read as one.
        job: the library function, `module:function`.
        settings: its slice of the configuration.
        inputs: what it was made from.
        outputs: what it wrote.
        commit: of the code.
        dirty: whether the code had changes beside the commit.
        packages: versions by name.
        machine: what it ran on.
        started: when.
        wall_seconds: how long.
        gpu_unusable: why it ran on the CPU although it had a GPU; empty where nothing was wrong.
    """

    record: str
    name: str
    kind: str
    protocol: str
    readable: bool
    job: str
    settings: dict[str, Any]
    inputs: tuple[RunFile, ...]
    outputs: tuple[RunFile, ...]
    commit: str | None
    dirty: bool | None
    packages: dict[str, str]
    machine: dict[str, Any]
    started: datetime | None
    wall_seconds: float | None
    gpu_unusable: str = ""

    @property
    def ended(self) -> datetime | None:
        """When it ended, to the second."""
        if self.started is None or self.wall_seconds is None:
            return None
        return (self.started + timedelta(seconds=self.wall_seconds)).replace(microsecond=0)

    @property
    def command(self) -> str:
        """The one command that builds it anew."""
        return rebuild(self.record)


def find_runs(project: Path, results: str) -> Iterator[Run]:
    """Give every run and every figure that has a record, in the order of their names.

    Args:
        project: the folder of the project.
        results: the folder of the results, relative to it.
    """
    root = project / results
    for path in figure_records(root):
        yield _run(project, path, f"{path.parent.name}/{path.stem}", "figures", path.parent.name)
    for path in run_records(root):
        folder = path.parent
        name = folder.relative_to(root / "runs").as_posix()
        yield _run(project, path, name, folder.parents[1].name, folder.parent.name)


def as_text(name: str) -> str:
    """A name with question marks for what is no text: names of files may hold any bytes, and JSON halves of letters."""
    return name.encode("utf-8", "replace").decode("utf-8")


def _run(project: Path, path: Path, name: str, kind: str, protocol: str) -> Run:
    record = _read(project, path.relative_to(project).as_posix())
    code, seconds = _mapping(record.get("code")), record.get("wall_seconds")
    outputs = _files(record.get("outputs"))
    commit, dirty = code.get("commit"), code.get("dirty")
    job = record.get("job")
    return Run(
        record=path.relative_to(project).as_posix(),
        name=as_text(name),
        kind=kind,
        protocol=protocol,
        readable=isinstance(job, str) and bool(outputs),
        job=job if isinstance(job, str) else "",
        settings=_mapping(record.get("settings")),
        inputs=_files(record.get("inputs")),
        outputs=outputs,
        commit=commit if isinstance(commit, str) else None,
        dirty=dirty if isinstance(dirty, bool) else None,
        packages={key: str(value) for key, value in _mapping(record.get("packages")).items()},
        machine=_mapping(record.get("machine")),
        started=_time(record.get("started")),
        wall_seconds=float(seconds) if isinstance(seconds, int | float) and 0 <= seconds < 1e9 else None,
        gpu_unusable=unusable if isinstance(unusable := record.get("gpu_unusable"), str) else "",
    )


def _read(project: Path, file: str) -> dict[str, Any]:
    """The content of a record; empty where it is none."""
    try:
        return _mapping(json.loads(as_text(json.dumps(received_record(project, file), ensure_ascii=False))))
    except (OSError, ValueError):
        return {}


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _files(value: Any) -> tuple[RunFile, ...]:
    described = [entry for entry in _mapping(value).values() if isinstance(entry, dict)]
    return tuple(RunFile(str(entry["path"]), str(entry.get("sha256", ""))) for entry in described if "path" in entry)


def _time(value: Any) -> datetime | None:
    try:
        return datetime.strptime(value, TIME).replace(tzinfo=UTC)
    except (TypeError, ValueError):
        return None
