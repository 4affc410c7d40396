"""Spot checks: a few numbers of every kind of run, computed anew on the CPU, so that results from elsewhere can be trusted.

Which runs, which entries and which images is drawn at random, with a seed: nobody who computes results knows beforehand.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from convrfm.audit.fit_checks import check_fit
from convrfm.audit.network_checks import check_ansatz, check_network
from convrfm.audit.outcome import SpotCheck
from convrfm.audit.records import Product, find_products
from convrfm.audit.replay import job_of
from convrfm.audit.spot import WRONG
from convrfm.audit.theorem_checks import check_theorem_table
from convrfm.pipeline.session import Job
from convrfm.seeding import generator

__all__ = ["RUNS_OF_A_KIND", "spot_check"]

Check = Callable[[Job, str, np.random.Generator], Iterator[SpotCheck]]

RUNS_OF_A_KIND = 2
"""Runs of each kind that are looked at, at most."""

CHECKS: dict[str, Check] = {
    **dict.fromkeys(("rfm", "image-rfm", "variant", "printed-rfm", "features"), check_fit),
    **dict.fromkeys(("cnn", "image-cnn", "feature-network", "simplenet", "standin"), check_network),
    **dict.fromkeys(("ansatz", "simplenet-ansatz"), check_ansatz),
    "theorem1": check_theorem_table,
}
"""What is looked at of a kind of run or figure; other figures are drawn anew as a whole, see `convrfm.audit.redrawn`, and other
runs have nothing that can be computed anew from a part."""


def spot_check(results: Path, seed: int) -> tuple[SpotCheck, ...]:
    """Compute a few numbers of some runs anew.

    Args:
        results: `<project>/results/<preset>`.
        seed: of all random choices.

    Returns:
        One for each number or block of numbers, in the order of the files. What cannot be computed anew, because something
        is not there or is not what it should be, does not hold.
    """
    project = results.parents[1]
    kinds: dict[str, list[Product]] = {}
    for product, _ in find_products(project, results.relative_to(project).as_posix()):
        if product.record is not None and product.kind in CHECKS:
            kinds.setdefault(product.kind, []).append(product)
    torch.set_num_threads(1)
    checks: list[SpotCheck] = []
    for kind, products in sorted(kinds.items()):
        rng = generator(seed, f"spot checks of {kind}")
        chosen = rng.choice(len(products), min(RUNS_OF_A_KIND, len(products)), replace=False)
        for index in sorted(chosen.tolist()):
            checks += _check(project, products[index], CHECKS[kind], rng)
    return tuple(checks)


def _check(project: Path, product: Product, check: Check, rng: np.random.Generator) -> list[SpotCheck]:
    file = product.files["parquet" if product.is_figure else "arrays"]
    try:
        job = job_of(project, product, {name: project / path for name, path in product.files.items()})
        return list(check(job, file, rng))
    except Exception as error:  # noqa: BLE001 (whatever is wrong with files from elsewhere is what was found)
        what = f"cannot be computed anew: {type(error).__name__}: {error}"
        return [SpotCheck(file, what, 0, WRONG, 0.0, False)]
