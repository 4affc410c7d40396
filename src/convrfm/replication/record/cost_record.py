"""The record of `benchmarks/cost.csv`, a machine's numbers: it belongs to the project, and to no preset."""

import hashlib
import os
from contextlib import chdir
from pathlib import Path

from convrfm.replication.record.closure import closure_hash
from convrfm.replication.record.received import hash_of, received_record
from convrfm.replication.record.record import SEAL, Recorder, seal_of

__all__ = ["COST_RECORD", "COST_TABLE", "cost_recorder", "cost_trouble", "write_cost_record"]

COST_TABLE = "benchmarks/cost.csv"
"""Columns `quantity` ("memory", "time", "classes"), `what`, `ours`, `theirs`, `ratio` (theirs over ours), `low`, `high`
(its range over repetitions), `machine`."""

COST_RECORD = "benchmarks/cost.json"

SCRIPTS = ("cost.py", "kernels.py", "measuring.py")
"""What measures, beside the package."""

MEASURED = ("convrfm.kernels", "convrfm.kernels.neural_tangents", "convrfm.numerics.patches")
"""What is measured."""


def cost_recorder(project: Path, settings: dict[str, object]) -> Recorder:
    """Start the record; times run from here.

    Args:
        project: the checkout.
        settings: sizes and repetitions.
    """
    return Recorder("benchmarks/cost.py", _code(project), settings)


def write_cost_record(recorder: Recorder, project: Path) -> None:
    """Write the record of the table that lies there.

    Raises:
        StorageError: see `convrfm.system.storage`.
    """
    with chdir(project):
        recorder.write(Path(COST_RECORD), {}, {"table": Path(COST_TABLE)})


def cost_trouble(project: Path) -> tuple[str, str] | None:
    """What is wrong with the table: a state of `convrfm.replication.audit.outcome.State`, and a sentence. None if nothing, or without one.

    Args:
        project: the folder of the project.
    """
    if not os.path.lexists(project / COST_TABLE):
        return None
    if not os.path.lexists(project / COST_RECORD):
        return "orphaned", f"There is no {COST_RECORD} beside it: nothing vouches for it."
    try:
        record = received_record(project, COST_RECORD)
        present = hash_of(project, COST_TABLE)
        sealed, written = record[SEAL] == seal_of(record), record["outputs"]["table"]["sha256"]
        code = record["code"]["closure"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return "tampered", f"{COST_RECORD} is no sound record of it: {type(error).__name__}: {error}."
    if not sealed:
        return "tampered", f"The {SEAL} of {COST_RECORD} is not the hash of its content: it was edited."
    if written != present:
        return "tampered", f"It is not the table that {COST_RECORD} says was written."
    if code != _code(project):
        return "stale", "The kernels, or the benchmark, have changed since it was measured."
    return None


def _code(project: Path) -> str:
    """Hash of the benchmark and of the kernels."""
    digest = hashlib.sha256(closure_hash(*MEASURED).encode())
    for name in SCRIPTS:
        path = project / "benchmarks" / name
        digest.update(path.read_bytes() if path.is_file() else b"")
    return digest.hexdigest()
