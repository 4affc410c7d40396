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
from convrfm.replication.config.presets import Settings, load_settings
from convrfm.replication.plan.plan import FIGURE_FORMATS, Plan, recorded_state
from convrfm.replication.plan.table import FIGURES, RUNS
from convrfm.replication.record.closure import closure_hash
from convrfm.replication.record.record import RUN_FILES, Recorder, read_record, run_keys, seal_of
from convrfm.replication.record.session import Job, load_job
from convrfm.system.processors import limited_threads
from convrfm.system.storage import sha256, write_json

BUILT = ("fig01", "fig05", "fig08", "fig12", "theorem1")
"""Figures of the tiny project: kernels, networks, the ansatz, and what is computed without runs."""

PANEL = {**CONFIG["overrides"]["fig05"]["panels"][0], "sigmas": [2.0]}
OVERRIDES = {
    **CONFIG["overrides"],
    "fig05": {"panels": [PANEL]},
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
    (folder / "workflow").mkdir(parents=True)
    shutil.copytree(ROOT / "workflow" / "presets", folder / "workflow" / "presets")
    shutil.copytree(ROOT / "envs", folder / "envs")
    settings = configure(folder, **changes)
    plan = plan_of(folder, settings)
    with inside(folder), one_thread():
        for figure in figures:
            for protocol in settings.protocols:
                _build_figure(plan, figure, protocol)
    return folder


def plan_of(project: Path, settings: Settings | None = None) -> Plan:
    given = settings or settings_of(project)
    return Plan(given, recorded_state(given, project))


@contextmanager
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with limited_threads(1):
            yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def inside(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def follow(project: Path, run: Path) -> None:
    """Make all that stands on a run anew, by its own jobs: what a forger does who is more than careful."""
    plan = plan_of(project)
    changed = {path.relative_to(project).as_posix() for path in run.iterdir()}
    with inside(project), one_thread():
        for product in in_order([product for product, _ in find_products(project, plan.results)]):
            if changed.isdisjoint(described.path for described in product.record.inputs.values()):
                continue
            of = (FIGURES if product.is_figure else RUNS)[product.kind]
            outputs = {name: Path(file) for name, file in {**product.files, "record": product.record_file}.items()}
            _run(plan, of, product.keys, outputs)
            plt.close("all")
            changed |= {path.as_posix() for path in outputs.values()}


def _build_figure(plan: Plan, figure: str, protocol: str) -> None:
    of, keys = FIGURES[figure], {"protocol": protocol}
    outputs = {form: Path(plan.figure_file(figure, protocol, form)) for form in FIGURE_FORMATS}
    outputs["record"] = Path(plan.figure_file(figure, protocol, "json"))
    _run(plan, of, keys, outputs)
    plt.close("all")


def _run(plan: Plan, of, keys, outputs: dict[str, Path]) -> None:
    inputs = {name: [Path(path) for path in files(plan, keys)] for name, files in of.inputs.items()}
    for path in {path.parent for paths in inputs.values() for path in paths}:
        if not (path / RUN_FILES["record"]).exists():
            own = run_keys(path)
            files = {name: path / file for name, file in RUN_FILES.items()}
            _run(plan, RUNS[own["experiment"]], own, files)
    settings = of.settings(plan, keys)
    recorder = Recorder(of.job, closure_hash(of.job.partition(":")[0]), settings)
    load_job(of.job)(Job(inputs, outputs, settings, 1, recorder))


def rehash(project: Path, record_file: Path, *, sealed: bool = True) -> None:
    """Put the hashes of a run's or figure's files, as they are now, into its record: what a careful forger does."""
    record = read_record(record_file)
    for described in record["outputs"].values():
        described["sha256"] = sha256(project / described["path"])
    reseal(record_file, record) if sealed else write_json(record_file, record)


def reseal(record_file: Path, record: dict) -> None:
    write_json(record_file, {**record, "seal": seal_of(record)})
