"""The section of the comparison with numbers that the authors have printed."""

from pydantic import Field, field_validator

from convrfm.replication.config.models import Model, check_each_once
from convrfm.replication.config.sections.fig05 import LocalSignalPanel
from convrfm.replication.config.sections.fig06 import ImageTask
from convrfm.replication.figures.printed_runs import DEPTH, PATCH_SIZE, PRINTED, RIDGE, PrintedRun

__all__ = ["Printed", "is_printed_fit"]


class Printed(Model):
    """The authors' printed numbers."""

    runs: list[str] = Field(
        default=[],
        description="printed runs to compare with: svhn-1000 (of fig06.datasets), noisy-mnist-4000 (of fig05.panels if it is "
        "there) and noisy-mnist-200, see convrfm.replication.figures.printed_runs",
    )

    @field_validator("runs")
    @classmethod
    def _runs_are_known(cls, runs: list[str]) -> list[str]:
        check_each_once(runs, "each run may stand there only once, but they are")
        for name in runs:
            if name not in PRINTED:
                msg = f"{name!r} must be one of {', '.join(PRINTED)}"
                raise ValueError(msg)
        return runs


def is_printed_fit(section: LocalSignalPanel | ImageTask, run: PrintedRun) -> bool:
    """Whether the kernels of a task of Figure 5 or 6 are fitted as those of a printed run were, under `published`."""
    if isinstance(section, LocalSignalPanel):
        same_images = section.task == run.task and run.sigma in section.sigmas
    else:
        same_images = section.dataset == run.task and section.size == run.size
    return (
        same_images
        and (section.n_train, section.n_test) == (run.n_train, run.n_test)
        and (section.depth, section.patch_size, section.rfm.ridges) == (DEPTH, PATCH_SIZE, [RIDGE])
        and section.rfm.rounds >= run.rounds
    )
