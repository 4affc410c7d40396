"""What fits of the kernels take, by their size: memory, minutes and threads."""

from collections.abc import Callable, Mapping

from convrfm.pipeline.fit_time import FitSize, fit_minutes
from convrfm.pipeline.plan.base import Keys, Plan
from convrfm.pipeline.plan.beyond import variant_size
from convrfm.pipeline.plan.features import feature_fit_size
from convrfm.pipeline.plan.fig05 import fit_size
from convrfm.pipeline.plan.fig06 import image_fit_size
from convrfm.pipeline.plan.printed import printed_fit_size
from convrfm.pipeline.sections.costs import Rates

__all__ = ["SIZES", "expected_minutes", "fit_memory", "fit_threads"]

SIZES: Mapping[str, Callable[[Plan, Keys], FitSize]] = {
    "fit_features": feature_fit_size,
    "fit_rfm": fit_size,
    "fit_images": image_fit_size,
    "fit_variant": variant_size,
    "fit_printed": printed_fit_size,
}
"""The rules that fit kernels."""

FEW = 3000
"""Training images up to which a fit takes `threads` of the configuration: several such fits run side by side."""

IMAGES_PER_THREAD = {"cpu": 1000, "gpu": 4000}
"""Training images for each thread of larger fits; a GPU leaves little to the cores beside it."""


def fit_memory(plan: Plan, rule: str, w: Keys) -> int:
    """MiB that a job takes for its images and what is made of them, beside the program; 0 for other rules than fits."""
    return SIZES[rule](plan, w).memory_mb if rule in SIZES else 0


def expected_minutes(plan: Plan, rule: str, w: Keys, threads: int) -> float:
    """Minutes that a job of any rule is expected to take: as the section `costs` says, or by the size of a fit.

    Args:
        plan: the plan.
        rule: its name.
        w: wildcards of the job.
        threads: that it has.
    """
    costs = plan.settings.preset.costs
    rates: Rates = getattr(costs, _runs_on(plan, rule, w))
    return costs.demand(rule, w).minutes or fit_minutes(SIZES[rule](plan, w), rates, threads)


def fit_threads(plan: Plan, rule: str, w: Keys) -> int:
    """Threads of a fit, between `threads` of the configuration and `costs.most_threads`.

    They are counted from the training images; Snakemake gives no more than its cores. Pairs of classes share a job, and keep
    to `threads`. Kernel matrices have the same bits with any number of threads. What goes through BLAS and LAPACK (solves, and
    metrics of many columns) may differ in the last bits: the record keeps the number under `machine`.
    """
    own, costs = plan.settings.config.threads, plan.settings.preset.costs
    n = SIZES[rule](plan, w).n_train
    if n < FEW or _is_pair(w):
        return own
    return max(own, min(n // IMAGES_PER_THREAD[_runs_on(plan, rule, w)], costs.most_threads))


def _is_pair(w: Keys) -> bool:
    return w.get("classes", "all") != "all"


def _runs_on(plan: Plan, rule: str, w: Keys) -> str:
    """Whether a fit is expected to run on a "cpu" or a "gpu"; pairs travel in groups, which ask for none unless one must."""
    backend, costs = plan.settings.config.backend, plan.settings.preset.costs
    if backend == "cuda":
        return "gpu"
    return costs.fits_on if backend == "auto" and costs.cost(rule).gpu != "never" and not _is_pair(w) else "cpu"
