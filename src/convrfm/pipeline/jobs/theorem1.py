"""Check Theorem 1 and draw what comes out."""

import torch

from convrfm.pipeline.figures import write_figure
from convrfm.pipeline.session import Job
from convrfm.plots import theorem1
from convrfm.seeding import generator
from convrfm.theorem import CASES, TheoremCheck, check_theorem

__all__ = ["check_and_draw"]


def check_and_draw(job: Job) -> None:
    """Check every case at every size for every draw, and write picture, table, caption and record."""
    torch.set_num_threads(job.threads)
    given = job.settings
    checks = []
    for entry in given["sizes"]:
        size = theorem1.Size(**entry)
        checks += [
            (size, seed, check) for seed in range(given["draws"]) for check in _draw(size, given["learning_rate"], seed)
        ]
    table = theorem1.tidy(checks, given["protocol"])
    # The first draw of the first size comes first.
    shown = [next(check for _, _, check in checks if check.case == name) for name in theorem1.SHOWN]
    write_figure(job, table, theorem1.draw(table, shown), theorem1.caption(table))


def _draw(size: theorem1.Size, learning_rate: float, seed: int) -> list[TheoremCheck]:
    """All cases on one draw of images and targets."""
    rng = generator(seed, "images and targets of the theorem")
    images = rng.standard_normal((size.images, size.channels, size.height, size.width))
    targets = rng.standard_normal(size.images)
    return [
        check_theorem(
            case, images, targets,
            filters=size.filters, patch_size=size.patch_size, learning_rate=learning_rate, seed=seed,
        )
        for case in CASES
    ]  # fmt: skip
