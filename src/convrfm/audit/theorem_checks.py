"""Theorem 1: one draw of images and targets, checked anew in a few cases."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from convrfm.ansatz.theorem import CASES
from convrfm.audit.outcome import SpotCheck
from convrfm.audit.spot import WRONG, judged, largest
from convrfm.pipeline.jobs.theorem1 import check_draw
from convrfm.pipeline.session import Job

__all__ = ["CASES_CHECKED", "THEOREM_TOLERANCE", "check_theorem_table"]

CASES_CHECKED = 3
"""Cases of the theorem, and controls, that are checked anew."""

THEOREM_TOLERANCE = 1e-9
"""Largest difference of a cell: what is computed in float64 is a correlation of 1 up to 1e-30, or one of a control."""


def check_theorem_table(job: Job, file: str, rng: np.random.Generator) -> Iterator[SpotCheck]:
    """Compute some rows of one size and draw of the table of Theorem 1.

    Args:
        job: with its settings, and the table as output `parquet`.
        file: the table, relative to the project.
        rng: chooses size, draw and cases.
    """
    given, table = job.settings, pd.read_parquet(job.outputs["parquet"])
    size = given["sizes"][int(rng.integers(len(given["sizes"])))]
    seed = int(rng.integers(given["draws"]))
    rows = table[(table[list(size)] == pd.Series(size)).all(axis=1) & (table["seed"] == seed)]
    worst, count = 0.0, 0
    cases = [CASES[index] for index in np.sort(rng.choice(len(CASES), CASES_CHECKED, replace=False))]
    rows = rows[rows["case"].isin([case.name for case in cases])]
    cells = rows.set_index(["case", "point"])
    for check in check_draw(size, given["learning_rate"], seed, cases):
        for point, gap in check.gap.items():
            expected = {"one_minus_rho": gap, "rho": 1 - gap, "others_moved": check.others_moved}
            for column, value in expected.items():
                worst = largest(worst, float(cells.loc[(check.case, point), column] - value))
                count += 1
    worst = worst if 3 * len(rows) == count else WRONG
    yield judged(
        file,
        f"cells of {len(cases)} cases, draw {seed} with {size['filters']} filters",
        count,
        worst,
        THEOREM_TOLERANCE,
    )
