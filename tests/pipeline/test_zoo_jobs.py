"""The jobs of Figures 1, 2 and 7 on a tiny stand-in and on made-up official weights, one after the other."""

import json
from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest
from datasets.official import weights
from datasets.packing import md5

from convrfm.ansatz.accumulator import AgopAccumulator
from convrfm.ansatz.agop import measure
from convrfm.ansatz.filter_forms import FilterForm, pearson
from convrfm.datasets.acquire import examine
from convrfm.datasets.places import Place
from convrfm.datasets.registry import REGISTRY
from convrfm.errors import AbsentDataError, CorruptDataError, StorageError
from convrfm.networks import zoo
from convrfm.replication.jobs import ansatz
from convrfm.replication.jobs.ansatz import measure_network
from convrfm.replication.jobs.training import weights_when
from convrfm.replication.jobs.transformed import transform_images
from convrfm.replication.jobs.zoo import train_standin, trained_network
from convrfm.replication.record.record import Recorder, read_record
from convrfm.replication.record.session import Job
from convrfm.replication.runs.zoo import AnsatzSettings, ZooSettings
from convrfm.system.storage import load_arrays, write_arrays, write_json

SHARED = {"network": "resnet18", "divisor": 16, "seed": 3, "protocol": "published", "device": "cpu"}
NO_WEIGHTS = {"weights": "", "data_dir": "data", "folders": {}, "digest": ""}
TRAINING = {"learning_rate": 1e-3, "epochs": 2, "batch_size": 8, "snapshots": [1]}
MEASUREMENT = {
    "images": 10, "mode": "exact", "batch_size": 4, "probes": 4, "tolerance": None, "most_probes": 16,
}  # fmt: skip


def run(function, folder, inputs, settings):
    """Run a job; gives its arrays, metrics and record."""
    outputs = {"metrics": folder / "m.parquet", "arrays": folder / "a.safetensors", "record": folder / "r.json"}
    paths = {name: list(files) for name, files in inputs.items()}
    function(Job(paths, outputs, settings, 1, Recorder("x", "c", settings)))
    return load_arrays(outputs["arrays"]), pd.read_parquet(outputs["metrics"]), read_record(outputs["record"])


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """What `prepare` writes, made up."""
    rng = np.random.default_rng(1)
    arrays = {}
    for name, count in (("train", 24), ("test", 8)):
        labels = np.arange(count) % 10
        arrays |= {
            f"{name}/images": rng.standard_normal((count, 3, 32, 32)).astype(np.float32) + labels[:, None, None, None],
            f"{name}/labels": labels,
            f"{name}/targets": np.eye(10, dtype=np.float32)[labels],
        }
    path = tmp_path_factory.mktemp("prepared") / "arrays.safetensors"
    write_arrays(path, {name: array.astype(np.float32) if "images" in name else array for name, array in arrays.items()})
    return path


@pytest.fixture(scope="module")
def standin(tmp_path_factory, images):
    folder = tmp_path_factory.mktemp("standin")
    run(train_standin, folder, {"images": [images]}, {**SHARED, **TRAINING})
    return folder / "a.safetensors"


def settings(**changes):
    return {**SHARED, "weights": "", "epochs": 2, "data_dir": "data", "folders": {}, "digest": "", **MEASUREMENT, **changes}


@pytest.fixture(scope="module")
def measured(tmp_path_factory, images, standin):
    folder = tmp_path_factory.mktemp("ansatz")
    return run(measure_network, folder, {"images": [images], "states": [], "training": [standin]}, settings()), folder


def test_a_standin_is_trained_and_kept(standin):
    assert set(weights_when(standin)) == {"initial", "snapshot-1", "final"}
    history = pd.read_parquet(standin.with_name("m.parquet"))
    assert list(history["epoch"]) == [0, 1, 2]
    assert not list(standin.parent.glob("checkpoint*"))


