"""A tiny project with results, built once; and a checkout with a history."""

import shutil
import subprocess
from pathlib import Path

import pytest
from workflow.conftest import ROOT

from audit.tiny import make_project
from convrfm.replication.audit import currency, deviations


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch) -> None:
    """Nothing that another test has computed again."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="session")
def pristine(tmp_path_factory) -> Path:
    return make_project(tmp_path_factory.mktemp("audited") / "project")


@pytest.fixture
def project(pristine, tmp_path) -> Path:
    """A copy to do harm to."""
    shutil.copytree(pristine, tmp_path / "project")
    return tmp_path / "project"


def git(checkout, *arguments):
    command = ["git", "-C", str(checkout), "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout of a few files of the project, at the tag of its release."""
    project = tmp_path / "checkout"
    for folder in ("workflow/presets", "envs"):
        shutil.copytree(ROOT / folder, project / folder)
    (claims,) = (ROOT / "src").rglob("claims.yaml")
    for file in ("config.yaml", "src/convrfm/rfm/rounds.py", "src/convrfm/kernels/arc_cosine.py"):
        (project / file).parent.mkdir(parents=True, exist_ok=True)
        (project / file).write_text("a = 1\n")
    shutil.copy(ROOT / "config.yaml", project)
    (project / "src/convrfm/judges").mkdir()
    (project / "src/convrfm/judges/cost.py").write_text("a = 1\n")
    shutil.copy(claims, project / "src/convrfm/replication/claims.yaml")
    git(project.parent, "init", "-q", str(project))
    git(project, "add", "-A")
    git(project, "commit", "-qm", "release")
    git(project, "tag", f"v{deviations.version('convrfm')}")
    monkeypatch.setattr(deviations, "CHECKOUT", project)
    currency.changed_modules.cache_clear()
    return project
