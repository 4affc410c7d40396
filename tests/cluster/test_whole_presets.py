"""A preset that wants downloads in miniature, on official archives, but for the figures of the zoo, which take long."""

import json

import pytest
from workflow.conftest import copy_project

from cluster.miniature import miniature, put_data
from convrfm.datasets.registry import REGISTRY

pytestmark = pytest.mark.cluster

FIGURES = ["fig03", "fig04", "fig05", "fig06", "fig08", "fig09", "fig10", "fig11", "fig12", "theorem1"]


def test_figures_of_anchors(tmp_path):
    preset = "anchors"
    project = copy_project(tmp_path / "project")
    overrides = miniature(preset)
    (project.root / "config.yaml").write_text(
        json.dumps({"preset": preset, "protocol": "published", "seeds": [0], "overrides": overrides})
    )
    planned = project.snakemake("-n", "--config", "assume_data=true", "--", *FIGURES)
    names = sorted(name for name in REGISTRY if f"data/{name}/state.json" in planned)
    put_data(project.root, names)
    output = project.snakemake("-c2", "--keep-going", "--", *FIGURES)
    assert "SKIPPED" not in output
    figures = project.root / "results" / preset / "figures/published"
    for figure in FIGURES:
        assert (figures / f"{figure}.png").stat().st_size > 0
        assert json.loads((figures / f"{figure}.json").read_text()).get("skipped", {}) == {}
    assert project.planned(*FIGURES) == {}
