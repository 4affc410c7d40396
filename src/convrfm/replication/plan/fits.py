"""What fits of the kernels take, by their size: memory, minutes and threads."""

from convrfm.datasets.registry import REGISTRY
from convrfm.replication.cluster.fits import FitSize, Step, Work, fit_minutes, fit_work
from convrfm.replication.config.costs import Rates, is_pair
from convrfm.replication.plan.plan import Plan
from convrfm.replication.plan.steps import step_size, task_size
from convrfm.replication.plan.table import RUNS
from convrfm.replication.runs.kinds import Keys

__all__ = ["FITS", "expected_minutes", "fit_memory", "fit_size", "fit_threads"]

FITS = {
    "fit_features": "features",
    "fit_rfm": "rfm",
    "fit_images": "image-rfm",
    "fit_variant": "variant",
    "fit_printed": "printed-rfm",
}
"""The rules that fit kernels, with their kinds of runs."""

STEPS = ("fill_gram", "fit_round")
"""The rules of the steps of large fits, see `convrfm.replication.plan.steps`."""

RULES_IN_STEPS = ("fit_rfm", "fit_variant", "fit_printed")
"""The rules of fits that may be in steps."""

FEW = 3000
"""Training images up to which a fit takes `threads` of the configuration: several such fits run side by side."""

IMAGES_PER_THREAD = {"cpu": 1000, "gpu": 4000}
"""Training images for each thread of larger fits; a GPU leaves little to the cores beside it."""


def fit_size(plan: Plan, kind: str, w: Keys) -> FitSize:
    """Size of a fit of a kind."""
    settings = RUNS[kind].settings(plan, w)
    if "task" in settings:
        return task_size(settings)
    task = plan.feature_tasks[w["dataset"]] if kind == "features" else plan.image_task(w["dataset"], w["classes"])
    shape = plan.image_shape(task.dataset, task.size, task.colour)
    # Pairs of classes have a single output.
    outputs = REGISTRY[task.dataset].classes if w.get("classes", "all") == "all" else 1
    return FitSize(settings, task.n_train, task.n_test, shape, outputs)


def fit_memory(plan: Plan, rule: str, w: Keys) -> int:
    """MiB that a job takes for its images and what is made of them, beside the program; 0 for other rules than fits.

    The last job of a fit in steps reads its rounds, and fits nothing.
    """
    if rule in STEPS:
        return step_size(plan, w).memory_mb(filling=rule == "fill_gram")
    if rule not in FITS:
        return 0
    size = fit_size(plan, FITS[rule], w)
    return size.memory_mb(filling=_is_in_steps(plan, rule, size))


def expected_minutes(plan: Plan, rule: str, w: Keys, threads: int) -> float:
    """Minutes that a job of any rule is expected to take: as the section `costs` says, or by the size of a fit.

    Args:
        plan: the plan.
        rule: its name.
        w: wildcards of the job.
        threads: that it has.
    """
    costs = plan.settings.preset.costs
    if minutes := costs.demand(rule, w).minutes:
        return minutes
    rates: Rates = getattr(costs, _runs_on(plan, rule, w))
    return fit_minutes(_work(plan, rule, w), rates, threads)


def _work(plan: Plan, rule: str, w: Keys) -> Work:
    """What a job of a fit, or of one of its steps, does."""
    if rule in STEPS:
        step = Step(int(w["stage"]), int(w["round"]), filling=rule == "fill_gram")
        work = fit_work(step_size(plan, w), step)
        return work.share(int(w["parts"])) if step.filling else work
    size = fit_size(plan, FITS[rule], w)
    return Work() if _is_in_steps(plan, rule, size) else fit_work(size)


def fit_threads(plan: Plan, rule: str, w: Keys) -> int:
    """Threads of a fit, between `threads` of the configuration and `costs.most_threads`.

    They are counted from the training images; Snakemake gives no more than its cores. Pairs of classes share a job, and keep
    to `threads`. Kernel matrices have the same bits with any number of threads. What goes through BLAS and LAPACK (solves, and
    metrics of many columns) may differ in the last bits: the record keeps the number under `machine`.
    """
    own, costs = plan.settings.config.threads, plan.settings.preset.costs
    n = (step_size(plan, w) if rule in STEPS else fit_size(plan, FITS[rule], w)).n_train
    if n < FEW or is_pair(w):
        return own
    return max(own, min(n // IMAGES_PER_THREAD[_runs_on(plan, rule, w)], costs.most_threads))


def _is_in_steps(plan: Plan, rule: str, size: FitSize) -> bool:
    return rule in RULES_IN_STEPS and plan.split_parts(size.settings) > 0


def _runs_on(plan: Plan, rule: str, w: Keys) -> str:
    """Whether a fit is expected to run on a "cpu" or a "gpu"; pairs travel in groups, which ask for none unless one must."""
    backend, costs = plan.settings.config.backend, plan.settings.preset.costs
    if backend == "cuda":
        return "gpu"
    return costs.fits_on if backend == "auto" and costs.cost(rule).gpu != "never" and not is_pair(w) else "cpu"