def test_the_numbers_are_those_of_the_library(measured, images, standin):
    (arrays, table, _), _ = measured
    model = zoo.with_weights("resnet18", weights_when(standin)["final"], classes=10, divisor=16)
    import torch

    found = measure(model, torch.from_numpy(load_arrays(images)["train/images"][:10]), batch_size=10)
    rows = table.query("when == 'trained' and quantity == 'pearson' and power == 1 and layer != 'mean'")
    assert list(rows["layer"]) == list(found)
    for _, row in rows.iterrows():
        assert row["value"] == pytest.approx(found[row["layer"]].correlation().value, abs=1e-5)
    # And what the figures form from the arrays gives the same numbers.
    weight, core = (arrays[f"trained/layer1.0.conv1/{name}"] for name in ("weight", "core"))
    row = rows.set_index("layer").loc["layer1.0.conv1"]
    assert pearson(FilterForm(weight), FilterForm(weight, core)) == pytest.approx(row["value"], abs=1e-6)


def test_the_table_says_what_each_number_is(measured):
    (_, table, record), folder = measured
    assert set(table["when"]) == {"trained", "initial", "epoch"}
    assert dict(table.groupby("when")["epoch"].unique().map(list)) == {"trained": [2], "initial": [0], "epoch": [1]}
    layers = table[table["layer"] != "mean"]
    assert set(layers.loc[layers["in_paper"], "layer"]) == {f"layer{i}.{j}.conv1" for i in (1, 2, 3, 4) for j in (0, 1)}
    means = table[table["layer"] == "mean"].set_index(["when", "quantity"])["value"]
    for when in ("trained", "initial", "epoch"):
        of_paper = layers.query("in_paper and quantity == 'pearson' and power == 1 and `when` == @when")["value"]
        assert means[when, "pearson"] == pytest.approx(of_paper.mean(), abs=1e-9)
    assert means["trained", "gain"] == pytest.approx(means["trained", "pearson"] - means["initial", "pearson"], abs=1e-9)
    grown = layers.query("quantity == 'growth' and `when` == 'trained' and layer == 'conv1'")
    assert list(grown["images"]) == [2, 4, 5, 6, 7, 8, 9, 10]  # eight parts of ten images
    # The control starts where the training started, so that filters that hardly moved stay alike.
    controls = layers.query("quantity == 'initial_cnfm'")
    assert set(controls["when"]) == {"trained"}
    assert controls["value"].between(0.5, 1).all()
    assert record["passes_over_images"] == {"trained": 1.0, "initial": 1.0}
    assert not list(folder.glob("checkpoint*"))


