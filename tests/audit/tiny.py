"""A tiny project whose results are built by the jobs themselves, without Snakemake; and what forgers do to it."""

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import chdir, contextmanager
from fnmatch import filter as matching
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import yaml
from matplotlib import pyplot as plt
from workflow.conftest import CONFIG, PANEL, ROOT

from convrfm.replication.audit.records import _product, find_products
from convrfm.replication.plan import plan as plans
from convrfm.replication.plan.presets import load_settings
from convrfm.replication.record.closure import closure_hash
from convrfm.replication.record.record import Recorder, read_record, seal_of
from convrfm.replication.record.session import Job, load_job
from convrfm.system.machine import limited_threads
from convrfm.system.storage import load_arrays, sha256, write_arrays, write_json, write_table

RESULTS = "results/quick"
FIGURES = f"{RESULTS}/figures/published"
DRAW = f"{RESULTS}/runs/draw/published/task=bars,seed=0"
RUN = f"{RESULTS}/runs/rfm/published/task=bars,sigma=2,seed=0"
RECORD = f"{RUN}/record.json"
NETWORKS = [f"{RESULTS}/runs/cnn/published/task=bars,sigma=2,optimizer={name},seed=0" for name in ("adam", "sgd")]

BUILT = ("fig01", "fig05", "fig08", "fig12", "theorem1")
"""Figures of the tiny project: kernels, networks, the ansatz, and what is computed without runs."""

OVERRIDES = {**CONFIG["overrides"], "fig05": {"panels": [{"task": "bars", "sigmas": [2.0], **PANEL}]}}


def configure(project: Path, **changes) -> None:
    """Write `config.yaml`, with changes to its overrides by section."""
    config = {**CONFIG, "overrides": {**OVERRIDES, **changes.pop("overrides", {})}, **changes}
    (project / "config.yaml").write_text(yaml.safe_dump(config))


def plan_of(project: Path) -> plans.Plan:
    settings = load_settings(yaml.safe_load((project / "config.yaml").read_text()), project / "workflow" / "presets")
    return plans.Plan(settings, plans.recorded_state(settings, project))


def make_project(folder: Path, figures=BUILT, **changes) -> Path:
    """A project with presets, lock and results, computed with one thread, as its records say."""
    for name in ("workflow/presets", "envs"):
        shutil.copytree(ROOT / name, folder / name)
    configure(folder, **changes)
    plan = plan_of(folder)
    with inside(folder):
        for figure in figures:
            make(plan, f"{FIGURES}/{figure}.json")
    return folder


@contextmanager
def inside(folder: Path) -> Iterator[None]:
    """In a folder, with one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with chdir(folder), limited_threads(1):
            yield
    finally:
        torch.set_num_threads(threads)


def make(plan: plans.Plan, record_file: str, change_inputs=lambda inputs: inputs, **settings) -> None:
    """Do the job of a run or figure, by its record, after those of the runs that it is made from, if they are not there."""
    product = _product(Path(), Path(record_file))
    of = (plans.FIGURES if product.is_figure else plans.RUNS)[product.kind]
    inputs = {name: [Path(path) for path in files(plan, product.keys)] for name, files in of.inputs.items()}
    for folder in {path.parent for paths in inputs.values() for path in paths}:
        if not (folder / "record.json").exists():
            make(plan, f"{folder}/record.json")
    outputs = {name: Path(file) for name, file in {**product.files, "record": record_file}.items()}
    settings = {**of.settings(plan, product.keys), **settings}
    recorder = Recorder(of.job, closure_hash(of.job.partition(":")[0]), settings)
    load_job(of.job)(Job(change_inputs(inputs), outputs, settings, 1, recorder))
    plt.close("all")


def follow(project: Path, run: Path) -> None:
    """Make all that stands on a run again, by its own jobs: what a forger does who is more than careful."""
    plan = plan_of(project)
    changed = {path.relative_to(project).as_posix() for path in run.iterdir()}
    with inside(project):
        for product in find_products(project, plan.results):
            if not changed.isdisjoint(described.path for described in product.record.inputs.values()):
                make(plan, product.record_file)
                changed |= {*product.files.values(), product.record_file}


def edit_table(run: Path, columns: Mapping[str, object]) -> None:
    """Change columns, by values or by functions of the table."""
    write_table(run / "metrics.parquet", pd.read_parquet(run / "metrics.parquet").assign(**columns))


def edit_arrays(run: Path, changes: Mapping[str, Callable[[np.ndarray], np.ndarray]]) -> None:
    """Change arrays by patterns of their names."""
    arrays = load_arrays(run / "arrays.safetensors")
    for pattern, change in changes.items():
        arrays |= {name: change(arrays[name]).copy() for name in matching(arrays, pattern)}
    write_arrays(run / "arrays.safetensors", arrays)


def edit_record(run: Path, **changes) -> None:
    reseal(run / "record.json", {**read_record(run / "record.json"), **changes})


def rehash(project: Path, record_file: Path, **changes) -> None:
    """Put the hashes of files, as they are now, and changes into a record, and seal it: what a careful forger does."""
    record = {**read_record(record_file), **changes}
    for described in record["outputs"].values():
        described["sha256"] = sha256(project / described["path"])
    reseal(record_file, record)


def reseal(record_file: Path, record: dict) -> None:
    write_json(record_file, {**record, "seal": seal_of(record)})
