"""The presets that want a cluster, whole and in miniature: every rule, every figure, every data set."""

import json

import pytest
from workflow.conftest import copy_project

from cluster.miniature import miniature, put_data
from convrfm.datasets.registry import REGISTRY

pytestmark = pytest.mark.cluster

FIGURES = [*(f"fig{number:02d}" for number in range(1, 13)), "theorem1", "beyond"]


@pytest.mark.parametrize("preset", ["anchors", "paper"])
def test_the_whole_preset(tmp_path, preset):
    project = copy_project(tmp_path / "project")
    overrides = miniature(preset)
    project.configure(preset=preset)
    (project.root / "config.yaml").write_text(
        json.dumps({"preset": preset, "protocol": "published", "seeds": [0], "overrides": overrides})
    )
    planned = project.snakemake("-n", "--config", "assume_data=true")
    names = sorted(name for name in REGISTRY if f"data/{name}/state.json" in planned)
    put_data(project.root, names)
    output = project.snakemake("-c2", "--keep-going")
    assert "SKIPPED" not in output
    figures = project.root / "results" / preset / "figures/published"
    for figure in FIGURES:
        assert (figures / f"{figure}.png").stat().st_size > 0
        assert json.loads((figures / f"{figure}.json").read_text()).get("skipped", {}) == {}
    assert project.planned() == {}
