"""Where the rounds of a fit are kept: apart from other checkpoints, so that networks do not depend on the code of kernels."""

from convrfm.replication.record.session import Job, checkpoint_path
from convrfm.rfm.journal import RoundJournal

__all__ = ["round_journal"]


def round_journal(job: Job) -> RoundJournal:
    """Where the rounds of a fit that is the whole of a job are kept until it ends."""
    return RoundJournal(checkpoint_path(job).with_suffix(""))
