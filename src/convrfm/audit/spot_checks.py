"""Spot checks: a few numbers of every kind of run, computed anew on the CPU, so that results from elsewhere can be trusted.

Which runs, which entries and which images is drawn at random, with a seed: nobody who computes results knows beforehand.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import torch

from convrfm.audit.fit_checks import check_feature_fit, check_task_fit
from convrfm.audit.network_checks import check_ansatz, check_network, of_images, of_task
from convrfm.audit.outcome import SpotCheck
from convrfm.audit.records import Product, find_products
from convrfm.audit.replay import job_of
from convrfm.audit.spot import WRONG
from convrfm.audit.theorem_checks import check_theorem_table
from convrfm.pipeline.plain_networks import build_feature_network
from convrfm.pipeline.session import Job
from convrfm.pipeline.simplenets import build_simplenet
from convrfm.pipeline.zoo_networks import build_standin
from convrfm.seeding import generator

__all__ = ["RUNS_OF_A_KIND", "spot_check"]

Check = Callable[[Job, str, np.random.Generator], Iterator[SpotCheck]]

RUNS_OF_A_KIND = 2
"""Runs of each kind that are looked at, at most."""


CHECKS: dict[str, Check] = {
    **dict.fromkeys(("rfm", "image-rfm", "variant", "printed-rfm"), check_task_fit),
    "features": check_feature_fit,
    **dict.fromkeys(("cnn", "image-cnn"), partial(check_network, of_task)),
    "feature-network": partial(check_network, of_images(build_feature_network)),
    "simplenet": partial(check_network, of_images(build_simplenet)),
    "standin": partial(check_network, of_images(build_standin)),
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
    checks: list[SpotCheck] = []
    with _one_thread():
        for kind, products in sorted(kinds.items()):
            rng = generator(seed, f"spot checks of {kind}")
            chosen = rng.choice(len(products), min(RUNS_OF_A_KIND, len(products)), replace=False)
            for index in sorted(chosen.tolist()):
                checks += _check(project, products[index], CHECKS[kind], rng)
    return tuple(checks)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keep PyTorch to one thread: for small networks more of them cost more than they give."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _check(project: Path, product: Product, check: Check, rng: np.random.Generator) -> list[SpotCheck]:
    file = product.files["parquet" if product.is_figure else "arrays"]
    try:
        job = job_of(project, product, {name: project / path for name, path in product.files.items()})
        return list(check(job, file, rng))
    except Exception as error:  # noqa: BLE001 (whatever is wrong with files from elsewhere is what was found)
        what = f"cannot be computed anew: {type(error).__name__}: {error}"
        return [SpotCheck(file, what, 0, WRONG, 0.0, False)]
