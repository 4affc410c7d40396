"""The table of faults, which the tests fill and write into the documentation."""

from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Faults"]

HEADER = """# Faults

<!-- Written by `make faults`; do not edit. -->

What was done to a running workflow on a SLURM of one node, and on one like that of a site (`tests/cluster`), what was lost,
how it ended, and the seconds from the fault to the end of the work that it hit. Most of them are the profile of the tests:
Snakemake asks every few seconds there, and a job of a second takes its time to start. In each case, results were equal bit
for bit to those of a run without a fault.

| fault | lost | how it ended | seconds |
|---|---|---|---|
"""


@dataclass
class Faults:
    """Rows of the table."""

    rows: dict[str, tuple[str, str, float]] = field(default_factory=dict)

    def note(self, fault: str, lost: str, ended: str, seconds: float) -> None:
        self.rows[fault] = (lost, ended, seconds)

    def write(self, path: Path) -> None:
        lines = [f"| {fault} | {lost} | {ended} | {seconds:.0f} |\n" for fault, (lost, ended, seconds) in self.rows.items()]
        path.write_text(HEADER + "".join(lines), encoding="utf-8")
