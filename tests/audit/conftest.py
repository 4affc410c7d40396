"""A tiny project with results, built once."""

import shutil
from pathlib import Path

import pytest

from audit.tiny import make_project


@pytest.fixture(scope="session")
def pristine(tmp_path_factory) -> Path:
    return make_project(tmp_path_factory.mktemp("audited") / "project")


@pytest.fixture
def project(pristine, tmp_path) -> Path:
    """A copy to do harm to."""
    shutil.copytree(pristine, tmp_path / "project")
    return tmp_path / "project"
