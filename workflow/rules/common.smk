"""What all rules share: the checked configuration, where results lie, and what each job sees of the configuration."""

import gc
import inspect
import re
import sys
from functools import cache, partial
from pathlib import Path

from snakemake.exceptions import WorkflowError

from convrfm.datasets.places import find_place
from convrfm.datasets.registry import REGISTRY, files_behind, find_entry
from convrfm.errors import ConvRFMError
from convrfm.replication.cluster.site import Site, cancel_orphans, check_folder, check_paths, growth, load_site
from convrfm.replication.record.closure import closure_hash
from convrfm.replication.plan.presets import load_settings
from convrfm.replication.record.data_states import STATE, due_attempt, read_state
from convrfm.replication.record.record import RUN_FILES, figure_records, read_record
from convrfm.replication.figures.beyond import variants
from convrfm.replication.plan.fits import (
    STEPPED,
    expected_minutes,
    fit_memory,
    fit_threads,
    part_pattern,
    round_pattern,
    rounds_of_fit,
    step_draw,
    step_parts,
    step_rounds,
    step_settings,
)
from convrfm.replication.plan.plan import FIGURE_FORMATS, FIGURES, RUNS, Plan, asked_figures
from convrfm.replication.config.costs import PAIRS, is_pair
from convrfm.replication.config.validation import check_folders

ENVIRONMENT = "../../envs/convrfm.yaml"

try:
    SETTINGS = load_settings(config, Path(workflow.basedir) / "workflow" / "presets")
    SITE = load_site(Path.cwd())
    RESULTS = f"results/{SETTINGS.config.preset}"
    check_folder(Path(RESULTS))
    if workflow.is_main_process:
        # A plan may be made where the data are not.
        check_folders(SETTINGS.config.data_dir, {} if SETTINGS.config.assume_data else SETTINGS.config.data_folders)
    check_paths(sys.executable, (Path(workflow.basedir), Path.cwd()))
except ConvRFMError as error:
    raise WorkflowError(str(error)) from None

# What Snakemake plans with, millions of objects, lives as long as itself: it is seldom searched for cycles.
gc.set_threshold(100_000, 50, 1000)

PROTOCOLS = SETTINGS.protocols
DATA_SETTINGS = {"data_dir": SETTINGS.config.data_dir, "folders": SETTINGS.config.data_folders}


@cache
def attempt_at(dataset):
    """Which attempt is due; asked once, before the rule that it belongs to removes its old output."""
    return due_attempt(dataset, find_place(DATA_SETTINGS["data_dir"], find_entry(dataset), DATA_SETTINGS["folders"]))


def data_state(dataset):
    """The state of a data set; the rule that finds it out runs first, unless a plan takes the data for granted."""
    if SETTINGS.config.assume_data:
        return {"state": "present", "digest": ""}
    checkpoints.fetch.get(dataset=dataset)
    return read_state(Path(PLAN.state_file(dataset)))


PLAN = Plan(SETTINGS, data_state)


wildcard_constraints:
    protocol="published|corrected",
    network="[a-z0-9_]+-(?:v1|v2|cifar10|standin)",
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
    width_divisor=r"\d+",
    n_train=r"\d+",
    n_test=r"\d+",
    experiment="|".join(STEPPED),
    run=r"[a-z_]+=.+",
    stage=r"\d+",
    round=r"\d+",
    part=r"\d+",
    parts=r"\d+",


