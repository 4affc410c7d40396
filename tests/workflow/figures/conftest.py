"""All figures on a tiny preset, where the tests beside this folder build Figure 5 alone; a command of their own runs these."""

from pathlib import Path

import pytest

from workflow.conftest import Project, copy_project


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("figures")


@pytest.fixture(scope="session")
def built(tmp_path_factory) -> Project:
    """A project whose whole workflow has been run, for both protocols; tests put back what they change."""
    project = copy_project(tmp_path_factory.mktemp("whole") / "project")
    project.configure(protocol="both")
    project.snakemake("-c2")
    return project
