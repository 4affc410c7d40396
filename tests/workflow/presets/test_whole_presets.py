"""The presets that want downloads, whole and in miniature, on official archives: every rule, every figure, every data set."""

import json

import pytest

from convrfm.datasets.registry import REGISTRY
from convrfm.replication.plan.plan import FIGURES
from workflow.conftest import copy_project
from workflow.presets.miniature import configuration, put_data

pytestmark = pytest.mark.presets

ABSENT = {"workstation": {"printed"}, "paper": {"printed"}}
"""Figures that a miniature does not have: sizes at which numbers were printed are not small."""


@pytest.mark.parametrize("preset", ABSENT)
def test_everything_is_built_and_trusted(preset, tmp_path):
    project = copy_project(tmp_path / "project")
    (project.root / "config.yaml").write_text(json.dumps(configuration(preset)))
    planned = project.snakemake("-n", "--config", "assume_data=true")
    put_data(project.root, sorted(name for name in REGISTRY if f"data/{name}/state.json" in planned))
    output = project.snakemake("-c2", "--keep-going")
    assert "SKIPPED" not in output
    figures = project.root / "results" / preset / "figures/published"
    assert {path.stem for path in figures.glob("*.png")} == FIGURES.keys() - ABSENT[preset]
    for record in figures.glob("*.json"):
        assert json.loads(record.read_text()).get("skipped", {}) == {}
    assert project.planned() == {}
    assert "Trusted" in project.snakemake("-c1", "--", "audit")
