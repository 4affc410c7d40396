"""Jobs as records describe them, for work that is repeated on the same inputs."""

from collections.abc import Mapping
from pathlib import Path

from convrfm.audit.records import Product
from convrfm.pipeline.plan.table import EXPERIMENTS, FIGURES
from convrfm.pipeline.record import Recorder
from convrfm.pipeline.session import Job

__all__ = ["job_of"]


def job_of(project: Path, product: Product, outputs: Mapping[str, Path]) -> Job:
    """Give the job of a run or figure again, with its recorded inputs and settings and with outputs elsewhere.

    Args:
        project: the folder of the project.
        product: a run or figure whose record can be read.
        outputs: files by name.
    """
    record = product.record
    assert record is not None
    # A record has no names of inputs without files.
    kinds = FIGURES if product.is_figure else EXPERIMENTS
    inputs: dict[str, list[Path]] = {name: [] for name in kinds[product.kind].inputs}
    for key, described in sorted(record.inputs.items(), key=lambda item: _place(item[0])):
        inputs.setdefault(key.partition("/")[0], []).append(project / described.path)
    recorder = Recorder(record.job, record.code.closure, record.settings)
    return Job(inputs, outputs, record.settings, 1, recorder)


def _place(key: str) -> tuple[str, int]:
    name, _, number = key.partition("/")
    return name, int(number) if number.isdecimal() else 0
