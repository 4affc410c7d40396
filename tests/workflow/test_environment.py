"""`envs/setup.sh` where an environment could be made and would be of no use, and Snakemake called from such a one."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from convrfm.errors import ConfigError
from convrfm.replication.cluster.site import check_paths
from workflow.conftest import ROOT, Project

REFUSED = [" ", "\t", "\n", *"'\"$\\;&|<>(){}*?[:`"]
"""Characters with which a job did not start, or that the shell takes for a pattern."""

WORKING = ["é", "漢", *"]@+=,%~^!#-_."]
"""Characters with which a job was started."""


@pytest.fixture
def python(tmp_path) -> Path:
    """A Python of the right version that leaves a note where it is told to make an environment, and makes none."""
    path = tmp_path / "python"
    path.write_text(f'#!/bin/sh\ncase $1 in -c) exit 0 ;; esac\necho "$@" > {tmp_path}/called\nexit 1\n')
    path.chmod(0o755)
    return path


def set_up(python: Path, folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    shutil.copytree(ROOT / "envs", folder / "envs")
    environment = {"PATH": "/usr/bin:/bin", "PYTHON": str(python)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("letter", REFUSED)
def test_a_folder_whose_name_means_something_to_the_shell(python, tmp_path, letter):
    done = set_up(python, tmp_path / f"a{letter}b", "sh", "envs/setup.sh", ".venv")
    assert done.returncode == 1
    assert done.stderr.startswith("error: jobs could not be started from")
    assert not (tmp_path / "called").exists()
    with pytest.raises(ConfigError, match="Jobs cannot be started with"):
        check_paths(f"/home/a{letter}b/.venv/bin/python", ())


@pytest.mark.parametrize("letter", WORKING)
def test_a_folder_with_another_name(python, tmp_path, letter):
    done = set_up(python, tmp_path / f"a{letter}b", "sh", "envs/setup.sh", ".venv")
    assert (tmp_path / "called").read_text() == "-m venv .venv\n"
    assert "no virtual environment could be made" in done.stderr
    check_paths(f"/home/a{letter}b/.venv/bin/python", [Path(f"/home/a{letter}b")])


@pytest.mark.parametrize("letter", ["\t", "\n", *'"$\\{}`'])
def test_a_project_whose_path_does_not_survive_quotes(python, tmp_path, letter):
    """Wherever its environment lies."""
    done = set_up(python, tmp_path / f"a{letter}b", "sh", "envs/setup.sh", str(tmp_path / "venv"))
    assert done.stderr.startswith("error: jobs could not be started from")
    assert not (tmp_path / "called").exists()
    with pytest.raises(ConfigError, match="Jobs cannot be started in"):
        check_paths("/usr/bin/python", [tmp_path, tmp_path / f"a{letter}b"])


def test_an_environment_elsewhere(python, tmp_path):
    """Jobs start from a project in a folder with a space, if only the environment lies in another."""
    set_up(python, tmp_path / "a b", "sh", "envs/setup.sh", str(tmp_path / "venv"))
    assert (tmp_path / "called").exists()
    check_paths("/usr/bin/python", [tmp_path / "a b"])
    (tmp_path / "called").unlink()
    done = set_up(python, tmp_path / "ab", "sh", "envs/setup.sh", str(tmp_path / "my venv"))
    assert not (tmp_path / "called").exists()
    assert "my venv" in done.stderr


def test_make_says_so_too(python, tmp_path):
    (tmp_path / "a b").mkdir()
    for name in ("Makefile", "pyproject.toml", "src/convrfm/__init__.py"):
        copied = tmp_path / "a b" / name
        copied.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, copied)
    done = set_up(python, tmp_path / "a b", "make", "environment")
    assert done.returncode != 0
    assert "error: jobs could not be started" in done.stderr
    assert not (tmp_path / "a b/.venv").exists()


def test_snakemake_from_such_an_environment(project: Project, tmp_path):
    """As where somebody has made it without the script."""
    (tmp_path / "my venv/bin").mkdir(parents=True)
    python = tmp_path / "my venv/bin/python"
    python.symlink_to(sys.executable)
    done = subprocess.run(
        [python, "-m", "snakemake", "-n", "theorem1"], cwd=project.root, capture_output=True, text=True, check=False,
        env={**project.environment, "PYTHONPATH": f"{ROOT / 'src'}:{Path(pytest.__file__).parents[1]}"},
    )  # fmt: skip
    assert done.returncode != 0
    assert f"Jobs cannot be started with {python}: ' ' in its path" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
