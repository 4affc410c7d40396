"""The section of fits that are split over several jobs."""

from typing import Literal

from pydantic import Field

from convrfm.replication.config.models import Model, Positive

__all__ = ["Split"]


class Split(Model):
    """Large fits over several jobs, and so over several nodes, where kernels run on CPUs."""

    above: Positive = Field(description="fits to a local-signal task with more training images than this are split")
    tasks: list[Literal["bars", "noisy-digits", "noisy-mnist"]] = Field(
        default=[], description="of these tasks alone; of all, where none is named"
    )
    parts: Positive = Field(
        description="jobs that fill the kernel matrices of each round; a further one fits it. Bits do not depend on it"
    )