def fetch_settings(wildcards):
    """What the fetching of a data set sees of the configuration."""
    name = wildcards.dataset
    return {
        "dataset": name,
        "data_dir": DATA_SETTINGS["data_dir"],
        "folders": PLAN.folder_of(name),
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
    keys = ",".join(f"{key}={{{key}}}" for key in RUNS[experiment].keys)
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
    return steps | {name: asked_often(files, of, name in ("state", "states")) for name, of in RUNS[experiment].inputs.items()}


def run_params(kind):
    """The job of a run's rule, what it sees of the configuration, and the hash of its code."""
    return job_params(RUNS[kind].job, asked_often(RUNS[kind].settings, PLAN))


def job_params(job, settings):
    """A job, `module:function`, its settings, and the hash of its code."""
    return {"job": job, "settings": settings, "code": closure_hash(job.partition(":")[0])}


def figure_inputs(figure):
    """The inputs of a figure's rule."""
    return {name: asked_often(of, PLAN) for name, of in FIGURES[figure].inputs.items()}


def figure_params(figure):
    """The same for a figure's rule, with what the report says below the picture."""
    params = job_params(FIGURES[figure].job, asked_often(FIGURES[figure].settings, PLAN))
    return {**params, "about": FIGURES[figure].spec.about}


def figure_outputs(figure):
    """The outputs of a figure's rule, with the protocol as a wildcard."""
    spec = FIGURES[figure].spec
    files = {form: PLAN.figure_file(figure, "{protocol}", form) for form in FIGURE_FORMATS}
    category = f"{spec.title.partition(',')[0]}: {spec.subject}".removesuffix(": ")
    # Snakemake looks for the caption from the folder of the file that the rule stands in.
    of_report = {"caption": "../report/figure.rst", "category": category, "labels": {"protocol": "{protocol}"}}
    files["png"] = report(files["png"], **of_report)
    return {**files, "record": PLAN.figure_file(figure, "{protocol}", "json")}


def figure_files(figure, protocol):
    """All files of a figure, and the state files of the data that it needs.

    States are targets, too: Snakemake does not look at what has changed about a job as long as a checkpoint before it has not
    run, and runs no checkpoint for the sake of an existing file.
    """
    states = [PLAN.state_file(name) for name in FIGURES[figure].spec.data(PLAN)]
    return [*(PLAN.figure_file(figure, protocol, form) for form in FIGURE_FORMATS), *states]


def target_files(name, _):
    """What the target of a figure builds: the figure under each protocol, and what belongs to it, such as pairs of classes."""
    if lacking := FIGURES[name].spec.lacking(PLAN):
        raise WorkflowError(lacking)
    whole = [figure for figure in FIGURES if figure == name or figure.startswith(f"{name}_")]
    return [
        path
        for figure in whole
        if not FIGURES[figure].spec.lacking(PLAN)
        for protocol in FIGURES[figure].spec.only or PROTOCOLS
        for path in figure_files(figure, protocol)
    ]


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


def simplenet_memory(_, wildcards):
    """MiB that the images of a SimpleNet take, with room for copies."""
    panel = PLAN.simplenets[wildcards["dataset"], wildcards["width_divisor"]]
    return (panel.n_train + panel.n_test) * 3 * 32**2 * 4 * 4 // 2**20


@asked_often
def swarm(wildcards):
    """The group of a job on a pair of classes, of which there are thousands, each of them short; other jobs have none.

    Nor has any where the configuration insists on GPUs, which groups cannot share out.
    """
    if not is_pair(wildcards) or "cuda" in (SETTINGS.config.device, SETTINGS.config.backend):
        return None
    return PAIRS


def end_orphans():
    """Cancel what a Snakemake that was killed has left in the queue of SLURM; the lock says that no other is alive."""
    if workflow.is_main_process:
        for job in cancel_orphans(Path.cwd()):
            sys.stderr.write(f"SLURM job {job} was left by a Snakemake that has died: cancelled\n")


def report_skipped():
    """Print at the end of a run which figures, or parts of them, were skipped, and why; not for each job of a cluster."""
    if not workflow.is_main_process:
        return
    absent = {}
    for path in figure_records(Path(RESULTS)):
        if path.parent.name in PROTOCOLS:
            record = read_record(path)
            absent |= record.get("absent", {})
            for part, what in record.get("skipped", {}).items():
                sys.stderr.write(f"{path.stem} ({path.parent.name}), {part}: SKIPPED ({what})\n")
    sys.stderr.writelines(f"{reason}\n" for reason in absent.values())
