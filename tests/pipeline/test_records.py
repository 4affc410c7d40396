"""Storage, records, import closures, run names, and the checks before the first job."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from convrfm.errors import StorageError
from convrfm.replication.cluster import site
from convrfm.replication.record import closure, record
from convrfm.replication.record.record import Recorder, read_record, run_keys, run_name
from convrfm.system.storage import (
    clear_leftovers,
    load_arrays,
    sha256,
    write_arrays,
    write_atomically,
    write_bytes,
    write_json,
    write_table,
)


def test_arrays_and_tables_come_back(tmp_path, rng):
    arrays = {"b": rng.standard_normal((3, 4)), "a/x": np.arange(5), "flag": np.array([True, False])}
    write_arrays(tmp_path / "run" / "arrays.safetensors", arrays)
    found = load_arrays(tmp_path / "run" / "arrays.safetensors")
    assert all((found[name] == arrays[name]).all() for name in arrays)
    table = pd.DataFrame({"x": [1, 2], "y": [0.5, float("nan")], "z": ["a", "b"]})
    write_table(tmp_path / "t.parquet", table)
    write_table(tmp_path / "t.csv", table)
    assert pd.read_parquet(tmp_path / "t.parquet").equals(table)
    assert pd.read_csv(tmp_path / "t.csv").equals(table)


def test_equal_content_gives_equal_bytes(tmp_path, rng):
    x, y = rng.standard_normal(3), rng.standard_normal(4)
    write_arrays(tmp_path / "one", {"x": x, "y": y})
    write_arrays(tmp_path / "two", {"y": y, "x": x})
    assert sha256(tmp_path / "one") == sha256(tmp_path / "two")
    table = pd.DataFrame({"x": x})
    for name in ("one.parquet", "two.parquet"):
        write_table(tmp_path / name, table)
    assert sha256(tmp_path / "one.parquet") == sha256(tmp_path / "two.parquet")


@pytest.mark.parametrize(("code", "reason"), [(errno.ENOSPC, "disk is full"), (errno.EROFS, "read-only")])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, code, reason):
    path = tmp_path / "table.bin"
    write_bytes(path, b"old")

    def fail(temporary: Path) -> None:
        temporary.write_bytes(b"half")
        raise OSError(code, "no")

    with pytest.raises(StorageError, match=reason):
        write_atomically(path, fail)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_really_full_disk(tmp_path):
    """A file size limit makes the kernel refuse the write, as a full disk does."""
    code = (
        "import resource, signal, sys, numpy as np; from pathlib import Path\n"
        "from convrfm.system.storage import write_arrays\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))\n"
        f"write_arrays(Path({str(tmp_path / 'a.safetensors')!r}), {{'x': np.zeros(10_000)}})\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "StorageError" in done.stderr
    assert "cannot be written" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_leftovers_of_killed_writers_are_cleared(tmp_path):
    (tmp_path / ".tmp-abc-out").write_bytes(b"half")
    (tmp_path / ".tmp-abc-other").write_bytes(b"half")
    clear_leftovers(tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == [".tmp-abc-other"]


def test_nan_does_not_enter_json(tmp_path):
    with pytest.raises(ValueError, match="nan"):
        write_json(tmp_path / "x.json", {"x": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_record(tmp_path):
    write_bytes(tmp_path / "in", b"input")
    write_bytes(tmp_path / "out", b"output")
    recorder = Recorder("convrfm.x:y", "c0de", {"seed": 1})
    recorder.notes["solves"] = []
    recorder.write(tmp_path / "record.json", {"data": tmp_path / "in"}, {"arrays": tmp_path / "out"})
    record = read_record(tmp_path / "record.json")
    assert record["inputs"]["data"]["sha256"] == sha256(tmp_path / "in")
    assert record["outputs"]["arrays"]["sha256"] == sha256(tmp_path / "out")
    assert record["code"]["closure"] == "c0de"
    assert record["packages"]["numpy"] == np.__version__
    assert record["wall_seconds"] >= 0
    assert record["peak_memory_mb"] > 10
    json.dumps(record, allow_nan=False)


def test_a_note_cannot_take_the_place_of_what_every_record_has(tmp_path):
    recorder = Recorder("convrfm.x:y", "c0de", {}, notes={"outputs": 10})
    with pytest.raises(ValueError, match=r"convrfm\.x:y: notes may not be named outputs"):
        recorder.write(tmp_path / "record.json", {}, {})
    assert not (tmp_path / "record.json").exists()


@pytest.fixture
def checkout(tmp_path):
    """A small checkout with a file of each kind, all of them committed; and a function that calls git in it."""
    folder = tmp_path / "project"
    for name in (
        "src/convrfm/rfm/rounds.py", "workflow/rules/rfm.smk", "workflow/presets/quick.yaml", "Snakefile", "config.yaml",
        "slurm/config.yaml", "profiles/generic/config.yaml", "README.md",
    ):  # fmt: skip
        write_bytes(folder / name, b"as it was\n")
    write_bytes(folder / ".gitignore", b"__pycache__/\nsite.yaml\n")

    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
        done = subprocess.run(["git", "-C", folder, *identity, *arguments], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "--message", "all")
    return folder, git


def test_settings_do_not_make_a_record_dirty(checkout):
    """Every file that the pages tell users to edit; the settings themselves are in the record."""
    folder, git = checkout
    for name in ("config.yaml", "slurm/config.yaml", "profiles/generic/config.yaml", "workflow/presets/quick.yaml"):
        (folder / name).write_text("as a site wants it\n")
    for name in ("slurm/site.yaml", "workflow/presets/own.yaml", "notes.py", "src/convrfm/.rfm.py.swp"):
        (folder / name).write_text("new\n")
    write_bytes(folder / "src/convrfm/__pycache__/rfm.cpython-311.pyc", b"")
    assert record._git_state(folder) == {"commit": git("rev-parse", "HEAD"), "dirty": False}


@pytest.mark.parametrize(
    "name",
    ["src/convrfm/rfm/rounds.py", "workflow/rules/rfm.smk", "Snakefile", "src/convrfm/new.py", "src/convrfm/new/room.py",
     "workflow/rules/new.smk", "workflow/scripts/fit.py"],
)  # fmt: skip
def test_changed_and_new_code_makes_a_record_dirty(checkout, name):
    folder, git = checkout
    write_bytes(folder / name, b"changed\n")
    assert record._git_state(folder) == {"commit": git("rev-parse", "HEAD"), "dirty": True}


def test_code_that_was_moved_or_removed_makes_a_record_dirty(checkout):
    folder, git = checkout
    git("mv", "src/convrfm/rfm/rounds.py", "src/convrfm/fits.txt")
    assert record._git_state(folder)["dirty"]
    git("reset", "--quiet", "--hard")
    assert not record._git_state(folder)["dirty"]
    (folder / "src/convrfm/rfm/rounds.py").unlink()
    assert record._git_state(folder)["dirty"]


def test_the_state_of_another_project_is_not_taken_for_that_of_the_code(checkout, tmp_path):
    """As where the package is installed into an environment in somebody's checkout."""
    folder, _ = checkout
    nowhere = {"commit": None, "dirty": None}
    (folder / "env/lib").mkdir(parents=True)
    assert record._git_state(folder / "env/lib") == nowhere
    assert record._git_state(tmp_path) == nowhere
    (tmp_path / "linked").symlink_to(folder)
    assert record._git_state(tmp_path / "linked")["dirty"] is False


