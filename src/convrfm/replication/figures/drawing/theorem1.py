"""Check Theorem 1 and draw what comes out."""

from collections.abc import Mapping

import torch
from convrfm.replication.claims.judges.theorem1 import judges
from convrfm.replication.figures.job import with_verdicts, write_figure

from convrfm.ansatz.theorem import CASES, TheoremCheck, check_theorem
from convrfm.numerics.sampling import generator
from convrfm.replication.figures import theorem1
from convrfm.replication.record.session import Job

__all__ = ["check_and_draw", "check_draw"]


def check_and_draw(job: Job) -> None:
    """Check every case at every size for every draw, and write picture, table, caption and record."""
    torch.set_num_threads(job.threads)
    given = job.settings
    checks = [
        (size, seed, check)
        for size in given["sizes"]
        for seed in range(given["draws"])
        for check in check_draw(size, given["learning_rate"], seed)
    ]
    table = theorem1.tidy(checks, given["protocol"])
    # The first draw of the first size comes first.
    shown = [next(check for _, _, check in checks if check.case == name) for name in theorem1.SHOWN]
    write_figure(job, table, theorem1.draw(table, shown), with_verdicts(theorem1.caption(table), table, job, judges))


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
