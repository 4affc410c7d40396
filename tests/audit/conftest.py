"""A tiny project with results, built once; and a checkout with a history."""

import shutil
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest
from workflow.conftest import ROOT

from audit.tiny import make_project
from convrfm.replication.audit import changes
from convrfm.replication.audit.judging import all_judges
from convrfm.replication.audit.outcome import State

CLAIMS = "src/convrfm/replication/claims/claims.yaml"
JUDGE = f"src/{next(iter(all_judges()['cost'].functions.values())).__module__.replace('.', '/')}.py"
TAMPERED, STALE, ORPHANED, MISSING = State
CODE = ("src/convrfm/rfm/rounds.py", "src/convrfm/kernels/arc_cosine.py", JUDGE)


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
    return Path(shutil.copytree(pristine, tmp_path / "project"))


def said(findings) -> dict[tuple[State, str], str]:
    """What is said of each file that something is wrong with."""
    found = defaultdict(str)
    for each in findings:
        found[each.state, each.file] += each.found
    return found


def git(checkout, *arguments):
    command = ["git", "-C", str(checkout), "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def commit(checkout: Path) -> str:
    """Commit all that has changed, with a history from then on. Gives the commit."""
    git(checkout, "init", "-q")
    git(checkout, "add", "-A")
    git(checkout, "commit", "-qm", "as it is now")
    return git(checkout, "rev-parse", "HEAD")


def change(path: Path, before: str, after: str) -> None:
    """Change a text, which has to be there, in a file."""
    text = path.read_text(encoding="utf-8")
    assert before in text
    path.write_text(text.replace(before, after, 1), encoding="utf-8")


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout of a few files of the project, at the tag of its release."""
    project = tmp_path / "checkout"
    for folder in ("workflow/presets", "envs"):
        shutil.copytree(ROOT / folder, project / folder)
    for file in (*CODE, CLAIMS, "config.yaml"):
        (project / file).parent.mkdir(parents=True, exist_ok=True)
        (project / file).write_text("a = 1\n" if file in CODE else (ROOT / file).read_text())
    commit(project)
    git(project, "tag", f"v{changes.version('convrfm')}")
    monkeypatch.setattr(changes, "CHECKOUT", project)
    changes.changed_modules.cache_clear()
    return project
