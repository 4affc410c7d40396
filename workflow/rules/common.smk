"""What all rules share: the checked configuration, where results lie, and what each job sees of the configuration."""

import gc
import inspect
import sys
from functools import cache, partial
from pathlib import Path

from snakemake.exceptions import WorkflowError

from convrfm.datasets.entries import find_place
from convrfm.datasets.registry import files_behind
from convrfm.errors import ConvRFMError
from convrfm.replication.cluster.attempts import growth
from convrfm.replication.record.closure import closure_hash
from convrfm.replication.config.presets import load_settings
from convrfm.replication.record.data_states import STATE, due_attempt, read_state
from convrfm.replication.cluster.orphans import cancel_orphans
from convrfm.replication.record.paths import RUN_FILES, figure_records
from convrfm.replication.plan.base import FIGURE_FORMATS, FILE_SETS, Plan, figure_file, state_file
from convrfm.replication.plan.beyond import variants
from convrfm.replication.plan.data import folders_of
from convrfm.replication.plan.fits import expected_minutes, fit_memory, fit_threads
from convrfm.replication.plan.fig08 import simplenet_memory
from convrfm.replication.plan.steps import (
    STEPPED,
    part_pattern,
    round_pattern,
    rounds_of_fit,
    step_draw,
    step_parts,
    step_rounds,
    step_settings,
)
from convrfm.replication.plan.table import EXPERIMENTS, FIGURES
from convrfm.replication.cluster.preflight import check_folder, check_paths
from convrfm.replication.record.record import read_record
from convrfm.replication.config.costs import PAIRS, is_pair
from convrfm.replication.cluster.site import Site, load_site

ENVIRONMENT = "../../envs/convrfm.yaml"

try:
    SETTINGS = load_settings(config, Path(workflow.basedir) / "workflow" / "presets")
    SITE = load_site(Path.cwd())
    RESULTS = f"results/{SETTINGS.config.preset}"
    check_folder(Path(RESULTS))
    check_paths(sys.executable, (Path(workflow.basedir), Path.cwd()))
except ConvRFMError as error:
    raise WorkflowError(str(error)) from None

# What Snakemake plans with, millions of objects, lives as long as itself: it is seldom searched for cycles.
gc.set_threshold(100_000, 50, 1000)

PROTOCOLS = SETTINGS.protocols
DATA_SETTINGS = {"data_dir": SETTINGS.config.data_dir, "folders": SETTINGS.config.data_folders}


wildcard_constraints:
    protocol="published|corrected",
    network="[a-z0-9_]+-(?:v1|v2|standin)",
    task="[a-z-]+",
    kernel="cntk|laplace",
    sigma=r"[0-9.e+-]+",
    seed=r"\d+",
    optimizer="adam|sgd",
    dataset="[a-z0-9_-]+",
    size=r"native|\d+",
    fit="stretch|crop",
    colour="native|grey|rgb|grey-rgb",
    scaling="[a-z0-9]+",
    classes=r"all|\d+-\d+",
    n_train=r"\d+",
    n_test=r"\d+",
    experiment="|".join(STEPPED),
    run=r"[a-z_]+=.+",
    stage=r"\d+",
    round=r"\d+",
    part=r"\d+",
    parts=r"\d+",


@cache
def attempt_at(dataset):
    """Which attempt is due; asked once, before the rule that it belongs to removes its old output."""
    return due_attempt(dataset, find_place(DATA_SETTINGS["data_dir"], dataset, DATA_SETTINGS["folders"]))


def data_state(dataset):
    """The state of a data set; the rule that finds it out runs first, unless a plan takes the data for granted."""
    if SETTINGS.config.assume_data:
        return {"state": "present", "digest": ""}
    checkpoints.fetch.get(dataset=dataset)
    return read_state(Path(state_file(PLAN, dataset)))


PLAN = Plan(SETTINGS, data_state)


