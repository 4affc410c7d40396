"""The how-to pages and the tutorial, followed to the letter in copies of the project."""

import re
import shutil
import subprocess
import sys

import pandas as pd
import pytest
from workflow.conftest import CONFIG, PANEL, Project, copy_project

from docs.following import follow
from docs.pages import ROOT, blocks

pytestmark = pytest.mark.docs

TUTORIAL = ROOT / "docs/tutorial.md"
ELSEWHERE = ("git clone", "make environment", "source ")
"""Lines of the tutorial that set up what the tests have."""


def python(project: Project, *arguments: str) -> str:
    """Run Python in a project; gives what it printed."""
    done = subprocess.run(
        [sys.executable, *arguments], cwd=project.root, env=project.environment, text=True, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:]
    return done.stdout


def test_generated_pages_and_schemas_follow(followed):
    written = python(followed, "-m", "convrfm.replication.pages.generate")
    for file in ("docs/claims.md", "docs/datasets.md", "docs/configuration.md", "workflow/schemas/config.schema.json"):
        assert file in written
    assert "## A17: One update of the metric helps" in (followed.root / "docs/claims.md").read_text()
    assert "| kmnist | KMNIST |" in (followed.root / "docs/datasets.md").read_text()
    assert "reference / threaded /" in (followed.root / "docs/configuration.md").read_text()


def test_what_was_added_is_in_the_style_of_the_project(followed):
    for command in (("check",), ("format", "--check")):
        python(followed, "-m", "ruff", *command, "src", "tests", "workflow")


def test_the_tests_of_the_project_take_in_what_was_added(followed):
    chosen = "rounds or A17 or kmnist or threaded or every_claim or made_by_a_test or every_job or tables_are"
    files = (
        "tests/test_rounds.py", "tests/claims/test_claims.py", "tests/claims/test_judging.py", "tests/claims/test_captions.py",
        "tests/workflow/test_slices.py",        "tests/datasets/test_every_entry.py", "tests/kernels/test_golden.py",
    )  # fmt: skip
    printed = python(followed, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", chosen, *files)
    assert int(re.search(r"(\d+) passed", printed)[1]) > 12


def test_the_added_figure_is_built_and_its_claim_judged(followed, tmp_path):
    shutil.copytree(followed.root, tmp_path / "project")
    project = Project(tmp_path / "project")
    panel = {"task": "bars", "sigmas": [1.0], **PANEL, "rfm": {**PANEL["rfm"], "stages": 1}}
    project.configure(seeds=[0, 1], overrides={**CONFIG["overrides"], "fig05": {"panels": [panel]}})
    project.snakemake("-c2", "--", "rounds")
    project.check_built(["rounds"], "published")
    table = pd.read_parquet(project.results / "figures/published/rounds.parquet")
    assert list(zip(table["seed"], table["round"], strict=True)) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    code = (
        "from pathlib import Path; from convrfm.replication.audit.judging import judge\n"
        "print(*[(j.claim, len(j.measurements)) for j in judge(Path('results/quick'), 'quick', ['published'])])"
    )
    assert "('A17', 1)" in python(project, "-c", code)


def test_a_change_that_does_not_fit_is_found(tmp_path):
    (tmp_path / "file.py").write_text("a = 1\nb = 2\nb = 2\n")
    page = tmp_path / "page.md"
    page.write_text('```diff title="file.py"\n a = 1\n+c = 3\n-b = 2\n```\n')
    assert follow(page, tmp_path) == ["file.py"]
    assert (tmp_path / "file.py").read_text() == "a = 1\nc = 3\nb = 2\n"
    with pytest.raises(AssertionError, match=r"0 times in file\.py"):
        follow(page, tmp_path)


def matches(shown: str, printed: str) -> bool:
    """Whether lines that a page shows are printed, in this order; `...` stands for anything, by itself for lines."""
    wanted = [re.escape(line.rstrip()).replace(r"\.\.\.", ".*") for line in shown.splitlines() if line.strip() != "..."]
    found = iter(printed.splitlines())
    return all(any(re.fullmatch(line, each.rstrip()) for each in found) for line in wanted)


def test_the_tutorial(tmp_path):
    """Every command is run, and what the page shows of its output is there."""
    project = copy_project(tmp_path / "project")
    shutil.copy2(ROOT / "config.yaml", project.root)
    printed, tampered = "", False
    for block in blocks(TUTORIAL.read_text(), "sh", "python", "text"):
        if block.language == "text":
            assert matches(block.text, printed), f"line {block.line}: not what was printed, which is\n{printed}"
        elif block.language == "python":
            printed = python(project, "-c", block.text)
        elif not block.text.startswith(ELSEWHERE):
            done = subprocess.run(
                block.text, shell=True, cwd=project.root, env=project.environment, text=True, check=False,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=600,
            )  # fmt: skip
            printed, tampered = done.stdout, "TAMPERED" in done.stdout
            assert done.returncode == int(tampered), printed
    assert tampered  # the last command


def test_other_output_is_found():
    assert matches("a ... c\n...\nd\n", "x\na b c\ny\nd\n")
    assert not matches("a ... c\nd\n", "d\na b c\n")
    assert not matches("a.c\n", "abc\n")
