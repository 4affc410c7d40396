"""Imports go downwards only: the contracts in pyproject.toml, and the words of the workflow in the library."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LIBRARY = ("ansatz", "datasets", "kernels", "networks", "numerics", "pictures", "rfm", "training")
WORDS = ("snakemake", "config.yaml", "preset", "data_folders", "data_mirror")


def lint(source: Path) -> subprocess.CompletedProcess:
    """Check the contracts on the package below a folder."""
    code = f"import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports({str(ROOT / 'pyproject.toml')!r}, no_cache=True))"
    return subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(source)!r}); {code}"],
        capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip


def test_imports_go_downwards():
    done = lint(ROOT / "src")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


@pytest.mark.parametrize(
    ("module", "line", "broken"),
    [
        ("numerics/patches.py", "from convrfm.kernels.base import Kernel", "convrfm.numerics -> convrfm.kernels"),
        ("training/loop.py", "from convrfm.networks.zoo import fresh", "convrfm.training -> convrfm.networks"),
        ("datasets/registry.py", "from convrfm.replication.plan import plan", "convrfm.datasets -> convrfm.replication"),
        ("ansatz/summaries.py", "import matplotlib", "convrfm.ansatz is not allowed to import matplotlib"),
        (
            "replication/record/session.py",
            "from convrfm.replication.figures import fig05",
            "convrfm.replication.record -> convrfm.replication.figures",
        ),
        ("upstairs/__init__.py", "", "upstairs"),
    ],
)
def test_an_import_upwards_is_found(tmp_path, module, line, broken):
    """The control: an import that goes up or across, of the workflow's packages, or a room without a floor."""
    source = tmp_path / "src"
    shutil.copytree(ROOT / "src", source, ignore=shutil.ignore_patterns("__pycache__"))
    path = source / "convrfm" / module
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"{path.read_text() if path.exists() else ''}\n{line}\n")
    done = lint(source)
    assert done.returncode == 1, done.stdout + done.stderr
    assert broken.replace("->", "is not allowed to import") in done.stdout


def test_an_import_for_type_checkers_alone_is_none(tmp_path):
    source = tmp_path / "src"
    shutil.copytree(ROOT / "src", source, ignore=shutil.ignore_patterns("__pycache__"))
    path = source / "convrfm/numerics/patches.py"
    lines = "from typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    from convrfm.kernels.base import Kernel\n"
    path.write_text(f"{path.read_text()}\n{lines}")
    assert lint(source).returncode == 0


@pytest.mark.parametrize("room", LIBRARY)
def test_the_library_does_not_speak_of_the_workflow(room):
    """Its messages name no command and no key of the configuration: the replication adds them."""
    found = [
        f"{path.name}: {word}"
        for path in (ROOT / "src/convrfm" / room).rglob("*.py")
        for word in WORDS
        if word in path.read_text(encoding="utf-8").lower()
    ]
    assert found == []
