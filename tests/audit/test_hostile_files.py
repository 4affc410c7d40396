"""Files that somebody has made to hang, to fill the memory or to lead out of the folder: a finding each, and nothing is opened."""

import json
import os
import struct
import zlib
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from audit.tiny import make_project, plan_of, rehash
from convrfm.errors import StorageError
from convrfm.replication.audit import importing
from convrfm.replication.audit.integrity import check_integrity, record_hashes
from convrfm.replication.audit.outcome import Audit, State
from convrfm.replication.audit.records import Hashes, find_products
from convrfm.replication.claims.judging import all_judges, read_table

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
    path.rename(path.parents[3] / f"outside{path.suffix}")
    path.symlink_to(path.parents[3] / f"outside{path.suffix}")


def linked_folder(path: Path) -> None:
    path.parent.rename(path.parents[3] / "outside")
    path.parent.symlink_to(path.parents[3] / "outside")


def huge(path: Path) -> None:
    """A sparse file of 10 TB: it takes no room."""
    os.truncate(path, 10**13)


KINDS = [pipe, device, link, linked_folder, huge]


@pytest.mark.parametrize("suffix", ["json", "parquet", "csv", "md", "png"])
@pytest.mark.parametrize("spoil", KINDS)
def test_each_is_found_and_nothing_of_it_is_read(project, spoil, suffix):
    spoil(project / f"{FIGURE}.{suffix}")
    checked = check_integrity(project, plan_of(project))
    findings, counts = checked.findings, checked.checked
    found = {(finding.state, finding.file) for finding in findings}
    assert (State.TAMPERED, f"{FIGURE}.{suffix}") in found
    assert counts.get("artefacts", 0) == 0
    ((product, _),) = find_products(project, RESULTS)
    assert product.record is None
    evidence = read_table(all_judges()["theorem1"], project / RESULTS, "published")
    assert bool(evidence.problems) == (suffix in ("json", "parquet") or spoil is linked_folder)
    assert checked.sound == ()
    assert len(record_hashes(Hashes(project), RESULTS)) == 1


def png(width: int, height: int) -> bytes:
    """A picture of a single colour: 1 bit a pixel, compressed to nothing."""
    rows = zlib.compress(bytes(height * (1 + (width + 7) // 8)), 9)
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)), (b"IDAT", rows), (b"IEND", b""))
    body = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


def many_cells(path: Path) -> None:
    """A hundred million numbers in a few kilobytes."""
    table = pa.table({"value": pa.array([0.0]).take(pa.array([0] * 1_000_000))})
    with pq.ParquetWriter(path, table.schema) as writer:
        for _ in range(100):
            writer.write_table(table)


@pytest.mark.parametrize(
    ("suffix", "spoil"),
    [
        ("png", lambda path: path.write_bytes(png(30_000, 30_000))),
        ("png", lambda path: path.write_bytes(b"BM")),
        ("parquet", many_cells),
        ("parquet", lambda path: path.write_bytes(b"PAR1")),
    ],
    ids=["bomb", "no picture", "cells", "no table"],
)
def test_what_would_fill_the_memory_is_found_whatever_its_record_says(project, suffix, spoil):
    spoil(project / f"{FIGURE}.{suffix}")
    assert (project / f"{FIGURE}.{suffix}").stat().st_size < 1_000_000
    rehash(project, project / f"{FIGURE}.json")
    checked = check_integrity(project, plan_of(project))
    assert (State.TAMPERED, f"{FIGURE}.{suffix}") in {(finding.state, finding.file) for finding in checked.findings}
    assert checked.sound == ()
    if suffix == "parquet":
        assert read_table(all_judges()["theorem1"], project / RESULTS, "published").rows.empty


@pytest.mark.parametrize("depth", [40, 500, 900, 5000, 100_000])
def test_a_record_that_is_nested_deeply(project, depth):
    record = project / f"{FIGURE}.json"
    text = json.dumps({**json.loads(record.read_text()), "settings": "deep"})
    record.write_text(text.replace('"deep"', '{"a":' * depth + "1" + "}" * depth))
    findings = check_integrity(project, plan_of(project)).findings
    assert (State.TAMPERED, f"{FIGURE}.json") in {(finding.state, finding.file) for finding in findings}
    assert [product.record for product, _ in find_products(project, RESULTS)] == [None]


def test_folders_below_the_last_are_not_gone_through(project):
    deep = project / RESULTS / "runs/a/b/c"
    for _ in range(100):
        deep = deep / ("d" * 20)
    deep.mkdir(parents=True)
    os.mkfifo(deep / "pipe")
    findings = check_integrity(project, plan_of(project)).findings
    (found,) = [finding for finding in findings if "runs" in finding.file]
    assert (found.state, found.file) == (State.TAMPERED, f"{RESULTS}/runs/a/b/c/{'d' * 20}")


def import_results(folder: Path, project: Path) -> Audit:
    """What is refused is refused before anything is audited."""

    def audited(*_):
        pytest.fail("it was audited")

    return importing.import_results(folder, project, audited)


@pytest.mark.parametrize("spoil", [*KINDS, "room"])
@pytest.mark.parametrize("suffix", ["json", "parquet"])
def test_nothing_is_copied_before_all_has_been_looked_at(project, tmp_path, monkeypatch, suffix, spoil):
    elsewhere = tmp_path / "elsewhere"
    (project / RESULTS).rename(elsewhere)
    path = elsewhere / f"figures/published/theorem1.{suffix}"
    monkeypatch.setattr("convrfm.replication.audit.auditing._copy", None)
    if spoil == "room":
        monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
        with pytest.raises(StorageError, match=r"The files in .* MB are free"):
            import_results(elsewhere, project)
    else:
        spoil(path)
        found = import_results(elsewhere, project)
        assert not found.trusted
        assert {finding.state for finding in found.findings} == {State.TAMPERED}
    assert not list((project / "results").rglob("*.*"))


def test_what_is_put_in_the_place_of_a_file_meanwhile_is_not_copied(project, tmp_path, monkeypatch):
    elsewhere, table = tmp_path / "elsewhere", "figures/published/theorem1.parquet"
    (project / RESULTS).rename(elsewhere)

    def exchange(*_):
        device(elsewhere / table)

    monkeypatch.setattr("convrfm.replication.audit.auditing._check_room", exchange)
    with pytest.raises(StorageError, match="It is a symbolic link"):
        import_results(elsewhere, project)
    assert not list((project / "results").rglob("*.*"))
