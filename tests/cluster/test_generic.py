"""The template for other schedulers, with made-up commands that run a job where they are."""

import shutil

import pytest
import yaml
from workflow.conftest import ROOT, copy_project

pytestmark = pytest.mark.cluster

SUBMIT = """#!/bin/sh
# Notes what was asked for, starts the job, and prints its id.
echo "$@" >> submitted
for script; do :; done
(sh "$script" > /dev/null 2>&1; echo $? > "ended-$$") &
echo $$
"""
STATUS = """#!/bin/sh
if [ ! -e "ended-$1" ]; then echo running; elif [ "$(cat "ended-$1")" = 0 ]; then echo success; else echo failed; fi
"""


@pytest.fixture
def elsewhere(tmp_path):
    """A project on a machine whose scheduler is made up."""
    project = copy_project(tmp_path / "project")
    shutil.copytree(ROOT / "profiles", project.root / "profiles")
    for name, text in (("qsub", SUBMIT), ("status.sh", STATUS)):
        path = project.root / "profiles/generic" / name
        path.write_text(text)
        path.chmod(0o755)
    path = project.root / "profiles/generic/config.yaml"
    profile = yaml.safe_load(path.read_text())
    submit = profile["cluster-generic-submit-cmd"].replace("qsub", "profiles/generic/qsub")
    path.write_text(yaml.safe_dump({**profile, "cluster-generic-submit-cmd": submit, "latency-wait": 20}))
    return project


def test_jobs_are_submitted_with_what_they_need(elsewhere):
    target = "results/quick/runs/cnn/published/task=bars,sigma=2,optimizer=adam,seed=0/record.json"
    elsewhere.snakemake("--profile", "profiles/generic", "--", target)
    assert (elsewhere.root / target).exists()
    draw, training = (elsewhere.root / "submitted").read_text().splitlines()
    assert "select=1:ncpus=1:mem=2400mb:ngpus=0" in draw
    assert "select=1:ncpus=1:mem=4400mb:ngpus=1" in training
    assert "walltime=600" in draw
    assert (elsewhere.root / "results/generic-logs").is_dir()
