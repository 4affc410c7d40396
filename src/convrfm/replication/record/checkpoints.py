"""Checkpoints of jobs: where they lie, and their end."""

import hashlib
import json
from pathlib import Path

from convrfm.replication.record.session import Job
from convrfm.system.storage import sha256

__all__ = ["CHECKPOINT", "checkpoint_path", "job_key", "remove_checkpoints"]


CHECKPOINT = "checkpoint-"
"""How the names of checkpoints begin, files and folders."""


def checkpoint_path(job: Job, *parts: object) -> Path:
    """Where a checkpoint of a job lies; it is found again by what it depends on.

    Where one lies already, which the job will continue from, its record says so: `resumed_from` names the files.

    Args:
        job: its code, settings and inputs are what the checkpoint depends on.
        parts: what tells the networks of one job apart, plain values.
    """
    path = job.outputs["record"].with_name(f"{CHECKPOINT}{job_key(job, *parts)}.safetensors")
    if found := sorted(each.name for each in path.parent.glob(f"{path.stem}*")):
        job.recorder.notes["resumed_from"] = [*job.recorder.notes.get("resumed_from", []), *found]
    return path


def job_key(job: Job, *parts: object) -> str:
    """Hash (16 hex digits) of what the outputs of a job depend on; arguments as of `checkpoint_path`."""
    inputs = {name: [sha256(path) for path in paths] for name, paths in job.inputs.items()}
    identity = [job.recorder.code, dict(job.settings), inputs, list(parts)]
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]


def remove_checkpoints(job: Job) -> None:
    """Remove all checkpoints of a job whose outputs are there, and what a kill has left of writing one."""
    folder = job.outputs["record"].parent
    for pattern in (f"{CHECKPOINT}*", f".tmp-*-{CHECKPOINT}*"):
        for checkpoint in folder.glob(pattern):
            checkpoint.unlink()
