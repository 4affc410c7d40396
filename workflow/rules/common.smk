"""What all rules share: the checked configuration, where results lie, and what each job sees of the configuration."""

from pathlib import Path

from snakemake.exceptions import WorkflowError

from convrfm.errors import ConvRFMError
from convrfm.pipeline.closure import closure_hash
from convrfm.pipeline.config import load_settings
from convrfm.pipeline.paths import RUN_FILES, run_name
from convrfm.pipeline.preflight import check_folder

ENVIRONMENT = "../../envs/convrfm.yaml"

try:
    SETTINGS = load_settings(config, Path(workflow.basedir) / "workflow" / "presets")
    RESULTS = f"results/{SETTINGS.config.preset}"
    check_folder(Path(RESULTS))
except ConvRFMError as error:
    raise WorkflowError(str(error)) from None

PROTOCOLS = SETTINGS.protocols
PANELS = {panel.task: panel for panel in SETTINGS.preset.fig05.panels}
FIGURE_FORMATS = ("png", "pdf", "parquet", "csv", "md")


wildcard_constraints:
    protocol="published|corrected",
    task="[a-z-]+",
    sigma=r"[0-9.e+-]+",
    seed=r"\d+",
    optimizer="adam|sgd",


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


def figure_files(figure):
    """All files of a figure, for every protocol."""
    return [f"{RESULTS}/figures/{protocol}/{figure}.{form}" for protocol in PROTOCOLS for form in FIGURE_FORMATS]


def draw_settings(wildcards):
    """What a draw sees of the configuration."""
    panel = PANELS[wildcards.task]
    return {
        "task": wildcards.task,
        "protocol": wildcards.protocol,
        "n_train": panel.n_train,
        "n_test": panel.n_test,
        "seed": int(wildcards.seed),
        "data_dir": SETTINGS.config.data_dir,
    }


def draw_needs(wildcards):
    """Downloaded data that a draw stands on."""
    return [f"{SETTINGS.config.data_dir}/MNIST/state.json"] if wildcards.task == "noisy-mnist" else []


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


def fig05_fits(protocol, file):
    """One file of every fit of the kernels behind Figure 5."""
    return [
        run_file("rfm", protocol, file, task=task, sigma=sigma, seed=seed)
        for task, panel in PANELS.items()
        for sigma in panel.sigmas
        for seed in SETTINGS.config.seeds
    ]


def fig05_trainings(protocol, file):
    """One file of every network behind Figure 5."""
    return [
        run_file("cnn", protocol, file, task=task, sigma=sigma, optimizer=optimizer, seed=seed)
        for task, panel in PANELS.items()
        for sigma in panel.sigmas
        for optimizer in ("adam", "sgd")
        for seed in SETTINGS.config.seeds[: panel.cnn.seeds]
    ]


def fig05_draws(protocol):
    """The draws behind Figure 5."""
    return [
        run_file("draw", protocol, "arrays", task=task, seed=seed) for task in PANELS for seed in SETTINGS.config.seeds
    ]
