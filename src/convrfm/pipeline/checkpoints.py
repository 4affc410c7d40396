"""Checkpoints of jobs: where they lie, and their end."""

import hashlib
import json
from pathlib import Path

from convrfm.pipeline.session import Job
from convrfm.round_journal import RoundJournal
from convrfm.storage import sha256

__all__ = ["checkpoint_path", "remove_checkpoints", "round_journal"]


def checkpoint_path(job: Job, *parts: object) -> Path:
    """Where a checkpoint of a job lies; it is found again by what it depends on.

    Args:
        job: its code, settings and inputs are what the checkpoint depends on.
        parts: what tells the networks of one job apart, plain values.
    """
    inputs = {name: [sha256(path) for path in paths] for name, paths in job.inputs.items()}
    identity = [job.recorder.code, dict(job.settings), inputs, list(parts)]
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
    return job.outputs["record"].with_name(f"checkpoint-{key}.safetensors")


def remove_checkpoints(job: Job) -> None:
    """Remove all checkpoints of a job whose outputs are there, and what a kill has left of writing one."""
    folder = job.outputs["record"].parent
    for pattern in ("checkpoint-*", ".tmp-*-checkpoint-*"):
        for checkpoint in folder.glob(pattern):
            checkpoint.unlink()


def round_journal(job: Job) -> RoundJournal:
    """Where the rounds of a fit that is the whole of a job are kept until it ends."""
    return RoundJournal(checkpoint_path(job).with_suffix(""))
