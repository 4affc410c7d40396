"""A copy of the project in which the how-to pages have been followed."""

import shutil

import pytest
from workflow.conftest import Project, copy_project

from docs.following import HOWTO, follow
from docs.pages import ROOT


@pytest.fixture(scope="session")
def followed(tmp_path_factory) -> Project:
    """The project with everything that the how-to pages add, and the configuration of the repository."""
    root = tmp_path_factory.mktemp("followed") / "project"
    project = copy_project(root)
    for folder in ("benchmarks", "docs", "slurm", "profiles", "tests"):
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("*.pyc", "__pycache__"))
    for file in ("config.yaml", "pyproject.toml", "README.md"):
        shutil.copy2(ROOT / file, root)
    for page in HOWTO:
        assert follow(ROOT / f"docs/howto/{page}.md", root)
    return project
