"""What all rules share: the checked configuration, where results lie, and what each job sees of the configuration."""

import json
import sys
from functools import cache
from pathlib import Path

from snakemake.exceptions import WorkflowError

from convrfm.datasets.places import STATE, find_place
from convrfm.datasets.registry import REGISTRY, files_behind
from convrfm.errors import ConvRFMError
from convrfm.pipeline.closure import closure_hash
from convrfm.pipeline.config import load_settings
from convrfm.pipeline.data_states import due_attempt, read_state
from convrfm.pipeline.orphans import cancel_orphans
from convrfm.pipeline.paths import RUN_FILES, run_name
from convrfm.pipeline.preflight import check_folder
from convrfm.pipeline.sections.costs import PAIRS
from convrfm.printed import PRINTED

ENVIRONMENT = "../../envs/convrfm.yaml"

try:
    SETTINGS = load_settings(config, Path(workflow.basedir) / "workflow" / "presets")
    RESULTS = f"results/{SETTINGS.config.preset}"
    check_folder(Path(RESULTS))
except ConvRFMError as error:
    raise WorkflowError(str(error)) from None

PROTOCOLS = SETTINGS.protocols
PANELS = {panel.task: panel for panel in SETTINGS.preset.fig05.panels}
IMAGE_TASKS = {task.dataset: task for task in SETTINGS.preset.fig06.datasets}
PAIR_TASKS = {task.dataset: task for task in SETTINGS.preset.fig06.pairs}
FIG06_SIGMA = SETTINGS.preset.fig06.sigma
FIG06_LOCAL = [task for task, panel in PANELS.items() if FIG06_SIGMA in panel.sigmas]
FIG04_SIGMA = SETTINGS.preset.fig04.sigma
FIG04_TASKS = [task for task, panel in PANELS.items() if FIG04_SIGMA in panel.sigmas] + SETTINGS.preset.fig04.datasets
STUDIES = {task.task: task for task in SETTINGS.preset.beyond.tasks}
SIMPLENETS = {panel.dataset: panel for panel in SETTINGS.preset.fig08.panels}
ZOO = SETTINGS.preset.zoo
TASKS = {
    "fig01": [*ZOO.weights, ZOO.dataset] if ZOO.weights else [],
    "fig02": [SETTINGS.preset.fig02.network, ZOO.dataset] if SETTINGS.preset.fig02.network in ZOO.weights else [],
    "fig03": [*SETTINGS.preset.fig03.datasets, SETTINGS.preset.features.natural],
    "fig04": FIG04_TASKS,
    "fig05": list(PANELS),
    "fig06": [*IMAGE_TASKS, *FIG06_LOCAL],
    "fig06_pairs": list(PAIR_TASKS),
    "fig07": [*ZOO.weights, ZOO.dataset] if ZOO.weights else [],
    "fig08": list(SIMPLENETS),
    "fig10": SETTINGS.preset.fig10.datasets,
    "fig11": [*SETTINGS.preset.fig11.datasets, SETTINGS.preset.features.natural],
    "fig12": SETTINGS.preset.fig12.datasets,
    "beyond": list(STUDIES),
    "printed": [PRINTED[name].task for name in SETTINGS.preset.printed.runs],
    "fig09": [entry.dataset for entry in SETTINGS.preset.fig09.datasets],
}
FIGURE_FORMATS = ("png", "pdf", "parquet", "csv", "md")

# Names that can be fetched, or looked for in the folder where a user has to put them.
FILE_SETS = [name for name, entry in REGISTRY.items() if entry.has_files]
DATA_SETTINGS = {"data_dir": SETTINGS.config.data_dir, "folders": SETTINGS.config.data_folders}
PREPARE_KEYS = ["dataset", "size", "fit", "colour", "scaling", "classes", "n_train", "n_test", "seed"]


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


def run_files(experiment, keys):
    """The outputs of a run's rule, with wildcards for its keys."""
    folder = f"{RESULTS}/runs/{experiment}/{{protocol}}/" + ",".join(f"{key}={{{key}}}" for key in keys)
    return {name: f"{folder}/{file}" for name, file in RUN_FILES.items()}


def run_log(experiment, keys):
    """The log of a run's rule."""
    return f"{RESULTS}/logs/{experiment}/{{protocol}}/" + ",".join(f"{key}={{{key}}}" for key in keys) + ".log"


def run_file(experiment, protocol, file, **keys):
    """One file of one run."""
    return f"{RESULTS}/runs/{experiment}/{protocol}/{run_name(keys)}/{RUN_FILES[file]}"


