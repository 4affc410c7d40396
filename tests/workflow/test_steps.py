"""Large fits over several jobs: which they are, and that their outputs are those of one job, after a kill as well."""

import json
import subprocess
import sys

import pytest

from convrfm.system.storage import sha256
from workflow.conftest import PANEL, Project, copy_project

RUN = "task=bars,sigma=1,seed=0"
TARGET = f"results/quick/runs/rfm/corrected/{RUN}/record.json"
SPLIT = {"above": 30, "parts": 3}
STUDY = {"task": "bars", "n_train": [20, 40], "n_test": 16, "depth": 2, "rfm": PANEL["rfm"]}
BEYOND = {
    "seeds": [0], "tasks": [STUDY],
    "choices": {"n_train": 20, "stages": 2, "agop_samples": [2], "changes": [{"metric_power": 2.0}]},
}  # fmt: skip

INTEGRITY = r"""
from pathlib import Path
import yaml
from convrfm.replication.audit.integrity import check_integrity
from convrfm.replication.plan.plan import Plan, recorded_state
from convrfm.replication.plan.presets import load_settings

settings = load_settings(yaml.safe_load(Path("config.yaml").read_text()), Path("workflow/presets"))
plan = Plan(settings, recorded_state(settings, Path()))
print(*(f"{finding.file}: {finding.found}" for finding in check_integrity(Path(), plan).findings), sep="\n")
"""


def configure(project: Project, split: dict | None, **changes) -> None:
    """One fit to 40 images, in tiles of 16 from its second round on."""
    panel = {**PANEL, "task": "bars", "sigmas": [1.0], "n_train": 40}
    overrides = {"fig05": {"panels": [panel]}, "beyond": BEYOND, "split": split}
    project.configure(**{"protocol": "corrected", "backend": "cpu", "memory_mb": 1, **changes, "overrides": overrides})


def hashes(project: Project) -> list[str]:
    folder = (project.root / TARGET).parent
    return [sha256(folder / name) for name in ("metrics.parquet", "arrays.safetensors")]


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Project:
    """The fit in one job."""
    project = copy_project(tmp_path_factory.mktemp("whole") / "project")
    configure(project, None)
    project.snakemake("-c2", "--", TARGET)
    return project


def test_large_fits_are_split_on_cpus(project):
    split = {"draw": 1, "fill_gram": 12, "fit_round": 4, "fit_rfm": 1}
    configure(project, SPLIT)
    assert project.planned(TARGET) == split
    # Of the fits to 20 and 40 images, in both protocols, those to 40.
    planned = project.planned("beyond")
    assert planned["fill_gram"] == 3 * planned["fit_round"] == 12
    assert planned["fit_variant"] > 3
    for changes in (
        {"split": None}, {"split": {**SPLIT, "above": 40}}, {"split": {**SPLIT, "tasks": ["noisy-digits"]}}, {"split": SPLIT, "backend": "auto"},
        {"split": SPLIT, "backend": "reference"},
    ):  # fmt: skip
        configure(project, **changes)
        assert project.planned(TARGET) == {"draw": 1, "fit_rfm": 1}


def test_after_a_kill_the_bits_are_those_of_one_job(project, whole):
    configure(project, SPLIT)
    steps, logs = (project.results / f"{part}/rfm/corrected/{RUN.replace(',', '/')}" for part in ("steps", "logs/steps"))
    project.kill_when(lambda: bool(list(logs.glob("0-1.part-*.log"))), "-c2", "--", TARGET)
    project.snakemake("--unlock")
    left = project.planned("--rerun-incomplete", "--", TARGET)
    assert left["fit_round"] == 3
    assert left["fill_gram"] <= 9
    assert not (project.root / TARGET).exists()
    project.snakemake("-c2", "--rerun-incomplete", "--", TARGET)
    assert hashes(project) == hashes(whole)
    record, expected = (json.loads((place.root / TARGET).read_text()) for place in (project, whole))
    rounds = [f"round-{stage}-{t}.safetensors" for stage in range(2) for t in range(2)]
    assert [path.rpartition("/")[2] for path in record.pop("rounds")] == rounds
    assert record.keys() == expected.keys()
    assert [record[name] for name in ("settings", "inputs")] == [expected[name] for name in ("settings", "inputs")]
    # What is temporary has gone, and nothing is to be done.
    assert not steps.exists() or not list(steps.iterdir())
    assert project.planned(TARGET) == {}
    # By the project's own code, whose hashes its records have.
    command = [sys.executable, "-c", INTEGRITY]
    done = subprocess.run(command, cwd=project.root, env=project.environment, check=True, stdout=subprocess.PIPE, text=True)
    findings = done.stdout.splitlines()
    assert findings != []
    assert [finding for finding in findings if "runs/rfm" in finding or "steps" in finding] == []
