"""Jobs that a dead Snakemake has left, in the queue of a made-up SLURM."""

import os

import pytest

from convrfm.replication.cluster.site import cancel_orphans


@pytest.fixture
def queue(tmp_path, monkeypatch):
    """Writes what `squeue` prints; what `scancel` is told lies in the file `cancelled`."""
    program = tmp_path / "bin"
    program.mkdir()
    monkeypatch.setenv("PATH", str(program), prepend=os.pathsep)

    def fill(*lines, status=0):
        (tmp_path / "queue").write_text("".join(f"{line}\n" for line in lines))
        for name, text in (
            ("squeue", f'cat "{tmp_path}/queue"; exit {status}'),
            ("scancel", f'echo "$@" > "{tmp_path}/cancelled"'),
        ):
            (program / name).write_text(f"#!/bin/sh\n{text}\n")
            (program / name).chmod(0o755)

    return fill


def test_only_what_snakemake_submitted_from_here_is_cancelled(queue, tmp_path):
    here = tmp_path / "here"
    here.mkdir()
    queue(
        f"11|{here}|rule_fit_rfm_wildcards_published_bars",
        f"12|{here}|group_pairs",
        f"12|{here}|group_pairs",
        f"13|{here}|(null)",
        f"14|{tmp_path}|rule_fit_rfm",
        f"15|{here}|my own rule_",
    )
    assert cancel_orphans(here) == ["11", "12"]
    assert (tmp_path / "cancelled").read_text() == "11 12\n"


def test_nothing_is_cancelled_where_there_is_nothing(queue, tmp_path):
    queue()
    assert cancel_orphans(tmp_path) == []
    queue(f"11|{tmp_path}|rule_fit_rfm", status=1)
    assert cancel_orphans(tmp_path) == []
    assert not (tmp_path / "cancelled").exists()


def test_without_slurm(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert cancel_orphans(tmp_path) == []
