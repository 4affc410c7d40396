"""Paths with a home folder, and the end of commands. The examples are in `tests/examples`, the configuration in `tests/pipeline`."""

import argparse
from pathlib import Path

import pytest

from convrfm.datasets.places import find_place
from convrfm.datasets.registry import find_entry
from convrfm.errors import InputError
from convrfm.replication.audit import auditing, cli
from convrfm.system.terminal import ending_in_a_sentence, expand_home, path_argument


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("path", ["a/~", "./~/a/", "/a//b", "", "a ~b"])
def test_other_paths_stay_as_they_are(home, path):
    assert expand_home(path) == path


def test_home(home):
    assert expand_home("~") == str(home)
    assert path_argument("~/a") == home / "a"
    with pytest.raises(InputError, match=r"'~nobody-here' begins .*: write the path in full, or \./~nobody-here\."):
        expand_home("~nobody-here")


def test_place_of_data(home):
    place = find_place("~/data", find_entry("mnist"), {"mnist": "~/elsewhere", "svhn": "~/unused"})
    assert (place.home, place.given) == (home / "data/mnist", home / "elsewhere")
    assert find_place(Path("data"), find_entry("mnist"), {}).home == Path("data/mnist")


@pytest.mark.parametrize("command", ["audit", "import-results"])
def test_command_line_of_audits(home, monkeypatch, capsys, command):
    def interrupted(folder, choice, cores):
        assert folder == home / "results/quick"
        raise KeyboardInterrupt

    monkeypatch.setattr(auditing, "audit_folder", interrupted)
    monkeypatch.setattr(auditing, "import_folder", interrupted)
    assert cli.main([command, "~/results/quick"]) == 130
    assert capsys.readouterr().err == ""
    with pytest.raises(SystemExit, match="2"):
        cli.main([command, "~nobody-here/results"])
    assert "an unknown user: write the path in full" in capsys.readouterr().err


def test_a_bug_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError), ending_in_a_sentence(argparse.ArgumentParser()):
        1 / 0  # noqa: B018
