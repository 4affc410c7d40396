"""A tiny project whose results are built by the jobs themselves, without Snakemake."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
import yaml
from matplotlib import pyplot as plt
from workflow.conftest import CONFIG, ROOT

from convrfm.replication.audit.records import find_products, in_order
from convrfm.replication.plan.plan import FIGURE_FORMATS, FIGURES, RUNS, Plan, recorded_state
from convrfm.replication.plan.presets import Settings, load_settings
from convrfm.replication.record.closure import closure_hash
from convrfm.replication.record.record import RUN_FILES, Recorder, read_record, run_keys, seal_of
from convrfm.replication.record.session import Job, load_job
from convrfm.system.machine import limited_threads
from convrfm.system.storage import sha256, write_json

BUILT = ("fig01", "fig05", "fig08", "fig12", "theorem1")
"""Figures of the tiny project: kernels, networks, the ansatz, and what is computed without runs."""

OVERRIDES = {
    **CONFIG["overrides"],
    "fig05": {"panels": [{**CONFIG["overrides"]["fig05"]["panels"][0], "sigmas": [2.0]}]},
    "fig06": {**CONFIG["overrides"]["fig06"], "sigma": 2.0},
}


def configure(project: Path, **changes) -> Settings:
    """Write `config.yaml`, with changes to its overrides by section, and give what it says."""
    config = {**CONFIG, "overrides": {**OVERRIDES, **changes.pop("overrides", {})}, **changes}
    (project / "config.yaml").write_text(yaml.safe_dump(config))
    return settings_of(project)


def settings_of(project: Path) -> Settings:
    return load_settings(yaml.safe_load((project / "config.yaml").read_text()), project / "workflow" / "presets")


def make_project(folder: Path, figures=BUILT, **changes) -> Path:
    """A project with presets, lock and results, computed with one thread, as its records say."""
    for name in ("workflow/presets", "envs"):
        shutil.copytree(ROOT / name, folder / name)
    settings = configure(folder, **changes)
    plan = plan_of(folder, settings)
    with inside(folder):
        for protocol in settings.protocols:
            for figure in figures:
                forms = dict(zip((*FIGURE_FORMATS, "record"), (*FIGURE_FORMATS, "json"), strict=True))
                outputs = {name: Path(plan.figure_file(figure, protocol, form)) for name, form in forms.items()}
                _run(plan, FIGURES[figure], {"protocol": protocol}, outputs)
    return folder


def plan_of(project: Path, settings: Settings | None = None) -> Plan:
    given = settings or settings_of(project)
    return Plan(given, recorded_state(given, project))


@contextmanager
def inside(folder: Path) -> Iterator[None]:
    """In a folder, with one thread."""
    before, threads = Path.cwd(), torch.get_num_threads()
    os.chdir(folder)
    torch.set_num_threads(1)
    try:
        with limited_threads(1):
            yield
    finally:
        torch.set_num_threads(threads)
        os.chdir(before)


def follow(project: Path, run: Path) -> None:
    """Make all that stands on a run again, by its own jobs: what a forger does who is more than careful."""
    plan = plan_of(project)
    changed = {path.relative_to(project).as_posix() for path in run.iterdir()}
    with inside(project):
        for product in in_order(find_products(project, plan.results)):
            if not changed.isdisjoint(described.path for described in product.record.inputs.values()):
                of = (FIGURES if product.is_figure else RUNS)[product.kind]
                outputs = {**product.files, "record": product.record_file}
                _run(plan, of, product.keys, {name: Path(file) for name, file in outputs.items()})
                changed |= set(outputs.values())


def _run(plan: Plan, of, keys, outputs: dict[str, Path]) -> None:
    inputs = {name: [Path(path) for path in files(plan, keys)] for name, files in of.inputs.items()}
    for folder in {path.parent for paths in inputs.values() for path in paths}:
        if not (folder / RUN_FILES["record"]).exists():
            own = run_keys(folder)
            _run(plan, RUNS[own["experiment"]], own, {name: folder / file for name, file in RUN_FILES.items()})
    do_job(of.job, inputs, outputs, of.settings(plan, keys))
    plt.close("all")


def do_job(job: str, inputs: dict[str, list[Path]], outputs: dict[str, Path], settings: dict) -> None:
    load_job(job)(Job(inputs, outputs, settings, 1, Recorder(job, closure_hash(job.partition(":")[0]), settings)))


def rehash(project: Path, record_file: Path, **changes) -> None:
    """Put the hashes of files, as they are now, and changes into a record, and seal it: what a careful forger does."""
    record = {**read_record(record_file), **changes}
    for described in record["outputs"].values():
        described["sha256"] = sha256(project / described["path"])
    reseal(record_file, record)


def reseal(record_file: Path, record: dict) -> None:
    write_json(record_file, {**record, "seal": seal_of(record)})