def figure_file(figure, protocol, form):
    """One file of one figure."""
    return f"{RESULTS}/figures/{protocol}/{figure}.{form}"


def figure_files(figure):
    """All files of a figure, for every protocol."""
    return [figure_file(figure, protocol, form) for protocol in PROTOCOLS for form in FIGURE_FORMATS]


def needs(rule, beside=None):
    """What jobs ask a scheduler for, which is more with each attempt, and a GPU where they can use one and may.

    `beside` gives MiB for some wildcards that come on top. On one machine, all this limits nothing by itself.
    """
    costs, key = SETTINGS.preset.costs, SETTINGS.preset.costs.cost(rule).gpu

    def memory(wildcards, attempt):
        return attempt * (costs.demand(rule, dict(wildcards)).memory_mb + (beside(wildcards) if beside else 0))

    def minutes(wildcards, attempt):
        return costs.limit(costs.demand(rule, dict(wildcards)).minutes, attempt)

    def gpus(wildcards):
        # Pairs of classes travel in groups, which would ask for as many GPUs as they have jobs; on CPUs they take minutes.
        return int(swarm(wildcards) is None)

    gpu = {"gpu": gpus} if getattr(SETTINGS.config, key or "", "") in ("auto", "cuda") else {}
    return {"mem_mb": memory, "runtime": minutes, **gpu}


def swarm(wildcards):
    """The group of a job on a pair of classes, of which there are thousands, each of them short; other jobs have none.

    Nor has any where the configuration insists on GPUs, which groups cannot share out.
    """
    if wildcards.get("classes", "all") == "all" or "cuda" in (SETTINGS.config.device, SETTINGS.config.backend):
        return None
    return PAIRS


def figure_outputs(figure, category):
    """The outputs of a figure's rule, with the protocol as a wildcard; the report shows the picture under a category."""
    files = {form: figure_file(figure, "{protocol}", form) for form in FIGURE_FORMATS}
    # Snakemake looks for the caption from the folder of the file that the rule stands in.
    caption = f"../report/{figure}.rst"
    files["png"] = report(files["png"], caption=caption, category=category, labels={"protocol": "{protocol}"})
    return {**files, "record": figure_file(figure, "{protocol}", "json")}


def figure_log(figure):
    """The log of a figure's rule."""
    return f"{RESULTS}/logs/figures/{{protocol}}/{figure}.log"


def fig06_files():
    """What Figure 6 consists of: the figure, the table of pairs if any are asked for, and the states of their data."""
    pairs = [*figure_files("fig06_pairs"), *data_states("fig06_pairs")] if PAIR_TASKS else []
    return [*figure_files("fig06"), *data_states("fig06"), *pairs]


def printed_files():
    """The comparison with printed numbers, which are all of the protocol `published`, and the states of its data."""
    if not SETTINGS.preset.printed.runs:
        raise WorkflowError(
            f"The preset {SETTINGS.config.preset} has none of the sizes at which the authors printed numbers: use "
            "--config preset=anchors."
        )
    return [*(figure_file("printed", "published", form) for form in FIGURE_FORMATS), *data_states("printed")]


def state_file(dataset):
    """Where the state of a data set is written."""
    return f"{SETTINGS.config.data_dir}/{dataset}/{STATE}"


def data_states(figure):
    """State files of all data that a figure needs.

    They stand beside the figure as targets: Snakemake does not look at what has changed about a job as long as a checkpoint
    before it has not run, and runs no checkpoint for the sake of a file that is there already.
    """
    return [state_file(name) for name in sorted({name for task in TASKS[figure] for name in files_behind(task)})]


@cache
def attempt_at(dataset):
    """Which attempt is due; asked once, before the rule that it belongs to removes its old output."""
    return due_attempt(dataset, find_place(DATA_SETTINGS["data_dir"], dataset, DATA_SETTINGS["folders"]))


def fetch_settings(wildcards):
    """What the fetching of a data set sees of the configuration."""
    name = wildcards.dataset
    folders = {name: path for key, path in DATA_SETTINGS["folders"].items() if key == name}
    return {
        "dataset": name,
        "data_dir": DATA_SETTINGS["data_dir"],
        "folders": folders,
        "mirror": SETTINGS.config.data_mirror,
        "attempt": attempt_at(name),
    }


def data_state(dataset):
    """The state of a data set; the rule that finds it out runs first, unless a plan takes the data for granted."""
    if SETTINGS.config.assume_data:
        return {"state": "present", "digest": ""}
    checkpoints.fetch.get(dataset=dataset)
    return read_state(Path(state_file(dataset)))


