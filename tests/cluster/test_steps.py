"""A large fit over several jobs of SLURM, the parts of each round in one array: the bits are those of one job elsewhere."""

import re
import shutil

import pytest
from workflow.conftest import Project
from workflow.test_steps import TARGET, configure, hashes

pytestmark = pytest.mark.cluster


def test_outputs_equal_those_of_one_local_job_bit_for_bit(cluster_project, tmp_path):
    whole = Project(tmp_path / "whole")
    shutil.copytree(cluster_project.root, whole.root)
    configure(whole, None)
    whole.snakemake("-c2", "--", TARGET)
    configure(cluster_project, {"above": 30, "parts": 2})
    cluster_project.adapt(**{"slurm-site-array-jobs": "fill_gram"})
    output = cluster_project.submit(TARGET)
    # Two stages of two rounds, each an array of two jobs.
    submitted = re.findall(r"^rule fill_gram:$", output, flags=re.MULTILINE)
    assert len(submitted) == 8
    (arrays,) = [cluster_project.slurm.ask("scontrol", "show", "job").count("ArrayTaskId=")]
    assert arrays == 8
    assert hashes(cluster_project) == hashes(whole)
    assert cluster_project.planned(TARGET) == {}
    assert cluster_project.slurm.finished()
