"""A small figure through `snakemake --profile slurm`, beside the same on this machine."""

import shutil

import pytest
from workflow.conftest import Project

from convrfm.storage import sha256

pytestmark = pytest.mark.cluster


def test_outputs_equal_those_of_a_local_run_bit_for_bit(cluster_project, tmp_path):
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