@pytest.mark.parametrize(("mode", "stop_after"), [("exact", 4), ("probe", 5)])
def test_after_a_stop_the_numbers_are_the_same(tmp_path, images, standin, monkeypatch, mode, stop_after):
    inputs = {"images": [images], "states": [], "training": [standin]}
    given = settings(mode=mode, tolerance=None if mode == "exact" else 1e-9)
    run(measure_network, tmp_path / "whole", inputs, given)
    update, calls = AgopAccumulator.update, 0

    def broken(self, batch):
        nonlocal calls
        calls += 1
        if calls == stop_after:
            raise KeyboardInterrupt
        update(self, batch)

    monkeypatch.setattr(AgopAccumulator, "update", broken)
    with pytest.raises(KeyboardInterrupt):
        run(measure_network, tmp_path / "halves", inputs, given)
    assert list((tmp_path / "halves").glob("checkpoint-*"))
    before = calls
    _, _, record = run(measure_network, tmp_path / "halves", inputs, given)
    assert len(record["resumed_from"]) == 1
    # Three networks, three batches a pass, and with probes four passes: none is done twice.
    assert calls - before == (9 if mode == "exact" else 36) - (stop_after - 1)
    for name in ("m.parquet", "a.safetensors"):
        assert (tmp_path / "halves" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert not list((tmp_path / "halves").glob("checkpoint-*"))


def test_probes_are_added_until_the_tolerance_is_met(tmp_path, images, standin):
    inputs = {"images": [images], "states": [], "training": [standin]}
    passes = []
    for name, tolerance in (("rough", 10.0), ("never", 1e-9)):
        _, table, record = run(measure_network, tmp_path / name, inputs, settings(mode="probe", tolerance=tolerance))
        passes.append(record["passes_over_images"]["trained"])
        assert "growth" not in set(table["quantity"])
    assert passes == [1, 4]


def test_a_damaged_checkpoint_is_refused(tmp_path, images, monkeypatch):
    model = zoo.fresh("resnet18", generator=__import__("torch").Generator().manual_seed(0), classes=10, divisor=16).eval()
    few, checkpoint = load_arrays(images)["train/images"][:4], tmp_path / "checkpoint-x.safetensors"
    arguments = {"seed": 0, "device": "cpu", "checkpoint": checkpoint, "description": "x"}
    ansatz.measure_layers(model, few, AnsatzSettings(**settings()), **arguments)
    checkpoint.write_bytes(checkpoint.read_bytes()[:100])
    with pytest.raises(StorageError, match="delete it"):
        ansatz.measure_layers(model, few, AnsatzSettings(**settings()), **arguments)


@pytest.fixture
def pretrained(tmp_path):
    """Settings and state of weights in an official file."""
    entry = REGISTRY["resnet18-v1"]
    home = tmp_path / "data/resnet18-v1"
    home.mkdir(parents=True)
    content = weights("resnet18")
    (home / entry.required[0]).write_bytes(content)
    published = replace(entry, remotes=(replace(entry.remotes[0], checksum=f"md5:{md5(content)}"),))
    write_json(home / "state.json", asdict(examine(published, Place(home))))
    given = settings(weights="resnet18-v1", divisor=1, epochs=0, data_dir=str(tmp_path / "data"), folders={})
    return given, home / "state.json", home / entry.required[0]


def a_job(given, state):
    return Job({"states": [state], "training": []}, {}, given, 1, Recorder("x", "c", given))


def test_pretrained_weights_are_loaded_and_verified(pretrained):
    given, state, file = pretrained
    model = trained_network(a_job(given, state), ZooSettings(**{key: given[key] for key in ZooSettings.model_fields}))
    assert (model.conv1.weight == 0.5).all()
    file.write_bytes(file.read_bytes() + b"x")
    with pytest.raises(CorruptDataError):
        trained_network(a_job(given, state), ZooSettings(**{key: given[key] for key in ZooSettings.model_fields}))
    state.write_text(json.dumps({**json.loads(state.read_text()), "state": "absent", "reason": "Gone.", "remedy": "Do."}))
    with pytest.raises(AbsentDataError, match="Gone"):
        trained_network(a_job(given, state), ZooSettings(**{key: given[key] for key in ZooSettings.model_fields}))


def test_images_are_transformed_by_every_layer(tmp_path, images, measured, standin):
    _, folder = measured
    inputs = {"images": [images, images], "measured": [folder / "a.safetensors"], "states": [], "training": [standin]}
    given = {**SHARED, **NO_WEIGHTS, "epochs": 2, "images": 3, "control_draws": 2}
    arrays, table, _ = run(transform_images, tmp_path, inputs, given)
    assert len(table) == 20 * 2 * 3
    assert table[["pearson", "control"]].stack().dropna().between(-1, 1).all()
    # The last features of these images are single pixels, which no correlation is of.
    assert table.groupby("index")["pearson"].apply(lambda part: part.isna().all()).sum() == 3
    # Both sources are the same here.
    pivot = table.pivot_table(index=["layer", "image"], columns="source", values="pearson")
    assert np.allclose(pivot[0], pivot[1])
    assert arrays["input/0"].shape == (3, 32, 32)
    assert arrays["input/0"].min() >= 0
    assert arrays["input/0"].max() <= 1
    assert arrays["cnfm/1/0"].shape == (32, 32)
    first = np.corrcoef(arrays["cnfm/0/0"].ravel(), arrays["agop/0/0"].ravel())[0, 1]
    assert table.query("index == 0 and source == 0 and image == 0")["pearson"].item() == pytest.approx(first, abs=1e-4)
