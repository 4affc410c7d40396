"""Data in the workflow: absent, fetched, present, corrupt; what is built meanwhile, and what is not built again."""

import gzip
import json
import os
import re
from collections import Counter
from dataclasses import replace

import pandas as pd
import pytest
from datasets.mirror import mirror
from datasets.official import MAKERS
from datasets.packing import md5

from convrfm.replication.record.record import read_record
from convrfm.system.storage import load_arrays, sha256
from workflow.conftest import CONFIG, PANEL

BARS = CONFIG["overrides"]["fig05"]["panels"][0]
MNIST = {"task": "noisy-mnist", "sigmas": [1.0], **PANEL, "n_train": 12, "n_test": 8}
LABELS = "MNIST/raw/t10k-labels-idx1-ubyte"


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def figure(project, form):
    return (project.results / "figures/published" / f"fig05.{form}").read_text()


def state(project, name="mnist"):
    return json.loads((project.root / "data" / name / "state.json").read_text())


def run(output):
    """How many jobs of each rule were run, by what Snakemake printed."""
    rules = re.findall(r"^(?:local)?(?:rule|checkpoint) (\w+):", output, flags=re.MULTILINE)
    return dict(Counter(rule for rule in rules if rule != "fig05"))


def put_mnist(folder):
    """The unpacked files, as somebody would put them there by hand."""
    made = MAKERS["mnist"]()
    for path, content in made.files.items():
        target = folder / path.removesuffix(".gz")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(gzip.decompress(content))
    return made


@pytest.mark.figures
def test_absent_then_present_then_touched_then_corrupt(finished):
    """One story: each call does what has become necessary, and nothing else."""
    project = finished
    with mirror({}) as server:
        project.configure(overrides={"fig05": {"panels": [BARS, MNIST]}}, data_mirror=server.address)
        output = project.snakemake("-c2", "--", "fig05")
        assert run(output) == {"fetch": 1, "draw_fig05": 1}
        # The rest is drawn, and what is not says so: on the terminal, in the caption, in the record.
        assert "fig05 (published), noisy-mnist: SKIPPED (MNIST is absent)\n" in output
        assert "\nMNIST is absent: MNIST/raw/train-images-idx3-ubyte.gz" in output
        assert "404" in output
        assert set(pd.read_csv(project.results / "figures/published/fig05.csv")["task"]) == {"bars"}
        assert "Noisy MNIST**: SKIPPED (MNIST is absent)" in figure(project, "md")
        assert len(re.findall(r"^- MNIST is absent: .*download_mnist", figure(project, "md"), re.MULTILINE)) == 1
        assert list(read_record(project.results / "figures/published/fig05.json")["skipped"]) == ["noisy-mnist"]
        assert not list(project.results.glob("runs/*/*/*mnist*"))
        assert len(server.requests) == 1

    # Absent data are looked for again by the next call.
    put_mnist(project.root / "data/mnist")
    output = project.snakemake("-c2", "--", "fig05")
    assert "SKIPPED" not in output
    assert state(project)["state"] == "present"
    assert state(project)["splits"]["train"] == {"images": 30, "classes": 10}
    table = pd.read_csv(project.results / "figures/published/fig05.csv")
    assert set(table["task"]) == {"bars", "noisy-mnist"}
    assert not table["stand_in"].any()
    # The bars were not computed again.
    assert run(output) == {"fetch": 1, "prepare": 1, "draw": 1, "fit_rfm": 1, "train_cnn": 2, "draw_fig05": 1}

    # Files that look changed and are not are verified again, and nothing follows.
    path = project.root / "data/mnist" / LABELS
    os.utime(path, ns=(1, 1))
    assert run(project.snakemake("-c2", "--", "fig05")) == {"fetch": 1}
    drawn = sha256(project.results / "figures/published/fig05.png")

    good = sha256(path)
    path.write_bytes(path.read_bytes()[:-1] + b"\xff")
    output = project.snakemake("-c2", "--", "fig05")
    assert run(output) == {"fetch": 1, "draw_fig05": 1}
    assert "SKIPPED (MNIST is corrupt)" in output
    assert state(project)["state"] == "corrupt"
    for part in (LABELS, good, sha256(path), "Delete"):
        assert part in figure(project, "md")
    assert sha256(project.results / "figures/published/fig05.png") != drawn


