"""Progress as lines in a log and as a bar on a terminal."""

import logging

import pytest

from convrfm.system import terminal as progress
from convrfm.system.terminal import track


@pytest.fixture
def lines(caplog):
    caplog.set_level(logging.INFO, logger="convrfm")
    return lambda: [record.getMessage() for record in caplog.records]


def test_lines_with_one_at_the_end(lines):
    assert list(track("abc", 3, "letters", show=True)) == ["a", "b", "c"]
    assert lines() == ["letters: 3 of 3 done, 0 s"]


def test_lines_in_between(lines, monkeypatch):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    list(track("abc", 3, "letters", show=True))
    assert [line.partition(" done")[0] for line in lines()] == ["letters: 1 of 3", "letters: 2 of 3", "letters: 3 of 3"]


def test_inner_loops_do_as_the_outer_one(lines):
    for outer in (True, False):
        for _ in track("a", 1, "outer", show=outer):
            list(track("b", 1, "inner"))
    list(track("c", 1, "alone"))
    assert [line.partition(":")[0] for line in lines()] == ["inner", "outer"]


def test_short_work_stays_silent(lines):
    list(track("abc", 3, "letters", show=True, delay=60))
    assert lines() == []


def test_a_loop_that_breaks_leaves_no_trace(lines):
    loop = track("abc", 3, "outer", show=True)
    next(loop)
    loop.close()  # what leaving a loop by an exception comes to
    list(track("c", 1, "alone"))
    assert lines() == []


def test_a_bar_on_a_terminal(monkeypatch, capsys):
    monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: True, raising=False)
    assert list(track("abc", 3, "letters", show=True)) == ["a", "b", "c"]
    assert "letters" in capsys.readouterr().err
