"""The version is written in `convrfm.__init__`; what repeats it must agree."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import yaml

from convrfm import __version__

ROOT = Path(__file__).parents[2]


def test_pyproject_takes_the_version_from_the_package():
    content = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "version" not in content["project"]
    assert content["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "convrfm.__version__"}


def test_setuptools_finds_the_version_without_an_import():
    code = (
        "from setuptools.config.pyprojecttoml import read_configuration; import sys\n"
        "print(read_configuration('pyproject.toml')['project']['version'], 'convrfm' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [__version__, "False"]


def test_the_citation_has_the_version():
    assert str(yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"]) == __version__


def test_the_changelog_has_dated_releases():
    headings = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings
    for heading in headings:
        assert re.fullmatch(r"Unreleased|\d+\.\d+\.\d+ - \d{4}-\d{2}-\d{2}", heading), heading
    assert "Unreleased" not in headings[1:]
    released = [heading.partition(" ")[0] for heading in headings if heading != "Unreleased"]
    # Between releases the package may have the version of the last one, or that of the next.
    assert headings[0] == "Unreleased" or released[0] == __version__