def test_a_wrong_hash_skips_the_whole_figure(project):
    made = MAKERS["mnist"]()
    # Neither the published archives nor their content.
    made = replace(made, files={path: gzip.compress(gzip.decompress(content) + b"x") for path, content in made.files.items()})
    files = {f"mnist/{path}": content for path, content in made.files.items()}
    with mirror(files) as server:
        project.configure(overrides={"fig05": {"panels": [MNIST]}}, data_mirror=server.address)
        output = project.snakemake("-c2", "--", "fig05")
        first = next(iter(made.files))
        hashes = f"its MD5 is {md5(made.files[first])}, but the published one is f68b3c2dcbeaaa9fbdd348bbdeb94873"
        assert "noisy-mnist: SKIPPED" in output
        assert hashes in output
        assert "SKIPPED,MNIST is absent" in figure(project, "csv")
        assert "SKIPPED (MNIST is absent)" in figure(project, "md")
        assert hashes in figure(project, "md")
        for form in ("png", "pdf", "parquet"):
            assert (project.results / f"figures/published/fig05.{form}").stat().st_size > 0
        assert state(project)["state"] == "absent"
        left = {path.name for path in (project.root / "data").rglob("*") if path.is_file()}
        assert left == {"state.json", ".lock"}
        # Who asks for the data themselves is told by the exit status.
        output = project.snakemake("-c1", "download_mnist", succeeds=False)
        assert "error: MNIST is absent: MNIST/raw/train-images" in output
        assert hashes in output
        assert "Traceback" not in output


def test_states_are_printed_and_nothing_is_fetched(project, tmp_path):
    put_mnist(tmp_path / "filled")
    path = project.root / "data/usps/usps.bz2"
    path.parent.mkdir(parents=True)
    path.write_text("no bzip2")
    path.with_name("usps.t.bz2").write_text("neither")
    with mirror({}) as server:
        project.configure(data_folders={"mnist": str(tmp_path / "filled")}, data_mirror=server.address)
        output = project.snakemake("-c1", "datasets")
        assert server.requests == []
    lines = {line.split()[0]: line for line in output.splitlines() if line[:1].isalpha()}
    assert re.search(r"present, verified +67 automatic +fig04 fig05", lines["mnist"])
    assert "30 images, 10 classes (official: 60000)" in lines["mnist"]
    assert " corrupt " in lines["usps"]
    assert "its MD5 is" in output
    assert " absent " in lines["cifar10"]
    assert "snakemake -c1 download_cifar10" in lines["cifar10"]
    assert " absent " in lines["imagenet"]
    assert "By hand, into data/imagenet: Log in" in output
    assert lines["digits"].split()[1] == "present"
    assert lines["noisy-mnist"].split()[1] == "present"
    assert lines["resnet152-v2"].split()[1] == "absent"
    assert not (project.root / "data/cifar10").exists()


def test_preparation_from_the_command_line(project):
    name = "dataset=digits,size=16,fit=stretch,colour=rgb,scaling=cifar10,classes=3-7,n_train=40,n_test=20,seed=1"
    target = f"results/quick/runs/prepare/corrected/{name}/arrays.safetensors"
    project.snakemake("-c1", "--", target)
    arrays = load_arrays(project.root / target)
    assert arrays["train/images"].shape == (40, 3, 16, 16)
    assert arrays["test/targets"].shape == (20, 1)
    assert set(arrays["train/labels"]) == {0, 1}
    assert len(arrays["train/validation"]) == 8
    record = read_record((project.root / target).with_name("record.json"))
    assert record["settings"]["pair"] == [3, 7]
    assert record["outputs"]["arrays"]["sha256"] == sha256(project.root / target)


def test_a_wrong_name_of_a_data_set(project):
    project.configure(data_folders={"mnits": "x"})
    output = project.snakemake("-c1", succeeds=False)
    assert "data_folders" in output
    assert "did you mean 'mnist'" in output


def test_targets_of_data_without_files_of_their_own(project):
    said = project.snakemake("-c1", "download_digits")
    assert "digits comes with the installed packages: there is nothing to fetch." in said
    assert "data/mnist/state.json" in project.snakemake("-n", "download_noisy-mnist")