def test_a_lock_on_the_index_is_neither_taken_nor_waited_for(checkout):
    folder, _ = checkout
    os.utime(folder / "src/convrfm/rfm/rounds.py", (10**9, 10**9))  # git would write into its index that nothing changed
    before = (folder / ".git/index").read_bytes()
    (folder / ".git/index.lock").touch()
    assert record._git_state(folder)["dirty"] is False
    (folder / ".git/index.lock").unlink()
    assert record._git_state(folder)["dirty"] is False
    assert (folder / ".git/index").read_bytes() == before


def test_run_names_and_back():
    name = run_name({"task": "bars", "sigma": 1.0, "seed": 0})
    assert name == "task=bars,sigma=1,seed=0"
    assert run_name({"sigma": 0.25}) == "sigma=0.25"
    keys = run_keys(Path("results/quick/runs/rfm/published") / name)
    assert keys == {"experiment": "rfm", "protocol": "published", "task": "bars", "sigma": "1", "seed": "0"}


def test_closures_follow_imports_and_names():
    fits = closure.import_closure("convrfm.replication.jobs.fits")
    assert "convrfm.kernels.compiled.sweeps" in fits  # imported by name, through the table of backends
    assert "convrfm.kernels.batches" in fits
    assert not any(
        name.startswith(("convrfm.replication.figures", "convrfm.networks", "convrfm.rfm.estimators")) for name in fits
    )
    networks = closure.import_closure("convrfm.replication.jobs.networks")
    assert not any(name.startswith(("convrfm.kernels", "convrfm.replication.figures")) for name in networks)
    assert "convrfm.networks.plain_cnn" in networks
    for job in (fits, networks):
        assert "convrfm.replication.plan.presets" not in job  # a new figure's section makes no run stale
    with pytest.raises(ModuleNotFoundError):
        closure.import_closure("convrfm.none")


def test_hash_changes_with_the_closure_alone(tmp_path, monkeypatch):
    package = tmp_path / "convrfm"
    package.mkdir()
    sources = {"__init__": "", "a": "from convrfm import b\n", "b": "X = 1\n", "c": "NAME = 'convrfm.b'\n", "d": ""}
    for name, text in sources.items():
        (package / f"{name}.py").write_text(text)
    monkeypatch.setattr(closure, "ROOT", package)

    def hashes():
        closure._source_of.cache_clear()
        return [closure.closure_hash(f"convrfm.{name}") for name in "abcd"]

    before = hashes()
    (package / "b.py").write_text("X = 2\n")
    after = hashes()
    assert [x != y for x, y in zip(before, after, strict=True)] == [True, True, True, False]
    closure._source_of.cache_clear()


def test_preflight(tmp_path, monkeypatch):
    site.check_folder(tmp_path / "not" / "yet" / "there")
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="is a file"):
        site.check_folder(tmp_path / "file" / "results")
    monkeypatch.setattr(site.os, "access", lambda *_: False)
    with pytest.raises(StorageError, match="read-only"):
        site.check_folder(tmp_path)
    monkeypatch.undo()
    monkeypatch.setattr(site, "LEAST_FREE_BYTES", 2**62)
    with pytest.raises(StorageError, match="free disk space"):
        site.check_folder(tmp_path)