def fetch_settings(wildcards):
    """What the fetching of a data set sees of the configuration."""
    name = wildcards.dataset
    return {
        "dataset": name,
        "data_dir": DATA_SETTINGS["data_dir"],
        "folders": folders_of(PLAN, name),
        "mirror": SETTINGS.config.data_mirror,
        "attempt": attempt_at(name),
    }


def asked_often(function, *first):
    """A function after its first arguments; its parameters, which Snakemake asks for many times, stand where it looks first."""
    bound = partial(function, *first)
    bound.__signature__ = inspect.signature(bound)
    return bound


def run_folder(kind, experiment):
    """Where runs of an experiment lie, with wildcards for their keys, under `runs` or `logs`."""
    keys = ",".join(f"{key}={{{key}}}" for key in EXPERIMENTS[experiment].keys)
    return f"{RESULTS}/{kind}/{experiment}/{{protocol}}/{keys}"


def run_files(experiment):
    """The outputs of a run's rule."""
    return {name: f"{run_folder('runs', experiment)}/{file}" for name, file in RUN_FILES.items()}


def run_log(experiment):
    """The log of a run's rule."""
    return f"{run_folder('logs', experiment)}.log"


def run_inputs(experiment):
    """The inputs of a run's rule. States of data are written anew by each check, which alone makes nothing stale."""

    def files(of, is_state, wildcards):
        found = of(PLAN, wildcards)
        return [ancient(path) for path in found] if is_state else found

    # The rounds of a large fit come from jobs of their own.
    steps = {"rounds": asked_often(rounds_of_fit, PLAN, experiment)} if experiment in STEPPED else {}
    return steps | {
        name: asked_often(files, of, name in ("state", "states")) for name, of in EXPERIMENTS[experiment].inputs.items()
    }


def run_settings(experiment):
    """What a run sees of the configuration."""
    return asked_often(EXPERIMENTS[experiment].settings, PLAN)


def run_code(experiment):
    """Hash of the code of a run."""
    return closure_hash(EXPERIMENTS[experiment].job.partition(":")[0])


def figure_inputs(figure):
    """The inputs of a figure's rule."""
    return {name: asked_often(of, PLAN) for name, of in FIGURES[figure].inputs.items()}


def figure_slice(figure):
    """What the drawing of a figure sees of the configuration."""
    return asked_often(FIGURES[figure].settings, PLAN)


def figure_code(figure):
    """Hash of the code of a figure."""
    return closure_hash(FIGURES[figure].job.partition(":")[0])


def figure_files(figure):
    """All files of a figure, for every protocol."""
    return [figure_file(PLAN, figure, protocol, form) for protocol in PROTOCOLS for form in FIGURE_FORMATS]


def needs(rule, beside=None):
    """What jobs ask a scheduler for, which is more of what ran out with each attempt, and a GPU where they can use one and may.

    `beside` gives MiB for some wildcards that come on top, from the plan. On one machine, all this limits nothing by itself.
    """
    costs, key = SETTINGS.preset.costs, SETTINGS.preset.costs.cost(rule).gpu

    @asked_often
    def memory(wildcards, attempt):
        more = beside(PLAN, wildcards) if beside else fit_memory(PLAN, rule, wildcards)
        expected = costs.demand(rule, dict(wildcards)).memory_mb + more
        return costs.memory_limit(expected, growth(rule, wildcards, attempt, of="memory"))

    @asked_often
    def minutes(wildcards, attempt, threads):
        expected = expected_minutes(PLAN, rule, dict(wildcards), threads)
        return costs.limit(expected, growth(rule, wildcards, attempt, of="time"))

    asked = {"mem_mb": memory, "runtime": minutes, **SITE.resources(gpus=0)}
    if getattr(SETTINGS.config, key or "", "") not in ("auto", "cuda"):
        return asked
    with_gpu = {"gpu": 1, **SITE.resources(gpus=1)}
    differing = [name for name, value in with_gpu.items() if asked.get(name) != value]
    return {**asked, **{name: asked_often(of_gpu_job, name) for name in differing}}


