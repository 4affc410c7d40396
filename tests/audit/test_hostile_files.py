"""Files that somebody has made to hang, to fill the memory or to lead out of the folder: a finding each, and nothing is opened."""

import json
import os
import struct
import zlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from audit.tiny import FIGURES, RESULTS, make_project, plan_of, rehash
from convrfm.replication.audit.integrity import Hashes, check_integrity, record_hashes
from convrfm.replication.audit.judging import all_judges, read_table
from convrfm.replication.audit.outcome import State
from convrfm.replication.audit.records import find_products

FIGURE = f"{FIGURES}/theorem1"


@pytest.fixture(scope="session")
def pristine(tmp_path_factory) -> Path:
    """The smallest project: one figure without runs."""
    return make_project(tmp_path_factory.mktemp("hostile") / "project", ("theorem1",))


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def link(path: Path) -> None:
    """Of the same content: its hash is right."""
    path.symlink_to(path.rename(path.parents[3] / f"outside{path.suffix}"))


def linked_folder(path: Path) -> None:
    path.parent.symlink_to(path.parent.rename(path.parents[3] / "outside"))


def huge(path: Path) -> None:
    """A sparse file of 10 TB: it takes no room."""
    os.truncate(path, 10**13)


KINDS = [pipe, device, link, linked_folder, huge]


def checked(project, file):
    """The integrity of a project in which a file is found to be tampered with, and nothing can be computed again."""
    found = check_integrity(project, plan_of(project))
    assert (State.TAMPERED, file) in {(finding.state, finding.file) for finding in found.findings}
    assert found.sound == ()
    return found


@pytest.mark.parametrize("suffix", ["json", "parquet", "csv", "md", "png"])
@pytest.mark.parametrize("spoil", KINDS)
def test_each_is_found_and_nothing_of_it_is_read(project, spoil, suffix):
    spoil(project / f"{FIGURE}.{suffix}")
    found = checked(project, f"{FIGURE}.{suffix}")
    assert found.checked.get("artefacts", 0) == 0
    assert [product.record for product in found.products] == [None]
    evidence = read_table(all_judges()["theorem1"], project / RESULTS, "published")
    assert bool(evidence.problems) == (suffix in ("json", "parquet") or spoil is linked_folder)
    assert len(record_hashes(Hashes(project), RESULTS)) == 1


def bomb(path: Path) -> None:
    """A picture of 30,000 pixels squared in a single colour: 1 bit a pixel, compressed to nothing."""
    side = 30_000
    rows = zlib.compress(bytes(side * (1 + (side + 7) // 8)), 9)
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)), (b"IDAT", rows), (b"IEND", b""))
    body = [struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(body))


def many_cells(path: Path) -> None:
    """A hundred million numbers in a few kilobytes."""
    table = pa.table({"value": pa.array([0.0]).take(pa.array([0] * 1_000_000))})
    with pq.ParquetWriter(path, table.schema) as writer:
        for _ in range(100):
            writer.write_table(table)


@pytest.mark.parametrize(("suffix", "spoil"), [("png", bomb), ("png", b"BM"), ("parquet", many_cells), ("parquet", b"PAR1")])
def test_what_would_fill_the_memory_is_found_whatever_its_record_says(project, suffix, spoil):
    path = project / f"{FIGURE}.{suffix}"
    path.write_bytes(spoil) if isinstance(spoil, bytes) else spoil(path)
    assert path.stat().st_size < 1_000_000
    rehash(project, project / f"{FIGURE}.json")
    checked(project, f"{FIGURE}.{suffix}")
    assert suffix == "png" or read_table(all_judges()["theorem1"], project / RESULTS, "published").rows.empty


@pytest.mark.parametrize("depth", [40, 500, 900, 5000, 100_000])
def test_a_record_that_is_nested_deeply(project, depth):
    record = project / f"{FIGURE}.json"
    text = json.dumps({**json.loads(record.read_text()), "settings": "deep"})
    record.write_text(text.replace('"deep"', '{"a":' * depth + "1" + "}" * depth))
    checked(project, f"{FIGURE}.json")
    assert [product.record for product in find_products(project, RESULTS)] == [None]


def test_folders_below_the_last_are_not_gone_through(project):
    deep = (project / RESULTS / "runs/a/b/c").joinpath(*["d" * 20] * 100)
    deep.mkdir(parents=True)
    os.mkfifo(deep / "pipe")
    (found,) = [each for each in check_integrity(project, plan_of(project)).findings if "runs" in each.file]
    assert (found.state, found.file) == (State.TAMPERED, f"{RESULTS}/runs/a/b/c/{'d' * 20}")
