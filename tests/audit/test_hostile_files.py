"""Files that somebody has made to hang, to fill the memory or to lead out of the folder: a finding each, and nothing is opened."""

import json
import os
import struct
import zlib
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from audit.tiny import make_project, rehash, settings_of
from convrfm.audit.evidence import Bench
from convrfm.audit.importing import import_results
from convrfm.audit.integrity import check_integrity
from convrfm.audit.outcome import State
from convrfm.audit.records import find_products
from convrfm.audit.runs import find_runs

RESULTS = "results/quick"
FIGURE = f"{RESULTS}/figures/published/theorem1"


@pytest.fixture(scope="session")
def pristine(tmp_path_factory) -> Path:
    """The smallest project: one figure without runs, and a run that is one by its files alone."""
    return make_project(tmp_path_factory.mktemp("hostile") / "project", ("theorem1",))


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def link(path: Path) -> None:
    """Of the same content: its hash is right."""
    path.rename(path.parents[4] / f"outside{path.suffix}")
    path.symlink_to(path.parents[4] / f"outside{path.suffix}")


def linked_folder(path: Path) -> None:
    path.parent.rename(path.parents[4] / "outside")
    path.parent.symlink_to(path.parents[4] / "outside")


def huge(path: Path) -> None:
    """A sparse file of 10 TB: it takes no room."""
    os.truncate(path, 10**13)


KINDS = [pipe, device, link, linked_folder, huge]


@pytest.mark.parametrize("suffix", ["json", "parquet", "csv", "md", "png"])
@pytest.mark.parametrize("spoil", KINDS)
def test_each_is_found_and_nothing_of_it_is_read(project, spoil, suffix):
    spoil(project / f"{FIGURE}.{suffix}")
    findings, counts = check_integrity(project, settings_of(project))
    found = {(finding.state, finding.file) for finding in findings}
    assert (State.TAMPERED, f"{FIGURE}.{suffix}") in found
    assert counts.get("artefacts", 0) == 0
    ((product, _),) = find_products(project, RESULTS)
    assert product.record is None
    bench = Bench(project / RESULTS, "published")
    bench.figure("theorem1", (), ())
    assert bool(bench.problems) == (suffix in ("json", "parquet") or spoil is linked_folder)
    assert [run.readable for run in find_runs(project, RESULTS)] == [suffix != "json" and spoil is not linked_folder]
