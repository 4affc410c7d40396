"""Check Theorem 1 and draw what comes out."""

from collections.abc import Mapping, Sequence

import pandas as pd
import torch

from convrfm.ansatz.theorem import CASES, TheoremCheck, check_theorem
from convrfm.numerics.inputs import generator
from convrfm.replication.figures import theorem1
from convrfm.replication.figures.figure import Drawn
from convrfm.replication.record.session import Job

__all__ = ["check_and_draw", "check_draw", "tidy"]


@theorem1.FIGURE.drawn
def check_and_draw(job: Job, _: Mapping[str, str]) -> Drawn:
    """Check every case at every size for every draw, and give table, picture and caption."""
    torch.set_num_threads(job.threads)
    given = job.settings
    checks = [
        (size, seed, check)
        for size in given["sizes"]
        for seed in range(given["draws"])
        for check in check_draw(size, given["learning_rate"], seed)
    ]
    table = tidy(checks, given["protocol"])
    # The first draw of the first size comes first.
    shown = [next(check for _, _, check in checks if check.case == name) for name in theorem1.SHOWN]
    return table, theorem1.draw(table, shown), theorem1.caption(table)


def check_draw(size: Mapping[str, int], learning_rate: float, seed: int) -> list[TheoremCheck]:
    """Check all cases on one draw of images and targets.

    Args:
        size: `images`, `channels`, `height`, `width`, `patch_size` and `filters`.
        learning_rate: of the one step.
        seed: of the draw.
    """
    rng = generator(seed, "images and targets of the theorem")
    images = rng.standard_normal([size[axis] for axis in ("images", "channels", "height", "width")])
    targets = rng.standard_normal(size["images"])
    network = {name: size[name] for name in ("filters", "patch_size")}
    return [check_theorem(case, images, targets, **network, learning_rate=learning_rate, seed=seed) for case in CASES]


def tidy(checks: Sequence[tuple[Mapping[str, int], int, TheoremCheck]], protocol: str) -> pd.DataFrame:
    """Bring the checks into one table, a row for each case, size, draw and point of evaluation.

    Args:
        checks: with the size (`images`, `channels`, `height`, `width`, `patch_size`, `filters`) and the seed of each.
        protocol: it changes nothing here, and stands in every table.

    Returns:
        columns `case`, `title`, `kind`, `images`, `channels`, `height`, `width`, `patch_size`, `filters`, `seed`, `point`,
        `one_minus_rho`, `rho`, `others_moved`, `protocol`, `stand_in` (never).
    """
    cases = {case.name: case for case in CASES}
    rows = [
        {
            "case": check.case,
            "title": cases[check.case].title,
            "kind": cases[check.case].kind,
            **size,
            "seed": seed,
            "point": point,
            "one_minus_rho": gap,
            "rho": 1 - gap,
            "others_moved": check.others_moved,
            "protocol": protocol,
            "stand_in": False,
        }
        for size, seed, check in checks
        for point, gap in check.gap.items()
    ]
    return pd.DataFrame(rows)