def of_gpu_job(name, wildcards):
    """A resource of a job that can use a GPU.

    Pairs of classes travel in groups, which would ask for as many GPUs as they have jobs; on CPUs they take minutes.
    """
    grouped = swarm(wildcards) is not None
    local = workflow.executor_plugin is not None and workflow.executor_plugin.name == "local"
    # On one machine, Snakemake counts GPUs, whatever the site wants to be told.
    site = Site() if local else SITE
    return {"gpu": 0, **site.resources(gpus=0)}.get(name) if grouped else site.resources(gpus=1).get(name)


def threads_of(rule):
    """Threads of a fit of the kernels, which grow with its training images."""
    return asked_often(fit_threads, PLAN, rule)


@asked_often
def swarm(wildcards):
    """The group of a job on a pair of classes, of which there are thousands, each of them short; other jobs have none.

    Nor has any where the configuration insists on GPUs, which groups cannot share out.
    """
    if not is_pair(wildcards) or "cuda" in (SETTINGS.config.device, SETTINGS.config.backend):
        return None
    return PAIRS


def figure_outputs(figure, category):
    """The outputs of a figure's rule, with the protocol as a wildcard; the report shows the picture under a category."""
    files = {form: figure_file(PLAN, figure, "{protocol}", form) for form in FIGURE_FORMATS}
    # Snakemake looks for the caption from the folder of the file that the rule stands in.
    caption = f"../report/{figure}.rst"
    files["png"] = report(files["png"], caption=caption, category=category, labels={"protocol": "{protocol}"})
    return {**files, "record": figure_file(PLAN, figure, "{protocol}", "json")}


def figure_log(figure):
    """The log of a figure's rule."""
    return f"{RESULTS}/logs/figures/{{protocol}}/{figure}.log"


def fig06_files():
    """What Figure 6 consists of: the figure, the table of pairs if any are asked for, and the states of their data."""
    pairs = [*figure_files("fig06_pairs"), *data_states("fig06_pairs")] if PLAN.pairs else []
    return [*figure_files("fig06"), *data_states("fig06"), *pairs]


def printed_files():
    """The comparison with printed numbers, which are all of the protocol `published`, and the states of its data."""
    if not SETTINGS.preset.printed.runs:
        raise WorkflowError(
            f"The preset {SETTINGS.config.preset} has none of the sizes at which the authors printed numbers: use "
            "--config preset=anchors."
        )
    return [*(figure_file(PLAN, "printed", "published", form) for form in FIGURE_FORMATS), *data_states("printed")]


def data_states(figure):
    """State files of all data that a figure needs.

    They stand beside the figure as targets: Snakemake does not look at what has changed about a job as long as a checkpoint
    before it has not run, and runs no checkpoint for the sake of a file that is there already.
    """
    tasks = FIGURES[figure].tasks(PLAN)
    return [state_file(PLAN, name) for name in sorted({name for task in tasks for name in files_behind(task)})]


def end_orphans():
    """Cancel what a Snakemake that was killed has left in the queue of SLURM; the lock says that no other is alive."""
    if workflow.is_main_process:
        for job in cancel_orphans(Path.cwd()):
            sys.stderr.write(f"SLURM job {job} was left by a Snakemake that has died: cancelled\n")


def report_skipped():
    """Print at the end of a run which figures, or parts of them, were skipped, and why; not for each job of a cluster."""
    if not workflow.is_main_process:
        return
    for path in figure_records(Path(RESULTS)):
        if path.parent.name in PROTOCOLS:
            for part, reason in read_record(path).get("skipped", {}).items():
                sys.stderr.write(f"{path.stem} ({path.parent.name}), {part}: SKIPPED ({reason})\n")
