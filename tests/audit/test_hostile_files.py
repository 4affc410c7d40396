"""Files that somebody has made to hang, to fill the memory or to lead out of the folder: a finding each, and nothing is opened."""

import os
import struct
import zlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from audit.conftest import TAMPERED, said
from audit.tiny import FIGURES, RESULTS, make_project, plan_of, rehash
from convrfm.replication.audit.integrity import Hashes, check_integrity, record_hashes
from convrfm.replication.audit.judging import all_judges, read_table

FIGURE = f"{FIGURES}/theorem1"


@pytest.fixture(scope="session")
def pristine(tmp_path_factory) -> Path:
    """The smallest project: one figure without runs."""
    return make_project(tmp_path_factory.mktemp("hostile") / "project", ("theorem1",))


KINDS = {
    "pipe": lambda path: (path.unlink(), os.mkfifo(path)),
    "device": lambda path: (path.unlink(), path.symlink_to("/dev/zero")),
    "link to the same content": lambda path: path.symlink_to(path.rename(path.parents[3] / f"outside{path.suffix}")),
    "linked folder": lambda path: path.parent.symlink_to(path.parent.rename(path.parents[3] / "outside")),
    "sparse file of 10 TB, which takes no room": lambda path: os.truncate(path, 10**13),
}


def checked(project, suffix):
    """The integrity of a project in which a file of the figure is tampered with, and nothing can be computed again."""
    found = check_integrity(project, plan_of(project))
    assert (TAMPERED, f"{FIGURE}.{suffix}") in said(found.findings)
    assert found.sound == ()
    return found


@pytest.mark.parametrize("suffix", ["json", "parquet", "csv", "md", "png"])
@pytest.mark.parametrize("kind", KINDS)
def test_each_is_found_and_nothing_of_it_is_read(project, kind, suffix):
    KINDS[kind](project / f"{FIGURE}.{suffix}")
    found = checked(project, suffix)
    assert found.checked.get("artefacts", 0) == 0
    assert [product.record for product in found.products] == [None]
    evidence = read_table(all_judges()["theorem1"], project / RESULTS, "published")
    assert bool(evidence.problems) == (suffix in ("json", "parquet") or kind == "linked folder")
    assert len(record_hashes(Hashes(project), RESULTS)) == 1


def bomb(path: Path) -> None:
    """A picture of 30,000 pixels squared in a single colour: 1 bit a pixel, compressed to nothing."""
    side = 30_000
    rows = zlib.compress(bytes(side * (1 + (side + 7) // 8)), 9)
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)), (b"IDAT", rows), (b"IEND", b""))
    body = [struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(body))


def many_cells(path: Path) -> None:
    """A hundred million of them in some kilobytes."""
    pq.write_table(pa.table({"value": pa.nulls(100_000_000)}), path)


@pytest.mark.parametrize("spoil", [bomb, b"BM", b"BM" + bytes(22), many_cells, b"PAR1"])
def test_what_would_fill_the_memory_is_found_whatever_its_record_says(project, spoil):
    suffix = "parquet" if spoil in (many_cells, b"PAR1") else "png"
    path = project / f"{FIGURE}.{suffix}"
    path.write_bytes(spoil) if isinstance(spoil, bytes) else spoil(path)
    assert path.stat().st_size < 1_000_000
    rehash(project, project / f"{FIGURE}.json")
    checked(project, suffix)
    assert suffix == "png" or read_table(all_judges()["theorem1"], project / RESULTS, "published").rows.empty
