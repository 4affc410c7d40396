"""Figure 8 through Snakemake: its runs and tables, what makes them stale, killed trainings, absent data."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors import safe_open

from convrfm.ansatz.agop import measure
from convrfm.networks.simplenet import SimpleNet
from convrfm.numerics.inputs import generator
from convrfm.replication.jobs.training import load_weights, weights_when
from convrfm.system.storage import load_arrays, sha256
from workflow.conftest import SIMPLENET

RUN = "dataset=digits,width_divisor=16,seed=0"
FIG08 = ("train_simplenet", "measure_simplenet", "draw_fig08")


@pytest.mark.parametrize("protocol", ["published", "corrected"])
def test_runs_hold_what_they_should(built, protocol):
    runs = built.results / "runs"
    training = runs / "simplenet" / protocol / RUN
    weights = weights_when(training / "arrays.safetensors")
    assert set(weights) == {"initial", "snapshot-1", "final"}
    assert set(weights["initial"]) == set(weights["final"])
    assert "features.1.running_var" in weights["final"]
    assert int(weights["final"]["features.1.num_batches_tracked"]) == 9  # three epochs of three batches
    record = json.loads((training / "record.json").read_text())
    assert record["training"]["optimizer"] == "adadelta"
    assert record["training"]["milestones"] == [2]
    assert record["protocol"] == protocol
    table = pd.read_parquet(runs / "simplenet-ansatz" / protocol / RUN / "metrics.parquet")
    assert set(table["epoch"]) == {0, 1, 3}
    assert (table.groupby(["epoch", "quantity", "power"])["index"].nunique() == 13).all()
    assert set(table.loc[table["epoch"] < 3, "quantity"]) == {"pearson"}
    assert {"rotated_null", "random_filters", "initial_cnfm"} <= set(table.loc[table["epoch"] == 3, "quantity"])


def test_the_correlations_are_those_of_the_weights_on_disk(built):
    runs = built.results / "runs"
    weights = weights_when(runs / f"simplenet/published/{RUN}/arrays.safetensors")
    (images,) = (runs / "prepare/published").glob("dataset=digits,size=32,*scaling=unit,*/arrays.safetensors")
    train = load_arrays(images)["train/images"]
    assert train.shape == (24, 1, 32, 32)
    table = pd.read_parquet(runs / f"simplenet-ansatz/published/{RUN}/metrics.parquet")
    model = SimpleNet(1, 10, width_divisor=16, generator=torch.Generator())
    chosen = torch.from_numpy(train[generator(0, "images of the AGOP").permutation(24)[:4]])
    for epoch, when in ((0, "initial"), (1, "snapshot-1"), (3, "final")):
        load_weights(model, weights[when])
        expected = [layer.correlation().value for layer in measure(model, chosen).values()]
        assert np.isfinite(expected).all()
        rows = table[(table["epoch"] == epoch) & (table["quantity"] == "pearson") & (table["power"] == 1)]
        assert np.allclose(rows.sort_values("index")["value"], expected, atol=1e-6)


def test_the_figure_holds_the_numbers_of_the_runs(built):
    table = pd.read_parquet(built.results / "figures/published/fig08.parquet")
    measured = pd.read_parquet(built.results / f"runs/simplenet-ansatz/published/{RUN}/metrics.parquet")
    plain = measured[(measured["quantity"] == "pearson") & (measured["power"] == 1)]
    means = table[table["quantity"] == "mean_pearson"].set_index("epoch")["value"]
    assert means.to_dict() == pytest.approx(plain.groupby("epoch")["value"].mean().to_dict())
    history = pd.read_parquet(built.results / f"runs/simplenet/published/{RUN}/metrics.parquet")
    best = table.loc[table["quantity"] == "test_accuracy", "value"].iloc[0]
    assert best == history["test_accuracy"].iloc[1:].max()
    assert table["stand_in"].all()
    caption = (built.results / "figures/published/fig08.md").read_text()
    assert "not comparable with the paper" in caption
    assert "SimpleNet narrowed 16 times" in caption


@pytest.mark.parametrize(
    ("change", "jobs"),
    [
        ("src/convrfm/replication/figures/fig08.py", {"draw_fig08": 2}),
        ("src/convrfm/networks/simplenet.py", dict.fromkeys(FIG08, 2)),
        ("src/convrfm/networks/plain_cnn.py", {}),
        ("src/convrfm/ansatz/filter_forms.py", {"measure_simplenet": 2, "draw_fig08": 2}),
    ],
)
def test_a_change_rebuilds_what_depends_on_it_and_nothing_else(built, change, jobs):
    assert built.planned_after_change(change, "fig08") == jobs


def test_absent_data_are_skipped_and_the_rest_is_drawn(finished):
    absent = {**SIMPLENET, "dataset": "imagenet32", "scaling": "cifar10"}
    finished.configure(overrides={"fig08": {"panels": [SIMPLENET, absent]}})
    output = finished.snakemake("-c2", "--", "fig08")
    assert "imagenet32: SKIPPED (ImageNet32 is absent" in output
    caption = (finished.results / "figures/published/fig08.md").read_text()
    assert "**ImageNet32**: SKIPPED (ImageNet32 is absent" in caption
    assert "**Digits**" in caption
    finished.configure(overrides={"fig08": {"panels": [absent]}})
    finished.snakemake("-c2", "--", "fig08")
    assert "Figure 8: SKIPPED" in (finished.results / "figures/published/fig08.md").read_text()


def test_a_training_that_was_killed_ends_with_the_same_weights(project):
    """Killed in the middle, `--unlock`, called again: it goes on from its checkpoint to the bits of a whole training."""
    long = {**SIMPLENET, "training": {**SIMPLENET["training"], "epochs": 40, "milestones": [20]}}
    project.configure(overrides={"fig08": {"panels": [long]}})
    folder = project.results / "runs/simplenet/published" / RUN
    weights = folder / "arrays.safetensors"
    target = f"results/quick/runs/simplenet/published/{RUN}/arrays.safetensors"
    project.kill_when(lambda: epochs_done(folder) >= 3, "-c1", "--", target)
    assert not weights.exists()
    done = epochs_done(folder)
    assert 3 <= done < 40
    assert "--unlock" in project.snakemake("-c1", "--", target, succeeds=False)
    project.snakemake("--unlock")
    project.snakemake("-c1", "--rerun-incomplete", "--", target)
    resumed = sha256(weights)
    log = (project.results / f"logs/simplenet/published/{RUN}.log").read_text()
    last = log.rpartition("epochs: ")[2]
    count = int(last.split()[0])
    assert 0 < count <= 40 - done  # it did not begin anew
    assert not list(folder.glob("checkpoint-*"))
    project.snakemake("-c1", "--forcerun", "train_simplenet", "--", target)
    assert sha256(weights) == resumed
    log = (project.results / f"logs/simplenet/published/{RUN}.log").read_text()
    assert "epochs: 40 of 40 done" in log


def epochs_done(folder):
    """By the checkpoint, which is there in whole or not at all."""
    for path in folder.glob("checkpoint-*.safetensors"):
        try:
            with safe_open(path, framework="np") as file:
                return len(json.loads(file.metadata()["history"])) - 1
        except FileNotFoundError:
            continue
    return 0