def data_needs(tasks):
    """Names of the data that each task needs and that have to be fetched."""
    return {task: list(files_behind(task)) for task in tasks}


def figure_settings(protocol, tasks):
    """What the drawing of a figure sees of the configuration: what each of its tasks needs, beside the protocol."""
    return {"protocol": protocol, "needs": data_needs(tasks)}


def absent_data(tasks):
    """State files of the data that tasks need and that are not present."""
    needed = sorted({name for task in tasks for name in files_behind(task)})
    return [state_file(name) for name in needed if data_state(name)["state"] != "present"]


def ready(tasks):
    """The tasks whose data are present, or need not be fetched."""
    return [task for task in tasks if not absent_data([task])]


def prepare_needs(wildcards):
    """The state of the data to prepare. It is written anew by each check, which alone makes nothing stale."""
    if wildcards.dataset not in FILE_SETS:
        return []
    data_state(wildcards.dataset)
    return [ancient(state_file(wildcards.dataset))]


def prepare_settings(wildcards):
    """What the preparation of images sees of the configuration."""
    name, size, classes = wildcards.dataset, wildcards.size, wildcards.classes
    return {
        **DATA_SETTINGS,
        "folders": fetch_settings(wildcards)["folders"],
        "dataset": name,
        # Data that have changed make what was prepared from them stale.
        "digest": data_state(name)["digest"] if name in FILE_SETS else "",
        "protocol": wildcards.protocol,
        "appearance": {
            "size": None if size == "native" else int(size),
            **{key: wildcards[key] for key in ("fit", "colour", "scaling")},
        },
        "pair": None if classes == "all" else [int(label) for label in classes.split("-")],
        **{key: int(wildcards[key]) for key in ("n_train", "n_test", "seed")},
        "resampled": False,
    }


def draw_settings(wildcards):
    """What a draw sees of the configuration."""
    panel = PANELS[wildcards.task]
    return {
        "task": wildcards.task,
        "protocol": wildcards.protocol,
        "n_train": panel.n_train,
        "n_test": panel.n_test,
        "seed": int(wildcards.seed),
    }


def images_of_draw(wildcards, n_train, n_test):
    """The images that a draw stands on, where they are fetched: whole and grey, as they are."""
    appearance = {"size": "native", "fit": "stretch", "colour": "grey", "scaling": "unit", "classes": "all"}
    counts = {"n_train": n_train, "n_test": n_test, "seed": wildcards.seed}
    return [
        run_file("prepare", wildcards.protocol, "arrays", dataset=name, **appearance, **counts)
        for name in files_behind(wildcards.task)
    ]


def draw_needs(wildcards):
    """The images behind a draw of a panel of Figure 5."""
    panel = PANELS[wildcards.task]
    return images_of_draw(wildcards, panel.n_train, panel.n_test)


def task_settings(wildcards):
    """What every fit to a local-signal task sees of the configuration."""
    panel = PANELS[wildcards.task]
    return {
        **panel.model_dump(include={"task", "n_train", "n_test", "depth", "patch_size"}),
        "protocol": wildcards.protocol,
        "sigma": float(wildcards.sigma),
        "seed": int(wildcards.seed),
    }


def fit_settings(wildcards):
    """What a fit of the kernels sees of the configuration."""
    return {
        **task_settings(wildcards),
        "rfm": PANELS[wildcards.task].rfm.model_dump(),
        "changes": {},
        **SETTINGS.config.model_dump(include={"backend", "memory_mb"}),
    }


def training_settings(wildcards):
    """What the training of a network sees of the configuration."""
    cnn = PANELS[wildcards.task].cnn
    return {
        **task_settings(wildcards),
        "width": cnn.width,
        "batch_size": cnn.batch_size,
        "optimizer": wildcards.optimizer,
        **getattr(cnn, wildcards.optimizer).model_dump(),
        "device": SETTINGS.config.device,
    }


def end_orphans():
    """Cancel what a Snakemake that was killed has left in the queue of SLURM; the lock says that no other is alive."""
    if workflow.is_main_process:
        for job in cancel_orphans(Path.cwd()):
            sys.stderr.write(f"SLURM job {job} was left by a Snakemake that has died: cancelled\n")


def report_skipped():
    """Print at the end of a run which figures, or parts of them, were skipped, and why; not for each job of a cluster."""
    if not workflow.is_main_process:
        return
    for protocol in PROTOCOLS:
        for record in sorted(Path(RESULTS, "figures", protocol).glob("*.json")):
            for part, reason in json.loads(record.read_text()).get("skipped", {}).items():
                sys.stderr.write(f"{record.stem} ({protocol}), {part}: SKIPPED ({reason})\n")
