"""A small figure through `snakemake --profile slurm`, beside the same on this machine."""

import re
import shutil

import pytest
from workflow.conftest import DIGITS, Project

from convrfm.system.storage import sha256

pytestmark = pytest.mark.cluster


def test_outputs_equal_those_of_a_local_run_bit_for_bit(cluster_project, tmp_path):
    cluster_project.start_over()
    local = Project(tmp_path / "local")
    shutil.copytree(cluster_project.root, local.root)
    output = cluster_project.submit("fig05")
    assert "has been submitted with SLURM jobid" in output
    local.snakemake("-c2", "--", "fig05")
    compared = 0
    for path in local.results.rglob("*"):
        if path.name in ("metrics.parquet", "arrays.safetensors", "fig05.png", "fig05.parquet", "fig05.md"):
            assert sha256(path) == sha256(cluster_project.results / path.relative_to(local.results)), path.name
            compared += 1
    assert compared == 2 * 4 + 3
    assert cluster_project.planned("fig05") == {}
    assert cluster_project.slurm.finished()


def test_pairs_of_classes_travel_in_groups(cluster_project):
    pairs = {**DIGITS, "first_classes": 3, "only": ["0-1", "0-2", "1-2"]}
    fig06 = {"datasets": [DIGITS], "pairs": [pairs]}
    # Two pairs must fit into the machine of the tests.
    costs = {"fit_images": {"memory_mb": 2000}, "train_images": {"memory_mb": 2000}}
    cluster_project.configure(overrides={"fig06": fig06, "costs": costs})
    cluster_project.adapt(**{"group-components": ["pairs=2"]})
    output = cluster_project.submit("results/quick/figures/published/fig06_pairs.md")
    # Three pairs, each prepared, fitted and trained, in two jobs; and the table.
    assert len(list(cluster_project.results.glob("runs/image-*/published/*/record.json"))) == 2 * 3
    submitted = re.findall(r"submitted with SLURM jobid (\d+)", output)
    assert len(submitted) == 3
    asked = [cluster_project.slurm.ask("scontrol", "show", "job", job) for job in submitted]
    assert sum("NumCPUs=4" in text for text in asked) == 1  # two pairs, each with a fit and a training
    assert not any("gres" in text for text in asked)
